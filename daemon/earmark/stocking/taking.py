"""Taking up one object: what lies in the bucket now is what the catalogue will say.

    claim ─▶ the bucket is asked ─▶ gone: its recording goes       the same bytes: it is described, if anything new is said
                                  └▶ other bytes: fingerprinted apart ─▶ one transaction: recording, description, row

Each way ends with the object's row, written in the same transaction as what it tells of, unless there is news of the
object: then nothing is written (`rows.Overtaken`), and it is taken up again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from earmark.duplicates import in_words
from earmark.errors import AwsRefused, AwsUnavailable, UnreadableAudio
from earmark.hits.text import rfc3339
from earmark.index.catalogue import Recording, Tracks, prepare, redescribe, take_out
from earmark.index.stretches import lock
from earmark.postgres import Connection, Pool, transaction
from earmark.relating import Judged, Relating
from earmark.settings import Catalogue
from earmark.stocking.apart import Apart
from earmark.stocking.bucket import Bucket, Fetched, Gone, Same, TooLarge, removed
from earmark.stocking.rows import Claim, Finding, Objects, bounded, known
from earmark.stocking.words import Words, described, of_manifest, of_sidecar, of_tags
from earmark.telemetry.stock_metrics import Stocked
from earmark.track import Track

_SIDECAR_BYTES_MAX: Final = 1_000_000
#: Some hundred thousand rows, which take a quarter of a gigabyte for a moment.
_MANIFEST_BYTES_MAX: Final = 16_000_000
_NOTICE_VERSION: Final = 1
_Found: TypeAlias = tuple[Finding, Stocked]


class Taking:
    """How one job takes objects up, each into a file of its own in `folder`."""

    def __init__(self, *, objects: Objects, pool: Pool, bucket: Bucket, settings: Catalogue, apart: Apart, relating: Relating | None, folder: Path) -> None:
        self._objects = objects
        self._pool = pool
        self._tracks = Tracks(pool=pool)
        self._bucket = bucket
        self._settings = settings
        self._apart = apart
        self._relating = relating
        self._file = folder / "object"
        self._log = structlog.get_logger()

    def take(self, claim: Claim, beat: Callable[[], object]) -> tuple[Stocked, Finding]:
        """What became of the object, and what it is now. `beat` is called while that takes its time, and may raise.

        Raises Overtaken, AwsUnavailable, AwsRefused, DatabaseUnavailable, OSError (no room for the file): it may be taken up again.
        """
        try:
            finding, outcome = self._find(claim, beat)
        finally:
            removed(self._file)
        self._objects.finish(claim, noticed=self._notice(claim, finding))
        return outcome, finding

    def _find(self, claim: Claim, beat: Callable[[], object]) -> _Found:
        name = self._bucket.name_of(claim.bucket, claim.key)
        if name is None:  # the place is another one now
            return self._gone(claim)
        if claim.attempts > self._settings.attempts_max:
            why = f": {claim.last_error}" if claim.last_error else ", and the worker that tried did not live to say why"
            return self._reject(claim, f"{claim.key} is given up for now: it was tried {self._settings.attempts_max} times{why}", etag="", size=claim.size)
        return self._audio(claim, name, beat) if claim.kind == "audio" else self._words(claim, beat)

    def _fetch(self, claim: Claim, beat: Callable[[], object], *, known: str, bytes_max: int) -> Fetched | Same | Gone:
        return self._bucket.fetch(claim.key, self._file, known=known, bytes_max=bytes_max, beat=beat)

    # -------------------------------------------------------------------------------------------- recordings

    def _audio(self, claim: Claim, name: str, beat: Callable[[], object]) -> _Found:
        try:
            return self._looked_at(claim, name, beat)
        except TooLarge as error:
            return self._reject(claim, f"{error} (catalogue.object_bytes_max)", etag=error.etag, size=error.size)

    def _looked_at(self, claim: Claim, name: str, beat: Callable[[], object]) -> _Found:
        """Raises TooLarge, besides."""
        most = self._settings.object_bytes_max
        got = self._fetch(claim, beat, known=claim.etag, bytes_max=most) if claim.look else Same()
        if isinstance(got, Fetched) and got.content_sha256 != claim.content_sha256:
            return self._new(claim, name, got, beat)
        if isinstance(got, Fetched):
            claim = replace(claim, etag=got.etag, size=got.size)
        if not isinstance(got, Gone) and (found := self._known(claim, name)):
            return found
        if isinstance(got, Same):  # its sound is needed once more
            got = self._fetch(claim, beat, known="", bytes_max=most)
        return self._new(claim, name, got, beat) if isinstance(got, Fetched) else self._gone(claim)

    def _known(self, claim: Claim, name: str) -> _Found | None:
        """The same bytes as before: at most their description is new. None: their sound is needed once more."""
        if claim.content_sha256 is None or (claim.state == "rejected" and not claim.blocked_by):
            with transaction(self._pool) as connection:
                self._objects.hold(connection, claim)
                self._objects.write(connection, claim, finding := known(claim))
            return finding, "unchanged"
        if claim.track_id and self._relating and self._relating.owes(claim.track_id):
            return None
        with transaction(self._pool) as connection:
            self._objects.hold(connection, claim)
            track, given = self._described(connection, claim, name, claim.tags or {})
            outcome: Stocked | None
            if refusal := self._refusal(connection, claim, track, given=given, content=claim.content_sha256, peaks=b""):
                finding, outcome = self._refused(connection, claim, known(claim), refusal), "rejected"
            else:
                done = redescribe(connection, claim.track_id, track, content_sha256=claim.content_sha256) if claim.track_id else None
                finding = known(claim, state="kept", track_id=track.track_id, reasons=(), blocked_by=None)
                outcome = None if done is None else "unchanged" if done == "unchanged" else "described"
            if outcome:
                self._objects.write(connection, claim, finding)
        return (finding, outcome) if outcome else None

    def _new(self, claim: Claim, name: str, got: Fetched, beat: Callable[[], object]) -> _Found:
        """Bytes that were never heard, or are to be heard again."""
        try:
            sound = self._apart.fingerprint(self._file, longest_s=self._settings.object_s_max, beat=beat)
        except UnreadableAudio as error:
            sentence = str(error).replace(str(self._file), claim.key)
            return self._reject(claim, sentence, etag=got.etag, size=got.size, content=got.content_sha256)
        made, tags = sound.fingerprinted, of_tags(sound.tags)
        with transaction(self._pool) as connection:
            track, given = self._described(connection, claim, name, tags)
        track = replace(track, duration_s=made.duration_s)
        recording = Recording(track=track, peaks=made.peaks, postings=made.postings, content_sha256=got.content_sha256)
        finding = Finding(state="kept", etag=got.etag, size=got.size, content_sha256=got.content_sha256, tags=tags, track_id=track.track_id)
        write = partial(self._put, claim, finding, recording, given=given)
        judged, (finding, put) = self._relating.add(recording, write) if self._relating else (None, write(None))
        if put == "rejected":
            return finding, "rejected"
        if self._relating and judged and put in ("added", "replaced"):  # it is searchable by now
            self._relating.settle(judged)
        elif self._relating:
            self._relating.relate([recording])
        for clash in judged.clashes if judged else ():
            self._log.warning("catalogue.isrc_clash", key=claim.key, track_id=track.track_id, reason=clash)
        return finding, put

    def _put(self, claim: Claim, finding: Finding, recording: Recording, judged: Judged | None, *, given: bool) -> _Found:
        """Recording, description and row, in one transaction: if there was news since it was described, it is not ours to write."""
        prepared, track, linked = prepare(recording), recording.track, False
        with transaction(self._pool) as connection:
            if self._relating and judged:
                self._relating.first(connection, judged)
            self._objects.hold(connection, claim)
            refusal = self._refusal(connection, claim, track, given=given, content=recording.content_sha256, peaks=prepared.peaks_sha256)
            if refusal is None and judged and judged.duplicate and judged.rejected:
                refusal = f"{claim.key} is not added: {in_words(judged.duplicate)}", judged.duplicate.of.track_id
            outcome: Stocked
            if refusal:
                finding, outcome = self._refused(connection, claim, finding, refusal), "rejected"
            else:
                if claim.track_id and claim.track_id != track.track_id:
                    take_out(connection, claim.track_id)
                (put,) = self._tracks.put(connection, [prepared])
                linked = self._relating is not None and judged is not None and put in ("added", "replaced") and self._relating.link(connection, judged)
                outcome = "described" if put == "updated" else put
            self._objects.write(connection, claim, finding)
        if linked and judged and judged.duplicate:
            self._log.info("catalogue.linked", key=claim.key, track_id=track.track_id, alias_of=judged.duplicate.of.track_id)
        return finding, outcome

    def _described(self, connection: Connection, claim: Claim, name: str, tags: Mapping[str, str]) -> tuple[Track, bool]:
        said = self._objects.said_of(connection, claim)
        return described(name, tags=tags, manifest=said.manifest, sidecar=said.sidecar)

    def _refusal(self, connection: Connection, claim: Claim, track: Track, *, given: bool, content: bytes, peaks: bytes) -> tuple[str, str] | None:
        """Why it cannot be that recording, and which one has its place: a recording is one object's, and the first to come has it."""
        lock(connection, [track.track_id])
        where = f"{claim.key}.json"
        holder = self._objects.holder(connection, track.track_id) if track.track_id != claim.track_id else None
        if holder == "":
            there = f"the catalogue has a recording {track.track_id} that did not come from this bucket"
            return f"{claim.key} is not added: {there}; `earmark catalogue remove {track.track_id}` makes room for it", track.track_id
        if holder is not None:
            remedy = f"delete one of the two, or give one a track_id of its own in {where}"
            return f"{claim.key} is not added: the recording {track.track_id} is {holder} already; {remedy}", track.track_id
        if given:
            return None
        same = self._objects.same_sound(connection, content=content, peaks=peaks, but=[track.track_id, claim.track_id or track.track_id])
        if same is None:
            return None
        remedy = f"delete one of the two, or give it a track_id of its own in {where}"
        return f"{claim.key} is not added: it holds the same audio as the recording {same}; {remedy}", same

    def _refused(self, connection: Connection, claim: Claim, finding: Finding, refusal: tuple[str, str]) -> Finding:
        if claim.track_id:
            take_out(connection, claim.track_id)
        sentence, blocked_by = refusal
        return replace(finding, state="rejected", track_id=None, reasons=(sentence,), blocked_by=blocked_by)

    # -------------------------------------------------------------------------------------------- what is said about them

    def _words(self, claim: Claim, beat: Callable[[], object]) -> _Found:
        sidecar = claim.kind == "sidecar"
        try:
            got = self._fetch(claim, beat, known=claim.etag, bytes_max=_SIDECAR_BYTES_MAX if sidecar else _MANIFEST_BYTES_MAX)
        except TooLarge as error:
            return self._say(claim, Words(wrong=[str(error)]), etag=error.etag, size=error.size)
        match got:
            case Gone():
                return self._gone(claim)
            case Same():
                return known(claim), "unchanged"
            case Fetched():
                data = self._file.read_bytes()
                words = of_sidecar(data, claim.key) if sidecar else of_manifest(data, claim.key, beat)
                return self._say(claim, words, etag=got.etag, size=got.size)

    def _say(self, claim: Claim, words: Words, *, etag: str, size: int) -> _Found:
        state = "rejected" if words.wrong else "kept"
        said = words.said.get("") if claim.kind == "sidecar" else None
        finding = Finding(state=state, etag=etag, size=size, said=said, reasons=bounded(words.wrong))
        changed = self._put_words(claim, finding, words)
        return finding, "rejected" if words.wrong else "described" if changed else "unchanged"

    def _put_words(self, claim: Claim, finding: Finding, words: Words) -> bool:
        """On record, and the recordings that are described otherwise now are to be taken up; whether there may be any."""
        with transaction(self._pool) as connection:
            self._objects.hold(connection, claim)
            keys = self._objects.put_said(connection, claim, words.said) if claim.kind == "manifest" else []
            changed = bool(keys) or (claim.kind == "sidecar" and finding.said != claim.said)
            self._objects.write(connection, claim, finding)
            self._tell(connection, claim, keys, changed=changed)
        with transaction(self._pool) as connection:  # those that came while this was written, and may have seen what was said before
            self._tell(connection, claim, keys, changed=changed)
        return changed

    def _tell(self, connection: Connection, claim: Claim, keys: Sequence[str], *, changed: bool) -> None:
        if changed and claim.kind == "sidecar":
            self._objects.tell_described(connection, claim)
        elif changed:
            self._objects.tell_listed(connection, claim, keys)

    # -------------------------------------------------------------------------------------------- not in the catalogue

    def _gone(self, claim: Claim) -> _Found:
        finding = Finding(state="gone")
        if claim.kind != "audio":
            return finding, "removed" if self._put_words(claim, finding, Words()) else "unchanged"
        with transaction(self._pool) as connection:
            self._objects.hold(connection, claim)
            had = take_out(connection, claim.track_id) if claim.track_id else False
            self._objects.write(connection, claim, finding)
        return finding, "removed" if had else "unchanged"

    def _reject(self, claim: Claim, reason: str, *, etag: str, size: int, content: bytes | None = None) -> _Found:
        finding = Finding(state="rejected", etag=etag, size=size, content_sha256=content, reasons=(reason,))
        if claim.kind != "audio":
            self._put_words(claim, finding, Words())
            return finding, "rejected"
        with transaction(self._pool) as connection:
            self._objects.hold(connection, claim)
            if claim.track_id:
                take_out(connection, claim.track_id)
            self._objects.write(connection, claim, finding)
        return finding, "rejected"

    def _notice(self, claim: Claim, finding: Finding) -> bool:
        """Whether there is one in the bucket now: why the object counts for nothing. One that cannot be written is no reason to do it all again."""
        if self._bucket.name_of(claim.bucket, claim.key) is None:
            return False
        rejected = finding.state == "rejected"
        try:
            if rejected and not (claim.noticed and tuple(finding.reasons) == claim.reasons and finding.etag == claim.etag):
                self._bucket.put_notice(claim.key, _notice(claim, finding))
            elif claim.noticed and not rejected:
                self._bucket.take_notice_down(claim.key)
        except (AwsUnavailable, AwsRefused) as error:
            self._log.warning("catalogue.not_noticed", key=claim.key, reason=str(error))
            return claim.noticed
        return rejected


def _notice(claim: Claim, finding: Finding) -> dict[str, object]:
    """`_rejected/NAME.json`."""
    return {
        "schema_version": _NOTICE_VERSION,
        "key": claim.key,
        "reasons": list(finding.reasons),
        "rejected_at": rfc3339(datetime.now(UTC)),
        "etag": finding.etag,
        "size": finding.size,
    }
