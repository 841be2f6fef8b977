"""`earmark streams list --watch`: who listens to what, again and again, until Ctrl-C.

On a terminal a table that is drawn over itself, if Rich is there (the extra `desk`); else lines, a block for each look. With
`--json` one object for each look. Whatever strangers named is made harmless before it is shown.
"""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from earmark import postgres
from earmark.control.overview import ROWS_MAX, Overview, Row, Wanted, Worker, look
from earmark.errors import DatabaseUnavailable
from earmark.hits.text import clock_time, counted, one_line, rfc3339, shown
from earmark.local.desk import opened
from earmark.local.terminal import can_draw
from earmark.settings import Settings

#: Lines of one look where nobody says how high the terminal is.
LINES_MAX: Final = 50
#: A database that does not answer within this is away, whatever the settings allow.
ANSWER_S: Final = 3.0
_TICK_S: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What is shown: the last answer of the database, and why there is none since."""

    overview: Overview
    #: Empty: it is of now.
    away: str = ""
    #: Seconds since there was an answer.
    old_s: float = 0.0


class Display(Protocol):
    def rows(self) -> int:
        """Streams that there is room for."""
        ...

    def show(self, look: Look) -> None: ...


def watch_streams(wanted: Wanted, *, every_s: float, as_json: bool, settings: Settings) -> int:
    """Until Ctrl-C, its ordinary end: then 0. Raises DatabaseUnavailable if the database is away at the beginning."""
    # Who watches wants to know soon that there is no answer.
    hasty = {name: min(getattr(settings.database, name), ANSWER_S) for name in ("connect_timeout_s", "statement_timeout_s")}
    settings = settings.model_copy(update={"database": settings.database.model_copy(update=hasty)})
    with opened(None, settings) as pool, _resizes() as size, _display(as_json=as_json) as display, suppress(KeyboardInterrupt):
        _watch(pool, wanted, display, size, every_s=every_s, ttl_s=settings.leases.ttl_s)
    return 0


def _watch(pool: postgres.Pool, wanted: Wanted, display: Display, size: "_Size", *, every_s: float, ttl_s: float) -> None:
    last: Overview | None = None
    answered_at = time.monotonic()
    while True:
        try:
            last, away = look(pool, wanted, rows_max=display.rows(), ttl_s=ttl_s), ""
            answered_at = time.monotonic()
        except DatabaseUnavailable as error:
            if last is None:
                raise
            away = str(error)
        display.show(Look(overview=last, away=away, old_s=time.monotonic() - answered_at))
        size.wait(every_s)


class _Size:
    """Waits that end when the terminal has another size. A handler of signals may take no lock: it only leaves a mark."""

    def __init__(self) -> None:
        self._changed = False

    def change(self, *_: object) -> None:
        self._changed = True

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._changed and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _TICK_S))
        self._changed = False


@contextmanager
def _resizes() -> Iterator[_Size]:
    size = _Size()
    before = signal.signal(signal.SIGWINCH, size.change)
    try:
        yield size
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def _display(*, as_json: bool) -> Iterator[Display]:
    if as_json or not can_draw():
        yield Lines(as_json=as_json)
        return
    from earmark.local.overview_screen import Screen

    with Screen() as screen:
        yield screen


# ------------------------------------------------------------------------------------------------ in words


class Lines:
    """A block of lines, or a line of JSON, for each look."""

    def __init__(self, *, as_json: bool, write: Callable[[str], object] | None = None) -> None:
        self._as_json = as_json
        self._write = write or (lambda text: print(text, flush=True))

    def rows(self) -> int:
        return ROWS_MAX if self._as_json else max(1, shutil.get_terminal_size((80, LINES_MAX)).lines - 4)

    def show(self, look: Look) -> None:
        if self._as_json:
            self._write(json.dumps(as_document(look)))  # in ASCII: a terminal may be what reads it
            return
        lines = (*heading(look), *(_line(row) for row in look.overview.rows), *more(look.overview))
        self._write("".join(f"{shown(line)}\n" for line in lines))


def as_document(look: Look) -> dict[str, Any]:
    """One look, for machines: times are UTC, what ends in _s is seconds; `away`: why what is told is `old_s` old."""
    return asdict(look.overview) | {"at": rfc3339(look.overview.at), "away": look.away, "old_s": round(look.old_s, 3)}


def heading(look: Look) -> list[str]:
    """The fleet in two lines; a third before them where the database is away."""
    overview = look.overview
    lines = [f"the database is away: what is shown is {clock_time(look.old_s)} old. {one_line(look.away, 300)}"] if look.away else []
    waits = {"wanted": f" ({clock_time(overview.oldest_wait_s)})"} if overview.oldest_wait_s >= 1 else {}
    states = [f"{overview.states[state]:,} {said}{waits.get(state, '')}" for state, said in _STATES.items() if state in overview.states]
    trouble = f", {overview.troubled:,} in trouble" if overview.troubled else ""
    said = f": {', '.join(states)}" if states else ""
    return [*lines, f"{overview.at:%H:%M:%S}Z  {counted(overview.streams, 'stream')}{trouble}{said}", fleet(overview)]


_STATES: Final = {"running": "heard", "wanted": "waiting", "quarantined": "quarantined", "ended": "ended"}


def fleet(overview: Overview, *, named_max: int = 8) -> str:
    """Who is there, who is gone, and how much each has."""
    if not overview.workers:
        return "no worker: nobody listens; `earmark run` starts one"
    gone = sum(worker.gone for worker in overview.workers)
    named = ", ".join(_worker(worker) for worker in overview.workers[:named_max])
    rest = f", {overview.workers_in_all - named_max:,} more" if overview.workers_in_all > named_max else ""
    return f"{counted(overview.workers_in_all - gone, 'worker')}{f', {gone:,} gone' if gone else ''}: {named}{rest}"


def _worker(worker: Worker) -> str:
    name = one_line(worker.name, 40)
    if worker.gone:
        return f"{name} gone for {clock_time(worker.seen_s_ago)}"
    return f"{name} {worker.sessions:,}{'' if worker.room else ' (full)'}"


def more(overview: Overview) -> list[str]:
    """What is not shown, counted."""
    left_out = overview.streams - len(overview.rows)
    if left_out <= 0:
        return []
    troubled = overview.troubled - sum(bool(row.trouble) for row in overview.rows)
    return [f"and {left_out:,} more, {f'{troubled:,} of them' if troubled > 0 else 'none'} in trouble"]


def name_of(row: Row) -> str:
    """The name of its channel says more than an id, where there is one."""
    name, stream_id = one_line(row.channel_name, 60), one_line(row.stream_id, 130)
    return f"{name} {stream_id}" if name and row.source not in ("hls", "radio") else stream_id


def state_of(row: Row) -> str:
    """In one word; a stream that fails and waits for its next run says when that is."""
    return {"fails": "fails", "lost": "lost", "waits": "waits", "silent": "silent", "quarantined": "quarantine"}.get(
        row.trouble, {"running": "heard", "wanted": "waits"}.get(row.state, row.state)
    )


def lag_of(row: Row) -> str:
    """Behind the wall clock, or since something was last put on record; for a stream that nobody hears, since when."""
    lag_s = row.lag_s if row.lag_s is not None else row.heard_s_ago
    if not row.owner and row.state == "wanted":
        lag_s = row.waits_s
    return "" if lag_s is None or row.state == "ended" else f"{lag_s:.1f} s" if 0 <= lag_s < 10 else f"{lag_s:.0f} s" if abs(lag_s) < 100 else clock_time(lag_s)


def coverage_of(row: Row) -> str:
    """Share of its media that was heard, never rounded up to all."""
    if row.position_s <= 0:
        return ""
    share = min(1.0, row.heard_s / row.position_s)
    return "100%" if row.position_s - row.heard_s < 0.01 else f"{min(share * 100, 99.9):.1f}%"


def says(row: Row) -> str:
    """What is the matter, if anything is; else what is played."""
    others = f" (and {row.plays - 1} more)" if row.plays > 1 else ""
    playing = f"♪ {one_line(row.playing, 120)}{others}" if row.playing else ""
    error = one_line(row.last_error, 200) if row.trouble or not playing else ""
    return "  ".join(part for part in (error, playing) if part)


def _line(row: Row) -> str:
    parts = (name_of(row), state_of(row), one_line(row.owner, 60), f"lag {lag}" if (lag := lag_of(row)) else "", _heard(row), says(row))
    return "  ".join(part for part in parts if part)


def _heard(row: Row) -> str:
    return f"heard {coverage_of(row)} of {clock_time(row.position_s)}" if row.position_s > 0 else ""
