"""A real Prometheus with our own rules watches a real daemon through twenty minutes in which most things fail, one after the other.

    origins ──▶ proxies ──▶ earmark run ──▶ proxies ──▶ PostgreSQL, AWS stand-in (SQS, S3, SNS, IVS)
                               ▲
             Prometheus ───────┘  config/prometheus, as it is: scraped and evaluated each 15 s

For each alert that a fault can be made for: the seconds from the fault to pending and to firing, and that it is silent again
afterwards. None may fire in the minutes before the first fault, and none that a fault does not explain; no rule may err.
ALERTS=DatabaseAway,HitsLate: the faults of these alone.
Then what /metrics takes to read with three hundred streams. Writes build/bench/watched.json.
"""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import psycopg
import yaml

from alert_world import ALERTS, FOLDER, RECORDED
from bench import rows
from bench.asked import some_of
from earmark.local import music
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import EmbeddedServer, create_database
from earmark.local.sound import silence
from earmark.local.worker import Worker
from earmark.postgres import migrate
from faults.http_proxy import HttpProxy, aws_way, hls_way
from faults.programme import Programme, Reruns
from faults.schedule import Fault
from faults.tcp_proxy import TcpProxy
from prometheus_served import Prometheus, prometheus
from rehearsal import scraped
from rehearsal.figures import NotHere
from service_daemon import catalogued

COMMAND: Final = "make rehearse ONLY=watched"
#: For alerts that page somebody, from the fault.
BAR_S: Final = 120.0
HEALTHY_S: Final = 150.0
#: So long it is waited for an alert to fire, and to be silent again; for those that take minutes, after the last act.
FIRES_S, ENDS_S, ALL_ALONG_S = 270.0, 330.0, 600.0
#: Streams that the worker has room for.
ROOM: Final = 4
RUNNING_S: Final = 300.0
_PROGRAMME_S: Final = 2_400


class Trouble:
    """In place of a schedule: what each way through the proxies meets from now on."""

    def __init__(self) -> None:
        self.met: dict[str, Fault] = {}

    def draw(self, way: str) -> Fault | None:
        return self.met.get(way)


