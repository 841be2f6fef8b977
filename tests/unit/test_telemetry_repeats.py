"""In a storm the log stays short and nothing is lost in count: what repeats itself is told some times, then counted."""

import io
import json
import logging
import time
from collections import Counter
from itertools import pairwise

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from earmark.telemetry import configure_logging
from earmark.telemetry.logs import Storm
from earmark.telemetry.repeats import Repeats

TIMES, WINDOW_S = 3, 60.0

#: Which event, about which stream, and how long after the one before.
LINES = st.lists(st.tuples(st.sampled_from(["playlist.failed", "segment.missed"]), st.sampled_from(["", "st-1", "st-2"]), st.floats(0, 100)), max_size=120)


def _written(repeats, lines):
    """All that is written of them, the end included, with the moment."""
    now_s, written = 0.0, []
    for number, (event, stream_id, pause_s) in enumerate(lines):
        now_s += pause_s
        line = {"event": event, "stream_id": stream_id, "number": number, "timestamp": now_s}
        told, passes = repeats.take(line, now_s)
        written += [(now_s, one) for one in told]
        if passes:
            written.append((now_s, line))
    return [*written, *((now_s, one) for one in repeats.rest())]


def _key(line):
    return line["event"], line["stream_id"]


@given(LINES)
def test_nothing_is_lost_in_count(lines):
    told = Counter[tuple[str, str]]()
    for _, line in _written(Repeats(times_max=TIMES, window_s=WINDOW_S), lines):
        told[_key(line)] += line.get("repeated", 1)
    assert told == Counter((event, stream_id) for event, stream_id, _ in lines)


@given(LINES)
def test_the_first_and_the_last_of_each_are_told_and_all_in_order(lines):
    by_key = {}
    for _, line in _written(Repeats(times_max=TIMES, window_s=WINDOW_S), lines):
        by_key.setdefault(_key(line), []).append(line)
    for key, told in by_key.items():
        numbers = [number for number, (event, stream_id, _) in enumerate(lines) if (event, stream_id) == key]
        said = [line["number"] for line in told]
        assert said == sorted(set(said))
        assert "repeated" not in told[0]
        assert (said[0], said[-1]) == (numbers[0], numbers[-1])


@given(LINES)
def test_of_one_thing_no_more_than_so_many_a_minute_and_one_that_counts(lines):
    by_key = {}
    for now_s, line in _written(Repeats(times_max=TIMES, window_s=WINDOW_S), lines):
        by_key.setdefault(_key(line), []).append((now_s, line))
    for told in by_key.values():
        plain = [now_s for now_s, line in told if "repeated" not in line]
        for begin_s in plain:  # a window begins with the first line after the one before it: two may meet
            assert sum(begin_s <= now_s < begin_s + WINDOW_S for now_s in plain) <= 2 * TIMES
        counted = [now_s for now_s, line in told[:-1] if "repeated" in line]
        assert all(later - earlier >= WINDOW_S for earlier, later in pairwise(counted))


@given(LINES, st.integers(1, 4))
def test_memory_is_bounded_and_what_is_forgotten_is_told_before(lines, runs_max):
    repeats = Repeats(times_max=TIMES, window_s=WINDOW_S, runs_max=runs_max)
    now_s, told = 0.0, 0
    for event, stream_id, pause_s in lines:
        now_s += pause_s
        more, passes = repeats.take({"event": event, "stream_id": stream_id}, now_s)
        told += sum(line["repeated"] for line in more) + passes
        assert len(repeats._runs) <= runs_max
    assert told + sum(line["repeated"] for line in repeats.rest()) == len(lines)


