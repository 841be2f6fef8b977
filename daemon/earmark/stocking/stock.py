"""The role that keeps the catalogue as its bucket has it: jobs take up what is due, one object each at a time.

NOTIFY ─▶ wake ─▶ job: claim ─▶ take up ─▶ finish        another job, another worker: the next one
"""

import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog

from earmark.control.patience import Patience
from earmark.errors import AwsRefused, AwsUnavailable, CatalogueMismatch, DatabaseUnavailable
from earmark.index.answers import Index
from earmark.postgres import Pool
from earmark.relating import Relating
from earmark.settings import Catalogue
from earmark.stocking.apart import Apart
from earmark.stocking.bucket import S3, Bucket
from earmark.stocking.job import Beat, Leaving, News, temporary_folder
from earmark.stocking.rows import RENEW_S, Claim, Objects, Overtaken
from earmark.stocking.taking import Taking
from earmark.telemetry.stock_metrics import Stocked

#: Without news, what is due is looked for this often.
_LOOK_S: Final = 5.0
_TOLD: Final = {"added": "catalogue.added", "replaced": "catalogue.replaced", "described": "catalogue.described", "removed": "catalogue.removed"}


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def stocked(self, outcome: Stocked, *, seconds: float | None = None) -> None: ...
    def in_stock(self, *, due: int, oldest_s: float, rejected: int) -> None: ...


class Stock:
    """`run` in as many threads as there are jobs, each until `stop`; `wake` from anywhere."""

    def __init__(
        self, *, pool: Pool, index: Index | None, s3: S3, settings: Catalogue, worker: str, meter: Meter, stop: threading.Event, look_s: float = _LOOK_S
    ) -> None:
        """`index`: the worker's own, for what recordings share; `settings.place` names the bucket."""
        self._pool = pool
        self._index = index
        self._bucket = Bucket(s3=s3, place=settings.place)
        self._settings = settings
        self._worker = worker
        self._meter = meter
        self._stop = stop
        self._look_s = look_s
        self._news = News(stop=stop, look_s=look_s)
        self.wake = self._news.wake
        self._log = structlog.get_logger()

    def run(self, job: int = 0) -> None:
        """One job. What fails for now is told when it begins to, and tried again. Raises BadSettings without a temporary folder."""
        objects = Objects(pool=self._pool, worker=f"{self._worker} job {job}")
        patience = Patience(event="catalogue.not_taken_up", of="job", failed=self._pause)
        apart = Apart()
        with temporary_folder("stock") as folder:
            taking = self._taking(objects, apart, Path(folder))
            apart.open()
            try:
                while not self._stop.is_set():
                    patience.call("stock", lambda: self._step(objects, taking))
            finally:
                apart.close()

    def _pause(self) -> None:
        self._stop.wait(self._look_s)

    def watch(self) -> None:
        """What waits, to the metrics."""
        due, oldest_s, rejected = Objects(pool=self._pool, worker=self._worker).waiting()
        self._meter.in_stock(due=due, oldest_s=oldest_s, rejected=rejected)

    def _taking(self, objects: Objects, apart: Apart, folder: Path) -> Taking:
        relating = Relating(pool=self._pool, index=self._index, duplicates=self._settings.duplicates) if self._settings.shared_passages else None
        return Taking(objects=objects, pool=self._pool, bucket=self._bucket, settings=self._settings, apart=apart, relating=relating, folder=folder)

    def _step(self, objects: Objects, taking: Taking) -> None:
        """Take up all that is due; then wait."""
        told = self._news.told
        while not self._stop.is_set() and (claim := objects.claim()):
            self.take_up(objects, taking, claim)
        self._news.wait(told, objects.next_due_s())

    def take_up(self, objects: Objects, taking: Taking, claim: Claim) -> None:
        """Raises DatabaseUnavailable: then it is due again when its lease is over. CatalogueMismatch: it is put back."""
        began = time.monotonic()
        try:
            outcome, finding = taking.take(claim, Beat(partial(objects.renew, claim), every_s=RENEW_S, stop=self._stop))
        except (Overtaken, Leaving):
            self._meter.stocked("overtaken")
            objects.put_back(claim, counted=False)
        except CatalogueMismatch:  # a worker of the version that the catalogue has now takes it up
            objects.put_back(claim, counted=False)
            raise
        except (AwsUnavailable, AwsRefused, DatabaseUnavailable, OSError) as error:
            self._postpone(objects, claim, str(error))
        except Exception as error:  # noqa: BLE001 -- a bug that this object brings to light: told loudly, tried again, and then set aside
            self._log.exception("catalogue.crashed", key=claim.key)
            self._postpone(objects, claim, f"a bug that it brings to light: {type(error).__name__}; see the log for catalogue.crashed")
        else:
            new = outcome in ("added", "replaced") and claim.look and claim.happened_at is not None
            since = (datetime.now(UTC) - claim.happened_at).total_seconds() if new and claim.happened_at else None
            self._meter.stocked(outcome, seconds=None if since is None else max(0.0, since))
            took_s = round(time.monotonic() - began, 3)
            if outcome == "rejected":
                self._log.warning("catalogue.rejected", key=claim.key, reason=finding.reasons[0] if finding.reasons else "", reasons=len(finding.reasons))
            elif outcome in _TOLD:
                self._log.info(_TOLD[outcome], key=claim.key, track_id=finding.track_id or claim.track_id, took_s=took_s, since_s=since)

    def _postpone(self, objects: Objects, claim: Claim, reason: str) -> None:
        self._meter.stocked("failed")
        self._log.warning("catalogue.postponed", key=claim.key, attempts=claim.attempts, reason=reason)
        objects.put_back(claim, reason=reason)
