"""Composition root: settings in, a wired daemon out. The only module that knows every class.

    SQS ─▶ intake ─▶ rows ─▶ supervisor ─▶ a thread per session ─▶ compute thread ─▶ ledger ─▶ publisher ─▶ S3, SNS
                      ▲
         sweep ───────┘

Each of these is a loop on a thread of its own that ends when `stop` is set; one that ends by an error takes the daemon
with it: a daemon whose intake has died in silence is worse than one that crashed.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Literal, TypeAlias, cast

import structlog

from earmark import postgres
from earmark.api.role import api_loops
from earmark.aws import Clients
from earmark.canary.role import Role as Canary
from earmark.compute import Compute
from earmark.connections import check_connections
from earmark.control.channels import Channels
from earmark.control.check_sweep import CheckSweep
from earmark.control.fleet import Fleet
from earmark.control.forgetting import Results
from earmark.control.leases import ALONE_MAX, Leases
from earmark.control.medialive import ArchiveSweep, ChannelSweep
from earmark.control.places import Places
from earmark.control.playback import Playback
from earmark.control.protection import Agent, Protection
from earmark.control.queue import ControlQueue, Intake
from earmark.control.reconcile import Reconcile
from earmark.control.recordings import FillSweep
from earmark.control.retention import Retention
from earmark.control.static import StaticStreams
from earmark.control.supervisor import Supervisor
from earmark.control.wakeups import Wakeups
from earmark.errors import CatalogueMismatch, EarmarkError
from earmark.hits.ledger import set_aside, set_file_aside
from earmark.hits.subscribers import Subscribers
from earmark.index.answers import Index
from earmark.isolation import FarMetrics, Isolation, Link, attended, expendable
from earmark.keeping import Keeping
from earmark.listening import Listening
from earmark.matching.confidence import threshold_nats
from earmark.model import Lease
from earmark.postgres import Connection as Transaction
from earmark.postgres import Pool
from earmark.process import share_one_heap, stop_on_signals
from earmark.publishing import Publishing
from earmark.settings import Settings
from earmark.standby import Standby
from earmark.stocking.role import stock_loops
from earmark.telemetry import Check, Metrics, Pulse, TelemetryServer, configure_logging, overdue

#: Every loop but the intake's ends at once; the publisher finishes what it is sending.
LOOP_END_S = 5.0
#: A job of the compute thread takes milliseconds; one that takes this long will not come back.
STUCK_S = 30.0
#: Of each of the two pools of a child process: a session's thread uses one connection at a time.
ALONE_POOL_MAX = 2
#: Beside the two pools: one that listens for news of streams, one for news of the catalogue, and those of the child processes.
CONNECTIONS_BESIDES = 2 + ALONE_MAX * 2 * ALONE_POOL_MAX
#: Beyond its long poll: a call to SQS that is tried again, and the back-off after it failed.
QUEUE_S = 60.0
#: The publisher waits 30 s for a database that is away, and for statements that run into their limit.
PUBLISHER_S = 180.0

#: What a worker may do: listen to streams, keep the catalogue as its bucket has it, answer the HTTP API, run the canary.
Role: TypeAlias = Literal["streams", "catalogue", "api", "canary"]
USUAL_ROLES: tuple[Role, ...] = ("streams",)


def serve(settings: Settings, roles: Collection[Role] = USUAL_ROLES) -> int:
    """`earmark run`: until SIGTERM or SIGINT, then 0. Raises what kept it from starting, or from going on."""
    share_one_heap()
    configure_logging(level=settings.log.level, style=settings.log.format, repeats_max=settings.log.repeats_max)
    ending, service = threading.Event(), Service(settings, roles)

    def end() -> None:
        ending.set()
        service.stop()

    stop_on_signals(end)
    while not ending.is_set():
        try:
            service.run()
            break
        except CatalogueMismatch:  # the catalogue was exchanged for another version's, and all was handed over: from now on it stands by
            service = Service(settings, roles)
    return 0


class Service:
    """One worker: `run` on the main thread, `stop` from anywhere."""

    def __init__(self, settings: Settings, roles: Collection[Role] = USUAL_ROLES) -> None:
        self._settings = settings
        self._roles = frozenset(roles)
        self._stop = threading.Event()
        self._published = threading.Event()
        self._failure: BaseException | None = None
        self._read = Pulse()
        self._worker = settings.leases.worker or f"{socket.gethostname()}-{secrets.token_hex(3)}"
        self._metrics = Metrics.build(prices=settings.prices, roles=self._roles)
        self._clients = Clients(settings.aws)
        #: What has to be so for /healthz and /readyz.
        self._healthy: dict[str, Check] = {}
        self._ready: dict[str, Check] = {"start": lambda: "it is starting"}
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """Hand every stream over and end; returns at once."""
        self._stop.set()

    def run(self) -> None:
        with ExitStack() as stack:
            self._wire(stack)()
        self._log.info("service.stopped", worker=self._worker)
        if self._failure:
            raise self._failure

    def _wire(self, stack: ExitStack) -> Callable[[], object]:
        """What every role needs, then each role's own; what is returned is run until the end."""
        settings, metrics = self._settings, self._metrics
        pool = stack.enter_context(postgres.open_pool(settings.database, application_name=f"earmark {self._worker}"))
        postgres.check(pool)
        reading = stack.enter_context(postgres.open_pool(settings.database, application_name=f"earmark {self._worker} reading", reading=True))
        for sentence in check_connections([pool, reading], besides=CONNECTIONS_BESIDES):
            self._log.warning("database.connections_scarce", reason=sentence)
        self._telemetry(stack)  # the last to end: a drain takes minutes, and the process is well meanwhile
        listens = "streams" in self._roles
        if not Standby(pools=[pool, reading], worker=self._worker, listens=listens, stop=self._stop, stood=self._stood).wait():
            return lambda: None
        share_max = settings.catalogue.upkeep_share_max
        keeping = Keeping(pool=pool, reading=reading, worker=self._worker, share_max=share_max, metrics=metrics, stop=self._stop)
        index = Index(pool=reading, observe=keeping.looked_up, exchanged=self._exchanged).open()
        channels = _channels(settings, self._clients, metrics, self._stop.wait)
        self._gauge(index, keeping)
        main = self._streams(stack, pool, index, channels) if listens else self._stop.wait
        if "catalogue" in self._roles:
            loops = stock_loops(settings=settings, pool=pool, index=index, s3=self._clients.s3, worker=self._worker, meter=metrics, stop=self._stop)
            for name, run, end in loops:
                self._loop(stack, name, run, end)
        self._loop(stack, "follow", lambda: self._follow(index))
        self._loop(stack, "upkeep", keeping.run)
        if "canary" in self._roles:
            canary = Canary(settings=settings, pool=pool, s3=self._clients.s3, worker=self._worker, metrics=metrics, stop=self._stop)
            self._loop(stack, "canary", canary.run)
        if settings.queue.url and self._roles != {"api"}:  # whose task need not be allowed to read it
            self._ready["queue"] = overdue("the last reading of the queue", lambda: self._read.age_s, limit_s=settings.queue.wait_s + QUEUE_S)
            metrics.queue_read_age_seconds.set_function(lambda: self._read.age_s)
            self._loop(stack, "intake", self._intake(pool, channels).run)
        if "api" in self._roles:  # the last to begin, so the first to end: what it is asked needs all the others
            self._api(stack, pool, index)
        self._ready["start"] = lambda: ""
        self._log.info("service.started", worker=self._worker, roles=sorted(self._roles), tracks=index.size().tracks)
        return main

    def _streams(self, stack: ExitStack, pool: Pool, index: Index, channels: Channels) -> Callable[[], object]:
        """The role that listens."""
        settings, metrics = self._settings, self._metrics
        compute = Compute(background_share_max=settings.check.compute_share_max).start()
        stack.callback(compute.close)
        publishing = Publishing(
            settings=settings, pool=pool, clients=self._clients, live_stream_id=channels.live_stream_id, stop=self._published, metrics=metrics
        )
        listening = Listening(
            settings=settings,
            worker=self._worker,
            pool=pool,
            index=index,
            compute=compute,
            channels=channels,
            clients=self._clients,
            metrics=metrics,
            nudge=publishing.nudge,
        )
        stack.callback(listening.open().close)
        isolation = Isolation(target=hear_alone, arguments=(settings, self._worker), metrics=metrics, nudge=publishing.nudge, stuck_s=STUCK_S)
        supervisor = Supervisor(
            leases=Leases(
                pool=pool,
                worker=self._worker,
                settings=settings.leases,
                set_aside=self._set_aside,
                background_max={"file": settings.check.files_max, "recording": settings.auto_record.recordings_max},
            ),
            run_session=lambda lease, signals: (isolation if lease.alone else listening).listen(lease, signals),
            load=compute,
            settings=settings.leases,
            meter=metrics,
            stop=self._stop,
            static=StaticStreams(pool=pool, streams=settings.streams.static, max_s=settings.session.max_s, retry_s=settings.leases.restart_max_s),
            fleet=Fleet(pool=pool, worker=self._worker, ttl_s=settings.leases.ttl_s),
        )
        self._watch_streams(supervisor, compute, publishing)
        # Ended in reverse order: the publishers, started first, outlive the sessions, whose last words they carry.
        for name, run, sends_s in publishing.loops():
            self._loop(stack, name, run, publishing.nudge, self._published.set, end_s=LOOP_END_S + sends_s)
        self._loop(stack, "wakeups", Wakeups(database=settings.database, woken=supervisor.wake, stop=self._stop).run)
        self._housekeeping(stack, pool, channels)
        if settings.alerts.topic_arn:
            subscribers = Subscribers(sns=self._clients.sns, topic_arn=settings.alerts.topic_arn, meter=metrics, stop=self._stop)
            self._loop(stack, "subscribers", subscribers.run)
        protection = self._protection(supervisor)
        self._loop(stack, "protection", protection.run, protection.close)
        return supervisor.run

    def _set_aside(self, connection: Transaction, stream_id: str) -> None:
        for tell in (set_aside, set_file_aside):
            tell(connection, stream_id, results=self._settings.results, now=datetime.now(UTC))

    def _places(self) -> Places:
        settings = self._settings
        return Places(catalogue=settings.catalogue.place, check=settings.check.place, archives=settings.medialive.archives)

    def _api(self, stack: ExitStack, pool: Pool, index: Index) -> None:
        """The role that answers HTTP."""
        checks = self._ready
        healthy: Check = lambda: "ending" if self._stop.is_set() else "not ready" if any(check() for check in list(checks.values())) else ""  # noqa: E731
        loops, checks["api"] = api_loops(
            settings=self._settings, pool=pool, index=index, clients=self._clients, metrics=self._metrics, stop=self._stop, healthy=healthy, preload=__name__
        )
        for name, run, end in loops:
            self._loop(stack, name, run, end)

    def _intake(self, pool: Pool, channels: Channels) -> Intake:
        return Intake(
            queue=ControlQueue(sqs=self._clients.sqs, settings=self._settings.queue),
            pool=pool,
            settings=self._settings.queue,
            places=self._places(),
            archive_places=self._archive_places(channels),
            fill_gaps=self._settings.auto_record.fill_gaps,
            meter=self._metrics,
            stop=self._stop,
            beat=self._read.beat,
        )

    def _archive_places(self, channels: Channels) -> Callable[[str], Sequence[str]]:
        """Of the pipeline that is heard, and of the other if it fills in."""
        settings = self._settings.medialive
        return lambda channel_arn: channels.archive_places(channel_arn, pipeline=settings.pipeline)[: 2 if settings.fill_in else 1]

    def _housekeeping(self, stack: ExitStack, pool: Pool, channels: Channels) -> None:
        """What events forgot is put right; what is too old goes."""
        settings, metrics, archives = self._settings, self._metrics, self._settings.medialive.archives
        others: Mapping[str, Callable[[], object]] = {}
        if settings.queue.url and settings.reconcile.medialive:
            by_channel = ChannelSweep(pool=pool, channels=channels, archive_places=self._archive_places(channels), settings=settings.reconcile, meter=metrics)
            by_place = ArchiveSweep(pool=pool, s3=self._clients.s3, archives=archives, settings=settings.reconcile, meter=metrics, stop=self._stop)
            others = {"channels": by_channel.sweep, "archives": by_place.sweep}
        if settings.check.place:
            files = CheckSweep(pool=pool, s3=self._clients.s3, places=self._places(), settings=settings.reconcile, meter=metrics, stop=self._stop)
            others = {**others, "checks": files.sweep}
        if settings.auto_record.fill_gaps:
            others = {**others, "recordings": FillSweep(pool=pool, settings=settings.reconcile).sweep}
        list_live = channels.list_live if settings.queue.url else None
        sweep = Reconcile(pool=pool, list_live=list_live, settings=settings.reconcile, meter=metrics, stop=self._stop, others=others)
        self._loop(stack, "sweep", sweep.run)
        results = Results(s3=self._clients.s3, bucket=settings.results.bucket, prefix=settings.results.prefix) if settings.results.bucket else None
        self._loop(
            stack,
            "retention",
            Retention(pool=pool, settings=settings.retention, erasure=results, keep_days=settings.hunt.keep_days, meter=metrics, stop=self._stop).run,
        )

    def _protection(self, supervisor: Supervisor) -> Protection:
        """Ended after the drain: until then sessions run."""
        settings, uri = self._settings.ecs, os.environ.get("ECS_AGENT_URI", "")
        agent = Agent(uri, timeout_s=settings.timeout_s) if uri else None
        return Protection(agent=agent, sessions=lambda: len(supervisor.sessions), settings=settings, meter=self._metrics)

    def _loop(self, stack: ExitStack, name: str, run: Callable[[], None], *end: Callable[[], None], end_s: float = LOOP_END_S) -> None:
        """Start a loop on its own thread; when the stack unwinds it is told to end, and awaited."""

        def guarded() -> None:
            try:
                run()
            except CatalogueMismatch as error:
                self._exchanged(error)
            except BaseException as error:  # noqa: BLE001 -- whatever it was: the daemon does not go on without this loop
                self._log.error("loop.failed", loop=name, reason=str(error), exc_info=not isinstance(error, EarmarkError))
                self._failure = self._failure or error
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        # The intake may sit in a long poll: what it still receives is recorded by somebody else, so it is not waited for.
        stack.callback(thread.join, end_s)
        for call in (self.stop, *end):
            stack.callback(call)
        thread.start()

    def _exchanged(self, error: CatalogueMismatch) -> None:
        """The catalogue is another version's by now: hand every stream over, and end. Called by whoever notices."""
        if not self._stop.is_set():
            self._log.warning("catalogue.exchanged", reason=str(error))
        self._failure = self._failure or error
        self._stop.set()

    def _stood(self, reason: str) -> None:
        self._ready["catalogue"] = lambda: reason and f"it stands by: {reason}"
        self._metrics.standing_by.set(1 if reason else 0)

    def _follow(self, index: Index) -> None:
        """See every second what was added and removed, so that no look-up has to."""
        index.follow(wait=self._stop.wait, failed=lambda error: self._log.warning("catalogue.not_seen", reason=str(error)))

    def _watch_streams(self, supervisor: Supervisor, compute: Compute, publishing: Publishing) -> None:
        self._metrics.compute_busy_ratio.set_function(lambda: compute.busy_share)
        self._metrics.compute_background_ratio.set_function(lambda: compute.background_share)
        self._metrics.compute_oldest_job_seconds.set_function(lambda: compute.oldest_job_s)
        self._healthy["compute"] = overdue("the compute thread's oldest job began", lambda: compute.oldest_job_s, limit_s=STUCK_S)
        self._healthy["publisher"] = overdue("the last round of the publisher", lambda: publishing.age_s, limit_s=PUBLISHER_S)
        self._ready["database"] = overdue("the last round of the supervisor", lambda: supervisor.renewed_s_ago, limit_s=self._settings.leases.ttl_s)

    def _gauge(self, index: Index, keeping: Keeping) -> None:
        metrics = self._metrics
        metrics.catalogue_tracks.set_function(lambda: max(0, index.last_size.tracks - keeping.canary_recordings))
        metrics.catalogue_seconds.set_function(lambda: index.last_size.seconds)
        metrics.catalogue_postings.set_function(lambda: index.last_size.postings)
        metrics.catalogue_fresh_postings.set_function(lambda: index.fresh_postings)
        metrics.catalogue_stopped_hashes.set_function(lambda: len(index.stop_list))
        metrics.catalogue_followed_age_seconds.set_function(lambda: index.seen_s_ago)
        metrics.promised(self._settings.matching.false_alarms_per_hour, lambda rate: threshold_nats(rate, index.last_size))

    def _telemetry(self, stack: ExitStack) -> None:
        settings, metrics = self._settings.metrics, self._metrics
        if settings.port:
            server = TelemetryServer(host=settings.host, port=settings.port, registry=metrics.registry, healthy=self._healthy, ready=self._ready).start()
            stack.callback(server.close)
            self._log.info("telemetry.listening", port=server.port)


