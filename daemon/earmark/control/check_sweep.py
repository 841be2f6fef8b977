"""Files to check whose event was lost: `check.place` is listed, and what has neither a session nor a result beside it gets one."""

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from earmark.aws import asking
from earmark.control import checks, wanted
from earmark.control.messages import as_listed
from earmark.control.places import Places
from earmark.control.reconcile import take_turn
from earmark.hits.checked import JSON, is_checked, results_key
from earmark.postgres import Pool, statement, transaction
from earmark.settings import Reconcile as ReconcileSettings

#: S3's event is here by then, nearly always.
SETTLED_S = 20.0
#: Of one sweep, a thousand objects each; the next one goes on behind, and begins anew at the end.
PAGES_MAX, PAGE_MAX = 10, 1_000
#: Opened by one sweep.
FOUND_MAX = 500


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def list_objects_v2(self, **arguments: Any) -> Mapping[str, Any]: ...


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def files_found(self, count: int) -> None: ...
    def files_waiting(self, count: int, *, oldest_age_s: float) -> None: ...


class CheckSweep:
    """One worker of all, once per interval."""

    def __init__(self, *, pool: Pool, s3: S3, places: Places, settings: ReconcileSettings, meter: Meter, stop: threading.Event) -> None:
        """`places`: `check` names the one that is swept, without those that lie in it."""
        self._pool, self._s3, self._places = pool, s3, places
        self._settings, self._meter, self._stop = settings, meter, stop
        #: Behind which key the next sweep goes on.
        self._after = ""
        self._log = structlog.get_logger()

    def sweep(self) -> int | None:
        """How many were found; None if it is another worker's turn. Raises AwsUnavailable, AwsRefused or DatabaseUnavailable."""
        with transaction(self._pool) as connection:
            waiting, oldest_age_s = next(iter(connection.execute(_WAITING)))
            self._meter.files_waiting(waiting, oldest_age_s=oldest_age_s)
            if not take_turn(connection, "checks", self._settings.every_s):
                return None
            now: datetime = next(iter(connection.execute("select now()")))[0]
        listed = list(self._listed())
        done = {entry["Key"]: entry["LastModified"] for entry in listed if entry["Key"].endswith(JSON)}
        bucket, _ = self._place()
        unseen = [
            entry
            for entry in listed
            if is_checked(entry["Key"])
            and entry["LastModified"] <= now - timedelta(seconds=SETTLED_S)
            and not ((at := done.get(results_key(entry["Key"], JSON))) and at >= entry["LastModified"])
            and self._places.of(bucket, entry["Key"]) == "check"
        ]
        found = [entry["Key"] for entry in self._unknown(bucket, unseen)[:FOUND_MAX] if not self._stop.is_set() and self._open(bucket, entry)]
        self._meter.files_found(len(found))
        if found:
            self._log.warning("files.found", files=len(found), first=found[0])
        return len(found)

    def _place(self) -> tuple[str, str]:
        bucket, _, prefix = self._places.check.removeprefix("s3://").partition("/")
        return bucket, prefix

    def _listed(self) -> Iterator[Mapping[str, Any]]:
        bucket, prefix = self._place()
        for _ in range(PAGES_MAX):
            with asking("s3:ListBucket", self._places.check, absent="create the bucket or correct check.place"):
                page = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PAGE_MAX, **({"StartAfter": self._after} if self._after else {}))
            objects = page.get("Contents", ())
            yield from objects
            self._after = objects[-1]["Key"] if objects and page.get("IsTruncated") else ""
            if not self._after or self._stop.is_set():
                return

    def _unknown(self, bucket: str, listed: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those without a session; of what was written over since, the session is another's."""
        columns = {"bucket": bucket, "keys": [entry["Key"] for entry in listed], "ats": [entry["LastModified"] for entry in listed], "same_s": checks.SAME_S}
        with statement(self._pool) as connection:
            unknown = {key for (key,) in connection.execute(_UNKNOWN, columns)} if listed else set()
        return [entry for entry in listed if entry["Key"] in unknown]

    def _open(self, bucket: str, entry: Mapping[str, Any]) -> bool:
        with transaction(self._pool) as connection:
            return wanted.record(connection, as_listed(bucket, entry), places=self._places) == "opened"


_WAITING = """
select count(*), coalesce(extract(epoch from now() - min(greatest(created_at, not_before))), 0)::float8
  from stream where background and source = 'file' and state in ('wanted', 'running') and not_before <= now() and (owner is null or lease_until < now())"""

_UNKNOWN = """
select listed.key from unnest(%(keys)s::text[], %(ats)s::timestamptz[]) as listed (key, at)
 where not exists (select from checked_file f where f.bucket = %(bucket)s and f.key = listed.key
                      and f.made_at >= listed.at - make_interval(secs => %(same_s)s))"""
