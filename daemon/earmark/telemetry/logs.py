"""Log lines: structlog's and the standard library's, one way out. Set up once per process, by the command line."""

import logging
import sys
from typing import Literal, TextIO, TypeAlias

import structlog

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


def configure_logging(*, level: Level = "info", style: Literal["auto", "console", "json"] = "auto", stream: TextIO | None = None) -> None:
    """Send structlog's lines and those of the standard library to `stream` (default: standard error), one line each.

    Standard error, because standard output belongs to what a command was asked for. `auto` writes for people on a
    terminal and JSON otherwise. What libraries say below "warning" is only of interest when debugging.
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
    structlog.configure(
        processors=[*shared, *end],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
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
