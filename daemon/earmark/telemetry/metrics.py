"""Every metric, declared once, and the ports through which the rooms count.

Built on a registry that the caller owns, so that two services in one process, or two tests, do not see each other.
No metric has a label whose values grow with the streams (`stream_id`, `track_id`): such things belong in log lines.
"""

import platform
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any, Literal, Protocol, Self, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from earmark.model import FINGERPRINT_VERSION, EndReason, GapReason, Play, PlayState
from earmark.settings import Prices
from earmark.telemetry.action_metrics import ActionMetrics
from earmark.telemetry.api_metrics import ApiMetrics
from earmark.telemetry.canary_metrics import CanaryMetrics
from earmark.telemetry.catalogue_metrics import LOOKUP_S, CatalogueMetrics
from earmark.telemetry.check_metrics import CheckMetrics
from earmark.telemetry.cost_metrics import CostMetrics
from earmark.telemetry.declared import Declared, metric, register
from earmark.telemetry.decoy_metrics import DecoyMetrics
from earmark.telemetry.delay_metrics import TARGETS, DelayMetrics
from earmark.telemetry.evidence_metrics import EvidenceMetrics
from earmark.telemetry.format_metrics import FormatMetrics
from earmark.telemetry.housekeeping_metrics import HousekeepingMetrics
from earmark.telemetry.profile_metrics import ProfileMetrics
from earmark.telemetry.recording_metrics import RecordingMetrics
from earmark.telemetry.stock_metrics import StockMetrics


class Waiting(Protocol):
    """The fleet's streams that nobody listens to: `control.leases`."""

    @property
    def streams(self) -> int: ...
    @property
    def oldest_age_s(self) -> float: ...
    @property
    def quarantined(self) -> int: ...


_GAPS = get_args(GapReason)
_STATES = get_args(PlayState)
_ENDS = get_args(EndReason)
#: From one segment in hand to the edge of a 12-second window, and past it.
_LAG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 12, 20, 40, 60)
#: HLS is 4 to 20 s behind by design; anything past a minute is wrong.
_CLOCK_LAG_S = (1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 120, 300)
_LATENCY_S = (2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 120)
#: From one poll of the queue to the hours after which an event is still delivered.
_AGE_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400)
#: A request to an origin or to AWS, up to its deadline.
_REQUEST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)


