"""How many mails a stream sends in an hour of many plays, and whether its digest names every one: with the settings as they are by default.

Plays are put on record as a session does it, through the ledger, by a clock that is moved; what leaves goes through the
publisher to a topic of the stand-in, and is counted in the mailbox that is subscribed to it. Each play is of another recording.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import hits_samples as samples
from bench.rows import row
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.sinks import S3Sink, SnsSink
from earmark.local.aws import AwsStandIn, Deployment, Mail
from earmark.local.database import create_database, database_dsn, temporary_server
from earmark.model import Play, Track
from earmark.postgres import Pool, migrate, open_pool, transaction
from earmark.settings import Alerts, Database, Outbox, Results
from earmark.telemetry import Metrics, configure_logging

COMMAND: Final = "make bench-report ONLY=mails"
PLAYS: Final = 60
#: In another hour: more than the cap.
MANY: Final = 100
#: All of them within an hour of the clock, and its end, too.
_WITHIN_S: Final = 3_500.0
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Told:
    """Of the plays of one hour of one stream."""

    plays: int
    #: Before the stream ended.
    mails: int
    #: Plays that are named in what came when it ended.
    in_digest: int


def rows() -> list[dict[str, Any]]:
    """Measures for some twenty seconds."""
    configure_logging(level="warning")
    cap = Alerts().per_stream_hour_max
    found = []
    for plays in (PLAYS, MANY):
        told = of_an_hour(plays)
        which = f"{plays} plays of a stream in an hour"
        against = "the settings' defaults; real ledger and publisher, the stand-in's SNS; a recording each; the digest is one more"
        found += [
            row(f"{which}: mails a play", told.mails / plays, "mails", bar=1.0, against=against, command=COMMAND),
            row(f"{which}: mails", told.mails, "mails", bar=cap, against="alerts.per_stream_hour_max", command=COMMAND),
            row(f"{which}: in its digest", told.in_digest, "plays", bar=plays, met=lambda value, bar: value == bar, command=COMMAND),
        ]
    return found


def of_an_hour(plays: int) -> Told:
    """That many, begun and closed in turn; then the stream ends."""
    tracks = [Track(track_id=f"t-{number}", title=f"Piece-{number:03d}", artists=("Somebody",), duration_s=240.0) for number in range(plays)]
    with ExitStack() as stack:
        stream = _Stream(stack, tracks)
        apart_s = _WITHIN_S / plays
        for number, track in enumerate(tracks):
            stream.play(track, begin_s=number * apart_s, length_s=apart_s / 2)
        before = stream.mails()
        stream.end(_WITHIN_S)
        digest = "".join(mail.text for mail in stream.mails()[len(before) :])
    return Told(plays=plays, mails=len(before), in_digest=sum(track.title in digest for track in tracks))


class _Stream:
    """A session that has gone on at noon, and where its records go."""

    def __init__(self, stack: ExitStack, tracks: list[Track]) -> None:
        server = stack.enter_context(temporary_server())
        migrate(create_database(server, "hour"))
        self._pool = stack.enter_context(open_pool(Database(dsn=database_dsn(server, "hour"))))
        self._aws = stack.enter_context(AwsStandIn())
        self._deployed = self._aws.deploy()
        self._clock = samples.Clock()
        with transaction(self._pool) as connection:
            lease = samples.insert_stream(connection)
        self._ledger = Ledger(
            pool=self._pool,
            lease=lease,
            tracks=samples.Catalogue(*tracks),
            results=Results(bucket=self._deployed.results_bucket),
            alerts=Alerts(topic_arn=self._deployed.topic_arn),
            nudge=lambda: None,
            now=self._clock,
        )

    def play(self, track: Track, *, begin_s: float, length_s: float) -> None:
        """Told when it is half over, and again when it is."""
        self._put(begin_s + length_s / 2, samples.play(track.track_id, begin_s=begin_s, length_s=length_s / 2))
        self._put(begin_s + length_s, samples.play(track.track_id, begin_s=begin_s, length_s=length_s, revision=2, state="closed"))

    def end(self, at_s: float) -> None:
        self._put(at_s, state="ended", end_reason="stream_end")

    def mails(self) -> list[Mail]:
        """So far, once nothing is owed any more."""
        with _publishing(self._pool, self._aws, self._deployed):
            deadline = time.monotonic() + _PATIENCE_S
            while owed := self._owed():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{owed} things have not left after {_PATIENCE_S:.0f} s")
                time.sleep(0.05)
        return self._aws.mails()

    def _put(self, position_s: float, *changed: Play, **state: Any) -> None:
        self._clock.now = samples.NOON + timedelta(seconds=position_s)
        self._ledger.commit(samples.checkpoint(position_s, **state), changed)

    def _owed(self) -> int:
        with transaction(self._pool) as connection:
            ((count,),) = connection.execute("select count(*) from outbox").fetchall()
        return int(count)


@contextmanager
def _publishing(pool: Pool, aws: AwsStandIn, deployed: Deployment) -> Iterator[None]:
    stop = threading.Event()
    sinks = {
        "s3": S3Sink(client=aws.client("s3"), bucket=deployed.results_bucket),
        "sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn),
    }
    publisher = Publisher(pool=pool, sinks=sinks, settings=Outbox(poll_s=0.05), stop=stop, metrics=Metrics.build())
    running = threading.Thread(target=publisher.run, name="publisher")
    running.start()
    try:
        yield
    finally:
        stop.set()
        publisher.nudge()
        running.join()
