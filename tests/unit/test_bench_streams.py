"""What measures live streams: the origin's window, the truth about hits, the reading of /proc, the clocks inside the daemon."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from bench.bench_streams import next_to_try
from bench.live_baseline import Baseline
from bench.live_media import MIXED
from bench.live_observing import LAG, Lag, _clocked, _clocking, _jobs_clocked, _spent, lags, stages, stream_id, stream_number
from bench.live_origin import Origin, Programme
from bench.live_processes import Stat, cores_busy_s, family, kind, spent, stat, threads_cpu_s
from bench.live_programme import PROGRAMME_S, Part, plan
from bench.live_rows import Burst, Measured, rows
from bench.live_step import Step
from bench.live_truth import Listened, OnAir, Told, judge, on_air
from bench.live_window import Cut, Stream, playlist
from earmark.audio.follow import Follower
from earmark.audio.playlist import Master, MediaPlaylist, parse

EPOCH = 1_800_000_000.0
CUT = Cut(at_s=(0.0, 2.005, 4.01, 5.99, 8.0))
URL = "http://origin/c0/media.m3u8"


def stream(*, begin: float = EPOCH, first: int = 1) -> Stream:
    return Stream(number=0, programme=0, cut=CUT, begin=begin, first=first)


def listed(text: str) -> MediaPlaylist:
    found = parse(text, URL)
    assert isinstance(found, MediaPlaylist)
    return found


# ------------------------------------------------------------------------------------------------ the window


def test_a_segment_is_complete_when_its_last_sample_was_on_air() -> None:
    one = stream()
    assert one.begins_at(0) == EPOCH
    assert one.begins_at(1) == pytest.approx(EPOCH + 2.005)
    assert [one.complete(one.begins_at(n) - 0.01) for n in range(1, 9)] == list(range(8))
    assert [one.complete(one.begins_at(n)) for n in range(1, 9)] == list(range(1, 9))


def test_a_programme_goes_round_and_time_goes_on() -> None:
    one = stream(first=3)
    assert [one.segment(n) for n in range(6)] == [3, 0, 1, 2, 3, 0]
    assert [n for n in range(10) if one.is_break(n)] == [1, 5, 9]
    assert one.begins_at(5) - one.begins_at(1) == pytest.approx(CUT.duration_s)
    assert one.complete(EPOCH - 1) == 0


def test_the_window_slides_and_says_where_it_is() -> None:
    one = stream()
    for complete in range(1, 40):
        found = listed(playlist(one, complete, suffix=".ts"))
        numbers = [segment.sequence for segment in found.segments]
        assert numbers == list(range(max(0, complete - 6), complete))
        for segment in found.segments:
            assert segment.clock is not None
            assert segment.clock.timestamp() == pytest.approx(one.begins_at(segment.sequence), abs=1e-3)
            assert segment.duration_s == pytest.approx(one.begins_at(segment.sequence + 1) - one.begins_at(segment.sequence), abs=1e-5)
            assert segment.discontinuity == one.is_break(segment.sequence)


def test_breaks_are_counted_when_they_are_not_listed_any_more() -> None:
    """RFC 8216, section 6.2.2: a segment's discontinuity sequence is the same in every playlist that lists it."""
    one, seen = stream(first=2), dict[int, int]()
    for complete in range(1, 40):
        for segment in listed(playlist(one, complete, suffix=".ts")).segments:
            assert seen.setdefault(segment.sequence, segment.discontinuity_sequence) == segment.discontinuity_sequence
    assert sorted(set(seen.values())) == list(range(11))


def test_a_client_misses_nothing_and_hears_nothing_twice() -> None:
    one, follower, taken = stream(), Follower(late_s=20), list[int]()
    for complete in range(1, 30):
        follower.read(playlist(one, complete, suffix=".ts"), URL)
        while (item := follower.next()) is not None:
            taken.append(item.sequence)
    assert taken == list(range(29))


def test_no_two_streams_are_in_phase_and_all_have_a_full_window() -> None:
    streams = [Stream.of(number, [CUT, CUT, CUT], EPOCH) for number in range(300)]
    assert len({round(one.begin % 2, 4) for one in streams}) == 300
    assert all(one.complete(EPOCH) >= 6 for one in streams)
    assert {one.programme for one in streams} == {0, 1, 2}
    assert {one.first for one in streams} == {0, 1, 2, 3}


