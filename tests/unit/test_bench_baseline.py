"""The plain matcher that ours is measured against knows what such matchers know, and what it is asked about is what was on air."""

import numpy as np
import pytest

from bench.live_baseline import WINDOW_S, baseline, heard, judge
from bench.live_media import Programme, Rendition, encode
from bench.live_programme import Part
from bench.live_window import Cut
from bench.plain_matcher import FAN_OUT, FRAME, HOP, LATER_MAX, Answer, PlainMatcher, landmarks
from earmark.local import music
from earmark.model import RATE_HZ, Float32, Track
from hearing_sounds import at_8_khz, faster, noise, silence, tune

TUNES = {f"tune {seed}": tune(seed, 40.0) for seed in range(6)}


@pytest.fixture(scope="module")
def matcher() -> PlainMatcher:
    return PlainMatcher(TUNES.items())


def seconds(samples: Float32, begin_s: float) -> Float32:
    """What is asked about."""
    begin = round(begin_s * RATE_HZ)
    return samples[begin : begin + WINDOW_S * RATE_HZ]


# ------------------------------------------------------------------------------------------------ the matcher


@pytest.mark.parametrize("begin_s", [0.0, 7.013, 21.5, 28.0])
@pytest.mark.parametrize("name", TUNES)
def test_it_knows_a_window_of_each_recording_and_where_it_is_from(matcher: PlainMatcher, name: str, begin_s: float):
    answer = matcher.ask(seconds(TUNES[name], begin_s))
    assert answer is not None
    assert (answer.name, answer.from_s) == (name, pytest.approx(begin_s, abs=HOP / RATE_HZ))
    assert answer.votes > 100


def test_it_knows_a_recording_that_is_softer_and_in_noise(matcher: PlainMatcher):
    asked = 0.1 * seconds(TUNES["tune 3"], 11.0)
    answer = matcher.ask(asked + noise(5, WINDOW_S, level=0.25 * float(asked.std())))
    assert answer is not None
    assert (answer.name, answer.from_s) == ("tune 3", pytest.approx(11.0, abs=HOP / RATE_HZ))


def test_it_knows_a_recording_that_has_just_begun(matcher: PlainMatcher):
    """Four of twelve seconds, so that it lies before its own beginning."""
    heard_s = 4
    asked = np.concatenate([silence(WINDOW_S - heard_s), TUNES["tune 2"][: heard_s * RATE_HZ]])
    answer = matcher.ask(asked)
    assert answer is not None
    assert (answer.name, answer.from_s) == ("tune 2", pytest.approx(heard_s - WINDOW_S, abs=HOP / RATE_HZ))


@pytest.mark.parametrize(
    "sound",
    [tune(99, 12.0), noise(1, 12.0), silence(12.0), faster(seconds(TUNES["tune 1"], 5.0), 1.1), silence(0.0), silence(0.1), silence((FRAME + 1) / RATE_HZ)],
    ids=["a stranger", "noise", "silence", "faster", "nothing", "less than a frame", "a frame"],
)
def test_it_knows_nothing_else(matcher: PlainMatcher, sound: Float32):
    assert matcher.ask(sound) is None


def test_peaks_are_paired_with_the_next_few():
    hashes, frames = landmarks(TUNES["tune 0"])
    later, last = hashes & 63, (len(TUNES["tune 0"]) - FRAME) // HOP
    assert np.all(later > 0) and later.max() <= LATER_MAX
    assert frames.min() >= 0 and frames.max() + LATER_MAX > last - 31 and np.all(frames + later <= last)
    assert np.unique(frames << 9 | hashes >> 15, return_counts=True)[1].max() == FAN_OUT
    # Peaks as far apart as its boxes have them: dozens a second, not a handful.
    assert 20 < len(np.unique(frames << 9 | hashes >> 15)) / 40 < 60


# ------------------------------------------------------------------------------------------------ what it is asked

