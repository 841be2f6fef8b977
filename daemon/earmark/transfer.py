"""A catalogue out of one database and into another, as one file and without audio: `earmark catalogue export` and `import`.

    tables ─▶ one snapshot ─▶ recordings, each whole ─▶ file           (`index.portable_out`, `index.portable_file`)
    file ─▶ every byte ─▶ what it says of each recording ─▶ batch after batch ─▶ tables           (`index.portable_in`)

Before anything is written the whole file has been read: for its checksum, for what its recordings are, and for whether the
constellation and the postings of each belong together, which a checksum cannot say of a file that another program wrote. So
of a file that is refused nothing is in the catalogue. It costs a tenth of an import.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, get_args

import numpy as np

from earmark.errors import BadSettings, FingerprintMismatch, UnreadableCatalogue
from earmark.fingerprint.agreement import agree
from earmark.fingerprint.landmarks import KEEP
from earmark.hits.text import is_storable
from earmark.index import version
from earmark.index.blocks import HASH_BITS
from earmark.index.catalogue import Added, Tracks, foreseen
from earmark.index.constellations import FRAME_BITS, sha256
from earmark.index.portable import About, Carried, Stocked, Tie
from earmark.index.portable_file import Head, Reading, Writing
from earmark.index.portable_in import ASIDE_POSTINGS, Arrived, Arriving, Conflicts, profile_of
from earmark.index.portable_out import GROUP_POSTINGS, GROUP_RECORDINGS, Leaving, snapshot
from earmark.index.upkeep import upkeep
from earmark.matching.overlaps import Kind
from earmark.metadata import FIELDS, ID_CHARS_MAX, LISTS, checked
from earmark.model import FINGERPRINT_VERSION, Shared
from earmark.postgres import Pool, statement
from earmark.reference import DURATION_S

#: What is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

#: Fields that are checked as an owner's are; the rest is taken as it is, as a catalogue may hold it already.
_RIGHTS: Final = tuple(name for name in ("policy", "territories", "valid_from", "valid_to", "copies", "tags") if name in FIELDS)
_DIGEST_BYTES: Final = 32
_NAMED_MAX: Final = 3
#: Written since runs were last packed and merged.
_TIDY_EVERY: Final = 256


@dataclass(frozen=True, kw_only=True)
class Left:
    """What was exported."""

    head: Head
    #: What was left out, and why: a sentence each.
    wrong: tuple[str, ...]


def leave(pool: Pool, out: BinaryIO, *, aside: BinaryIO, progress: Progress = lambda *_: None) -> Left:
    """Write the catalogue to a file, which need not be seekable.

    Args:
        aside: a temporary file, which grows to eight bytes a posting.

    Raises DatabaseUnavailable, FingerprintMismatch, OSError: then what was written is no file.
    """
    with snapshot(pool) as connection:
        version.expect(version.read(connection), pool)
        leaving = Leaving(connection=connection, file=aside, progress=progress)
        writing = Writing(out, leaving.head())
        try:
            for rows in leaving.groups():
                writing.write(rows)
        except BaseException:
            writing.abandon()
            raise
        return Left(head=writing.finish(), wrong=tuple(leaving.wrong))


# ------------------------------------------------------------------------------------------------ taking in


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a file's recordings."""

    head: Head
    counts: Mapping[Arrived, int]
    #: They count as not compared with the catalogue's others.
    uncompared: bool


