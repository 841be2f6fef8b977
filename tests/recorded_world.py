"""Sessions that hear recordings, with real parts all around: PostgreSQL, S3, AAC, the catalogue, the compute thread; one worker at a time."""

import functools
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from control_rows import pass_time, rows, run
from earmark.compute import Compute
from earmark.control.leases import Ended, Failed, Leases, Outcome
from earmark.control.messages import RecordingChanged
from earmark.control.recordings import open_fills, record
from earmark.errors import EarmarkError
from earmark.fingerprint.window import fingerprint
from earmark.hits.ledger import Ledger
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.listening import Listening
from earmark.local import music, sound
from earmark.local.aws import ACCOUNT, REGION, AwsStandIn
from earmark.model import Checkpoint, Float32, Gap, Lease, Play, Stream
from earmark.postgres import Pool, transaction
from earmark.session import HOPELESS, Signals, Stop
from earmark.settings import Alerts, AutoRecord, Results, Settings
from earmark.settings import Leases as LeaseSettings
from earmark.settings.policy import Policy
from earmark.telemetry import Metrics
from hearing_sounds import at_8_khz
from index_catalogue import recording_of
from ivs_recorder import BUCKET, Encoded, Recorder, encoded

CHANNEL = f"arn:aws:ivs:{REGION}:{ACCOUNT}:channel/AbCdef1G2hij"
STREAM = "st-recorded"
BEGAN = datetime(2026, 11, 20, 18, 5, 41, 550_000, tzinfo=UTC)
#: Of the programme: A is cut by the gap, B lies in it, C behind it. (track, begin, end, where in the track)
PLAYS = ((0, 2.0, 24.0, 20.0), (1, 28.0, 44.0, 30.0), (2, 50.0, 70.0, 25.0))
GAP = (14.0, 48.0)
LENGTH_S = 72.0


@functools.cache
def rendered(number: int) -> Float32:
    return music.render(music.catalogue(3)[number])


@functools.cache
def _peaks(number: int) -> Any:
    return fingerprint(at_8_khz(rendered(number), music.RATE_HZ))


def catalogue(pool: Pool, count: int = 3) -> list[str]:
    """Generated recordings, in the catalogue; their ids."""
    pieces = music.catalogue(3)[:count]
    for number, piece in enumerate(pieces):
        Tracks(pool=pool).add([recording_of(piece.track, _peaks(number), piece.track.track_id.encode())])
    return [piece.track.track_id for piece in pieces]


@functools.cache
def programme() -> Float32:
    """PLAYS, and silence between them."""
    samples = sound.silence(LENGTH_S)
    for number, begin_s, end_s, from_s in PLAYS:
        first, last = round(begin_s * music.RATE_HZ), round(end_s * music.RATE_HZ)
        start = round(from_s * music.RATE_HZ)
        samples[first:last] = rendered(number)[start : start + last - first]
    return samples


@functools.cache
def media(segment_s: float = 4.0) -> Encoded:
    return encoded(programme(), segment_s=segment_s)


