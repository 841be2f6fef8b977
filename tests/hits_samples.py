"""A stream, its plays and its tracks, as the tests of `hits` want them; and the schemas that documents are held to."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from psycopg.types.json import Json

from earmark.hits.record import Opening, Place, Timebase, hit_document
from earmark.hits.rights import Circumstances, by_owner
from earmark.model import Checkpoint, Explanation, Gap, Lease, Play, Stream, Track, hit_id
from earmark.postgres import Connection

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SCHEMAS = Path(__file__).parent.parent / "config" / "schema"

STREAM = Stream(
    stream_id="st-1A2B3C",
    source="ivs",
    channel_arn="arn:aws:ivs:us-east-1:123456789012:channel/abcd",
    channel_name="late-night-radio",
    tags={"team": "music", "region": "eu"},
    started_at=NOON - timedelta(seconds=5),
)
TRACK = Track(
    track_id="isrc:GBAYE0601498",
    title="Blue Sky Morning",
    artists=("The Example Five", "Ada Sample"),
    album="First Light",
    label="Paper Boat",
    isrc=("GBAYE0601498",),
    iswc=("T0345246801",),
    upc=("00602517484016",),
    rights_holder="Paper Boat Rights Ltd",
    duration_s=240.0,
)
PLACE = Place(bucket="results", prefix="eu/", stream_id=STREAM.stream_id)


def validator(name: str) -> jsonschema.protocols.Validator:
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def play(track_id: str = TRACK.track_id, *, begin_s: float = 100.0, length_s: float = 30.0, **changes: Any) -> Play:
    values: dict[str, Any] = {
        "hit_id": hit_id(STREAM.stream_id, track_id, 10.0, begin_s, "ivs"),
        "revision": 1,
        "state": "open",
        "track_id": track_id,
        "begin_s": begin_s,
        "end_s": begin_s + length_s,
        "reference_begin_s": 10.0,
        "reference_end_s": 10.0 + length_s,
        "reference_duration_s": 240.0,
        "speed": 1.0,
        "pitch_cents": 0.0,
        "evidence_nats": 88.25,
        "false_alarms_per_hour": 1e-7,
        "votes": 41,
        "matched_s": length_s,
        "first_heard_s": begin_s + 6.0,
    }
    return Play(**values | changes)


def explanation(nats: float, **changes: Any) -> Explanation:
    peaks = np.arange(5, dtype=np.int32)
    made = Explanation(
        begin_s=104.0,
        end_s=116.0,
        speed=1.0,
        offset_s=-90.0,
        pitch_cents=0.0,
        evidence_nats=nats,
        second_nats=nats,
        share=0.5,
        threshold_nats=27.5,
        heard_n=300,
        stored_n=310,
        matched_n=5,
        coincidences=np.array([1, 0, 5, 2, 1], np.int32),
        cell_frames=1.0,
        guard_frames=5.0,
        narrow=False,
        stream_ms=105_000 + 1_000 * peaks,
        eighth_hz=8_000 + peaks,
        reference_ms=15_000 + 1_000 * peaks,
    )
    return replace(made, **changes)


def checkpoint(position_s: float = 130.0, *, gaps: Sequence[Gap] = (), **changes: Any) -> Checkpoint:
    """Stream time 0 is NOON."""
    values: dict[str, Any] = {
        "state": "listening",
        "position_s": position_s,
        "heard_s": position_s - sum(gap.end_s - gap.begin_s for gap in gaps),
        "gaps": tuple(gaps),
        "clock": NOON + timedelta(seconds=position_s),
        "clock_source": "program_date_time",
        "fetched_bytes": 2_080_000,
        "rendition": "audio_only, 128 kbit/s",
    }
    return Checkpoint(**values | changes)


def hit(sample: Play | None = None, *, stream: Stream = STREAM, track: Track | None = TRACK, place: Place = PLACE) -> dict[str, Any]:
    sample = sample or play()
    now = NOON + timedelta(seconds=112)
    return hit_document(
        stream=stream,
        play=sample,
        track=track,
        policy=by_owner(track, Circumstances.of(stream, sample, now)),
        opening=Opening.now(sample, Timebase.of(checkpoint()), now),
        worker="worker-1",
        fingerprint_version=1,
        now=now,
        place=place,
    )


class Clock:
    """Wall-clock time that a test moves by hand."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Catalogue:
    """What `index` knows of recordings, as a dictionary."""

    def __init__(self, *tracks: Track) -> None:
        self.known = {track.track_id: track for track in tracks}

    def get(self, track_ids: Iterable[str]) -> Mapping[str, Track]:
        return {track_id: self.known[track_id] for track_id in track_ids if track_id in self.known}


def insert_stream(connection: Connection, *, stream: Stream = STREAM, owner: str = "worker-1", fencing: int = 1) -> Lease:
    """A running stream's row, and the lease of its owner."""
    connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, channel_name, session_id, url, tags, started_at, wanted_at, state, owner, lease_until, fencing)
        values (%s, %s, %s, %s, %s, %s, %s, %s, now(), 'running', %s, now() + interval '1 minute', %s)
        """,
        [
            stream.stream_id,
            stream.source,
            stream.channel_arn,
            stream.channel_name,
            stream.session_id,
            stream.url,
            Json(dict(stream.tags)),
            stream.started_at,
            owner,
            fencing,
        ],
    )
    return Lease(stream=stream, owner=owner, fencing=fencing, checkpoint=Checkpoint())
