"""Stretches of a stream that are heard backwards: which ones, what is counted of them, and that nothing else comes of it."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from earmark import decoys
from earmark.compute import Compute
from earmark.decoys import BLOCK_FRAMES, WAITING_MAX, Beside, Block, Decoys, _Tapped, by_chance
from earmark.errors import DatabaseUnavailable
from earmark.fingerprint.window import Window, fingerprint
from earmark.hearing import Hearing, drive
from earmark.matching.confidence import threshold_nats
from earmark.model import FRAMES_PER_S, HOP_SAMPLES, RATE_HZ, Answer, AudioChunk, CatalogueSize, Float32, MatchParams, Peaks, Play, Question
from earmark.telemetry import Metrics
from fakes import MemoryIndex
from hearing_sounds import catalogue, chunks, noise, tune

PARAMS = MatchParams()
TUNES = [tune(seed, 40) for seed in (1, 2, 3)]
INDEX = catalogue(**{f"tune {number}": sound for number, sound in enumerate(TUNES)})
#: A stranger, a part of a tune of the catalogue, noise: 50 s.
PROGRAMME = np.concatenate([tune(50, 20), TUNES[0][10 * RATE_HZ : 35 * RATE_HZ], noise(3, 5)])


@dataclass
class Counted:
    """A meter."""

    heard: list[tuple[float, list[float]]] = field(default_factory=list)
    left_out_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def decoys_heard(self, *, media_s: float, evidence: Sequence[float], excess_nats: float) -> None:
        self.heard.append((media_s, list(evidence)))

    def decoys_left_out(self, *, media_s: float) -> None:
        self.left_out_s.append(media_s)

    def extrapolated(self, *, per_hour: float, least: float, most: float) -> None:
        self.rates.append(per_hour)


class Here:
    """A compute thread that is the caller's."""

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


def made(share: float = 1.0, index: Any = INDEX, **more: Any) -> tuple[Decoys, Counted]:
    counted = Counted()
    return Decoys(share=share, params=PARAMS, catalogue=index, compute=Here(), meter=counted, **more), counted


def listened(pieces: Sequence[AudioChunk], decoy: Decoys | None, index: MemoryIndex = INDEX) -> list[Play]:
    beside = decoy.beside("stream") if decoy else None
    hearing = Hearing(
        params=PARAMS,
        size=index.size(),
        stream_id="stream",
        source="test",
        keep=beside.run if beside else None,
        told=beside.told if beside else None,
    )
    changed = [play for piece in pieces for play in drive(hearing.push(piece), index.answer)]
    return changed + drive(hearing.flush(), index.answer)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoys, "_PAUSE_S", 0.0)


# ---------------------------------------------------------------------------------------------------- what is chosen


def blocks_of(pieces: Sequence[AudioChunk], *, plays: Sequence[Play] = ()) -> list[Block]:
    """What a session hands on, the whole of its stream chosen."""
    offered: list[Block] = []
    beside = Beside(chosen=lambda _: True, offer=offered.append, keep=None, plays=plays)
    hearing = Hearing(params=PARAMS, size=INDEX.size(), stream_id="stream", source="test", keep=beside.run, told=beside.told)
    for piece in pieces:
        drive(hearing.push(piece), INDEX.answer)
    drive(hearing.flush(), INDEX.answer)
    return offered


def columns(blocks: Sequence[Block]) -> list[Any]:
    return [(b.begin_s, b.frames, b.playing, b.peaks.eighth_frames.tolist(), b.peaks.eighth_hz.tolist(), b.peaks.salience.tolist()) for b in blocks]


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoys, "BLOCK_FRAMES", 500)
    monkeypatch.setattr(decoys, "LEAST_FRAMES", 300)