class World:
    """`close` it."""

    def __init__(self, pool: Pool, aws: AwsStandIn, *, policy_file: str = "", **auto_record: Any) -> None:
        self.pool, self.aws, self.deployed = pool, aws, aws.deploy()
        self.s3 = aws.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.track_ids = catalogue(pool)
        results = Results(bucket=self.deployed.results_bucket)
        self.settings = Settings(
            results=results, alerts=Alerts(topic_arn=self.deployed.topic_arn), auto_record=AutoRecord(**auto_record), policy=Policy(file=policy_file)
        )
        self.metrics = Metrics.build()
        self._stack = ExitStack()
        self.compute = Compute().start()
        self._stack.callback(self.compute.close)
        self.clients: Any = SimpleNamespace(s3=aws.client("s3"))
        self.listening = self._listening()
        self._stack.callback(self.listening.close)

    def close(self) -> None:
        self._stack.close()

    def _listening(self) -> Listening:
        return Listening(
            settings=self.settings,
            worker="one",
            pool=self.pool,
            index=Index(pool=self.pool).open(),
            compute=self.compute,
            channels=SimpleNamespace(),
            clients=self.clients,
            metrics=self.metrics,
            nudge=lambda: None,
        )

    # What is on record.

    def recorder(self, **changes: Any) -> Recorder:
        return Recorder(**{"s3": self.s3, "channel_arn": CHANNEL, "began": BEGAN, "media": media(), **changes})

    def heard_live(self, stream_id: str = STREAM, *, gaps: Sequence[tuple[float, float]] = (GAP,), plays: Sequence[Play] = (), **changes: Any) -> None:
        """A stream's session that has ended, with these gaps, and its plays on record as its session wrote them."""
        lost = tuple(Gap(begin_s=begin_s, end_s=end_s, reason="worker_lost") for begin_s, end_s in gaps)
        gap_s = sum(gap.end_s - gap.begin_s for gap in lost)
        checkpoint = Checkpoint(
            **{
                "state": "ended",
                "end_reason": "stream_end",
                "position_s": LENGTH_S,
                "heard_s": LENGTH_S - gap_s,
                "gaps": lost,
                "clock": BEGAN + timedelta(seconds=LENGTH_S),
                "clock_source": "program_date_time",
                "rendition": "640x360, 600 kbit/s",
                **changes,
            }
        )
        stream = Stream(stream_id=stream_id, source="ivs", channel_arn=CHANNEL, channel_name="late", started_at=BEGAN)
        run(
            self.pool,
            """
            insert into stream (stream_id, source, channel_arn, channel_name, started_at, wanted_at, state, owner, lease_until, fencing)
            values (%s, 'ivs', %s, 'late', %s, now(), 'running', 'live', now() + interval '1 minute', 1)""",
            stream_id,
            CHANNEL,
            BEGAN,
        )
        lease = Lease(stream=stream, owner="live", fencing=1, checkpoint=Checkpoint())
        ledger = Ledger(
            pool=self.pool,
            lease=lease,
            tracks=Tracks(pool=self.pool),
            results=self.settings.results,
            alerts=Alerts(),
            nudge=lambda: None,
            now=lambda: datetime.now(UTC),
        )
        ledger.commit(checkpoint, list(plays))
        ended = "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now(), end_reason = 'stream_end' where stream_id = %s"
        run(self.pool, ended, stream_id)

    def live_play(self, number: int, *, begin_s: float, end_s: float, **changes: Any) -> Play:
        """As the stream's session told it, of PLAYS[number]."""
        _, from_s, _, reference_s = PLAYS[number]
        values: dict[str, Any] = {
            "hit_id": f"{number}live".ljust(26, "a"),
            "revision": 3,
            "state": "closed",
            "track_id": self.track_ids[number],
            "begin_s": begin_s,
            "end_s": end_s,
            "reference_begin_s": reference_s + begin_s - from_s,
            "reference_end_s": reference_s + end_s - from_s,
            "reference_duration_s": 60.0,
            "speed": 1.0,
            "pitch_cents": 0.0,
            "evidence_nats": 80.0,
            "false_alarms_per_hour": 1e-9,
            "votes": 40,
            "matched_s": end_s - begin_s,
            "first_heard_s": begin_s + 4,
        }
        return Play(**values | changes)

    def tell_ended(self, recorder: Recorder, *stream_ids: str, fill_gaps: bool = True, **changes: Any) -> str:
        message: dict[str, Any] = {
            "status": "ended",
            "channel_arn": recorder.channel_arn,
            "stream_ids": tuple(sorted(stream_ids or (STREAM,))),
            "bucket": recorder.bucket,
            "prefix": recorder.prefix,
            "duration_s": recorder.duration_s,
            "at": recorder.began + timedelta(seconds=recorder.duration_s),
        }
        with transaction(self.pool) as connection:
            return record(connection, RecordingChanged(**message | changes), fill_gaps=fill_gaps)

    def open_fills(self, **places: Any) -> list[str]:
        with transaction(self.pool) as connection:
            return open_fills(connection, **places)

    # A worker.

    def leases(self, worker: str = "one") -> Leases:
        return Leases(pool=self.pool, worker=worker, settings=LeaseSettings(), background_max={"recording": 4})

    def hear(self, worker: str = "one", *, signals: Callable[[], Signals] = Signals) -> dict[str, Outcome]:
        """Claim all that there is, hear it, give it back: what became of each."""
        leases, outcomes = self.leases(worker), dict[str, Outcome]()
        for lease in leases.claim(10):
            told = signals()
            if lease.stop_wanted:
                told.request(Stop.END)
            try:
                outcome: Outcome = self.listening.listen(lease, told)
            except HOPELESS as error:  # as the supervisor has it
                outcome = Ended("failed", str(error))
            except EarmarkError as error:
                outcome = Failed(str(error))
            leases.release(lease, outcome)
            outcomes[lease.stream.stream_id] = outcome
        return outcomes

    def row(self, stream_id: str = STREAM) -> dict[str, Any]:
        (found,) = rows(self.pool, "select * from stream where stream_id = %s", stream_id)
        return found

    def checkpoint(self, stream_id: str = STREAM) -> Checkpoint:
        return Checkpoint.from_json(json.dumps(self.row(stream_id)["checkpoint"]))

    def hits(self, stream_id: str = STREAM) -> list[dict[str, Any]]:
        return [row["body"] for row in rows(self.pool, "select body from play where stream_id = %s order by begin_s, hit_id", stream_id)]

    def queued(self) -> list[dict[str, Any]]:
        return rows(self.pool, "select * from outbox order by outbox_id")

    def sent(self) -> None:
        run(self.pool, "delete from outbox")

    def pass_time(self, seconds: float) -> None:
        pass_time(self.pool, seconds)
