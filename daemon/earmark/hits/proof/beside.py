"""What lies in `evidence/` beside a hit, and how the hit tells of it: each by its place, its size and its SHA-256.

    evidence/{hit_id}.json    the peaks                `hits.proof.evidence`
    evidence/{hit_id}.svg     the same, drawn          `hits.proof.picture`
    evidence/{hit_id}.flac    the sound, if it is set  `hits.proof.clips`

Peaks and picture go with a revision of the hit, in its transaction; and so does a clip, when its last second has been heard: if
nothing else is to be told then, as a revision of its own. All of them leave behind the hit, each by itself: a bucket that takes
the hit and refuses these costs these.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.hits.outgoing import Outgoing, s3_document
from earmark.hits.proof.clips import Clip
from earmark.hits.proof.evidence import evidence_document
from earmark.hits.proof.picture import picture
from earmark.hits.record import Document, Place
from earmark.hits.text import cleaned, dumps
from earmark.model import FINGERPRINT_VERSION, Play
from earmark.postgres import Connection
from earmark.settings import Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Proofs:
    """Of one revision of a hit."""

    #: What goes on record: the text of its evidence; None: there is none better than what is there.
    text: str | None
    #: The hit's `evidence`.
    told: Document
    #: What leaves behind it.
    items: tuple[Outgoing, ...] = ()


def proofs(
    connection: Connection,
    hit: Mapping[str, Any],
    play: Play,
    *,
    place: Place,
    settings: Evidence,
    before: Mapping[str, Any],
    clip: Clip | None = None,
    fingerprint_version: int = FINGERPRINT_VERSION,
) -> Proofs:
    """Of a hit that is about to go on record; `before`: its `evidence` so far, `clip`: one that goes on record with it."""
    told = dict(before)
    if clip is not None and place.bucket:
        told["clip"] = clip.told(place)
    if play.explanation is None:
        return Proofs(text=None, told=told)
    document = evidence_document(stream_id=place.stream_id, play=play, explanation=play.explanation, fingerprint_version=fingerprint_version)
    document["recording"] = _recording(connection, play)
    if not place.bucket:
        return Proofs(text=dumps(document), told={})
    svg = picture(hit, document) if settings.picture else None
    beside = {name: told[name] for name in ("clip",) if name in told}
    if svg is not None:
        beside["picture"] = _told(place.beside_key(play.hit_id, "svg"), svg)
    text = dumps(document | cleaned(beside))
    items = [s3_document(place.stream_id, place.evidence_key(play.hit_id), text, play.revision)]
    if svg is not None:
        items.append(s3_document(place.stream_id, beside["picture"]["key"], svg, play.revision, "image/svg+xml"))
    return Proofs(text=text, told=cleaned(_told(place.evidence_key(play.hit_id), text) | beside), items=tuple(items))


def _recording(connection: Connection, play: Play) -> Document:
    """As the catalogue has it now: by this it is known again, or known to have been replaced."""
    track_id = play.heard_as.track_id if play.heard_as else play.track_id
    row = connection.execute("select encode(peaks_sha256, 'hex') from track where track_id = %s", [track_id]).fetchone()
    return {"peaks_sha256": row[0]} if row else {}


def _told(key: str, text: str) -> Document:
    content = text.encode()
    return {"key": key, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


# ------------------------------------------------------------------------------------------------ clips


def room_for(connection: Connection, clips: Mapping[str, Clip], bytes_max: int) -> bool:
    """Whether so many bytes more may wait for S3."""
    if not clips:
        return True
    row = connection.execute("select coalesce(sum(octet_length(content)), 0) from outbox where target = 'clip'").fetchone()
    return row is not None and int(row[0]) + sum(len(clip.content) for clip in clips.values()) <= bytes_max