class Scene:
    """Everything that has to stand, as a context's contents."""

    def __init__(self, stack: ExitStack, log: Path, *, room: int = ROOM, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """`log`: the daemon's; `room`: for so many streams; `settings`: of the daemon, as environment."""
        log.unlink(missing_ok=True)
        self.trouble = Trouble()
        folder = Path(tempfile.mkdtemp(prefix="earmark-watched-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.server = EmbeddedServer(folder=folder)
        self.server.start()
        stack.callback(self.server.stop)
        self.dsn = create_database(self.server.dsn, "earmark")
        migrate(self.dsn)
        rendered = catalogued(self.dsn, 3)
        self.aws = stack.enter_context(AwsStandIn())
        self.deployed = self.aws.deploy()
        #: The second is of streams that are to fail alone.
        self.origins = [stack.enter_context(Reruns()) for _ in range(2)]
        samples = np.concatenate([part for piece in rendered for part in (piece, silence(5))])
        samples = np.resize(samples, _PROGRAMME_S * music.RATE_HZ).astype(np.float32)
        self.origins[0].encode(Programme(parts=(), duration_s=_PROGRAMME_S, samples=samples))
        self.origins[1]._encoded = self.origins[0]._encoded
        ways: tuple[Callable[..., str], ...] = (hls_way, lambda *asked: "lone" if hls_way(*asked) == "segment" else "")
        self.hls = [stack.enter_context(HttpProxy(upstream=o.address, schedule=self.trouble, way=way)) for o, way in zip(self.origins, ways, strict=True)]  # type: ignore[arg-type]
        upstream = urlsplit(self.aws.endpoint_url).netloc
        self.services = stack.enter_context(HttpProxy(upstream=upstream, schedule=self.trouble, way=aws_way))  # type: ignore[arg-type]
        socket = next(str(path) for path in folder.rglob(".s.PGSQL.*") if not path.name.endswith(".lock"))
        self.databases = {way: stack.enter_context(TcpProxy(upstream=socket, schedule=self.trouble, way=way)) for way in ("primary", "reader")}  # type: ignore[arg-type]
        environment = {**self._environment(upstream), "EARMARK_LEASES__STREAMS_MAX": str(room), **settings}
        self.worker = stack.enter_context(Worker(environment=environment, log=log))
        self._channels: dict[str, str] = {}

    def _environment(self, upstream: str) -> dict[str, str]:
        deployed = Deployment(
            **{**{name: getattr(self.deployed, name) for name in Deployment.__dataclass_fields__}, "endpoint_url": f"http://{self.services.address}"}
        )
        dsn = "postgresql://postgres@127.0.0.1:{}/earmark?sslmode=disable&gssencmode=disable"
        return {
            **deployed.environment(),
            "EARMARK_QUEUE__URL": self.deployed.queue_url.replace(upstream, self.services.address),
            "EARMARK_DATABASE__DSN": dsn.format(self.databases["primary"].port),
            "EARMARK_DATABASE__READ_DSN": dsn.format(self.databases["reader"].port),
            "EARMARK_HLS__ALLOW_PRIVATE": ",".join(proxy.address for proxy in self.hls),
            "EARMARK_RESULTS__SUMMARY_EVERY_S": "5",
            # So that nobody waits for five minutes after what failed for three.
            "EARMARK_OUTBOX__RETRY_MAX_S": "30",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_LOG__FORMAT": "json",
        }

    def go_live(self, *, lone: bool = False, begun_s: float = 0.0) -> str:
        """A further stream, on air for so long already; its id."""
        name, origin = f"st-watched-{len(self._channels)}", self.origins[lone]
        origin.air(0, name)
        origin._begins[name] -= begun_s
        channel = self.aws.put_channel(f"channel-of-{name}")
        self.aws.go_live(channel, name, f"http://{self.hls[lone].address}/{name}/master.m3u8")
        self.aws.put_stream_event(channel, name, "Stream Start")
        self._channels[name] = channel
        return name

    def until_running(self, streams: int) -> None:
        """Until the worker listens to so many again."""
        until = time.monotonic() + RUNNING_S
        while f'earmark_streams{{state="running"}} {streams}.0' not in self.worker.metrics():
            assert time.monotonic() < until, f"{streams} streams are not listened to after {RUNNING_S:.0f} s"
            time.sleep(0.5)

    def go_off(self, name: str) -> None:
        self.aws.go_offline(self._channels[name])
        self.aws.put_stream_event(self._channels[name], name, "Stream End")

    @contextmanager
    def meeting(self, kind: str, *ways: str, seconds: float = 0.0) -> Iterator[None]:
        """Each request of these ways meets this, as long as it lasts."""
        for way in ways:
            self.trouble.met[way] = Fault(kind=kind, seconds=seconds)  # type: ignore[arg-type]
            if way in self.databases:
                self.databases[way].break_all()
        try:
            yield
        finally:
            for way in ways:
                del self.trouble.met[way]


# ------------------------------------------------------------------------------------------------ what goes wrong


@contextmanager
def _crowded(scene: Scene) -> Iterator[None]:
    """More streams than there is room for."""
    names = [scene.go_live() for _ in range(ROOM)]
    yield
    for name in names:
        scene.go_off(name)


@contextmanager
def _killed(scene: Scene) -> Iterator[None]:
    scene.worker.kill()
    yield
    scene.worker.start()
    scene.until_running(3)


@contextmanager
def _paused(scene: Scene) -> Iterator[None]:
    """Longer than a playlist lists a segment, and less than until somebody says that nobody listens."""
    os.kill(scene.worker.pid, signal.SIGSTOP)
    try:
        time.sleep(50)
    finally:
        os.kill(scene.worker.pid, signal.SIGCONT)
    yield


@contextmanager
def _misunderstood(scene: Scene) -> Iterator[None]:
    sqs = scene.aws.client("sqs")
    sqs.send_message(QueueUrl=scene.deployed.queue_url, MessageBody="{")
    yield


@contextmanager
def _quarantined(scene: Scene) -> Iterator[None]:
    """As the third death of a process leaves a stream."""
    row = "insert into stream (stream_id, source, url, state, last_error) values ('st-poison', 'hls', 'https://example.com/', 'quarantined', 'it was killed')"
    with psycopg.connect(scene.dsn, autocommit=True) as connection:
        connection.execute(row.encode())
        yield
        connection.execute(b"delete from stream where stream_id = 'st-poison'")


@contextmanager
def _unsubscribed(scene: Scene) -> Iterator[None]:
    """A new worker, and a topic that nobody has subscribed to."""
    sns = scene.aws.client("sns")
    for one in sns.list_subscriptions_by_topic(TopicArn=scene.deployed.topic_arn)["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    scene.worker.stop()
    scene.worker.start()
    scene.until_running(3)
    yield


@dataclass(frozen=True, kw_only=True)
class Act:
    alert: str
    says: str
    fault: Callable[[Scene], Any]
    #: What else may fire of it, then or while it is made up for.
    beside: frozenset[str] = frozenset()
    #: It is waited for until it is silent again.
    ends: bool = True


def _act(alert: str, says: str, fault: Callable[[Scene], Any], *beside: str, ends: bool = True) -> Act:
    return Act(alert=f"Earmark{alert}", says=says, fault=fault, beside=frozenset(f"Earmark{name}" for name in beside), ends=ends)


#: What was taken in meanwhile is heard, plays in it are told late, and what they owe leaves.
CATCHING_UP: Final = ("FallingBehind", "HitsLate", "EventsLate", "HitsBurn")
BURNS: Final = ("CoverageBurnsFast", "CoverageBurnsSlow")
#: While nothing has been lost: an hour's window forgets nothing so soon.
FIRST: Final = (_act("CoverageBurnsFast", "the worker stands still for 50 s", _paused, *BURNS, *CATCHING_UP, ends=False),)
#: From the next act to the last: an alert that takes minutes.
ALL_ALONG: Final = (
    _act("DeadLetters", "a message that is none", _misunderstood),
    _act("SourcesFail", "one stream's segments are refused", lambda s: s.meeting("refuse", "lone"), "SessionsFail"),
    # The worker is started anew: on a full machine that takes longer than a playlist lists a segment.
    _act("NobodyIsTold", "the topic has no subscriber any more", _unsubscribed, "CoverageBurnsFast", "CoverageBurnsSlow", "HitsBurn"),
)
#: One after the other; those of one line together.
ACTS: Final = (
    (_act("DatabaseAway", "PostgreSQL resets every connection", lambda s: s.meeting("reset", "primary", "reader"), *CATCHING_UP),),
    (
        _act("HitsLate", "S3 refuses", lambda s: s.meeting("refuse", "s3"), "AlertsBurnFast", "AlertsBurnSlow"),
        _act("StreamsQuarantined", "a stream is in quarantine", _quarantined),
        _act("QueueNotRead", "SQS refuses", lambda s: s.meeting("refuse", "sqs"), "EventsLate"),
    ),
    (
        _act(
            "FallingBehind",
            "each answer to a look-up takes 3 s",
            lambda s: s.meeting("delay", "reader", seconds=3.0),
            "LookupsSlow",
            "CatalogueNotFollowed",
            "HitsBurn",
        ),
    ),
    (_act("CatalogueNotFollowed", "the reader resets every connection", lambda s: s.meeting("reset", "reader"), *CATCHING_UP),),
    (_act("StreamsUnheard", "more streams than there is room for", _crowded, *BURNS),),
    (_act("NobodyListens", "the worker is killed", _killed, "StreamsUnheard", *CATCHING_UP),),
)


def _asked(acts: Sequence[Act]) -> list[Act]:
    every = (*FIRST, *ALL_ALONG, *(act for together in ACTS for act in together))
    names = some_of("ALERTS", [act.alert.removeprefix("Earmark") for act in every])
    return [act for act in acts if act.alert.removeprefix("Earmark") in names]


class Watcher:
    """Looks twice a second at which alerts are pending or firing."""

    def __init__(self, server: Prometheus) -> None:
        self._server = server
        #: When each was first seen so since it was last silent, by alert and state.
        self.since: dict[tuple[str, str], float] = {}
        #: When each was first seen firing, each time.
        self.fired: list[tuple[float, str]] = []
        self.texts: dict[str, Mapping[str, str]] = {}

    def look(self) -> None:
        now, there = time.monotonic(), set()
        for alert in self._server.alerts():
            name, states = alert["labels"]["alertname"], ["pending", "firing"] if alert["state"] == "firing" else ["pending"]
            self.texts[name] = alert["annotations"]
            for state in states:
                there.add((name, state))
                if (name, state) not in self.since:
                    self.since[name, state] = now
                    if state == "firing":
                        self.fired.append((now, name))
        for gone in self.since.keys() - there:
            del self.since[gone]

    def until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Look until then; whether it came to that within the limit."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.look()
            if condition():
                return True
            time.sleep(0.5)
        return False


@dataclass(kw_only=True)
class Seen:
    """What became of an act."""

    act: Act
    began: float
    pending_s: float | None = None
    firing_s: float | None = None
    silent_s: float | None = None

    def look(self, watcher: Watcher) -> bool:
        """Whether it fires."""
        for state in ("pending", "firing"):
            at = watcher.since.get((self.act.alert, state))
            # What began before is of an act before.
            if at is not None and at >= self.began and getattr(self, f"{state}_s") is None:
                setattr(self, f"{state}_s", at - self.began)
        return self.firing_s is not None


class Run:
    """The acts, in their order."""

    def __init__(self, scene: Scene, watcher: Watcher) -> None:
        self._scene, self._watcher = scene, watcher
        self.seen: list[Seen] = []
        self.healthy: set[str] = set()
        self.unexplained: set[str] = set()

    @property
    def texts(self) -> Mapping[str, Mapping[str, str]]:
        """Of all alerts that were pending or firing at some time, as they were last."""
        return self._watcher.texts

    def play(self) -> None:
        watcher = self._watcher
        watcher.until(lambda: False, HEALTHY_S)
        self.healthy = {name for _, name in watcher.fired}
        print(f"  healthy for {HEALTHY_S:.0f} s; fired: {', '.join(sorted(self.healthy)) or 'nothing'}", flush=True)
        with ExitStack() as stack:
            self._together(_asked(FIRST), [])
            before = len(watcher.fired)
            along = [self._begin(act, stack) for act in _asked(ALL_ALONG)]
            self._explain(before)
            for together in ACTS:
                self._together(_asked(together), along)
            before = len(watcher.fired)
            watcher.until(lambda: self._fire(along), ALL_ALONG_S)
            self._explain(before)
            for seen in along:
                self._tell(seen)

    def _begin(self, act: Act, stack: ExitStack) -> Seen:
        seen = Seen(act=act, began=time.monotonic())
        stack.enter_context(act.fault(self._scene))
        self.seen.append(seen)
        return seen

    def _together(self, acts: Sequence[Act], along: Sequence[Seen]) -> None:
        watcher = self._watcher
        if not acts:
            return
        watcher.until(lambda: not any((act.alert, "pending") in watcher.since for act in acts), ENDS_S)  # of an act before
        before = len(watcher.fired)
        with ExitStack() as stack:
            now = [self._begin(act, stack) for act in acts]
            watcher.until(lambda: (self._fire(along), self._fire(now))[1], FIRES_S)
        self._heal(now)
        self._explain(before)

    def _explain(self, before: int) -> None:
        """What has fired since there were so many, and belongs to no act so far, is kept."""
        explained = {name for seen in self.seen for name in (seen.act.alert, *seen.act.beside)}
        self.unexplained |= {name for _, name in self._watcher.fired[before:]} - explained

    def _heal(self, acts: Sequence[Seen]) -> None:
        """Until all are silent again that are to be."""
        watcher, healed, ending = self._watcher, time.monotonic(), [seen for seen in acts if seen.act.ends]

        def silent() -> bool:
            for seen in ending:
                if seen.silent_s is None and (seen.act.alert, "pending") not in watcher.since:
                    seen.silent_s = time.monotonic() - healed
            return all(seen.silent_s is not None for seen in ending)

        watcher.until(silent, ENDS_S)
        for seen in acts:
            self._tell(seen)

    def _fire(self, acts: Sequence[Seen]) -> bool:
        """Whether all of them do; each is looked at."""
        return len([seen for seen in acts if seen.look(self._watcher)]) == len(acts)

    def _tell(self, seen: Seen) -> None:
        def told(value: float | None) -> str:
            return "      -" if value is None else f"{value:5.0f} s"

        name, severity = seen.act.alert.removeprefix("Earmark"), ALERTS[seen.act.alert]["labels"]["severity"]
        print(
            f"  {name:22} {severity:7} {seen.act.says:42} pending {told(seen.pending_s)}, firing {told(seen.firing_s)}, silent {told(seen.silent_s)}",
            flush=True,
        )


def run(out: Path) -> Sequence[dict[str, Any]]:
    binary = shutil.which("prometheus")
    if binary is None:
        raise NotHere("it needs Prometheus: apt-get install prometheus")
    with ExitStack() as stack:
        scene = Scene(stack, out / "watched.log")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-watched-")))
        for lone in (False, False, True):
            scene.go_live(lone=lone)
        server = stack.enter_context(prometheus(binary, folder, configured(urlsplit(scene.worker.metrics_url).netloc)))
        scene.until_running(3)
        watcher = Watcher(server)
        played = Run(scene, watcher)
        played.play()
        figures = [*_figures(played, server), *scraped.figures(COMMAND)]
    rows.store("watched", figures)
    return figures


def configured(target: str) -> dict[str, Any]:
    """config/prometheus/prometheus.yml as it is, but for where workers are."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    found["rule_files"] = [str(FOLDER / file) for file in found["rule_files"]]
    found["scrape_configs"] = [{"job_name": "earmark", "static_configs": [{"targets": [target]}]}]
    return found


def _figures(played: Run, server: Prometheus) -> Iterator[dict[str, Any]]:
    paged = [seen for seen in played.seen if ALERTS[seen.act.alert]["labels"]["severity"] == "page"]
    for seen in played.seen:
        name = f"{seen.act.alert.removeprefix('Earmark')}: from the fault to firing"
        yield rows.row(name, seen.firing_s, "s", bar=BAR_S if seen in paged else None, against=seen.act.says, command=COMMAND, digits=0)
    silent = [seen.act.alert for seen in played.seen if seen.firing_s is None]
    yield rows.row(
        "alerts that did not fire in their fault", len(silent), "alerts", bar=0, against=", ".join(silent) or f"{len(played.seen)} faults", command=COMMAND
    )
    late = max((seen.firing_s or 0.0 for seen in paged), default=0.0)
    yield rows.row("longest from a fault to a page", late, "s", bar=BAR_S, against=f"{len(paged)} faults", command=COMMAND, digits=0)
    healthy = f"{HEALTHY_S:.0f} s before the first fault: {', '.join(sorted(played.healthy)) or 'none'}"
    yield rows.row("alerts that fire in the healthy run", len(played.healthy), "alerts", bar=0, against=healthy, command=COMMAND)
    unexplained = ", ".join(sorted(played.unexplained)) or "of all that fired"
    yield rows.row("alerts that no fault explains", len(played.unexplained), "alerts", bar=0, against=unexplained, command=COMMAND)
    erred = [rule["name"] for rule in server.rules() if rule["health"] == "err" or rule.get("lastError")]
    yield rows.row("rules that erred", len(erred), "rules", bar=0, against=", ".join(erred) or f"{len(server.rules())} rules", command=COMMAND)
    # In the last half hour: the worker that is there by now began a moment ago, and rates want a minute.
    empty = [name for name in RECORDED if not server.query(f"count_over_time({name}[30m])")]
    yield rows.row("recorded series that had no value", len(empty), "series", bar=0, against=", ".join(empty) or f"{len(RECORDED)} series", command=COMMAND)
    broken = [name for name, texts in played.texts.items() if "error expanding" in json.dumps(texts)]
    yield rows.row("texts of alerts that could not be filled in", len(broken), "alerts", bar=0, against=", ".join(broken), command=COMMAND)