def test_blocks_hold_all_peaks_of_a_run_but_those_of_a_short_end(short_blocks: None) -> None:
    blocks = blocks_of(chunks(PROGRAMME, 16_000))
    whole = fingerprint(PROGRAMME)
    assert [b.frames for b in blocks] == [500, 500, 500]  # of 1,555 frames: the rest is too short
    for number, block in enumerate(blocks):
        there = whole.between(500 * number, 500 * (number + 1))
        assert block.peaks.eighth_hz.tolist() == there.eighth_hz.tolist()
        assert block.peaks.eighth_frames.tolist() == (there.eighth_frames - 4_000 * number).tolist()


def test_the_end_of_a_run_is_a_block_if_it_is_long_enough(short_blocks: None) -> None:
    assert [b.frames for b in blocks_of(chunks(PROGRAMME[: (500 + 350) * HOP_SAMPLES + 1_792], 16_000))] == [500, 350]
    assert [b.frames for b in blocks_of(chunks(PROGRAMME[: (500 + 250) * HOP_SAMPLES], 16_000))] == [500]


@given(sizes=st.lists(st.integers(1, 120_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 5_000 * len(sizes)))
@settings(max_examples=6)
def test_any_cut_of_the_stream_gives_the_same_blocks(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoys, "BLOCK_FRAMES", 500)
        patch.setattr(decoys, "LEAST_FRAMES", 50)
        blocks = columns(blocks_of(chunks(PROGRAMME, *sizes)))
    own = ("tune 0",)  # from 20 s to 45 s; told 7 s later, when the first block may hold it, for all that is known
    assert [(begin_s, playing) for begin_s, _, playing, *_ in blocks] == [(0.0, own), (16.0, own), (32.0, own), (48.0, ())]
    assert blocks == (SAME_BLOCKS or blocks)
    SAME_BLOCKS[:] = blocks


SAME_BLOCKS: list[Any] = []


def test_the_share_of_blocks_that_are_chosen_is_what_was_set_and_the_same_for_every_worker() -> None:
    begins = [BLOCK_FRAMES / FRAMES_PER_S * number for number in range(2_000)]
    for share in (0.02, 0.5):
        here, there = (made(share)[0] for _ in range(2))
        chosen = [here._chosen("stream", begin_s) for begin_s in begins]
        assert chosen == [there._chosen("stream", begin_s) for begin_s in begins]
        assert chosen != [there._chosen("another", begin_s) for begin_s in begins]
        assert sum(chosen) == pytest.approx(2_000 * share, abs=4 * (2_000 * share * (1 - share)) ** 0.5)


def test_of_a_stream_that_is_not_chosen_no_peaks_are_held() -> None:
    for beside in (made(share=1e-9)[0].beside("stream"), made(share=0.0)[0].beside("stream"), made()[0].beside("stream", wanted=False)):
        front = beside.run(0.0, Window())
        assert len(front.push(PROGRAMME))
        assert isinstance(front, _Tapped)
        assert front._found == []


def test_a_gap_begins_another_block(short_blocks: None) -> None:
    before, after = chunks(PROGRAMME[: 18 * RATE_HZ], 16_000), chunks(PROGRAMME[30 * RATE_HZ :], 16_000, start_s=30)
    after[0] = replace(after[0], gap_before_s=12.0, gap_reason="late")
    assert [(b.begin_s, b.frames) for b in blocks_of([*before, *after])] == [(0.0, 500), (30.0, 500)]


def test_a_play_of_an_earlier_owner_is_known_to_play(short_blocks: None) -> None:
    told = next(play for play in WHOLE if play.state == "open")
    (block, *_) = blocks_of(chunks(PROGRAMME[: 17 * RATE_HZ], 16_000), plays=[replace(told, first_heard_s=0.0, also_matching=("a version",))])
    assert block.playing == ("a version", "tune 0")


# ---------------------------------------------------------------------------------------------------- what is counted


def block(seconds: float, sound: Float32 = PROGRAMME, *, playing: tuple[str, ...] = ()) -> Block:
    peaks = fingerprint(sound[: int(seconds * RATE_HZ)])
    return Block(begin_s=0.0, peaks=peaks, frames=int(seconds * FRAMES_PER_S), playing=playing)


def evidence_of(turned: Block) -> list[float]:
    return drive(by_chance(turned, params=PARAMS, size=INDEX.size()), INDEX.answer)


def test_what_sounds_like_a_recording_backwards_has_all_its_evidence_unless_the_recording_plays() -> None:
    """Decoys are heard as anything is; and nothing that plays is chance, though it were alike in both directions."""
    backwards = np.ascontiguousarray(TUNES[0][::-1])
    assert max(evidence_of(block(40, backwards))) > 60
    assert max(evidence_of(block(40, backwards, playing=("tune 0", "gone since"))), default=0.0) < 20


@given(st.integers(3_000, 60_000))
@settings(max_examples=3)
def test_whatever_the_chunks_the_same_is_counted_and_the_same_is_told(size: int) -> None:
    """Plays of a stream beside which decoys are heard are bit for bit those of one without; and so are the counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoys, "BLOCK_FRAMES", 1_000)
        patch.setattr(decoys, "LEAST_FRAMES", 300)
        decoy, counted = made()
        told = listened(chunks(PROGRAMME, size), decoy)
        until(lambda: len(counted.heard) == 2)
        decoy.close()
        assert told == WHOLE
        if not FIRST_COUNT:
            FIRST_COUNT.extend(counted.heard)
        assert counted.heard == FIRST_COUNT
    assert [seconds for seconds, _ in counted.heard] == [32.0, pytest.approx(17.8, abs=0.1)]


WHOLE = listened(chunks(PROGRAMME, 16_000), None)
FIRST_COUNT: list[tuple[float, list[float]]] = []


def test_a_recording_is_told_with_decoys_as_without() -> None:
    assert {play.track_id for play in WHOLE} == {"tune 0"}


def test_silence_is_time_without_evidence() -> None:
    decoy, counted = made()
    decoy.offer(Block(begin_s=0.0, peaks=Peaks.none(), frames=BLOCK_FRAMES))
    until(lambda: counted.heard)
    decoy.close()
    assert counted.heard == [(pytest.approx(262.144), [])]


class Asked:
    """A catalogue that fails as it is told, and notes what it was asked."""

    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self.asked: list[Question] = []

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if self._errors and (error := self._errors.pop(0)):
            raise error
        return INDEX.answer(question)

    def size(self) -> CatalogueSize:
        return INDEX.size()


class Slow(Asked):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.over = threading.Event(), threading.Event()

    def answer(self, question: Question) -> Answer:
        self.begun.set()
        assert self.over.wait(20)
        return super().answer(question)


def test_a_database_that_is_away_costs_a_block_and_nothing_else() -> None:
    decoy, counted = made(index=Asked(DatabaseUnavailable("gone")))
    decoy.offer(block(20))
    until(lambda: counted.left_out_s)
    decoy.offer(block(20))
    until(lambda: counted.heard)
    decoy.close()
    assert counted.left_out_s == [20.0]
    assert [seconds for seconds, _ in counted.heard] == [20.0]


def test_a_bug_ends_the_decoys_and_says_so_and_blocks_are_left_out() -> None:
    decoy, counted = made(index=Asked(ZeroDivisionError("a bug")))
    with capture_logs() as logs:
        decoy.offer(block(15))
        until(lambda: decoy._closed)
    decoy.offer(block(10))
    assert counted.left_out_s == [pytest.approx(10, abs=0.1)]
    decoy.close()
    assert [line["event"] for line in logs] == ["decoys.failed"]


def test_it_ends_in_the_midst_of_a_block() -> None:
    slow = Slow()
    decoy, counted = made(index=slow)
    for _ in range(3):
        decoy.offer(block(20))
    assert slow.begun.wait(20)
    closing = threading.Thread(target=decoy.close)
    closing.start()
    until(lambda: decoy._closed)
    slow.over.set()
    closing.join(20)
    assert not closing.is_alive()
    assert (counted.heard, counted.left_out_s) == ([], [])
    assert decoy._thread
    assert not decoy._thread.is_alive()


def test_more_than_can_wait_is_left_out_and_nobody_is_held_up() -> None:
    slow = Slow()
    decoy, counted = made(index=slow)
    decoy.offer(block(20))
    assert slow.begun.wait(20)
    short = block(15, sound=noise(1, 15))
    for _ in range(WAITING_MAX + 2):
        decoy.offer(short)
    assert counted.left_out_s == [pytest.approx(15, abs=0.1)] * 2
    slow.over.set()
    decoy.close()


def test_it_is_heard_in_the_background() -> None:
    """None of it counts as load, which decides about streams."""
    compute = Compute().start()
    counted = Counted()
    decoy = Decoys(share=1.0, params=PARAMS, catalogue=INDEX, compute=compute.background, meter=counted)
    decoy.offer(block(40))
    until(lambda: counted.heard)
    assert compute.background_share > 0
    assert compute.busy_share == 0
    decoy.close()
    compute.close()


# ---------------------------------------------------------------------------------------------------- what follows


def test_operators_see_the_histogram_the_hours_and_both_rates() -> None:
    metrics = Metrics.build()
    value = lambda name, **labels: metrics.registry.get_sample_value(f"earmark_{name}", labels)  # noqa: E731
    assert all(math.isnan(value("false_alarms_per_hour", kind=kind)) for kind in ("configured", "extrapolated", "extrapolated_least", "extrapolated_most"))
    metrics.promised(1e-4, lambda rate: threshold_nats(rate, CatalogueSize(tracks=1, seconds=40 * 3_600.0, postings=1)))
    metrics.decoys_heard(media_s=7_200.0, evidence=[8.5, 11.9, 14.0, 16.0, 33.0], excess_nats=24.0)
    metrics.extrapolated(per_hour=3e-4, least=1e-4, most=9e-4)
    buckets = {le: value("decoy_evidence_nats_bucket", le=f"{le:.1f}") for le in (8, 12, 15, 20)}
    assert buckets == {8: 0, 12: 2, 15: 3, 20: 4}
    assert value("decoy_evidence_nats_count") == 5
    assert (value("decoy_seconds_total", result="heard"), value("decoy_excess_nats_total")) == (7_200, 24)
    assert value("threshold_nats") == pytest.approx(27.9, abs=0.1)
    assert [value("false_alarms_per_hour", kind=kind) for kind in ("configured", "extrapolated")] == [1e-4, 3e-4]


@pytest.mark.parametrize("wrong", [1.0, 100.0])
def test_a_threshold_that_is_wrong_by_a_factor_of_a_hundred_shows_in_the_rate(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence falls as it was calibrated to; what the daemon makes of its setting is right, or believes chance to be a hundred times as rare."""
    random = np.random.default_rng(11)
    hours = 600 / 8.0  # of six hundred events above 12 nats
    evidence = (12 + random.exponential(1 / 0.71, 600)).tolist()
    monkeypatch.setattr(decoys, "by_chance", lambda *_, **__: _nothing_asked(evidence))
    decoy, counted = made(index=FortyHours(), threshold=lambda rate, size: threshold_nats(rate * wrong, size))
    decoy.offer(Block(begin_s=0.0, peaks=Peaks.none(), frames=round(hours * 3_600 * FRAMES_PER_S)))
    until(lambda: counted.rates)
    decoy.close()
    assert counted.rates[0] / (PARAMS.false_alarms_per_hour * wrong) == pytest.approx(1, rel=1.5, abs=0.7)


class FortyHours(Asked):
    def size(self) -> CatalogueSize:
        return replace(INDEX.size(), seconds=40 * 3_600.0)


def _nothing_asked(evidence: list[float]) -> Any:
    return evidence
    yield  # a generator, as what it stands for
