"""What the daemon says about the canary: read from its record, so that every worker says the same, whoever ran the rounds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Gauge

from earmark.telemetry.declared import metric

#: How a round may end; the table `canary_round` has the same.
RESULTS = ("heard", "wrong", "unwritten", "unclaimed", "unheard", "unrecognised", "unpublished", "unfinished", "abandoned", "failed")
#: How far a round has come.
STAGES = ("written", "claimed", "heard", "hit", "ended")


class Seen(Protocol):
    """What the record has: `canary.rounds`."""

    @property
    def success_age_s(self) -> float: ...
    @property
    def rounds(self) -> Mapping[str, int]: ...
    @property
    def latency_s(self) -> float: ...
    @property
    def score_nats(self) -> float: ...
    @property
    def stages_s(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class CanaryMetrics:
    """The metrics of the canary, a part of `Metrics`."""

    canary_last_success_age_seconds: Gauge = metric(
        "Seconds since the last round of the canary that was heard as it was played; without any, since the first round on record; 0: there is none.",
        "Above three times canary.interval_s: `earmark canary` says in one sentence how far a stream comes, and `canary.round` in the logs why not farther.",
    )
    canary_rounds: Gauge = metric(
        "Rounds of the canary that began within a day, by how they ended.",
        "unwritten, unpublished: S3. unclaimed: no worker has room, or none is there. unheard: it cannot be fetched or decoded. "
        "unrecognised, wrong: the catalogue, or matching. unfinished: the worker. abandoned: who ran it was killed. failed: the log says why.",
        labels={"result": RESULTS},
    )
    canary_latency_seconds: Gauge = metric(
        "Seconds from the recording's first sample on air to its hit in S3, in the last round that was heard; two of them are the length of a segment.",
        "Higher than it was: canary_stage_seconds says where; then lag_seconds, lookup_seconds, outbox_oldest_age_seconds.",
    )
    canary_score_nats: Gauge = metric(
        "Evidence of the canary's play, in nats against chance, in the last round that was heard: the same recording, so about the same each time.",
        "Lower than it was: sound is lost on its way (media_seconds_total), or a new version hears worse.",
    )
    canary_stage_seconds: Gauge = metric(
        "Seconds from the beginning of the last round that was heard to each stage: the stream in S3, claimed, heard, its hit in S3, the hit closed.",
        "claimed: workers are full, or do not hear of streams. heard: fetching. hit: the outbox, or S3.",
        labels={"stage": STAGES},
    )

    def canary_seen(self, seen: Seen) -> None:
        looked_at = time.monotonic()
        # It goes on while nobody can look.
        self.canary_last_success_age_seconds.set_function(lambda: seen.success_age_s and seen.success_age_s + time.monotonic() - looked_at)
        for result in RESULTS:
            self.canary_rounds.labels(result).set(seen.rounds.get(result, 0))
        self.canary_latency_seconds.set(seen.latency_s)
        self.canary_score_nats.set(seen.score_nats)
        for stage in STAGES:
            self.canary_stage_seconds.labels(stage).set(seen.stages_s.get(stage, 0.0))
