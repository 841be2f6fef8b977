"""Log lines: structlog's and the standard library's, one way out. Set up once per process, by the command line.

merge context ─▶ level ─▶ time ─▶ Storm (what repeats itself is counted) ─▶ JSON, or words for people
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Literal, TextIO, TypeAlias

import structlog

from earmark.telemetry.events import EACH
from earmark.telemetry.repeats import Line, Repeats

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

#: Times that an event about one stream is written in a minute, where the settings do not say: `log.repeats_max`.
REPEATS_MAX: Final = 5
#: Held for microseconds. Whoever waits longer has it already: the collector may run there, and what it destroys may warn.
_LOCKED_S: Final = 0.5


def configure_logging(
    *,
    level: Level = "info",
    style: Literal["auto", "console", "json"] = "auto",
    repeats_max: int = REPEATS_MAX,
    stream: TextIO | None = None,
) -> None:
    """Send structlog's lines and those of the standard library to `stream` (default: standard error), one line each.

    Standard error, because standard output belongs to what a command was asked for. `auto` writes for people on a
    terminal and JSON otherwise. What libraries say below "warning" is only of interest when debugging. `repeats_max`:
    so often is one event about one stream written in a minute, before the rest is counted; 0: always.
    """
    out = stream or sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: the pretty ones print local variables, and a DSN with its password is one.
    end: list[structlog.typing.Processor]
    if console:
        end = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    else:
        end = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    writer = structlog.WriteLogger(out)
    storm = Storm(Repeats(times_max=repeats_max), write=lambda line: writer.msg(_rendered(end, line))) if repeats_max else None
    structlog.configure(
        processors=[*shared, *([storm] if storm else []), *end],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = _Way(out, storm)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
        )
    )
    logging.basicConfig(handlers=[handler], level=number if level == "debug" else max(number, logging.WARNING), force=True)
    # They log paths and queries, and with them playback tokens; headers, and with them a session token; and the bodies of answers.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    for name in ("botocore", "boto3", "s3transfer"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It repeats for each connection, with every attempt, what whoever waits for one says once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def _rendered(end: Iterable[structlog.typing.Processor], line: Line) -> str:
    out: Any = line
    for processor in end:
        out = processor(None, str(line.get("level")), out)
    return str(out)


class Storm:
    """A structlog processor, behind that of the time: holds back what repeats itself too often, and says later how often it did.

    Not what has a traceback, which is a bug and told each time; not what `events` says is told each time, because it is no
    failure but work; not what is only made for whoever looks for a fault. From any thread.
    """

    def __init__(self, repeats: Repeats, *, write: Callable[[Line], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._repeats, self._write, self._clock = repeats, write, clock
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __call__(self, _logger: object, _method: str, line: Line) -> Line:
        """Raises structlog.DropEvent for what is held back."""
        if not self.passes(line):
            raise structlog.DropEvent
        return line

    def passes(self, line: Line, *, event: str = "") -> bool:
        """`event`: by what it is counted, where that is not what the line says."""
        if line.get("exc_info") or line.get("level") == "debug" or line.get("event") in EACH:
            return True
        if not self._lock.acquire(timeout=_LOCKED_S):
            return True
        try:
            told, passes = self._repeats.take(line, self._clock(), event=event)
            if not passes:
                self._see_to_it()
        finally:
            self._lock.release()
        self._tell(told)
        return passes

    def rest(self) -> None:
        """Say what is held back, now: this is the end."""
        with self._lock:
            told = self._repeats.rest()
            if self._timer:
                self._timer.cancel()
                self._timer = None
        self._tell(told)

    def _tell(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._write(line)

    def _see_to_it(self) -> None:
        """The end of a storm is told when nobody says anything any more, too. With the lock held."""
        if self._timer is not None or (wait_s := self._repeats.due_in_s(self._clock())) is None:
            return
        timer = threading.Timer(wait_s, self._due)
        timer.name, timer.daemon = "log", True
        try:
            timer.start()
        except RuntimeError:  # no more threads: it is told with the next line, or at the end
            return
        self._timer = timer

    def _due(self) -> None:
        with self._lock:
            told, self._timer = self._repeats.due(self._clock()), None
            self._see_to_it()
        with suppress(ValueError):  # the way out was closed meanwhile: nobody is left to tell
            self._tell(told)


class _Way(logging.StreamHandler[TextIO]):
    """The way out of what libraries say; when `logging` closes it, at the process's end, what is held back is said."""

    def __init__(self, out: TextIO, storm: Storm | None) -> None:
        super().__init__(out)
        self._storm = storm
        if storm:
            self.addFilter(lambda record: _passes(record, storm))

    def close(self) -> None:
        if self._storm and not self.stream.closed:
            self._storm.rest()
        super().close()


def _passes(record: logging.LogRecord, storm: Storm) -> bool:
    """A library's line is counted by its pattern: what it says is another number each time."""
    line: Line = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name, "exc_info": record.exc_info}
    line.update(structlog.contextvars.get_contextvars())
    return storm.passes(structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", line), event=f"{record.name} {record.msg}")
