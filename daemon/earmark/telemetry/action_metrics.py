"""What the daemon says of what it does about plays."""

from dataclasses import dataclass

from prometheus_client import Counter

from earmark.telemetry.declared import metric

#: `hits.outgoing.Target`, and what becomes of them: `hits.audit.ActionState`.
ACTIONS = ("ivs_stop", "ivs_metadata", "webhook", "eventbridge")
RESULTS = ("dry_run", "done", "refused", "withdrawn", "failed")


@dataclass(frozen=True, kw_only=True)
class ActionMetrics:
    """A part of `Metrics`."""

    actions_total: Counter = metric(
        "Actions about plays, by kind and by what became of them: dry_run (only told), done, refused (more than an hour may have), "
        "withdrawn (the play was over, or is decided about otherwise), failed (AWS or the receiver refused).",
        "refused: stop_stream.per_hour_max, is somebody's policy wrong? failed: each hit has the reason, `earmark hits show`.",
        labels={"kind": ACTIONS, "result": RESULTS},
    )

    def acted(self, *, kind: str, result: str) -> None:
        """What became of one action."""
        self.actions_total.labels(kind, result).inc()
