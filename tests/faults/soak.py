"""A run: real daemons, a real PostgreSQL, the AWS stand-in and the HLS origin behind proxies that misbehave, and a driver that knows what was on air.

    origin ──▶ proxy ──▶ daemons (8 processes, killed, paused, asked to go) ──▶ proxy ──▶ PostgreSQL
                             ▲  └──▶ proxy ──▶ AWS stand-in (SQS, S3, SNS, IVS) ──▶ a queue subscribed to the topic
    driver ── start and end of streams, as EventBridge's events, late, twice or never

`Soak.run` lets it go on for its time, lets the faults end, waits until every stream has ended and the outbox is empty, and
returns the `Evidence` for the audit.
"""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from control_events import ivs as ivs_event
from earmark.local import music
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import create_database
from earmark.postgres import migrate
from faults import diary_of_rows
from faults.circumstances import OUTAGES, Circumstances
from faults.collecting import collect
from faults.evidence import Evidence
from faults.fleet import Fleet
from faults.http_proxy import HttpProxy, aws_way, hls_way
from faults.programme import Aired, Reruns, programmes
from faults.schedule import Injected, Schedule
from faults.tcp_proxy import TcpProxy
from postgres_servers import Server
from service_daemon import catalogued

#: Events that say nothing new come all the time.
_CHAFF_EVERY_S = 0.4
#: Outside of these the tests speak to the stand-in themselves.
_WATCHED = frozenset({"s3", "sns"})


