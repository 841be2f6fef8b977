"""A recording is found in what was kept of streams: clear, talked over, at another speed, across blocks; another one is not."""

from collections.abc import Iterable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from earmark.fingerprint import sketch as module
from earmark.fingerprint.kept import Block, Keeper, compress, expand, unpack
from earmark.fingerprint.sketch import GROUP_FRAMES, Sought, sketch
from earmark.fingerprint.window import Window, fingerprint
from earmark.hunting import Hunt, Proposal
from earmark.identification import Match
from earmark.matching.verification import Constellation
from earmark.model import FRAMES_PER_S, RATE_HZ, Float32, MatchParams, Peaks, Reference, Shared
from hearing_sounds import faster, noise, silence, tone, tune

PIECE = tune(11, 70)


@cache
def hunt_of(seed: int = 11) -> Hunt:
    return Hunt(reference(PIECE if seed == 11 else tune(seed, 40)), params=MatchParams())


def reference(sound: Float32, shared: tuple[Shared, ...] = ()) -> Reference:
    """As the catalogue has it: without salience."""
    found = fingerprint(sound)
    even = Peaks(eighth_frames=found.eighth_frames, eighth_hz=found.eighth_hz, hashed=found.hashed, salience=np.zeros(len(found), np.float32))
    return Reference(track_no=7, track_id="piece", duration_s=len(sound) / RATE_HZ, peaks=even, shared=shared)


def stream(*parts: Float32) -> Float32:
    return np.concatenate(parts)


def part(sound: Float32, begin_s: float, end_s: float) -> Float32:
    return sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]


def kept_of(*runs: tuple[float, Float32]) -> list[Block]:
    keeper = Keeper()
    for start_s, samples in runs:
        front = keeper.run(start_s, Window())
        front.push(samples)
        front.flush()
    keeper.groups(1e9)
    return keeper.complete()


def found(hunt: Hunt, blocks: Iterable[Block]) -> list[Match]:
    """As the command goes about it, with one stream in memory."""
    blocks = list(blocks)
    proposals: list[Proposal] = []
    for block in blocks:
        proposals += hunt.search(sketch(unpack(block.packed), block.frames), block.frames, block.begin_s)
    parts = [Constellation.of(unpack(expand(compress(b.packed))), b.begin_s * FRAMES_PER_S) for b in blocks]
    return sorted((played.match for played in hunt.follow(proposals, Constellation.join(Constellation.none(), *parts))), key=lambda match: match.begin_s)


def test_a_play_is_found_with_its_seconds() -> None:
    (match,) = found(hunt_of(), kept_of((0.0, stream(noise(1, 20), part(PIECE, 20, 60), noise(2, 20)))))
    assert (match.track_id, match.begin_s, match.end_s) == ("piece", pytest.approx(20, abs=0.5), pytest.approx(60, abs=0.5))
    assert match.reference_begin_s - match.begin_s == pytest.approx(0, abs=0.05)
    assert match.speed == pytest.approx(1, abs=1e-3)
    assert match.false_alarms_per_hour < 1e-6


def test_two_plays_are_two() -> None:
    sound = stream(part(PIECE, 0, 30), silence(10), tune(5, 20), part(PIECE, 40, 70))
    first, second = found(hunt_of(), kept_of((0.0, sound)))
    assert (first.begin_s, first.reference_begin_s) == (pytest.approx(0, abs=0.5), pytest.approx(0, abs=0.5))
    assert (second.begin_s, second.reference_begin_s) == (pytest.approx(60, abs=0.5), pytest.approx(40, abs=0.5))


@pytest.mark.parametrize("speed", [0.98, 1.02, 1.05, 0.9])
def test_a_play_at_another_speed_is_found(speed: float) -> None:
    (match,) = found(hunt_of(), kept_of((0.0, stream(noise(1, 10), faster(part(PIECE, 10, 60), speed), noise(2, 10)))))
    assert match.speed == pytest.approx(speed, abs=0.002)
    assert match.reference_begin_s == pytest.approx(10, abs=0.7)


