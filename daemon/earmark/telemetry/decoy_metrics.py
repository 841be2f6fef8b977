"""What the daemon says about chance: the evidence that decoys have, and the false alarms that follow from it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from earmark.telemetry.declared import metric

#: Less than the first is not followed; the third is where the tail begins that is extrapolated (`matching.tail`).
_EVIDENCE_NATS = (8, 10, 12, 15, 20, 25, 30)


@dataclass(frozen=True, kw_only=True)
class DecoyMetrics:
    """The metrics of `decoys`, a part of `Metrics`."""

    decoy_evidence_nats: Histogram = metric(
        "The most evidence, in nats, that chance gave a recording in minutes of a stream that were heard backwards: one for each time that would be a "
        "false alarm at a lower threshold.",
        "Some 50 in an hour of decoys above 8 nats, 8 above 12, one above 15 in a catalogue of 40 hours; ten times that: see false_alarms_per_hour. "
        "None at all while decoy_seconds_total grows: the catalogue is empty, or the streams are silent.",
        buckets=_EVIDENCE_NATS,
    )
    decoy_excess_nats_total: Counter = metric(
        "Nats above 12 of all decoys that had more, up to 30: divided by how many they are, the nats in which chance falls to a third.",
        "Read with decoy_evidence_nats; 1.4 for each of them is what was calibrated, above 2 chance falls more slowly than the threshold supposes.",
    )
    decoy_seconds_total: Counter = metric(
        "Seconds of streams that were chosen to be heard backwards: heard; left_out, for want of time or of a database that answers.",
        "left_out, and most of them: the compute thread is busy or the database away. Neither: decoys.share is 0, or no stream has lasted for five minutes.",
        labels={"result": ("heard", "left_out")},
    )
    threshold_nats: Gauge = metric(
        "Evidence, in nats, that matching.false_alarms_per_hour asks for in the catalogue as it is now.",
        "28 or so, 2.4 more where the catalogue is a thousand times as large. It jumps: the setting was changed, or the catalogue was.",
    )
    false_alarms_per_hour: Gauge = metric(
        "False alarms by chance in an hour of one stream: as configured; and as extrapolated to threshold_nats from the decoys that this process heard, with "
        "the least and the most that 999 in 1,000 such extrapolations leave room for. Not a number until 100 decoys had 12 nats or more.",
        "extrapolated_least above configured: these streams and this catalogue meet by chance more often than was calibrated; lower "
        "matching.false_alarms_per_hour by the same factor. extrapolated below configured: the threshold is stricter than it says, by chance alone.",
        labels={"kind": ("configured", "extrapolated", "extrapolated_least", "extrapolated_most")},
    )

    def __post_init__(self) -> None:
        """What nobody has said yet is not none."""
        for kind in ("configured", "extrapolated", "extrapolated_least", "extrapolated_most"):
            self.false_alarms_per_hour.labels(kind).set(math.nan)

    def promised(self, per_hour: float, nats: Callable[[float], float]) -> None:
        """What was configured, and the evidence that such a rate asks for at any time."""
        self.false_alarms_per_hour.labels("configured").set(per_hour)
        self.threshold_nats.set_function(lambda: nats(per_hour))

    def decoys_heard(self, *, media_s: float, evidence: Sequence[float], excess_nats: float) -> None:
        self.decoy_seconds_total.labels("heard").inc(media_s)
        self.decoy_excess_nats_total.inc(excess_nats)
        for nats in evidence:
            self.decoy_evidence_nats.observe(nats)

    def decoys_left_out(self, *, media_s: float) -> None:
        self.decoy_seconds_total.labels("left_out").inc(media_s)

    def extrapolated(self, *, per_hour: float, least: float, most: float) -> None:
        for kind, value in (("extrapolated", per_hour), ("extrapolated_least", least), ("extrapolated_most", most)):
            self.false_alarms_per_hour.labels(kind).set(value)