# ------------------------------------------------------------------------------------------------ the origin


@pytest.fixture
def origin() -> Origin:
    media = memoryview(b"headONEtwoTHREEfour")
    programme = Programme(media=media, offsets=(4, 7, 10, 15, 19), cut=CUT, attributes='BANDWIDTH=64000,CODECS="mp4a.40.2"', suffix=".m4s")
    return Origin([programme], EPOCH, now=lambda: EPOCH)


def test_an_origin_serves_what_its_playlists_list(origin: Origin) -> None:
    head, body = origin.answer("/c5/media.m3u8", b"")
    assert b"200 OK" in head
    one = Stream.of(5, [CUT], EPOCH)
    for segment in listed(bytes(body).decode()).segments:
        head, data = origin.answer(f"/c5/{segment.sequence}.m4s", b"")
        assert b"200 OK" in head
        assert bytes(data) == (b"ONE", b"two", b"THREE", b"four")[one.segment(segment.sequence)]
    assert bytes(origin.answer("/c5/init.mp4", b"")[1]) == b"head"
    assert isinstance(parse(bytes(origin.answer("/c5/master.m3u8", b"")[1]).decode(), URL), Master)


def test_a_playlist_that_has_not_changed_is_not_sent_again(origin: Origin) -> None:
    head, _ = origin.answer("/c0/media.m3u8", b"")
    etag = head.partition(b"ETag: ")[2].partition(b"\r\n")[0]
    assert origin.answer("/c0/media.m3u8", etag) == (b"HTTP/1.1 304 Not Modified\r\nETag: " + etag + b"\r\n\r\n", b"")
    assert b"200 OK" in origin.answer("/c0/media.m3u8", b'"another"')[0]


@pytest.mark.parametrize("path", ["/", "/c0/99999.m4s", "/c0/0.m4s/../x", "/x0/media.m3u8", "/c99999/media.m3u8", "/c0/x.m4s"])
def test_what_is_not_there_is_not_found(origin: Origin, path: str) -> None:
    assert b"404" in origin.answer(path, b"")[0]


def test_an_origin_tells_what_was_asked_and_how_old_it_was(origin: Origin) -> None:
    sequence = Stream.of(0, [CUT], EPOCH).complete(EPOCH) - 1
    origin.answer(f"/c0/{sequence}.m4s", b"")
    said = json.loads(bytes(origin.answer("/figures", b"")[1]))
    assert said["asked"]["segment"] == 1
    at, age = said["ages"]
    assert at == EPOCH
    assert 0 <= age < 2.1


# ------------------------------------------------------------------------------------------------ the programmes


def test_a_third_of_a_programme_is_music_of_the_catalogue() -> None:
    plans = [plan(number, len(MIXED)) for number in range(len(MIXED))]
    for parts in plans:
        assert parts[0].begin_s == 0
        assert all(one.end_s == other.begin_s for one, other in pairwise(parts))
        assert parts[-1].end_s == pytest.approx(PROGRAMME_S)
        assert 0.29 < sum(part.end_s - part.begin_s for part in parts if part.track_id) / PROGRAMME_S < 0.38
    tracks = [part.track_id for parts in plans for part in parts if part.track_id]
    assert len(set(tracks)) == len(tracks) == 2 * len(MIXED)
    assert {part.kind for parts in plans for part in parts} == {"music", "under talk", "stranger", "talk", "silence"}


# ------------------------------------------------------------------------------------------------ the truth


LONG = Cut(at_s=tuple(2.0 * n for n in range(51)))
PARTS = (
    Part(kind="talk", begin_s=0, end_s=20),
    Part(kind="music", begin_s=20, end_s=50, track_id="one"),
    Part(kind="under talk", begin_s=60, end_s=90, track_id="two"),
    Part(kind="talk", begin_s=90, end_s=100),
)
ONE = Stream(number=7, programme=0, cut=LONG, begin=EPOCH, first=5)


def told(track_id: str, begin_s: float, end_s: float | None, at_s: float) -> Told:
    return Told(stream=7, track_id=track_id, begin=EPOCH + begin_s, end=None if end_s is None else EPOCH + end_s, at=EPOCH + at_s)