def test_a_play_under_something_louder_is_found() -> None:
    """Its ends less exactly: what is over it goes on, in the same key."""
    music, over = part(PIECE, 20, 60), tune(77, 40)
    louder = over * np.float32(10 ** (2 / 20) * music.std() / over.std())
    (match,) = found(hunt_of(), kept_of((0.0, stream(tune(78, 20), music + louder, tune(79, 20)))))
    assert (match.begin_s, match.end_s) == (pytest.approx(20, abs=6), pytest.approx(60, abs=6))


def test_a_play_goes_on_across_blocks_and_over_a_gap() -> None:
    before, after = part(PIECE, 10, 35), part(PIECE, 39, 64)
    (match,) = found(hunt_of(), kept_of((250.0, before), (279.0, after)))
    assert (match.begin_s, match.end_s) == (pytest.approx(250, abs=0.6), pytest.approx(304, abs=0.6))
    assert match.matched_s < 52


def test_what_was_not_played_is_not_found() -> None:
    blocks = kept_of((0.0, stream(tune(30, 30), noise(3, 20), tune(31, 30), tone(10))))
    assert found(hunt_of(), blocks) == []
    assert found(hunt_of(12), kept_of((0.0, PIECE))) == []


def test_a_moment_of_it_is_a_quotation_and_no_play() -> None:
    assert found(hunt_of(), kept_of((0.0, stream(tune(33, 20), part(PIECE, 30, 34), tune(34, 20))))) == []


def test_what_others_share_is_no_proof_of_this_one() -> None:
    """As if another recording of the catalogue had these very seconds."""
    found_peaks = fingerprint(PIECE).between(20 * FRAMES_PER_S, 50 * FRAMES_PER_S)
    times = tuple(sorted(set(found_peaks.eighth_frames.tolist())))
    shared = Shared(begin_frame=int(20 * FRAMES_PER_S), end_frame=int(50 * FRAMES_PER_S), eighth_frames=times)
    blocks = kept_of((0.0, stream(noise(1, 5), part(PIECE, 20, 50), noise(2, 5))))
    assert found(Hunt(reference(PIECE, (shared,)), params=MatchParams()), blocks) == []
    assert found(hunt_of(), blocks) != []


def test_what_explains_a_lot_by_repeating_itself_is_told_once() -> None:
    bar = part(PIECE, 0, 4)
    loop = Hunt(reference(np.tile(bar, 8)), params=MatchParams())
    matches = found(loop, kept_of((0.0, stream(noise(1, 5), np.tile(bar, 6), noise(2, 5)))))
    assert all(one.end_s <= other.begin_s + 1 for one, other in pairwise(matches))


def test_an_empty_block_has_nothing() -> None:
    assert hunt_of().search(sketch(Peaks.none(), 0), 0, 0.0) == []
    assert hunt_of().search(sketch(Peaks.none(), 100), 100, 0.0) == []


# ------------------------------------------------------------------------------------------------- sketches


def test_a_recording_and_a_stream_of_it_agree_on_their_anchors() -> None:
    """Of a stream that is the recording, most landmarks are found at their place: those whose targets are also near in time."""
    found_peaks = fingerprint(PIECE)
    frames = int(70 * FRAMES_PER_S)
    drawn = sketch(found_peaks, frames)
    common = Sought(found_peaks, (1.0,)).find(drawn, frames)
    at_its_place = np.abs(common.reference - common.heard) <= GROUP_FRAMES
    landmarks_n = (len(drawn) - -(-frames // GROUP_FRAMES)) // 3
    assert np.count_nonzero(at_its_place) > 0.5 * landmarks_n


def test_a_sketch_of_hostile_sound_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COUNT_MAX", 20)
    frames = int(30 * FRAMES_PER_S)
    drawn = sketch(fingerprint(noise(9, 30, 0.3)), frames)
    count = np.frombuffer(drawn, "u1", -(-frames // GROUP_FRAMES))
    assert count.max() == 20
    assert len(drawn) == len(count) + 3 * int(count.sum(dtype=int))
    assert len(Sought(fingerprint(PIECE), (1.0,)).find(drawn, frames)) >= 0


@pytest.mark.parametrize("frames", [0, 100, 200, 4_000])
def test_what_is_no_sketch_of_so_many_frames_is_refused(frames: int) -> None:
    drawn = sketch(fingerprint(part(PIECE, 0, 10)), 313)
    with pytest.raises(ValueError, match=r"damaged"):
        Sought(fingerprint(PIECE), (1.0,)).find(drawn, frames)