PARTS = (
    Part(kind="talk", begin_s=0.0, end_s=10.0),
    Part(kind="music", begin_s=10.0, end_s=40.0, track_id="one", from_s=3.0),
    Part(kind="stranger", begin_s=40.0, end_s=60.0),
    Part(kind="under talk", begin_s=60.0, end_s=90.0, track_id="two", from_s=3.0),
)


@pytest.mark.parametrize(
    "end_s, name, expected",
    [
        (22, "one", (True, True, False)),
        (40, "one", (True, True, False)),
        (30, "two", (True, False, True)),
        (30, "", (True, False, False)),
        (21, "one", (False, False, False)),
        (50, "one", (False, False, False)),
        (53, "one", (False, False, True)),
        (80, "two", (False, False, False)),
        (80, "", (False, False, False)),
        (12, "", (False, False, False)),
    ],
)
def test_what_it_said_of_a_window(end_s: int, name: str, expected: tuple[bool, bool, bool]):
    """Whether a recording is all of the window, whether that was known, and whether something was that was not on air."""
    assert judge(PARTS, end_s, Answer(name, 0.0, 20) if name else None) == expected


@pytest.fixture(scope="module")
def pieces() -> dict[str, Float32]:
    return {name: music.render(piece) for name, piece in zip(("one", "two"), music.catalogue(2), strict=True)}


@pytest.fixture(scope="module", params=[False, True], ids=["TS", "fMP4"])
def programme(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pieces: dict[str, Float32]) -> Programme:
    """A minute: silence, a recording, noise."""
    rendition = Rendition(name="of a test", rate_hz=48_000, layout="stereo", sound_bps=96_000, fragmented=request.param)
    rustle = noise(3, 20 * music.RATE_HZ / RATE_HZ)
    samples = np.concatenate([np.zeros(10 * music.RATE_HZ, np.float32), pieces["one"][5 * music.RATE_HZ :][: 30 * music.RATE_HZ], rustle])
    header, segments, durations_s = encode(samples, rendition)
    path = tmp_path_factory.mktemp("programme") / "media"
    path.write_bytes(b"".join([header, *segments]))
    return Programme(
        media=path,
        offsets=tuple(len(header) + sum(map(len, segments[:n])) for n in range(len(segments) + 1)),
        cut=Cut(at_s=tuple(sum(durations_s[:n]) for n in range(len(segments) + 1))),
        attributes=rendition.attributes,
        suffix=rendition.suffix,
        parts=PARTS[:3],
    )


def test_it_hears_what_the_daemon_decodes(programme: Programme, pieces: dict[str, Float32]):
    samples = heard(programme)
    assert len(samples) / RATE_HZ == pytest.approx(60, abs=0.1)
    played = at_8_khz(pieces["one"], music.RATE_HZ)[15 * RATE_HZ :][: 3 * RATE_HZ]
    # An encoder begins late by some 20 to 50 ms, and not by whole samples.
    beginnings = range(20 * RATE_HZ, 20 * RATE_HZ + RATE_HZ // 10)
    alike = max(float(np.corrcoef(played, samples[begin : begin + len(played)])[0, 1]) for begin in beginnings)
    assert alike > 0.9


def test_each_window_is_asked_about_and_each_of_a_recording_is_known(programme: Programme, pieces: dict[str, Float32]):
    played = [(Track(track_id=name), samples, music.RATE_HZ) for name, samples in pieces.items()]
    found = baseline([programme, programme], iter(played), every_s=3)
    assert (found.recordings, found.windows, found.clean) == (2, 2 * 17, 2 * 6)
    assert found.known == found.clean
    assert not found.wrong
    assert found.ms > 0


def test_it_says_that_it_knew_nothing(programme: Programme, pieces: dict[str, Float32]):
    found = baseline([programme], [(Track(track_id="two"), pieces["two"], music.RATE_HZ)], every_s=6)
    assert found.clean > 0
    assert found.known == 0
