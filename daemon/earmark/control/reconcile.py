"""What events forgot: IVS sends them at best effort, so that they can be missing, hours late, or out of order.

Every worker runs the loop and no one leads: whose turn a sweep is, the database says, once per interval.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

import structlog

from earmark.control import traces, wanted
from earmark.control.patience import Patience
from earmark.postgres import Connection, Pool, transaction
from earmark.settings import Reconcile as ReconcileSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveStream:
    """A stream that IVS lists as live."""

    stream_id: str
    channel_arn: str
    started_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What a sweep put right, by stream_id."""

    adopted: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def swept(self, *, adopted: int, reopened: int, stopped: int) -> None: ...
    def sweep_failed(self) -> None: ...


class Reconcile:
    """Sweeps once per interval, on one worker at a time. Without `list_live` only the inbox is put in order, and what `others` do."""

    def __init__(
        self,
        *,
        pool: Pool,
        list_live: Callable[[], Sequence[LiveStream]] | None,
        settings: ReconcileSettings,
        meter: Meter,
        stop: threading.Event,
        others: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    ) -> None:
        """`others`: further sweeps, by name, each of which takes turns of its own (`medialive.ChannelSweep.sweep`)."""
        self._pool = pool
        self._list_live = list_live
        self._settings = settings
        self._meter = meter
        self._stop = stop
        self._sweeps: Mapping[str, Callable[[], object]] = {"streams": self.sweep, **others}
        self._patience = Patience(event="sweep.failed", of="sweep", failed=meter.sweep_failed)
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Sweep until `stop`. What fails is logged when it begins to, counted each time, and tried again in its next turn.

        One sweep that fails, because the role may not do what it takes, keeps no other from it.
        """
        while not self._stop.is_set():
            for name, sweep in self._sweeps.items():
                self._patience.call(name, sweep)
            self._stop.wait(self._settings.every_s)

    def sweep(self) -> Swept | None:
        """Put right what is wrong; None if it is another worker's turn.

        Raises AwsUnavailable, AwsRefused or DatabaseUnavailable, having changed nothing of any stream.
        """
        with transaction(self._pool) as connection:
            if not take_turn(connection, "streams", self._settings.every_s):
                return None
            # Before IVS is asked, which not every account may do, nor every region has.
            wanted.collect(connection)
        live = self._list_live() if self._list_live else None
        with transaction(self._pool) as connection:
            swept = Swept() if live is None else agree(connection, live, adopt=self._settings.adopt, every_s=self._settings.every_s)
            named = traces.of(connection, (*swept.adopted, *swept.reopened, *swept.stopped))
        self._meter.swept(adopted=len(swept.adopted), reopened=len(swept.reopened), stopped=len(swept.stopped))
        for event, stream_ids in (("stream.adopted", swept.adopted), ("stream.reopened", swept.reopened), ("stream.missed", swept.stopped)):
            for stream_id in stream_ids:
                self._log.warning(event, **named[stream_id])
        return swept


def take_turn(connection: Connection, kind: str, every_s: float) -> bool:
    """Is it on us to sweep now? One worker of all gets a True per interval, by the database's clock."""
    mine = connection.execute(
        """
        insert into sweep (kind, swept_at) values (%(kind)s, now())
        on conflict (kind) do update set swept_at = now() where sweep.swept_at <= now() - 0.9 * make_interval(secs => %(every_s)s)
        returning kind""",
        {"kind": kind, "every_s": every_s},
    ).fetchone()
    return mine is not None


def agree(connection: Connection, live: Sequence[LiveStream], *, adopt: bool, every_s: float) -> Swept:
    """The rows of IVS streams agree with what IVS lists: forgotten ones are opened, unlisted ones stopped.

    A stream is stopped by the second sweep that misses it, not by the first: the list was made a moment ago, and the
    stream may be younger. One that ended here although it is live (a stall that looked like an end) is opened again.
    """
    ids = [stream.stream_id for stream in live]
    adopted = _adopt(connection, live) if adopt else ()
    reopened = _reopen(connection, ids, every_s) if adopt else ()
    stopped = _stop_unlisted(connection, ids, every_s)
    for stream_id in stopped:
        wanted.notify(connection, stream_id)
    if adopted or reopened:
        wanted.notify(connection)
    return Swept(adopted=adopted, reopened=reopened, stopped=stopped)


def _adopt(connection: Connection, live: Sequence[LiveStream]) -> tuple[str, ...]:
    rows = connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, started_at, wanted_at)
        select stream_id, 'ivs', channel_arn, started_at, now()
          from unnest(%s::text[], %s::text[], %s::timestamptz[]) as live (stream_id, channel_arn, started_at)
         order by stream_id
        on conflict (stream_id) do update
           set wanted_at = now(), started_at = excluded.started_at, not_before = now() where stream.wanted_at is null
        returning stream_id""",
        [[stream.stream_id for stream in live], [stream.channel_arn for stream in live], [stream.started_at for stream in live]],
    )
    return tuple(stream_id for (stream_id,) in rows)


def _reopen(connection: Connection, ids: Sequence[str], every_s: float) -> tuple[str, ...]:
    rows = connection.execute(
        """
        update stream set state = 'wanted', ended_at = null, end_reason = null, attempts = 0, failures = 0, not_before = now()
         where stream_id = any(%s) and state = 'ended' and stop_at is null and end_reason in ('not_live', 'silent_origin', 'endlist')
           and ended_at <= now() - make_interval(secs => %s)
        returning stream_id""",
        [list(ids), every_s],
    )
    return tuple(stream_id for (stream_id,) in rows)


def _stop_unlisted(connection: Connection, ids: Sequence[str], every_s: float) -> tuple[str, ...]:
    connection.execute("update stream set unlisted_at = null where stream_id = any(%s) and unlisted_at is not null", [list(ids)])
    rows = connection.execute(
        """
        update stream
           set stop_at = case when unlisted_at <= now() - make_interval(secs => 0.5 * %(every_s)s) then now() end,
               stop_reason = case when unlisted_at <= now() - make_interval(secs => 0.5 * %(every_s)s) then 'not_listed' end,
               unlisted_at = coalesce(unlisted_at, now())
         where source in ('ivs', 'recording') and state in ('wanted', 'running') and wanted_at is not null and stop_at is null and not stream_id = any(%(ids)s)
        returning stream_id, stop_at""",
        {"ids": list(ids), "every_s": every_s},
    )
    return tuple(stream_id for stream_id, stop_at in rows if stop_at is not None)