def hear_alone(settings: Settings, worker: str, lease: Lease, connection: Connection) -> None:
    """What the child process of a stream that is heard alone runs, with the parts of a worker that a session needs."""
    expendable()
    share_one_heap()
    configure_logging(level=settings.log.level, style=settings.log.format, repeats_max=settings.log.repeats_max)
    link, compute = Link(connection), Compute()
    link.attend(alive=lambda: compute.oldest_job_s < STUCK_S)
    with ExitStack() as stack, link.told():
        database = settings.database.model_copy(update={"pool_max": ALONE_POOL_MAX})
        name = f"earmark {worker} alone"
        pool = stack.enter_context(postgres.open_pool(database, application_name=name))
        reading = stack.enter_context(postgres.open_pool(database, application_name=f"{name} reading", reading=True))
        # Each of its calls is made in the worker.
        metrics = cast(Metrics, FarMetrics(link))
        clients = Clients(settings.aws)
        stack.callback(compute.start().close)
        listening = Listening(
            settings=settings,
            worker=worker,
            pool=pool,
            index=Index(pool=reading).open(),
            compute=compute,
            channels=_channels(settings, clients, metrics, threading.Event().wait),
            clients=clients,
            metrics=metrics,
            nudge=lambda: link.say("nudge"),
        )
        stack.callback(listening.open().close)
        attended(link, lease, listening.listen)


def _channels(settings: Settings, clients: Clients, metrics: Metrics, wait: Callable[[float], bool]) -> Channels:
    """Raises BadSettings for a playback key that is none."""
    signed = Playback(settings=settings.ivs, secrets=lambda: clients.secretsmanager).address
    return Channels(ivs=clients.ivs, medialive=clients.medialive, settings=settings.aws, meter=metrics, wait=wait, signed=signed)
