"""What each second of a stream sounded like: on its way from the decoder, and in memory."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from earmark.fingerprint.musicness import BEGINS
from earmark.hearing import Hearing, drive
from earmark.local import music, watch_timeline
from earmark.local.speech import speech
from earmark.local.watch_sound import SILENCE_DB, Sounding
from earmark.local.watch_timeline import Kind, Timeline, cells, shares
from earmark.model import RATE_HZ, AudioChunk, MatchParams
from fakes import MemoryIndex


class Decoded:
    """A decoder that has it all already."""

    def __init__(self, *chunks: AudioChunk) -> None:
        self._chunks = list(chunks)

    def push(self, piece: object) -> list[AudioChunk]:
        return [self._chunks.pop(0)] if self._chunks else []

    def flush(self) -> list[AudioChunk]:
        return self._chunks


def heard(samples: np.ndarray, cuts: list[int], *, start_s: float = 0.0) -> list[tuple[int, float, bool]]:
    """What is told of some samples, at RATE_HZ, that come in pieces."""
    edges = [0, *sorted(cut % (len(samples) + 1) for cut in cuts), len(samples)]
    chunks = [AudioChunk(samples=samples[a:b], start_s=start_s + a / RATE_HZ) for a, b in itertools.pairwise(edges)]
    told: list[tuple[int, float, bool]] = []
    sounding = Sounding(Decoded(*chunks), told=lambda second, *, level_db, speech: told.append((second, level_db, speech)))
    passed = [chunk for _ in chunks for chunk in sounding.push(None)]
    assert [chunk.start_s for chunk in passed] == [chunk.start_s for chunk in chunks]  # as they are
    return told


NOISE = (np.random.default_rng(1).standard_normal(4 * RATE_HZ) * 0.1).astype(np.float32)


@given(st.lists(st.integers(0, 4 * RATE_HZ), max_size=12))
@settings(deadline=None, max_examples=15)
def test_however_the_sound_is_cut_the_same_is_told(cuts: list[int]) -> None:
    assert heard(NOISE, cuts) == heard(NOISE, [])


def test_each_whole_second_is_told_with_its_level_and_silence_is_none() -> None:
    told = heard(np.concatenate([NOISE, np.zeros(2 * RATE_HZ + 100, np.float32)]), [], start_s=7.0)
    assert [second for second, _, _ in told] == [7, 8, 9, 10, 11, 12]
    assert [level for _, level, _ in told[:4]] == [pytest.approx(-20, abs=0.5)] * 4
    assert all(level < SILENCE_DB for _, level, _ in told[4:])
    assert heard(np.full(RATE_HZ, np.nan, np.float32), [])[0][1] == -math.inf


def test_speech_is_told_from_noise() -> None:
    spoken = resample_poly(speech(12.0, seed=3), RATE_HZ, music.RATE_HZ).astype(np.float32)
    share = {name: np.mean([said for _, _, said in heard(samples, [])[2:]]) for name, samples in (("speech", spoken), ("noise", NOISE))}
    assert share["speech"] > 0.8 and share["noise"] == 0


def test_before_anything_is_heard_there_is_no_music_and_with_music_there_is_at_once() -> None:
    index = MemoryIndex()
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="st", source="file")
    assert hearing.music_odds == -math.inf
    played = resample_poly(music.render(music.catalogue(1)[0])[: 8 * music.RATE_HZ], RATE_HZ, music.RATE_HZ).astype(np.float32)
    odds: list[float] = []
    for begin in range(0, len(played), RATE_HZ):
        drive(hearing.push(AudioChunk(samples=played[begin : begin + RATE_HZ], start_s=begin / RATE_HZ)), index.answer)
        odds.append(hearing.music_odds)
    assert odds[-1] > BEGINS


def test_behind_a_gap_it_begins_anew_and_most_of_a_second_before_it_counts() -> None:
    told: list[int] = []
    first, second = AudioChunk(samples=NOISE[: int(2.7 * RATE_HZ)], start_s=0.0), AudioChunk(samples=NOISE[:RATE_HZ], start_s=10.0, gap_before_s=7.3)
    sounding = Sounding(Decoded(first, second), told=lambda second, **_: told.append(second))
    sounding.push(None)
    sounding.push(None)
    assert told == [0, 1, 2, 10]


# ---------------------------------------------------------------------------------------------------- in memory

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("sounded"), st.integers(0, 30), st.booleans(), st.booleans()),
        st.tuples(st.just("musical"), st.integers(0, 3), st.booleans(), st.booleans()),
    ),
    max_size=80,
)


@given(EVENTS, st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None)
def test_only_what_was_heard_has_a_kind_and_silence_is_silence(events: list[tuple], begin: int, length: int) -> None:
    timeline, at, silent = Timeline(), 0, dict[int, bool]()
    for what, number, one, other in events:
        if what == "sounded":
            at += number // 10  # now and then nothing is heard
            timeline.sounded(at, silent=one, speech=other)
            silent[at] = one
            at += 1
        else:
            timeline.musical(max(0, at - number), at, odds=1.0 if one else -2.0)
    kinds = timeline.kinds(begin, begin + length)
    for second, kind in zip(range(begin, begin + length), kinds.tolist(), strict=True):
        assert (kind == Kind.UNKNOWN) == (second not in silent)
        assert (kind == Kind.SILENCE) == silent.get(second, False)


def test_a_verdict_is_about_the_seconds_before_it_and_holds_until_the_next() -> None:
    timeline = Timeline()
    for second in range(10):
        timeline.sounded(second, silent=False, speech=second >= 6)
    timeline.musical(0, 4.1, odds=1.0)
    timeline.musical(4.1, 6.1, odds=-2.0)
    assert timeline.kinds(0, 12).tolist() == [Kind.OTHER] * 4 + [Kind.SPEECH] * 6 + [Kind.UNKNOWN] * 2
    timeline.musical(6.1, 8.2, odds=-0.5)  # not enough to begin
    assert Kind.MUSIC not in timeline.kinds(0, 10)
    timeline.musical(8.2, 9.2, odds=0.5)
    assert timeline.kinds(4, 10).tolist() == [Kind.SPEECH] * 2 + [Kind.MUSIC] * 4
    timeline.sounded(10, silent=False, speech=False)
    assert timeline.kinds(10, 11).tolist() == [Kind.MUSIC]
    timeline.musical(9.2, 10.2, odds=-0.5)  # and enough to go on
    assert timeline.kinds(10, 11).tolist() == [Kind.MUSIC]


def test_gaps_go_before_plays_and_those_before_what_it_sounded_like() -> None:
    timeline = Timeline()
    for second in range(10):
        timeline.sounded(second, silent=False, speech=False)
    kinds = timeline.kinds(2, 10, plays=[(0.4, 5.0), (9.0, 50.0)], gaps=[(4.0, 6.0)])
    assert kinds.tolist() == [Kind.PLAY] * 2 + [Kind.GAP] * 2 + [Kind.OTHER] * 3 + [Kind.PLAY]


def test_what_is_older_than_a_day_is_forgotten_and_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_timeline, "KEPT_S", 50)
    timeline = Timeline()
    for second in range(220):
        timeline.sounded(second, silent=False, speech=second % 50 < 10)
    timeline.sounded(225, silent=False, speech=False)
    kinds = timeline.kinds(0, 226)
    assert set(kinds[:176].tolist()) == {Kind.UNKNOWN}
    assert Kind.UNKNOWN not in kinds[176:220]
    assert kinds[220:].tolist() == [Kind.UNKNOWN] * 5 + [Kind.OTHER]  # and not what was there a day before


@given(st.lists(st.sampled_from(list(Kind)), max_size=200), st.integers(1, 30))
def test_shares_add_up_and_a_cell_tells_of_any_play_or_gap_in_it(seconds: list[Kind], cell_s: int) -> None:
    kinds = np.array(seconds, np.uint8)
    found = shares(kinds)
    assert sum(found.values()) == pytest.approx(1.0 if any(seconds) else 0.0)
    assert list(found.values()) == sorted(found.values(), reverse=True) and Kind.UNKNOWN not in found
    told = cells(kinds, cell_s)
    assert len(told) == math.ceil(len(seconds) / cell_s)
    for number, kind in enumerate(told):
        inside = seconds[number * cell_s : (number + 1) * cell_s]
        assert kind in inside
        assert (kind in (Kind.PLAY, Kind.GAP)) == bool({Kind.PLAY, Kind.GAP} & set(inside))