@dataclass(frozen=True, kw_only=True)
class Metrics(
    RecordingMetrics,
    DelayMetrics,
    HousekeepingMetrics,
    CheckMetrics,
    ProfileMetrics,
    FormatMetrics,
    StockMetrics,
    ApiMetrics,
    DecoyMetrics,
    EvidenceMetrics,
    CanaryMetrics,
    ActionMetrics,
    CatalogueMetrics,
):
    """Every metric of the daemon; the exported name is `earmark_` and the field's name.

    The methods are the ports that `session` and its like count through.
    """

    registry: CollectorRegistry

    build_info: Gauge = metric(
        "Always 1; the labels say what is running, and which roles it has.",
        "Two versions for longer than a deployment takes: look at the service's events.",
        labels={"version": (), "fingerprint_version": (), "python": (), "roles": ()},
    )
    streams: Gauge = metric(
        "Streams: running in this process; wanted and owned by nobody, or quarantined, in the whole fleet.",
        "wanted_unowned: the fleet is full, add tasks. quarantined: see `earmark streams list`, end it with `earmark streams release`.",
        labels={"state": ("running", "wanted_unowned", "quarantined")},
    )
    streams_unowned_oldest_age_seconds: Gauge = metric(
        "Seconds for which the stream that has waited longest is wanted and owned by nobody, in the whole fleet.",
        "Above a minute: the fleet is full, or cannot claim; scale out, then look at the streams' last error.",
    )
    media_seconds_total: Counter = metric(
        "Seconds of media that were heard, or were not, by reason; the sum is the length of all sessions.",
        "late: too busy. skipped: too busy to look, or the origin's playlist jumped. origin_down, segment_missing: origin or network. "
        "segment_*: encoder, or hls settings. worker_lost: tasks die. database_away: PostgreSQL was away for longer than session.buffer_s.",
        labels={"result": ("heard", *_GAPS)},
    )
    music_seconds_total: Counter = metric(
        "Seconds that sounded like music, by whether a play was known there when that was decided, some 6 s later.",
        "no, and most of it: music that the catalogue does not have, or cannot be heard; stream.json and `earmark report` say from when to when.",
        labels={"identified": ("yes", "no")},
    )
    lag_seconds: Histogram = metric(
        "Seconds from a segment in hand to its being taken in: decoded and fingerprinted. Look-ups come after that, see lookup_seconds.",
        "Above 1 s: the compute thread is saturated (compute_busy_ratio).",
        buckets=_LAG_S,
    )
    clock_lag_seconds: Histogram = metric(
        "Seconds from the wall clock of a sample, by the source's own word, to its being heard.",
        "Higher than lag_seconds explains: the origin is late, or its clock is wrong.",
        buckets=_CLOCK_LAG_S,
    )
    hits_total: Counter = metric(
        "Revisions of plays put on record, by the state that they put the play in.",
        "None while streams run: is the catalogue there (catalogue_tracks)?",
        labels={"state": _STATES},
    )
    hit_latency_seconds: Histogram = metric(
        "Seconds of media from the first second of a play to its first telling.",
        "A matter of the matching settings; but a database that was away or slow is in it, too (lookup_seconds).",
        buckets=_LATENCY_S,
    )
    transforms_total: Counter = metric(
        "Times that another speed was due for a stream, and tried, or shed because the compute thread was busy.",
        "shed, and more than a few: music that is played fast or slow is found late; scale out, or raise matching.transform_busy_max.",
        labels={"result": ("tried", "shed")},
    )
    decode_errors_total: Counter = metric(
        "Segments that were fetched and not decoded, by reason.",
        "From one stream: its encoder. From all: a codec or container that is not read yet.",
        labels={"reason": ("no_audio", "undecodable", "damaged")},
    )
    fetch_bytes_total: Counter = metric(
        "Bytes fetched from origins.", "About 16 kB for each second of an audio-only rendition; IVS bills every pull as a view."
    )
    fetch_seconds: Histogram = metric(
        "Seconds that a request to an origin took.", "Above half a segment's length: the origin or the network.", buckets=_REQUEST_S
    )
    queue_messages_total: Counter = metric(
        "Messages taken from the queue, by what they say; bad: not understood, left for the dead-letter queue.",
        "bad: read the dead-letter queue. unknown: a rule sends what nobody listens for. None while streams start: the rules, or the queue's policy.",
        labels={"kind": ("start", "stop", "recording", "object", "removal", "ignored", "unknown", "bad")},
    )
    queue_message_age_seconds: Histogram = metric(
        "Seconds from the sending of a message to its being taken.", "Above a minute: too few workers, or the database is away.", buckets=_AGE_S
    )
    queue_effects_total: Counter = metric(
        "What messages changed: a stream opened or stopped, a segment delivered, news of the stock; repeat: nothing. homeless: a segment of no known run.",
        "homeless, and growing: channel events do not arrive; see medialive.archives.",
        labels={"effect": ("opened", "stopped", "delivered", "homeless", "recorded", "stock", "foreign", "repeat")},
    )
    swept_total: Counter = metric(
        "Streams put right by the sweep because events were missed: adopted, reopened, stopped; failed: sweeps that could not be made.",
        "adopted, and often: events do not arrive, look at the rule and the queue. failed: IVS or the database.",
        labels={"result": ("adopted", "reopened", "stopped", "failed")},
    )
    ivs_calls_total: Counter = metric(
        "Calls to IVS, by operation.",
        "IVS allows 5 a second for each operation, account and region: see aws.ivs_calls_per_s.",
        labels={"operation": ("GetChannel", "GetStream", "ListStreams", "GetRecordingConfiguration")},
    )
    ivs_wait_seconds_total: Counter = metric("Seconds that calls to IVS waited for their turn.", "Growing by more than 1 in a second: too many starts at once.")
    outbox_pending: Gauge = metric(
        "Rows that still have to leave, in the whole fleet.", "Growing: S3 or SNS refuse (published_total); see `earmark outbox list`."
    )
    outbox_oldest_age_seconds: Gauge = metric(
        "Seconds for which the row that has waited longest has to leave, in the whole fleet; but for the webhook, see published_total.",
        "Above 30 s: hits reach their readers late; see `earmark outbox list`.",
    )
    outbox_dead: Gauge = metric(
        "Rows set aside after outbox.dead_after_s, in the whole fleet.", "Mend what their last error names, then `earmark outbox retry`."
    )
    published_total: Counter = metric(
        "Attempts to publish, by target and result: sent, failed (tried again), dead (set aside).",
        "failed: permissions, throttling, the network.",
        labels={"target": TARGETS, "result": ("sent", "failed", "dead")},
    )
    publish_seconds: Histogram = metric(
        "Seconds that one attempt to publish took, by target.", "Above 1 s: AWS or the network.", labels={"target": TARGETS}, buckets=_REQUEST_S
    )
    sessions_over_total: Counter = metric(
        "Sessions that ended here, by how: the stream's end, handed_over, failed, crashed (blamed for its process's death).",
        "silent_origin, failed: `earmark streams list` has the last error. crashed: a stream that kills its process; it is quarantined.",
        labels={"outcome": (*_ENDS, "handed_over", "crashed")},
    )
    session_restarts_total: Counter = metric(
        "Sessions that failed and are started again, here or elsewhere.", "One stream over and over: `earmark streams list` has its last error."
    )
    leases_lost_total: Counter = metric(
        "Leases that another worker took from this one.", "This process did not renew in time: saturated, paused, or cut off from the database."
    )
    lease_renewal_seconds: Histogram = metric(
        "Seconds that renewing all leases of this process took.", "Above 1 s: the database; at leases.ttl_s streams change hands.", buckets=LOOKUP_S
    )
    compute_busy_ratio: Gauge = metric(
        "Share of the last ten seconds that the compute thread was at work, 0 to 1.", "Above leases.busy_share_max nothing is claimed: scale out."
    )
    compute_oldest_job_seconds: Gauge = metric(
        "Seconds for which the oldest job of the compute thread has waited or run.", "Above 0.5 s: saturated, nothing is claimed; scale out."
    )
    database_up: Gauge = metric(
        "1 if the last renewal of leases reached the database, 0 if not (and of a worker that does not listen).",
        "0: what sessions take in is kept for session.buffer_s and heard when it is back; nothing that was decided is lost.",
    )

    @classmethod
    def build(cls, registry: CollectorRegistry | None = None, *, prices: Prices | None = None, roles: Iterable[str] = ("streams",)) -> Self:
        """Declare everything on `registry` (default: a new one), with the process's own CPU and memory."""
        registry = registry or CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        declared_all = {name.removeprefix("earmark_"): register(registry, name, kind, declared) for name, kind, declared in catalogue()}
        metrics = cls(registry=registry, prices=prices or Prices(), **declared_all)
        runs = {"version": version("earmark"), "fingerprint_version": str(FINGERPRINT_VERSION), "python": platform.python_version()}
        metrics.build_info.labels(**runs, roles=",".join(sorted(roles))).set(1)
        for nothing_wrong in (metrics.catalogue_merge_done_ratio, metrics.catalogue_cache_hit_ratio):
            nothing_wrong.set(1)
        metrics.subscribers_unknown()
        return metrics

    # What sessions count.

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        """A clock that was set meanwhile may have been set back: nothing is younger than nought, and no sum falls."""
        self.media_seconds_total.labels("heard").inc(media_s)
        self.asked_database(media_s=media_s)
        if lag_s is not None:
            self.lag_seconds.observe(max(0.0, lag_s))
        if clock_lag_s is not None:
            self.clock_lag_seconds.observe(max(0.0, clock_lag_s))

    def missed(self, *, media_s: float, reason: GapReason) -> None:
        self.media_seconds_total.labels(reason).inc(media_s)

    def music(self, *, media_s: float, identified: bool) -> None:
        self.music_seconds_total.labels("yes" if identified else "no").inc(media_s)

    def transform(self, *, tried: bool) -> None:
        self.transforms_total.labels("tried" if tried else "shed").inc()

    def told(self, play: Play, *, latency_s: float) -> None:
        self.hits_total.labels(play.state).inc()
        if play.revision == 1:
            self.hit_latency_seconds.observe(latency_s, exemplar=_exemplar(play))

    def fetched(self, seconds: float, size_bytes: int) -> None:
        self.fetch_seconds.observe(seconds)
        self.received(size_bytes)

    def received(self, size_bytes: int) -> None:
        """Also of an answer that does not end, which is fetched once and received for days."""
        self.fetch_bytes_total.inc(size_bytes)
        self.transferred(size_bytes=size_bytes)

    def decode_failed(self, reason: str) -> None:
        self.decode_errors_total.labels(reason).inc()

    # What the control room counts.

    def message_received(self, kind: str, *, age_s: float) -> None:
        self.queue_messages_total.labels(kind).inc()
        self.queue_message_age_seconds.observe(age_s)

    def message_recorded(self, effect: str) -> None:
        self.queue_effects_total.labels(effect).inc()

    def ivs_called(self, operation: str, *, waited_s: float) -> None:
        self.ivs_calls_total.labels(operation).inc()
        self.ivs_wait_seconds_total.inc(waited_s)

    def swept(self, *, adopted: int, reopened: int, stopped: int) -> None:
        for result, count in (("adopted", adopted), ("reopened", reopened), ("stopped", stopped)):
            self.swept_total.labels(result).inc(count)

    def sweep_failed(self) -> None:
        self.swept_total.labels("failed").inc()

    def sessions(self, count: int) -> None:
        self.streams.labels("running").set(count)
        self.lived()

    def waiting(self, waiting: Waiting) -> None:
        self.streams.labels("wanted_unowned").set(waiting.streams)
        self.streams.labels("quarantined").set(waiting.quarantined)
        self.streams_unowned_oldest_age_seconds.set(max(0.0, waiting.oldest_age_s))

    def session_over(self, outcome: str) -> None:
        self.sessions_over_total.labels(outcome).inc()
        if outcome in ("failed", "crashed"):
            self.session_restarts_total.inc()

    def leases_lost(self, count: int) -> None:
        self.leases_lost_total.inc(count)

    def renewed(self, *, took_s: float) -> None:
        self.database_up.set(1)
        self.lease_renewal_seconds.observe(took_s)

    def renewal_failed(self) -> None:
        self.database_up.set(0)

    # What the outbox counts.

    def published(self, *, target: str, result: Literal["sent", "failed", "dead"], seconds: float, delay_s: float | None = None) -> None:
        """`delay_s`: of what was sent."""
        self.published_total.labels(target, result).inc()
        if delay_s is not None:
            self.left(target, delay_s=delay_s)
        self.publish_seconds.labels(target).observe(seconds)

    def owed(self, *, waiting: int, dead: int, oldest_s: float) -> None:
        self.outbox_pending.set(waiting)
        self.outbox_dead.set(dead)
        self.outbox_oldest_age_seconds.set(max(0.0, oldest_s))