def test_what_is_on_air_goes_round_with_the_programme() -> None:
    found = list(on_air(ONE, PARTS, EPOCH, EPOCH + 130))
    assert [(play.track_id, play.begin - EPOCH, play.end - EPOCH, play.clean) for play in found] == [
        ("one", 10, 40, True),
        ("two", 50, 80, False),
        ("one", 110, 140, True),
    ]
    assert all(isinstance(play, OnAir) and play.stream == 7 for play in found)


def heard(hits: list[Told], *, begin_s: float = 0, end_s: float = 100, windows: Sequence[tuple[float, float]] = ()):
    return judge({7: Listened(stream=ONE, parts=PARTS, begin=EPOCH + begin_s, end=EPOCH + end_s)}, hits, windows or [(EPOCH, EPOCH + 200)])


def test_hits_that_are_right() -> None:
    verdict = heard([told("one", 10.4, 39.5, 15.0), told("two", 52, None, 60)])
    assert (verdict.clean, verdict.clean_found, verdict.covered, verdict.covered_found, verdict.wrong) == (1, 1, 1, 1, ())
    assert verdict.after_begin_s == (5.0,)
    # The play begins with a segment, which is complete two seconds later.
    assert verdict.after_listed_s == (3.0,)


def test_of_two_hits_of_a_play_the_first_counts() -> None:
    verdict = heard([told("one", 30, 39, 35), told("one", 10, 20, 16)])
    assert verdict.after_begin_s == (6.0,)
    assert not verdict.wrong


@pytest.mark.parametrize(
    "hit",
    [told("one", 51, 60, 60), told("three", 12, 30, 20), told("two", 12, 40, 20)],
    ids=["when another sounds", "never played", "while another sounds"],
)
def test_hits_that_are_wrong(hit: Told) -> None:
    verdict = heard([hit])
    assert (verdict.wrong, verdict.misdated) == ((hit,), ())
    assert (verdict.clean, verdict.clean_found) == (1, 0)


@pytest.mark.parametrize("hit", [told("one", 12, 45, 20), told("one", 5, 30, 20)], ids=["goes on too long", "begins too early"])
def test_hits_of_the_right_recording_at_the_wrong_time(hit: Told) -> None:
    verdict = heard([hit])
    assert (verdict.wrong, verdict.misdated, verdict.clean_found) == ((), (hit,), 1)
    assert heard([hit], windows=[(EPOCH + 30, EPOCH + 90)]).misdated == ()


def test_what_is_told_as_a_quotation_is_not_wrong() -> None:
    assert heard([replace(told("three", 12, 19, 16), firm=False)]).wrong == ()


def test_what_was_not_heard_from_its_beginning_is_not_demanded_and_may_be_told() -> None:
    verdict = heard([told("one", 12, 40, 30)], begin_s=20)
    assert (verdict.clean, verdict.wrong) == (0, ())
    assert heard([], end_s=25).clean == 0


def test_only_what_begins_and_can_be_told_in_a_window_is_demanded() -> None:
    for windows, demanded in (([(9, 31)], 1), ([(11, 60)], 0), ([(0, 29)], 0), ([(0, 9), (9, 31)], 1)):
        assert heard([], windows=[(EPOCH + begin, EPOCH + end) for begin, end in windows]).clean == demanded
    stray = told("one", 51, 60, 60)
    assert heard([stray], windows=[(EPOCH, EPOCH + 1)]).wrong == (stray,)


def test_a_hit_of_a_stream_that_nobody_listened_to_is_wrong() -> None:
    foreign = Told(stream=8, track_id="one", begin=EPOCH + 12, end=None, at=EPOCH + 20)
    assert heard([foreign]).wrong == (foreign,)


def test_a_hit_is_read_from_its_document() -> None:
    document = {
        "reference": {"track_id": "one"},
        "started_at": "2027-01-15T08:00:10.500Z",
        "ended_at": None,
        "state": "open",
        "quotation": False,
    }
    assert Told.of(document, 7, EPOCH + 14) == told("one", 10.5, None, 14)
    assert not Told.of(document | {"state": "provisional"}, 7, EPOCH + 14).firm
    assert not Told.of(document | {"state": "closed", "quotation": True}, 7, EPOCH + 14).firm


# ------------------------------------------------------------------------------------------------ /proc


