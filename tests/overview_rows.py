"""A fleet with streams of every kind, in rows as sessions leave them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from control_rows import run
from earmark.model import Checkpoint, Gap, Play
from earmark.postgres import Pool, transaction

TITLE = "Blue Sky Morning"


def stream(pool: Pool, stream_id: str, *, ago_s: float = 1.0, heard_s: float = 100.0, gap_s: float = 0.0, playing: Sequence[Any] = (), **columns: Any) -> None:
    """One that is heard by `one`, unless its columns say otherwise; times are seconds ago."""
    checkpoint = Checkpoint(
        state="listening",
        position_s=heard_s + gap_s,
        heard_s=heard_s,
        gaps=(Gap(begin_s=0.0, end_s=gap_s, reason="origin_down"),) if gap_s else (),
        plays=tuple(playing),
        clock=datetime.now(UTC) - timedelta(seconds=ago_s),
        clock_source="program_date_time",
    )
    values = {
        "source": "ivs",
        "state": "running",
        "owner": "one",
        "lease": -10.0,
        "wanted": 1_000.0,
        "not_before": 1_000.0,
        "claimed": 900.0,
        "heard": ago_s,
        "failures": 0,
        "last_error": "",
        "channel_name": "",
        "channel_arn": None,
        "checkpoint": checkpoint.to_json(),
        **columns,
    }
    with transaction(pool) as connection:
        connection.execute(_STREAM, {"stream_id": stream_id, **values})


_STREAM = """
insert into stream (stream_id, source, state, owner, lease_until, wanted_at, not_before, claimed_at, heard_at, failures, last_error, channel_name,
                    channel_arn, checkpoint)
values (%(stream_id)s, %(source)s, %(state)s, %(owner)s,
        case when %(owner)s::text is not null then now() - make_interval(secs => %(lease)s) end, now() - make_interval(secs => %(wanted)s),
        now() - make_interval(secs => %(not_before)s), now() - make_interval(secs => %(claimed)s), now() - make_interval(secs => %(heard)s),
        %(failures)s, %(last_error)s, %(channel_name)s, %(channel_arn)s, %(checkpoint)s::jsonb)"""


def play(track_id: str, *, begin_s: float = 10.0, **changes: Any) -> Play:
    values: dict[str, Any] = {
        "hit_id": "h" * 26,
        "revision": 1,
        "state": "open",
        "track_id": track_id,
        "begin_s": begin_s,
        "end_s": begin_s + 20,
        "reference_begin_s": 0.0,
        "reference_end_s": 20.0,
        "reference_duration_s": 200.0,
        "speed": 1.0,
        "pitch_cents": 0.0,
        "evidence_nats": 90.0,
        "false_alarms_per_hour": 1e-9,
        "votes": 10,
        "matched_s": 20.0,
        "first_heard_s": begin_s + 5,
    }
    return Play(**values | changes)


def track(pool: Pool, track_id: str, *, title: str = TITLE, artists: Sequence[str] = ("The Example Five",)) -> None:
    run(
        pool,
        """
        insert into track (track_id, title, artists, duration_s, fingerprint_version, content_sha256, peaks_sha256)
        values (%s, %s, %s, 200, 2, sha256(%s::bytea), sha256(%s::bytea))""",
        track_id,
        title,
        list(artists),
        track_id.encode(),
        track_id.encode(),
    )


def worker(pool: Pool, name: str, *, sessions: int = 1, room: bool = True, seen_s_ago: float = 1.0) -> None:
    run(pool, "insert into worker values (%s, now() - make_interval(secs => %s), %s, %s)", name, seen_s_ago, sessions, room)


def troubles(pool: Pool) -> None:
    """One stream for each kind of trouble, and three without."""
    track(pool, "t-1")
    stream(pool, "st-fine", playing=[play("t-1")])
    stream(pool, "st-other", ago_s=2.0, playing=[play("t-gone"), play("t-1", begin_s=50.0)])
    stream(pool, "st-young", state="wanted", owner=None, wanted=3.0, not_before=3.0, heard=None, claimed=None, checkpoint=json.dumps(None))
    stream(pool, "st-recovered", failures=2, last_error="the origin answered 503")
    stream(pool, "st-silent", ago_s=200.0, gap_s=10.0)
    stream(pool, "st-waits", state="wanted", owner=None, wanted=45.0, not_before=45.0, heard=None, checkpoint=None)
    stream(pool, "st-fails", state="wanted", owner=None, not_before=-20.0, failures=3, last_error="the origin answered 404")
    stream(pool, "st-lost", lease=30.0)
    stream(pool, "st-killer", state="quarantined", owner=None, last_error="the process that heard it alone died of signal 11")
    stream(pool, "st-ended", state="ended", owner=None)
