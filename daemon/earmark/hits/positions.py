"""Where the sessions of a worker are, on record once a second: one statement for all of them.

Most pieces of media change nothing but a stream's position. A transaction for each would be half of what PostgreSQL does
for a stream, and one statement for all of them is a tenth of that (100 at once: 19 us of the client, 10 us of the server
each). What else changes is on record at once, by the session's own transaction; here the newest position of a stream
counts, and only if nobody has put a newer one on record meanwhile.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from earmark.errors import LeaseLost, Transient
from earmark.fingerprint.kept import Group
from earmark.hits import kept
from earmark.model import Checkpoint
from earmark.postgres import Pool, statement

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Position:
    fencing: int
    position_s: float
    checkpoint: str
    #: What was heard up to there and may not be on record, kept for hunts.
    groups: Sequence[Group] = ()


class Positions:
    """For the sessions of one worker, on as many threads; `start` it, and `close` it when they are over."""

    def __init__(self, *, pool: Pool, worker: str, every_s: float = 1.0) -> None:
        self._pool, self._worker, self._every_s = pool, worker, every_s
        self._lock = threading.Lock()
        self._pending: dict[str, _Position] = {}
        #: What became of a stream's last position: up to where it is on record, or why it is not.
        self._saved_s: dict[str, float] = {}
        self._refused: dict[str, Exception] = {}
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="positions", daemon=True)

    def start(self) -> "Positions":
        self._thread.start()
        return self

    def close(self, *, limit_s: float = 5.0) -> None:
        """What has not been written by now is not: whoever wants it on record commits it."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)

    def put(self, stream_id: str, fencing: int, checkpoint: Checkpoint, groups: Sequence[Group] = ()) -> float:
        """Note where a stream is, and what was kept of it up to there; up to where it is on record by now (0: that is not known).

        Raises LeaseLost when the fencing token turned out not to be ours, and what this stream's position failed of
        otherwise, if that will not pass.
        """
        position = _Position(fencing, checkpoint.position_s, checkpoint.to_json(), groups)
        with self._lock:
            if refused := self._refused.pop(stream_id, None):
                raise refused
            self._pending[stream_id] = position
            return self._saved_s.get(stream_id, 0.0)

    def forget(self, stream_id: str) -> None:
        """The session puts itself on record; whatever is under way here is older."""
        with self._lock:
            for of in (self._pending, self._saved_s, self._refused):
                of.pop(stream_id, None)

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.write()

    def write(self) -> None:
        """Put on record what was noted; what fails for now is tried again, unless there is news of the stream by then."""
        with self._lock:
            noted, self._pending = self._pending, {}
        if not noted:
            return
        try:
            self._write(noted)
        except Transient as error:
            with self._lock:
                self._pending = noted | self._pending
            if not self._failing:
                _log.warning("positions.failed", streams=len(noted), reason=str(error))
            self._failing = True
            return
        self._failing = False

    def _write(self, noted: Mapping[str, _Position]) -> None:
        try:
            held = self._update(noted)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 -- of one of them, which must not cost the others: its session is told, and ends
            if len(noted) > 1:
                for stream_id, position in noted.items():
                    self._write({stream_id: position})
                return
            with self._lock:
                self._refused.update(dict.fromkeys(noted, error))
            return
        with self._lock:
            for stream_id, position in noted.items():
                if held[stream_id]:
                    self._saved_s[stream_id] = position.position_s
                else:
                    self._refused[stream_id] = LeaseLost(
                        f"the stream {stream_id} is not {self._worker}'s any more (fencing {position.fencing}): this session stops and publishes nothing"
                    )

    def _update(self, noted: Mapping[str, _Position]) -> dict[str, bool]:
        """Whether each is still ours."""
        columns = {
            "worker": self._worker,
            "ids": list(noted),
            "fencings": [position.fencing for position in noted.values()],
            "positions": [position.position_s for position in noted.values()],
            "checkpoints": [position.checkpoint for position in noted.values()],
        }
        groups = {stream_id: position.groups for stream_id, position in noted.items() if position.groups}
        with statement(self._pool) as connection:
            if groups:
                return dict(connection.execute(_UPDATE_AND_KEEP, columns | kept.columns(groups)).fetchall())
            return dict(connection.execute(_UPDATE, columns).fetchall())


_NOTED = """
with noted as (
  select * from unnest(%(ids)s::text[], %(fencings)s::bigint[], %(positions)s::float8[], %(checkpoints)s::text[])
             as noted (stream_id, fencing, position_s, checkpoint)),
written as (
  update stream s set checkpoint = noted.checkpoint::jsonb, heard_at = now() from noted
   where s.stream_id = noted.stream_id and s.owner = %(worker)s and s.fencing = noted.fencing
     and coalesce((s.checkpoint->>'position_s')::float8, -1) < noted.position_s
  returning s.stream_id)"""
_HELD = """
select noted.stream_id, coalesce(s.owner = %(worker)s and s.fencing = noted.fencing, false)
  from noted left join stream s on s.stream_id = noted.stream_id"""
_UPDATE = _NOTED + _HELD
_UPDATE_AND_KEEP = f"{_NOTED}, {kept.WITH_POSITIONS}{_HELD}"
