"""What the daemon says about stored files that it checks: how many, how much of them, what waits, and what time they take."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from earmark.telemetry.declared import metric


@dataclass(frozen=True, kw_only=True)
class CheckMetrics:
    """The metrics of `check` and `control.check_sweep`, a part of `Metrics`."""

    check_files_total: Counter = metric(
        "Stored files that were checked here, by how much of each was heard.",
        "refused or partly: the NAME.earmark.json beside the file says why in a sentence.",
        labels={"outcome": ("heard", "partly", "refused")},
    )
    check_media_seconds_total: Counter = metric(
        "Seconds of sound in stored files, by whether they were heard; those of streams are counted elsewhere.",
        "None while files wait: no worker has room for them, see check.files_max, or streams take all the time (compute_busy_ratio).",
        labels={"result": ("heard", "gap")},
    )
    check_bytes_total: Counter = metric("Bytes of stored files that were read.", "Far above the files' sizes: S3 breaks off, and files begin again.")
    check_files_found_total: Counter = metric(
        "Stored files that a sweep found and whose event had not come.", "Growing: S3's events do not arrive; is EventBridge switched on for the bucket?"
    )
    check_files_waiting: Gauge = metric(
        "Stored files that wait to be checked, in the whole fleet.", "Growing: more come than there is time for; add workers, or raise check.compute_share_max."
    )
    check_oldest_age_seconds: Gauge = metric("Seconds for which the stored file that has waited longest waits.", "As check_files_waiting.")
    compute_background_ratio: Gauge = metric(
        "Share of the last ten seconds that the compute thread was at work in the background, on what has no hurry, 0 to 1.",
        "No matter: it gives way to streams; with compute_busy_ratio it is all that the thread does.",
    )

    def checked(self, outcome: str) -> None:
        self.check_files_total.labels(outcome).inc()

    def heard_of_file(self, *, media_s: float) -> None:
        self.check_media_seconds_total.labels("heard").inc(media_s)

    def missed_of_file(self, *, media_s: float) -> None:
        self.check_media_seconds_total.labels("gap").inc(media_s)

    def read_of_file(self, size_bytes: int) -> None:
        self.check_bytes_total.inc(size_bytes)

    def files_found(self, count: int) -> None:
        self.check_files_found_total.inc(count)

    def files_waiting(self, count: int, *, oldest_age_s: float) -> None:
        self.check_files_waiting.set(count)
        self.check_oldest_age_seconds.set(max(0.0, oldest_age_s))
