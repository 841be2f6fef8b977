"""Log lines: one JSON object each for machines, one readable line each for people, nothing secret in a traceback."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from earmark.telemetry import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_for_machines_is_one_json_object_with_time_level_and_context(out: io.StringIO):
    configure_logging(style="json", stream=out)
    structlog.contextvars.bind_contextvars(stream_id="st-1")
    structlog.get_logger().info("play.opened", track_id="t-1", title="Über\nalles")
    (line,) = _lines(out)
    assert {key: value for key, value in line.items() if key != "timestamp"} == {
        "event": "play.opened",
        "level": "info",
        "stream_id": "st-1",
        "track_id": "t-1",
        "title": "Über\nalles",
    }
    assert datetime.fromisoformat(str(line["timestamp"])).utcoffset() == timedelta(0)
    assert str(line["timestamp"]).endswith("Z")


def test_lines_of_libraries_take_the_same_way_from_warning_on_but_neither_addresses_nor_repetitions(out: io.StringIO):
    configure_logging(style="json", stream=out)
    logging.getLogger("botocore.credentials").info("found some")
    logging.getLogger("urllib3").warning("retrying %s", "https://host/?token=secret")
    logging.getLogger("psycopg.pool").warning("error connecting, once more")
    logging.getLogger("botocore").warning("retrying %s", "x")
    (line,) = _lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("retrying x", "warning", "botocore")


def test_when_debugging_libraries_are_heard_too_but_for_those_that_print_keys(out: io.StringIO):
    configure_logging(level="debug", style="json", stream=out)
    logging.getLogger("tenacity").debug("detail")
    logging.getLogger("botocore.endpoint").debug("X-Amz-Security-Token: %s", "secret")
    assert [line["event"] for line in _lines(out)] == ["detail"]


def test_lines_below_the_level_are_not_made(out: io.StringIO):
    configure_logging(level="warning", style="json", stream=out)
    log = structlog.get_logger()
    log.info("small")
    log.warning("large")
    assert [line["event"] for line in _lines(out)] == ["large"]


def test_warnings_of_python_become_lines(out: io.StringIO):
    configure_logging(style="json", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = _lines(out)
    assert line["logger"] == "py.warnings"
    assert "old way" in str(line["event"])


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_tells_where_but_not_the_values(style, out: io.StringIO):
    configure_logging(style=style, stream=out)

    def connect() -> None:
        password = "hunter2".upper()
        raise ConnectionError(f"refused after {len(password)} tries")

    try:
        connect()
    except ConnectionError:
        structlog.get_logger().exception("database.lost")
    assert "refused after 7 tries" in out.getvalue()
    assert "in connect" in out.getvalue()
    assert "HUNTER2" not in out.getvalue()
    if style == "json":
        assert len(_lines(out)) == 1


def test_auto_writes_for_people_on_a_terminal_and_json_otherwise(out: io.StringIO):
    terminal = Terminal()
    configure_logging(stream=terminal)
    structlog.get_logger().info("play.opened", track_id="t-1")
    assert "play.opened" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    configure_logging(stream=out)
    structlog.get_logger().info("play.opened", track_id="t-1")
    assert [line["track_id"] for line in _lines(out)] == ["t-1"]


def test_logs_do_not_mix_with_a_commands_output(capsys: pytest.CaptureFixture[str]):
    configure_logging(style="json")
    structlog.get_logger().info("play.opened")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "play.opened" in captured.err