LINE = (
    "1234 (postgres: a) b) S 17 1 1 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 9 0 12345 1000000 256 18446744073709551615 "
    "1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_a_line_of_proc_is_read_whatever_a_process_is_called() -> None:
    found, ticks = Stat.parse(LINE), os.sysconf("SC_CLK_TCK")
    assert (found.name, found.parent) == ("postgres: a) b", 17)
    assert found.cpu_s == 300 / ticks
    assert found.ended_cpu_s == 50 / ticks
    assert found.resident_bytes == 256 * os.sysconf("SC_PAGE_SIZE")


def test_our_own_process_is_found_with_its_threads() -> None:
    mine = stat(os.getpid())
    assert mine is not None
    assert mine.parent == os.getppid()
    assert os.getpid() in family(os.getppid())
    assert sum(threads_cpu_s(os.getpid()).values()) == pytest.approx(mine.cpu_s, abs=0.2)


def test_what_cores_have_worked_is_what_they_were_not_idle() -> None:
    text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 4 1000 1000 8 16 32 0 0\ncpu1 100 0 0 0 0 0 0 0 0 0\ncpu10 5 0 0 0 0 0 0 0 0 0\nintr 7 7 7\n"
    ticks = os.sysconf("SC_CLK_TCK")
    assert cores_busy_s({0}, text) == 63 / ticks
    assert cores_busy_s({0, 1}, text) == 163 / ticks
    assert cores_busy_s(os.sched_getaffinity(0)) > 0


@pytest.mark.parametrize("name, expected", [("publish_7", "publish"), ("st-live299", "st-live"), ("compute", "compute"), ("12", "12")])
def test_threads_are_put_together_by_kind(name: str, expected: str) -> None:
    assert kind(name) == expected


def test_what_was_spent_between_two_readings() -> None:
    assert spent({"a": 1.0, "gone": 2.0}, {"a": 1.5, "new": 0.25}) == {"a": 0.5, "gone": -2.0, "new": 0.25}


# ------------------------------------------------------------------------------------------------ inside the daemon


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The thread's clock, to be set."""
    now = [0.0]
    monkeypatch.setattr("bench.live_observing.time.thread_time", lambda: now[0])
    _spent.by_stage.clear()
    yield now
    _spent.by_stage.clear()


def test_a_stage_counts_without_those_that_it_calls(clocks: list[float]) -> None:
    def takes(seconds: float, *inside) -> None:
        clocks[0] += seconds
        for call in inside:
            call()

    resample = _clocked("resample", lambda: takes(2))
    decode = _clocked("decode", lambda: takes(1, resample, resample))
    _clocked("matching", lambda: takes(0.5, decode))()
    assert _spent.by_stage == {"resample": 4, "decode": 1, "matching": 0.5}


def test_a_stage_that_raises_is_counted_too(clocks: list[float]) -> None:
    def fail() -> None:
        clocks[0] += 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="^broken$"):
        _clocked("decode", fail)()
    assert _spent.by_stage == {"decode": 1}


def test_a_generator_is_clocked_while_it_works(clocks: list[float]) -> None:
    closed = []

    def asking():
        try:
            clocks[0] += 1
            reply = yield "question"
            clocks[0] += 2
            return reply
        finally:
            closed.append(True)

    def driven():
        return (yield from _clocked("voting", asking)())

    one = driven()
    assert next(one) == "question"
    clocks[0] += 100  # the answer is waited for
    with pytest.raises(StopIteration) as end:
        one.send("answer")
    assert end.value.value == "answer"
    assert _spent.by_stage == {"voting": 3}
    left = driven()
    next(left)
    left.close()
    assert closed == [True, True]


def test_a_job_is_clocked_where_it_runs(clocks: list[float]) -> None:
    class Compute:
        def run(self, jobs, function):
            clocks[0] += 100  # waiting
            return function()

    Compute.run = _jobs_clocked("matching", Compute.run)

    def job() -> float:
        clocks[0] += 3
        return 3

    assert Compute().run([], job) == 3
    assert _spent.by_stage == {"matching": 3}