def _exemplar(play: Play) -> dict[str, str]:
    """By which a bucket of the histogram leads to a hit, and to its log lines. OpenMetrics allows 128 characters in all."""
    trace_id = structlog.contextvars.get_contextvars().get("trace_id", "")
    return {"hit_id": play.hit_id[:26], **({"trace_id": str(trace_id)[:64]} if trace_id else {})}


def catalogue() -> tuple[tuple[str, Any, Declared], ...]:
    """Every metric, those of cost, housekeeping and the catalogue last: its exported name, its class, and what was declared."""
    found = [(f"earmark_{f.name}", f.type, f.metadata[Declared]) for f in fields(Metrics) if Declared in f.metadata]
    place = {f"earmark_{f.name}": place for place, part in enumerate((CostMetrics, *Metrics.__bases__), 1) for f in fields(part)}
    return tuple(sorted(found, key=lambda metric: place.get(metric[0], 0)))


def as_markdown() -> str:
    """The catalogue as README's table."""
    lines = ["| Metric | Kind | Labels | Says | What to do |", "| --- | --- | --- | --- | --- |"]
    for name, kind, declared in catalogue():
        labels = ", ".join(f"`{label}`" for label in declared.labels)
        lines.append(f"| `{name}` | {kind.__name__.lower()} | {labels} | {declared.says} | {declared.remedy} |")
    return "\n".join(lines) + "\n"
