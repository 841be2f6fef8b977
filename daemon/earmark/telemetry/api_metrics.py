"""What the daemon says about its HTTP API. Labels are templates and kinds, never what somebody typed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from prometheus_client import Counter, Gauge, Histogram

from earmark.telemetry.declared import metric

#: As OpenAPI has them; other: no such path.
Route: TypeAlias = Literal[
    "POST /v1/uploads",
    "GET /v1/uploads/{upload_id}",
    "GET /v1/tracks",
    "GET /v1/tracks/{track_id}",
    "DELETE /v1/tracks/{track_id}",
    "GET /v1/streams",
    "GET /v1/streams/{stream_id}",
    "POST /v1/identify",
    "GET /v1/openapi.json",
    "GET /healthz",
    "other",
]
#: The kinds of problems.
Refusal: TypeAlias = Literal[
    "malformed",
    "token-missing",
    "token-unknown",
    "token-revoked",
    "token-expired",
    "scope-missing",
    "not-found",
    "method-not-allowed",
    "too-slow",
    "too-large",
    "unsupported-media-type",
    "invalid",
    "unreadable-audio",
    "fingerprint-mismatch",
    "rate-limited",
    "internal",
    "uploads-off",
    "busy",
    "unavailable",
]
#: Most answers take a few milliseconds; an identification seconds, up to its limit.
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)


@dataclass(frozen=True, kw_only=True)
class ApiMetrics:
    """The metrics of `api`, a part of `Metrics`."""

    api_requests_total: Counter = metric(
        "Requests to the HTTP API that were answered, by route and by the first digit of the status; gone: the client left before its answer.",
        "5xx: the log lines api.request and api.failed have the reasons. gone, and many: answers take longer than clients wait.",
        labels={"route": get_args(Route), "status": ("2xx", "4xx", "5xx", "gone")},
    )
    api_refused_total: Counter = metric(
        "Requests to the HTTP API that were refused, by kind of problem.",
        "token-unknown, and many: somebody tries, or holds an old token. rate-limited, busy: raise the settings of api, or add tasks. internal: a bug.",
        labels={"problem": get_args(Refusal)},
    )
    api_request_seconds: Histogram = metric(
        "Seconds from a request to the HTTP API to its answer, its body included, by route.",
        "Above 1 s but for identify: the database (lookup_seconds), the bucket, or more requests than api.threads.",
        labels={"route": get_args(Route)},
        buckets=_REQUEST_S,
    )
    api_requests_running: Gauge = metric("Requests to the HTTP API that are under way.", "At api.requests_max further ones are refused: add tasks.")
    api_uploads_removed_total: Counter = metric(
        "Uploads that were announced and never came whole, and were removed after api.upload_days.",
        "As many as POST /v1/uploads answers 2xx: clients cannot reach the bucket; their form has the reason.",
    )

    def request_answered(self, *, route: Route, status: int, seconds: float) -> None:
        """`status` 0: the client was gone."""
        self.api_requests_total.labels(route, f"{status // 100}xx" if status else "gone").inc()
        self.api_request_seconds.labels(route).observe(seconds)

    def request_refused(self, problem: Refusal) -> None:
        self.api_refused_total.labels(problem).inc()

    def requests_running(self, count: int) -> None:
        self.api_requests_running.set(count)

    def uploads_removed(self, count: int) -> None:
        self.api_uploads_removed_total.inc(count)