def test_what_is_clocked_is_replaced_where_it_is_looked_up(clocks: list[float]) -> None:
    module = ModuleType("of_a_test")
    exec("class Box:\n    def open(self):\n        return 'opened'\n", module.__dict__)
    _clocking("Box.open", "look", handed_over=False)(module)
    assert module.Box().open() == "opened"
    assert "look" in _spent.by_stage


def test_every_clocked_stage_is_there() -> None:
    import importlib

    from bench.live_observing import STAGES

    for module, name, _ in STAGES:
        owner = importlib.import_module(module)
        for part in name.split("."):
            owner = getattr(owner, part)
        assert callable(owner)


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "lags-1").write_bytes(LAG.pack(EPOCH, 1.5, 0.25, 3) + b"half of ano")
    assert list(lags(tmp_path)) == [Lag(EPOCH, 1.5, 0.25, 3)]
    for pid in (1, 2):
        said = [{"at": EPOCH + n, "decode": 10.0 + n, **({"late": 1.0} if n > 5 else {})} for n in range(11)]
        (tmp_path / f"stages-{pid}").write_text("\n".join(map(json.dumps, said)) + '\n{"at": 18', encoding="utf-8")
    found = stages(tmp_path, EPOCH + 1.5, EPOCH + 9.5)
    # Noted from the second second to the ninth: seven of eight seconds, twice.
    assert found == {"decode": pytest.approx(16.0), "late": pytest.approx(16 / 7)}


def test_a_sessions_thread_says_which_stream_it_is() -> None:
    assert [stream_number(name) for name in (stream_id(17), stream_id(0), "MainThread", "compute", "17")] == [17, 0, -1, -1, -1]
    assert stream_number(threading.current_thread().name) == -1


# ------------------------------------------------------------------------------------------------ the search


@pytest.mark.parametrize(
    "held, failed, hoped, expected",
    [
        ([50, 100], [], 180, 140),
        ([50, 100], [], 108, None),
        ([50, 100], [200], 400, 150),
        ([50, 100], [200], 160, 130),
        ([50, 150], [160], 300, None),
        ([], [50], 0, 25),
        ([200], [100, 300], 500, 250),
    ],
)
def test_the_next_number_of_streams_to_try(held: list[int], failed: list[int], hoped: float, expected: int | None) -> None:
    assert next_to_try(held, failed, hoped) == expected


# ------------------------------------------------------------------------------------------------ a step, and its rows


def a_step(streams: int = 2, **changed) -> Step:
    """Ten seconds of streams that are heard in time: of each, five segments."""
    lags_ = [Lag(EPOCH + 2 * n, 1.0 + number / streams / 5, 0.1, number) for number in range(streams) for n in range(5)]
    made = {
        "streams": streams,
        "running": streams,
        "seconds": 10.0,
        "begin": EPOCH,
        "end": EPOCH + 10,
        "started_s": 1.0,
        "heard_s": 10.0 * streams,
        "missed_s": 0.0,
        "cpu_s": {"daemon": 0.04 * streams, "PostgreSQL": 0.01 * streams, "origin": 0.001},
        "threads": {"compute": 0.03 * streams, "idle": 0.0},
        "stages": {"decode": 0.02 * streams},
        "resident_bytes": 150_000_000 + 2_000_000 * streams,
        "lags": lags_,
        "open_share": 0.3,
        "origin": {"asked": {"playlist": 10, "segment": 10, "bytes": 9_999}, "ages": [EPOCH, 0.5] * 10},
        "busy": 0.5,
        "disturbed": 0.0,
        "counted": {"earmark_lookups_total": 10.0 * streams},
    }
    return Step(**{**made, **changed})


def test_a_step_that_held() -> None:
    one = a_step()
    assert one.held
    assert one.ms(one.cpu_s["daemon"]) == pytest.approx(4.0)
    assert one.cores == pytest.approx(0.008)
    assert (one.lag_s(1.0), one.requests, one.per_s("lookups"), one.asked_after_s(0.5)) == (pytest.approx(1.1), 20, 1.0, 0.5)
    assert one.unfairness == pytest.approx(1.1 / 1.05)


