"""`earmark run --role canary`, and `earmark canary`: rounds, one after the other, or one at once."""

import random
import threading
from typing import Final

import structlog

from earmark.canary import rounds
from earmark.canary.round import S3, Round
from earmark.canary.rounds import Outcome, UnderWay
from earmark.control.patience import Patience
from earmark.errors import BadSettings
from earmark.index.catalogue import Tracks
from earmark.postgres import Pool
from earmark.settings import Settings
from earmark.telemetry import Metrics

#: Whose turn it is, is looked at at least so often: a clock may be set, and a record lost.
_LOOK_S: Final = 30.0


class Runner:
    """Runs rounds. Raises BadSettings where there is no bucket to hear from, and to find hits in."""

    def __init__(self, *, settings: Settings, pool: Pool, s3: S3, name: str, stop: threading.Event) -> None:
        if not settings.results.bucket:
            raise BadSettings("the canary's stream is written to the bucket of results, and its hit is looked for there: set results.bucket")
        self._settings, self._pool, self._s3 = settings, pool, s3
        self._name, self._stop = name, stop

    def round(self, *, every_s: float = 0.0) -> tuple[str, Outcome] | UnderWay | None:
        """One round, with its id; or whose is under way; or None: the last one began less than `every_s` ago.

        Raises DatabaseUnavailable, and FingerprintMismatch for a catalogue of another version.
        """
        Tracks(pool=self._pool).check_version()
        deadline_s = self._settings.canary.deadline_s
        begun = rounds.begin(self._pool, runner=self._name, deadline_s=deadline_s, every_s=every_s)
        if not isinstance(begun, str):
            return begun
        settings = self._settings.results
        of = Round(round_id=begun, pool=self._pool, s3=self._s3, results=settings, deadline_s=deadline_s, stop=self._stop)
        outcome = Outcome(result="failed", says="its runner came upon an error: its log says which")
        try:
            outcome = of.run()
        except KeyboardInterrupt:
            outcome = Outcome(result="abandoned", says="somebody interrupted it")
            raise
        finally:
            rounds.finish(self._pool, begun, outcome)
        return begun, outcome


class Role:
    """A loop of its own, until `stop`; any number of workers may have one, and take turns."""

    def __init__(self, *, settings: Settings, pool: Pool, s3: S3, worker: str, metrics: Metrics, stop: threading.Event) -> None:
        """Raises BadSettings as `Runner` does."""
        self._runner = Runner(settings=settings, pool=pool, s3=s3, name=worker, stop=stop)
        self._pool, self._metrics, self._stop = pool, metrics, stop
        self._every_s = settings.canary.interval_s
        self._patience = Patience(event="canary.not_run", of="what", failed=lambda: None)
        self._log = structlog.get_logger()

    def run(self) -> None:
        while not self._stop.is_set():
            wait_s = [_LOOK_S]
            self._patience.call("round", lambda wait_s=wait_s: wait_s.append(self._turn()))  # type: ignore[misc]
            # All workers look at the same moment otherwise, and all but one for nothing.
            self._stop.wait(min(_LOOK_S, max(1.0, wait_s[-1])) * random.uniform(1, 1.2))  # noqa: S311 -- jitter

    def _turn(self) -> float:
        """Seconds until the next round is due."""
        due_s = rounds.due_in_s(self._pool, self._every_s)
        if due_s > 0:
            return due_s
        done = self._runner.round(every_s=self._every_s)
        if isinstance(done, tuple):
            self._tell(*done)
            self._metrics.canary_seen(rounds.seen(self._pool))
        return _LOOK_S

    def _tell(self, round_id: str, outcome: Outcome) -> None:
        # A worker that is asked to end cuts its round short: nothing is wrong.
        tell = self._log.info if outcome.heard or (outcome.result == "abandoned" and self._stop.is_set()) else self._log.error
        stages = {f"{stage}_s": seconds for stage, seconds in outcome.stages_s.items()}
        measured = {"latency_s": outcome.latency_s, "score_nats": outcome.score_nats, **stages}
        tell("canary.round", round_id=round_id, trace_id=round_id, result=outcome.result, says=outcome.says, **measured)
