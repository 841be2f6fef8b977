"""`earmark report STREAM --format html`: the page of one stream; if wanted with its clips inside, each beside the same seconds of the recording."""

import base64
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from earmark import postgres, verifying
from earmark.audio.encode import Encoding, content_type_of, encode
from earmark.aws import Clients
from earmark.errors import BadSettings, UnreadableAudio
from earmark.hits.page import details
from earmark.hits.page.details import Clip, Proof
from earmark.hits.reports import report as reports
from earmark.hits.text import counted
from earmark.local.desk import opened
from earmark.local.proof import Reading
from earmark.postgres import Connection
from earmark.settings import Settings

#: Of all sounds in a page: half as much again as text, it is what a browser still opens at once and a mail server rarely takes.
SOUND_BYTES_MAX = 48_000_000
#: The copy of a recording that people may listen to, by its name in `formats.targets`.
_PREVIEW = "preview"
_CODEC: Final = "aac"
#: With less of the recording there is nothing to compare.
_LEAST_S = 1.0

#: An object's content by bucket and key; None: there is none.
Read = Callable[[str, str], bytes | None]


def report_page(stream_id: str, *, with_clips: bool, settings: Settings) -> int:
    """Raises StreamNotFound, BadSettings, AwsRefused, AwsUnavailable."""
    bucket = settings.results.bucket
    if with_clips and not bucket:
        raise BadSettings("--with-clips takes clips from the bucket of results, and there is none: set results.bucket")
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        found = reports.load(connection, stream_id)
        proofs = details.load(connection, stream_id)
        previews = _previews(connection, proofs) if with_clips else {}
    if with_clips:
        clients = Clients(settings.aws)
        sounds = Sounds(read=lambda bucket, key: Reading(clients, bucket)(key), bucket=bucket, previews=previews)
        proofs = {hit_id: sounds.put_into(proof) for hit_id, proof in proofs.items()}
        for sentence in sounds.said():
            print(f"earmark: {sentence}", file=sys.stderr)
    sys.stdout.write(reports.html(found, proofs))
    return 0


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A recording's copy for listening; made only where its licence allows copies."""

    bucket: str
    key: str
    duration_s: float
    bytes: int


def _previews(connection: Connection, proofs: Mapping[str, Proof]) -> dict[str, Preview]:
    """By `track_id`, of the recordings in these proofs that have one."""
    rows = connection.execute(
        """
        select o.track_id, t.bucket, t.key, t.duration_s, t.size_bytes
          from track_format t join catalogue_object o on (o.bucket, o.key) = (t.of_bucket, t.of_key)
         where o.track_id = any(%s) and t.name = %s and t.state = 'made' and t.duration_s is not null and t.size_bytes is not null
        """,
        [sorted({proof.track_id for proof in proofs.values() if proof.clip}), _PREVIEW],
    )
    return {track_id: Preview(bucket=bucket, key=key, duration_s=duration_s, bytes=size) for track_id, bucket, key, duration_s, size in rows}


class _LeftOut(Exception):
    """A sound that the page goes without, and why."""


@dataclass
class Sounds:
    """Puts sounds into a page, as far as there is room."""

    read: Read
    bucket: str
    previews: Mapping[str, Preview]
    bytes_max: int = SOUND_BYTES_MAX
    _bytes: int = 0
    _clips: int = 0
    _beside: int = 0
    #: What was left out, by the reason.
    _left_out: dict[str, int] = field(default_factory=dict)

    def put_into(self, proof: Proof) -> Proof:
        """The proof with its clip, and the same seconds of the recording, as `data:`; without what there is not. Raises AwsRefused, AwsUnavailable."""
        if proof.clip is None:
            return proof
        clip = self._unless_left_out(self._clip, proof)
        preview = self._unless_left_out(self._preview, proof) if clip else None
        self._clips += clip is not None
        self._beside += preview is not None
        return replace(proof, clip=clip, preview=preview)

    def said(self) -> list[str]:
        """For people."""
        if not self._clips and not self._left_out:
            return ["no play of this stream has a clip: evidence.clip says whether they are kept"]
        told = [f"{counted(self._clips, 'clip')} in the page, {self._beside:,} of them beside the recording's own sound"]
        return told + [f"{counted(count, 'sound')} left out: {reason}" for reason, count in sorted(self._left_out.items())]

    def _unless_left_out(self, make: Callable[[Proof], Clip | None], proof: Proof) -> Clip | None:
        try:
            return make(proof)
        except _LeftOut as left_out:
            reason = str(left_out)
            self._left_out[reason] = self._left_out.get(reason, 0) + 1
            return None

    def _clip(self, proof: Proof) -> Clip | None:
        clip = proof.clip
        if clip is None:
            return None
        self._make_room(clip.bytes)
        content = self._content(self.bucket, clip.key)
        if clip.sha256 and hashlib.sha256(content).hexdigest() != clip.sha256:
            raise _LeftOut("not what was put there: its SHA-256 is another one (`earmark hits verify` tells of it)")
        return replace(clip, address=self._address(clip.content_type, content))

    def _preview(self, proof: Proof) -> Clip | None:
        preview, place = self.previews.get(proof.track_id), proof.recorded
        if preview is None or place is None or preview.bytes > verifying.BYTES_MAX:
            return None
        begin_s, end_s = max(0.0, place[0]), min(preview.duration_s, place[1])
        if end_s - begin_s < _LEAST_S:
            return None
        content = self._content(preview.bucket, preview.key)
        try:
            excerpt = _excerpt(content, begin_s, end_s, preview.duration_s)
        except UnreadableAudio:
            raise _LeftOut("a copy of the recording that cannot be decoded") from None
        self._make_room(len(excerpt))
        return Clip(address=self._address(content_type_of(_CODEC), excerpt), begin_s=begin_s, end_s=end_s)

    def _content(self, bucket: str, key: str) -> bytes:
        content = self.read(bucket, key)
        if content is None:
            raise _LeftOut("not in the bucket any more")
        return content

    def _make_room(self, size: int) -> None:
        if self._bytes + size > self.bytes_max:
            raise _LeftOut(f"a page has no more than {self.bytes_max // 1_000_000} MB of sound")

    def _address(self, content_type: str, content: bytes) -> str:
        self._bytes += len(content)
        return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


def _excerpt(content: bytes, begin_s: float, end_s: float, duration_s: float) -> bytes:
    """Some seconds of a file, as one of its own. Raises UnreadableAudio."""
    with tempfile.TemporaryDirectory(prefix="earmark-report-") as folder:
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        whole.write_bytes(content)
        encode(whole, part, Encoding(codec=_CODEC, begin_s=begin_s, length_s=end_s - begin_s), duration_s=duration_s)
        return part.read_bytes()