@dataclass(kw_only=True, eq=False)
class _Plan:
    """What is known of a file's recordings before any is written."""

    #: By row group: what would become of each.
    foreseen: list[list[Added]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    #: Ids of those that are there otherwise.
    other: list[str] = field(default_factory=list)
    #: What becomes of those that are written.
    written: frozenset[Added] = frozenset({"added", "updated", "replaced"})

    def todo(self, group: int) -> list[int]:
        """The rows of a row group that are written."""
        return [n for n, outcome in enumerate(self.foreseen[group]) if outcome in self.written]


def arrive(pool: Pool, path: Path, *, name: str, conflicts: Conflicts = "refuse", place: str = "", progress: Progress = lambda *_: None) -> Imported:
    """Take the recordings of a file that was exported into the catalogue. Again, it changes nothing.

    Args:
        name: what the file is called in sentences.
        conflicts: what becomes of recordings that the catalogue has with another sound, or another description.
        place: whose objects are this catalogue, as s3://bucket/prefix; empty: nobody's.

    Raises UnreadableCatalogue for a file that cannot be taken in, FingerprintMismatch for one of another version of the
    fingerprint, BadSettings for recordings that are there otherwise; DatabaseUnavailable, and then it can be done again.
    """
    reading = Reading(path, name=name, progress=lambda done, of: progress("reading", done, of))
    _refuse_another_version(reading.head, name)
    Tracks(pool=pool).check_version()
    plan = _planned(pool, reading, name, progress)
    if plan.other:
        _refuse_conflicts(pool, plan, name, conflicts)
    if conflicts == "keep":
        plan.written = frozenset({"added"})
    _refuse_unsound(reading, plan, name, progress)
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    arriving = Arriving(
        pool=pool,
        head=reading.head,
        conflicts=conflicts,
        known=plan.ids,
        unlike=set(plan.other) if conflicts == "keep" else set(),
        bucket=bucket,
        prefix=prefix,
    )
    arriving.begin()
    counts: Counter[Arrived] = Counter()
    for outcomes in _written(pool, reading, plan, arriving, progress):
        counts.update(outcomes)
    if set(counts) - {"unchanged", "kept"}:
        upkeep(pool)
    return Imported(head=reading.head, counts=counts, uncompared=arriving.strangers and bool(plan.ids))


def _refuse_another_version(head: Head, name: str) -> None:
    ours = (FINGERPRINT_VERSION, HASH_BITS, FRAME_BITS)
    if (head.fingerprint_version, head.hash_bits, head.frame_bits) == ours:
        return
    widths = "" if (head.hash_bits, head.frame_bits) == ours[1:] else f" with hashes of {head.hash_bits} bits and parts of 2^{head.frame_bits} frames"
    mine = f" with {HASH_BITS} and 2^{FRAME_BITS}" if widths else ""
    raise FingerprintMismatch(
        f"{name} holds fingerprints of version {head.fingerprint_version}{widths}, and this Earmark makes version {FINGERPRINT_VERSION}{mine}: "
        "import it with the Earmark that exported it, or fingerprint the audio anew (`earmark catalogue add`)"
    )


def _planned(pool: Pool, reading: Reading, name: str, progress: Progress) -> _Plan:
    """Every recording is described as it can be, and none twice; and what would become of each."""
    plan, done = _Plan(), 0
    for group in reading.groups:
        abouts = reading.abouts(group)
        for about in abouts:
            if flaw := _flaw(about, plan.ids):
                raise UnreadableCatalogue(f"{name} is not imported: its recording {_shown(about.track.track_id)} {flaw}")
            plan.ids.add(about.track.track_id)
        with statement(pool) as connection:
            outcomes = [outcome for some in _some(abouts) for outcome in foreseen(connection, some)]
        plan.foreseen.append(outcomes)
        plan.other += [about.track.track_id for about, outcome in zip(abouts, outcomes, strict=True) if outcome in ("updated", "replaced")]
        done += len(abouts)
        progress("looking up", done, reading.head.recordings)
    if done != reading.head.recordings:
        raise UnreadableCatalogue(f"{name} is not imported: it says that it has {reading.head.recordings} recordings, and has {done}; export it anew")
    return plan


def _some(abouts: Sequence[About]) -> Iterator[Sequence[About]]:
    for begin in range(0, len(abouts), GROUP_RECORDINGS):
        yield abouts[begin : begin + GROUP_RECORDINGS]


def _refuse_conflicts(pool: Pool, plan: _Plan, name: str, conflicts: Conflicts) -> None:
    """Raises BadSettings unless these can be what `conflicts` says."""
    named = ", ".join(map(_shown, plan.other[:_NAMED_MAX])) + (f" and {len(plan.other) - _NAMED_MAX} more" if len(plan.other) > _NAMED_MAX else "")
    if conflicts == "refuse":
        raise BadSettings(
            f"nothing of {name} was imported: the catalogue has {named} with another sound or description; "
            "--replace takes what the file has, --keep leaves those as they are"
        )
    if conflicts == "replace":
        with statement(pool) as connection:
            row = connection.execute(
                "select track_id, 's3://' || bucket || '/' || key from catalogue_object where track_id = any(%s) order by track_id limit 1", [plan.other]
            ).fetchone()
        if row:
            raise BadSettings(
                f"nothing of {name} was imported: the recording {_shown(row[0])} is {_shown(row[1])}, and what that is counts; "
                "replace that object, or import with --keep"
            )


def _refuse_unsound(reading: Reading, plan: _Plan, name: str, progress: Progress) -> None:
    """Raises UnreadableCatalogue if one that is to be written is not what it should be."""
    done, of = 0, sum(len(plan.todo(group)) for group in reading.groups)
    for group in reading.groups:
        if todo := plan.todo(group):
            for carried in reading.carried(group, reading.abouts(group), todo):
                if flaw := _unsound(carried):
                    raise UnreadableCatalogue(f"{name} is not imported: its recording {_shown(carried.about.track.track_id)} {flaw}; export it anew")
            done += len(todo)
            progress("checking", done, of)


def _written(pool: Pool, reading: Reading, plan: _Plan, arriving: Arriving, progress: Progress) -> Iterator[list[Arrived]]:
    """Outcomes of batch after batch."""
    done, since_tidied = 0, _TIDY_EVERY
    for group in reading.groups:
        abouts, expected = reading.abouts(group), plan.foreseen[group]
        todo = plan.todo(group)
        left: list[Arrived] = ["unchanged" if outcome == "unchanged" else "kept" for outcome in expected if outcome not in plan.written]
        yield left
        done += len(left)
        for batch in _batches(reading.carried(group, abouts, todo) if todo else iter(())):
            if since_tidied >= _TIDY_EVERY:
                upkeep(pool)
                since_tidied = 0
            yield arriving.put(batch)
            since_tidied += len(batch)
            done += len(batch)
            progress("recordings", done, reading.head.recordings)
        arriving.settle(abouts)
        progress("recordings", done, reading.head.recordings)


def _batches(rows: Iterator[Carried]) -> Iterator[list[Carried]]:
    """What is written in one transaction; those that nobody looks up by themselves, and not so many of them."""
    batch: list[Carried] = []
    postings = 0
    for row in rows:
        aside = row.about.all_in is not None
        most = ASIDE_POSTINGS if aside else GROUP_POSTINGS
        if batch and (len(batch) >= GROUP_RECORDINGS or postings + len(row.postings) > most or aside != (batch[0].about.all_in is not None)):
            yield batch
            batch, postings = [], 0
        batch.append(row)
        postings += len(row.postings)
    if batch:
        yield batch


# ------------------------------------------------------------------------------------------------ what cannot be


def _flaw(about: About, before: set[str]) -> str:
    """What is wrong with what is said of a recording: the rest of a sentence; nothing if all is well."""
    track = about.track
    if not track.track_id or len(track.track_id) > ID_CHARS_MAX:
        return f"has an id of {len(track.track_id)} characters, and 1 to {ID_CHARS_MAX} are possible"
    if track.track_id in before:
        return "is in it twice"
    said = {name: getattr(track, name) for name in ("track_id", *FIELDS)}
    for field_name, value in said.items():
        if not all(is_storable(text) for text in (value if field_name in LISTS else [value])):
            return f"has a {field_name} with a character that is no text (NUL, or half of a surrogate pair)"
    rights, wrong = checked({name: said[name] for name in _RIGHTS})
    if wrong or any(rights.get(name, type(said[name])()) != said[name] for name in _RIGHTS):
        return f"has rights that cannot be: its {wrong[0]}" if wrong else "has rights that are not written as they are kept"
    if not 0 <= track.duration_s <= DURATION_S[1]:
        return f"lasts {track.duration_s} s, and 0 to {DURATION_S[1]:.0f} are possible"
    if len(about.peaks_sha256) != _DIGEST_BYTES or not 0 < len(about.content_sha256) <= 2 * _DIGEST_BYTES:
        return "has a digest that is none"
    return _flaw_beside(about, before)


def _flaw_beside(about: About, before: set[str]) -> str:
    """The same, of what it has to do with others, and of what was measured."""
    if about.all_in is not None and about.alias_of is None:
        return f"is all in {_shown(about.all_in)}, and no alias"
    named = [other for other in (about.alias_of, about.all_in, *(tie.other for tie in about.ties)) if other is not None and other not in before]
    if named:
        return f"names {_shown(named[0])}, which is not before it"
    if len({tie.other for tie in about.ties}) < len(about.ties) or not all(map(_possible, about.ties)):
        return "shares something with another one that cannot be"
    if about.stocked is not None and not _is_object(about.stocked):
        return "is an object of a bucket that cannot be"
    if about.profile is not None:
        try:
            profile_of(about.profile)
        except ValueError:
            return "has a profile that cannot be read"
    return ""


def _is_object(stocked: Stocked) -> bool:
    try:
        tags = json.loads(stocked.tags)
    except (ValueError, RecursionError):
        return False
    texts = (stocked.bucket, stocked.key, stocked.etag, stocked.tags)
    return isinstance(tags, dict) and stocked.size >= 0 and all(map(is_storable, texts)) and "\\u0000" not in stocked.tags and bool(stocked.key)


def _possible(tie: Tie) -> bool:
    numbers = [tie.evidence_nats]
    if (laid := tie.overlap) is not None:
        if laid.kind not in get_args(Kind) or not laid.speed > 0:
            return False
        numbers += [laid.speed, laid.share, laid.other_share, laid.rest_s, laid.other_rest_s]
        numbers += [edge for s in laid.spans for edge in (s.begin_s, s.end_s, s.other_begin_s, s.other_end_s)]
    return all(map(math.isfinite, numbers)) and all(_in_order(stretches) for stretches in (tie.own, tie.others))


def _in_order(stretches: Sequence[Shared]) -> bool:
    begins = [s.begin_frame for s in stretches]
    return all(0 <= s.begin_frame < s.end_frame and list(s.eighth_frames) == sorted(s.eighth_frames) for s in stretches) and len(set(begins)) == len(begins)


def _unsound(carried: Carried) -> str:
    """What is wrong with a recording's sound: the rest of a sentence; nothing if all is well."""
    peaks, kept = carried.peaks, carried.postings
    try:
        same = sha256(peaks) == carried.about.peaks_sha256
    except ValueError:
        same = False
    order = peaks.eighth_frames.astype(np.int64) << 16 | peaks.eighth_hz
    if not same or np.any(np.diff(order) < 0):
        return "has a constellation that is not the one that was exported"
    if np.any(np.diff(kept.hash.astype(np.int64)) < 0) or np.any(kept.hash < 0) or np.any(kept.hash[KEEP:] == kept.hash[:-KEEP]):
        return "has postings that are not in order"
    if not agree(peaks, kept):
        return "has postings that are not those of its constellation"
    return ""


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)