@pytest.mark.parametrize(
    "changed",
    [
        {"running": 1},
        {"missed_s": 2.0},
        {"lags": [Lag(EPOCH + 2 * n, 3.1, 0.1, number) for number in range(2) for n in range(5)]},
        {"lags": [Lag(EPOCH + 2 * n, 1.0, 0.1, 0) for n in range(5)]},
        {"lags": [Lag(EPOCH + 2 * n, 1.0, 0.1, number) for number in range(2) for n in range(5 - 3 * number)]},
        {"lags": []},
    ],
    ids=["a stream that nobody took", "something left out", "late", "a stream that was never heard", "a stream that stalled", "nothing at all"],
)
def test_a_step_that_did_not_hold(changed) -> None:
    assert not a_step(**changed).held


def measured(*steps: Step, burst: Burst | None = None) -> dict[str, dict[str, object]]:
    verdict = judge({}, [], [])
    found = Measured(
        rendition="mixed",
        tracks=10_000,
        steps=steps,
        verdict=verdict,
        base_bytes=150_000_000,
        floor_ms=2.0,
        floor_streams=100,
        baseline=Baseline(ms=6.0, recordings=42, windows=400, clean=100, known=99, wrong=3),
        burst=burst,
    )
    told = list(rows(found, command="make bench-streams"))
    assert len({row["figure"] for row in told}) == len(told)
    return {row["figure"]: row for row in told}


MOST = "live streams on a core: p99 lag within a segment + 1 s, nothing left out"
BESIDE = "fingerprint + match CPU: the bench's baseline over ours"


def test_the_most_streams_that_held_are_what_counts() -> None:
    found = measured(a_step(50), a_step(80), a_step(100), a_step(150, missed_s=1.0))
    assert (found[MOST]["value"], found[MOST]["against"]) == (100, "150 were too many")
    assert found["daemon CPU over the decode-only floor"]["value"] == 2.0
    assert found["resident memory per stream"]["value"] == 2.0
    assert found["lag p99 at 80 % of capacity"]["against"] == "at 80 streams"
    assert found["CPU per stream at the most streams over that at the fewest"]["value"] == 1.0
    assert found["database CPU per stream-second"]["value"] == 1.0


def test_what_was_not_measured_says_so() -> None:
    found = measured(a_step(50, missed_s=1.0))
    assert found[MOST]["value"] == 0
    for figure in (
        "lag p99 at 80 % of capacity",
        "CPU per stream at the most streams over that at the fewest",
        "plays found, clean",
        "500 starts in one second: all listening, p95",
        BESIDE,
        f"{BESIDE}, with look-ups, database and other computing",
        "fingerprint + match CPU: audfprint over ours",
    ):
        assert found[figure]["value"] is None
        assert found[figure]["met"] is None


@pytest.mark.parametrize("after_s, value", [([1.0] * 19 + [300.0], 1.0), ([5.0] * 10, None)], ids=["all but one early", "half of them missed"])
def test_starts_that_were_missed_count_as_never(after_s: list[float], value: float | None) -> None:
    found = measured(a_step(), burst=Burst(starts=20, sent_s=0.5, workers=2, after_s=after_s))
    assert found["20 starts in one second: all listening, p95"]["value"] == value


def test_a_plain_matcher_stands_beside_the_stages_that_do_the_same() -> None:
    spent_s = {"fingerprint": 0.006, "music or not": 0.0005, "voting": 0.0005, "verification": 0.003, "following": 0.002, "look-up": 0.002, "decode": 1.0}
    found = measured(a_step(50), a_step(100, stages={stage: 100 * seconds for stage, seconds in spent_s.items()}))
    assert found["fingerprint + match CPU per stream-second"]["value"] == pytest.approx(1.2)
    assert (found[BESIDE]["value"], found[BESIDE]["met"]) == (pytest.approx(5.0), True)
    # With 0.2 ms of look-ups and 1 ms of the database.
    assert found[f"{BESIDE}, with look-ups, database and other computing"]["value"] == pytest.approx(6 / 2.4)
    others = [found[f"fingerprint + match CPU: {name} over ours"]["value"] for name in ("audfprint", "Olaf")]
    assert others == [pytest.approx(22.0), pytest.approx(4.0)]
    assert found["windows that the bench's baseline knew"]["value"] == 99.0


def test_a_stage_that_was_not_clocked_is_not_taken_for_nothing() -> None:
    found = measured(a_step(stages={"fingerprint": 0.01, "music or not": 0.01, "voting": 0.01, "verification": 0.01}))
    assert found[BESIDE]["value"] is None