@given(LINES, st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_a_clock_that_goes_where_it_likes_loses_nothing(lines, moments):
    repeats, told = Repeats(times_max=TIMES), 0
    for (event, stream_id, _), now_s in zip(lines, moments, strict=False):
        more, passes = repeats.take({"event": event, "stream_id": stream_id}, now_s)
        told += sum(line["repeated"] for line in more) + passes
    assert told + sum(line["repeated"] for line in repeats.rest()) == min(len(lines), len(moments))


def test_three_hundred_streams_that_fail_every_second_write_one_line_a_minute_each_after_the_first():
    repeats, minutes = Repeats(times_max=5), Counter[int]()
    for second in range(600):
        for stream in range(300):
            told, passes = repeats.take({"event": "session.failed", "stream_id": f"st-{stream}"}, float(second))
            minutes[second // 60] += len(told) + passes
    assert minutes[0] == 1_500  # of 18,000
    assert all(minutes[minute] == 300 for minute in range(1, 10))


def test_a_stream_that_has_calmed_down_is_told_at_once_again():
    repeats = Repeats(times_max=2)
    storm = [repeats.take({"event": "e"}, n / 10)[1] for n in range(600)]
    assert sum(storm) == 2
    (told,) = repeats.due(60.0)
    assert told["repeated"] == 598
    assert repeats.due(120.0) == []  # a minute without one
    assert repeats.take({"event": "e"}, 121.0) == ([], True)


# ---------------------------------------------------------------------------------------------------- on its way out


@pytest.fixture
def out():
    written = io.StringIO()
    yield written
    structlog.contextvars.clear_contextvars()


def _lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_storm_is_counted_by_stream_and_the_rest_is_told_at_the_end(out):
    configure_logging(style="json", repeats_max=2, stream=out)
    log = structlog.get_logger()
    for stream_id in ("st-1", "st-2"):
        with structlog.contextvars.bound_contextvars(stream_id=stream_id, trace_id=f"of-{stream_id}"):
            for number in range(1_000):
                log.warning("segment.missed", sequence=number)
    assert len(_lines(out)) == 4
    logging.root.handlers[-1].close()  # as `logging.shutdown` does when a process ends
    told = {line["stream_id"]: line for line in _lines(out)[4:]}
    assert {stream_id: (line["repeated"], line["sequence"], line["trace_id"]) for stream_id, line in told.items()} == {
        "st-1": (998, 999, "of-st-1"),
        "st-2": (998, 999, "of-st-2"),
    }
    assert all(line["repeated_since"] < line["timestamp"] for line in told.values())


def test_bugs_work_and_what_is_asked_for_when_debugging_are_never_held_back(out):
    configure_logging(level="debug", style="json", repeats_max=1, stream=out)
    log = structlog.get_logger()
    for _ in range(10):
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            log.exception("session.crashed")
        log.info("play.told", hit_id="h")
        log.debug("message.ignored", kind="k")
        log.warning("playlist.failed", why="it is down")
    events = Counter(line["event"] for line in _lines(out))
    assert events == {"session.crashed": 10, "play.told": 10, "message.ignored": 10, "playlist.failed": 1}


def test_the_end_of_a_storm_is_told_though_nothing_is_said_any_more():
    written = []
    storm = Storm(Repeats(times_max=1, window_s=0.05), write=written.append)
    lines = [{"event": "playlist.failed", "level": "warning", "number": n} for n in range(5)]
    assert [storm.passes(line) for line in lines] == [True, False, False, False, False]
    deadline = time.monotonic() + 5
    while not written and time.monotonic() < deadline:
        time.sleep(0.01)
    (told,) = written
    assert (told["number"], told["repeated"]) == (4, 4)


def test_a_line_that_is_written_while_another_one_is_counted_is_let_through():
    """A warning of something that the collector destroys just then, in the same thread."""

    class Collected(Repeats):
        def take(self, line, now_s, *, event=""):
            if line["event"] == "outer":
                assert storm.passes({"event": "inner", "level": "warning"})
            return super().take(line, now_s, event=event)

    storm = Storm(Collected(times_max=1), write=lambda line: None)
    assert storm.passes({"event": "outer", "level": "warning"})
    assert storm.passes({"event": "inner", "level": "warning"})  # it was not counted
    assert not storm.passes({"event": "inner", "level": "warning"})
    storm.rest()


def test_what_libraries_repeat_is_counted_by_its_pattern(out):
    configure_logging(style="json", repeats_max=2, stream=out)
    for number in range(50):
        logging.getLogger("boto3").warning("attempt %d", number)
    assert [line["event"] for line in _lines(out)] == ["attempt 0", "attempt 1"]
    logging.root.handlers[-1].close()
    last = _lines(out)[-1]
    assert (last["event"], last["repeated"], last["logger"], last["level"]) == ("attempt 49", 48, "boto3", "warning")


def test_the_limit_can_be_taken_off(out):
    configure_logging(style="json", repeats_max=0, stream=out)
    for _ in range(100):
        structlog.get_logger().warning("playlist.failed", why="it is down")
    assert len(_lines(out)) == 100


def test_what_is_told_later_reads_as_any_other_line_to_people(out):
    configure_logging(style="console", repeats_max=1, stream=out)
    for number in range(3):
        structlog.get_logger().warning("segment.missed", sequence=number)
    logging.root.handlers[-1].close()
    first, last = out.getvalue().splitlines()
    assert "segment.missed" in first and "segment.missed" in last
    assert "repeated=2" in last and "sequence=2" in last
