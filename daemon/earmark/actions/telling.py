"""What became of an action, told to everybody: in the hit, in a metric, in the log."""

from datetime import UTC, datetime
from typing import Protocol

import structlog

from earmark.hits import audit
from earmark.hits.audit import ActionState
from earmark.hits.outgoing import Outgoing
from earmark.postgres import Pool, transaction
from earmark.settings import Results

_log = structlog.get_logger(__name__)


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def acted(self, *, kind: str, result: str) -> None:
        """What became of one action."""
        ...


class Telling:
    """For all sinks of a worker; on any thread."""

    def __init__(self, *, pool: Pool, results: Results, meter: Meter) -> None:
        self._pool, self._results, self._meter = pool, results, meter

    def tell(self, item: Outgoing, state: ActionState, detail: str = "", *, overdue_s: float = 0.0) -> None:
        """What is on record already is not told twice. `overdue_s`: as in `hits.audit.tell`. Raises DatabaseUnavailable."""
        with transaction(self._pool) as connection:
            told = audit.tell(
                connection,
                hit_id=item.key,
                kind=item.target,
                occasion=str(item.attributes["occasion"]),
                state=state,
                detail=detail,
                overdue_s=overdue_s,
                results=self._results,
                now=datetime.now(UTC),
            )
        if not told:
            return
        self._meter.acted(kind=item.target, result=state)
        if state in ("refused", "failed"):
            _log.warning("action.refused", stream_id=item.stream_id, trace_id=item.trace_id, hit_id=item.key, kind=item.target, state=state, says=detail)
        else:
            _log.info("action.told", stream_id=item.stream_id, trace_id=item.trace_id, hit_id=item.key, kind=item.target, state=state, says=detail)
