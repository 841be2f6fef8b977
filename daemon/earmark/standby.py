"""A worker whose version of the fingerprint is not the catalogue's stands by: it lives, listens to nothing, and begins when it is its turn.

Before an exchange (`index.beside`) these are the workers of the new version, after it those of the old one. A worker that
listens meanwhile to tables of its own version gives its streams back as soon as it learns of the exchange, which is with
its next look-up, or within a second; so somebody who stands by has them a moment later.

It looks, again and again, on each server that it will ask: a replica may be exchanged a little later. (NOTIFY would have to
be listened for on a connection more, and passes through no pooler.)
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from earmark.errors import CatalogueMismatch, DatabaseUnavailable, EarmarkError
from earmark.index import version
from earmark.index.catalogue import Tracks
from earmark.postgres import Connection, Pool, statement

#: Looked at so often.
_LOOK_S: Final = 0.5
#: On record again so often; who was not for so long is gone.
_SEEN_S: Final = 3.0
GONE_S: Final = 15.0


class Standby:
    """`wait` on the worker's main thread, before it is composed.

    Args:
        pools: of the primary first, then of others that will be asked.
        listens: it will go on with streams, so that others may hand them over: that is put on record.
        stood: told whether it stands by, and why: "" when not.
    """

    def __init__(self, *, pools: Sequence[Pool], worker: str, listens: bool, stop: threading.Event, stood: Callable[[str], None]) -> None:
        self._pools = pools
        self._worker = worker
        self._listens = listens
        self._stop = stop
        self._stood = stood
        self._log = structlog.get_logger()

    def wait(self) -> bool:
        """True when the catalogue is of our version, or has none; False when we are asked to end. Raises DatabaseUnavailable at the first look."""
        reason = self._reason()
        if not reason:
            return True
        self._log.warning("catalogue.standing_by", worker=self._worker, reason=reason)
        self._stood(reason)
        began = time.monotonic()
        try:
            self._stand_by()
        finally:
            with suppress(EarmarkError), statement(self._pools[0]) as connection:
                connection.execute("delete from standing_by where worker = %s", [self._worker])
            self._stood("")
        if self._stop.is_set():
            return False
        self._log.info("catalogue.taken_up", worker=self._worker, stood_by_s=round(time.monotonic() - began, 1))
        return True

    def _stand_by(self) -> None:
        seen_at, failing = 0.0, False
        while not self._stop.is_set():
            try:
                if self._listens and (not seen_at or time.monotonic() - seen_at > _SEEN_S):
                    with statement(self._pools[0]) as connection:
                        _seen(connection, self._worker)
                    seen_at = time.monotonic()
                if not self._reason():
                    return
                failing = False
            except DatabaseUnavailable as error:
                if not failing:
                    self._log.warning("catalogue.not_seen", reason=str(error))
                failing = True
            self._stop.wait(_LOOK_S)

    def _reason(self) -> str:
        for pool in self._pools:
            try:
                Tracks(pool=pool).check_version()
            except CatalogueMismatch as error:
                return str(error)
        return ""


def _seen(connection: Connection, worker: str) -> None:
    connection.execute(
        """insert into standing_by (worker, fingerprint_version) values (%s, %s)
           on conflict (worker) do update set fingerprint_version = excluded.fingerprint_version, seen_at = now()""",
        [worker, version.OURS],
    )
    connection.execute("delete from standing_by where seen_at < now() - interval '1 hour'")


def standing_by(connection: Connection, of_version: int) -> int:
    """How many workers of a version wait for their turn."""
    row = connection.execute(
        "select count(*) from standing_by where fingerprint_version = %s and seen_at > now() - make_interval(secs => %s)", [of_version, GONE_S]
    ).fetchone()
    return int(row[0]) if row else 0


def listened_to(connection: Connection) -> int:
    """How many streams somebody listens to."""
    row = connection.execute("select count(*) from stream where owner is not null and lease_until > now()").fetchone()
    return int(row[0]) if row else 0