class Soak:
    """As a context: everything is up on entering, and gone after leaving. `tell` is told what happens, for people."""

    def __init__(self, circumstances: Circumstances, *, folder: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.asked = circumstances
        self._folder, self._tell = folder, tell
        self._stack = ExitStack()
        self._random = random.Random(f"{circumstances.seed}/driver")
        self.injected = Injected()
        self.schedule = Schedule(seed=circumstances.seed, injected=self.injected, odds=circumstances.odds)
        self.aired: list[Aired] = []
        self._on_air: list[Aired] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._poisoned = False
        self._chaff_at = float("inf") if circumstances.events_reliable else 0.0
        self.began = 0.0
        self._outage_at = self._black_out_at = float("inf")

    # ------------------------------------------------------------------------------------------------ what is there

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _set_up(self) -> None:
        asked, stack = self.asked, self._stack
        self.schedule.calm()
        place = Path(stack.enter_context(_database_folder()))
        server = Server(folder=place, settings=("max_connections=250", "shared_buffers=64MB", "autovacuum=on"))
        server.start()
        stack.callback(server.stop)
        self.dsn = create_database(server.dsn, "earmark")
        migrate(self.dsn)
        pieces = music.catalogue(asked.recordings)
        rendered = catalogued(self.dsn, asked.recordings)
        diary_of_rows.install(self.dsn)
        self.aws = stack.enter_context(AwsStandIn())
        self.deployed = self.aws.deploy()
        self._sqs = self.aws.client("sqs")
        self.origin = stack.enter_context(Reruns())
        made = programmes(rendered, [piece.track.track_id for piece in pieces], count=5, seed=asked.seed, music_s=asked.music_s)
        self._programmes = [self.origin.encode(programme) for programme in made]
        aws_upstream = urlsplit(self.aws.endpoint_url).netloc
        self.aws_proxy = stack.enter_context(
            HttpProxy(upstream=aws_upstream, schedule=self.schedule, way=aws_way, watch=_WATCHED if asked.remember else frozenset())
        )
        playlists = frozenset({"playlist"} if asked.remember else ())
        hls = HttpProxy(upstream=self.origin.address, schedule=self.schedule, way=hls_way, watch=playlists, keep=playlists)
        self.hls_proxy = stack.enter_context(hls)
        self.database_proxy = stack.enter_context(TcpProxy(upstream=str(place / ".s.PGSQL.5432"), schedule=self.schedule, way="postgres"))
        plan: dict[str, Any] = {"poison": asked.poison, "constants": self._constants()}
        fleet = Fleet(environment=self._environment(), folder=self._folder, size=asked.workers, seed=asked.seed, temper=asked.temper, plan=plan)
        self.fleet = stack.enter_context(fleet)
        stack.callback(self.schedule.calm)

    def _constants(self) -> dict[str, float]:
        constants = {"earmark.keeping:EVERY_S": 4.0, **self.asked.constants}
        if self.asked.taken_s is not None:
            constants["earmark.hits.outbox:_TAKEN_S"] = self.asked.taken_s
        return constants

    def places(self) -> dict[str, str]:
        """Where everything is, as a daemon is told by its environment: by way of the proxies."""
        deployed = Deployment(**{**_fields(self.deployed), "endpoint_url": f"http://{self.aws_proxy.address}"})
        return {
            **deployed.environment(),
            # What boto3 was told when the queue was made: the queue's own address, which must be the proxy's.
            "EARMARK_QUEUE__URL": self.deployed.queue_url.replace(urlsplit(self.aws.endpoint_url).netloc, self.aws_proxy.address),
            "EARMARK_DATABASE__DSN": f"postgresql://postgres@127.0.0.1:{self.database_proxy.port}/earmark?sslmode=disable&gssencmode=disable",
            "EARMARK_HLS__ALLOW_PRIVATE": self.hls_proxy.address,
        }

    def _environment(self) -> dict[str, str]:
        asked = self.asked
        return {
            **self.places(),
            "EARMARK_DATABASE__POOL_MAX": "6",
            "EARMARK_DATABASE__CONNECT_TIMEOUT_S": "4",
            "EARMARK_HLS__READ_TIMEOUT_S": "2",
            "EARMARK_HLS__DEADLINE_S": "4",
            "EARMARK_LEASES__TTL_S": str(asked.lease_s),
            "EARMARK_LEASES__RENEW_S": str(asked.lease_s / 4),
            "EARMARK_LEASES__RESTART_MAX_S": "3",
            "EARMARK_LEASES__DRAIN_S": "20",
            "EARMARK_LEASES__BUSY_SHARE_MAX": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_QUEUE__VISIBILITY_S": "5",
            "EARMARK_AWS__READ_TIMEOUT_S": "4",
            "EARMARK_AWS__IVS_CALLS_PER_S": "20",
            "EARMARK_RECONCILE__EVERY_S": "1",
            "EARMARK_SESSION__END_GRACE_S": "5",
            "EARMARK_ALERTS__ON": "provisional,open,closed",
            "EARMARK_ALERTS__PER_STREAM_HOUR_MAX": "1000",
            "EARMARK_OUTBOX__RETRY_MAX_S": "5",
            "EARMARK_OUTBOX__POLL_S": "0.5",
            "EARMARK_METRICS__PORT": "0",
            **asked.settings,
        }

    # ------------------------------------------------------------------------------------------------ the run

    @property
    def on_air(self) -> int:
        """Streams."""
        return len(self._on_air)

    def run(self) -> Evidence:
        self.fleet.tick()
        self.began = time.time()
        self.schedule.resume()
        if self.asked.odds:
            self._outage_at = self.began + self.asked.outage_every_s
        if self.asked.temper.percent:
            self._black_out_at = self.began + self.asked.black_out_every_s / 2
        until, told_at = self.began + 60 * self.asked.minutes, self.began
        while time.time() < until:
            self.drive(until)
            self._trouble()
            if time.time() - told_at >= 15:
                told_at = time.time()
                self._tell(self._progress())
            time.sleep(0.05)
        self._tell("no more faults: what is on air goes on to its end")
        self.schedule.calm()
        self.fleet.calm()
        self.settle()
        self.fleet.stop()
        return self.evidence()

    def settle(self) -> None:
        """Until every stream has ended and nothing waits in the outbox, or `settle_s` is over; the audit says what is left."""
        until = time.time() + self.asked.settle_s
        while time.time() < until:
            self.drive(0.0)
            if not self._on_air and not self._later and self._is_settled():
                return
            time.sleep(0.1)

    def drive(self, until: float) -> None:
        """Start and end streams, deliver what is due, and see after the workers."""
        now = time.time()
        for aired in [aired for aired in self._on_air if aired.end <= now]:
            self._on_air.remove(aired)
            self._end(aired)
        # The last ones come to their end a little after the faults have.
        while len(self._on_air) < self.asked.streams and now < until - 10:
            self._begin()
        if now >= self._chaff_at and self._on_air:
            self._chaff_at = now + _CHAFF_EVERY_S
            self._send(self._random.choice(self._on_air), self._random.choice(("Stream Start", "Session Created")))
        due = [call for at, call in self._later if at <= now]
        self._later = [(at, call) for at, call in self._later if at > now]
        for call in due:
            call()
        self.fleet.tick()

    def _trouble(self) -> None:
        """What befalls all at once, when it is due."""
        now, asked = time.time(), self.asked
        if now >= self._outage_at:
            self._outage_at = now + asked.outage_every_s * self._random.uniform(0.6, 1.4)
            ways, kinds = self._random.choice(OUTAGES)
            kind, seconds = self._random.choice(kinds), self._random.uniform(2, 8)
            for way in ways:
                self.schedule.strike(way, kind, seconds)
            if "postgres" in ways:
                self.database_proxy.break_all()
            self._tell(f"{now - self.began:4.0f} s: {' and '.join(ways)} {'is' if len(ways) == 1 else 'are'} out for {seconds:.1f} s ({kind})")
        if now >= self._black_out_at:
            self._black_out_at = now + asked.black_out_every_s * self._random.uniform(0.8, 1.2)
            seconds = self._random.uniform(8, 16)
            self.fleet.black_out(seconds)
            self._tell(f"{now - self.began:4.0f} s: every worker is dead for {seconds:.1f} s")

    def _begin(self) -> None:
        number = len(self.aired)
        stream_id = f"st-{self.asked.seed}x{number:04d}"
        channel = self.aws.put_channel(f"channel-{number:04d}")
        poisonous = self.asked.poison and not self._poisoned and time.time() > self.began + 20
        self._poisoned = self._poisoned or poisonous
        aired = self.origin.air(self._random.choice(self._programmes), stream_id, channel_arn=channel, poisonous=poisonous)
        self.aws.go_live(channel, stream_id, f"http://{self.hls_proxy.address}/{stream_id}/master.m3u8")
        self.aired.append(aired)
        self._on_air.append(aired)
        self._announce(aired, "Stream Start")

    def _end(self, aired: Aired) -> None:
        self.aws.go_offline(aired.channel_arn)
        self._announce(aired, "Stream End")

    def _announce(self, aired: Aired, what: str) -> None:
        """IVS sends its events at best effort: of twenty one never comes, one comes late, two come twice."""

        def send() -> None:
            self._send(aired, what)

        lot = 1.0 if self.asked.events_reliable else self._random.random()
        if lot < 0.05:
            return
        if lot < 0.1:
            self._later.append((time.time() + self._random.uniform(2, 6), send))
            return
        send()
        if lot < 0.2:
            self._later.append((time.time() + self._random.uniform(0, 10), send))

    def _send(self, aired: Aired, what: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = json.dumps(ivs_event(what, stream_id=aired.stream_id, channel=aired.channel_arn, time=now))
        self._sqs.send_message(QueueUrl=self.deployed.queue_url, MessageBody=body)

    def _is_settled(self) -> bool:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            left = connection.execute(
                "select (select count(*) from stream where state not in ('ended', 'quarantined')) + (select count(*) from outbox) "
                "+ (select count(*) from unnest(%s::text[]) as aired (id) where not exists (select from stream where stream_id = aired.id))",
                [[aired.stream_id for aired in self.aired]],
            ).fetchone()
        return left == (0,)

    def _progress(self) -> str:
        diary = self.fleet.diary
        return (
            f"{time.time() - self.began:4.0f} s: {len(self.aired)} streams so far, {len(self._on_air)} on air; "
            f"{len(diary.kills)} kills, {len(diary.of('paused'))} pauses, {len(diary.of('asked to go'))} asked to go, "
            f"{len(diary.of('failed'))} ended by themselves; {self.injected.total} faults"
        )

    def evidence(self) -> Evidence:
        """For the audit."""
        return collect(
            dsn=self.dsn,
            aws=self.aws,
            deployed=self.deployed,
            origin=self.origin,
            aws_passed=self.aws_proxy.passed,
            hls_passed=self.hls_proxy.passed,
            aired=self.aired,
            diary=self.fleet.diary,
        )


def _fields(deployed: Deployment) -> dict[str, Any]:
    return {name: getattr(deployed, name) for name in deployed.__dataclass_fields__}


@contextmanager
def _database_folder() -> Iterator[str]:
    """Short enough for a socket's path, and where the server's user may go."""
    made = tempfile.mkdtemp(prefix="earmark-soak-")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
