"""What is kept of a stream is all of it, once, whatever the cut of its samples and whoever took it up when somebody died."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint import kept
from earmark.fingerprint.kept import Keeper, Packed, compress, expand, pack, unpack
from earmark.fingerprint.window import Window, fingerprint
from earmark.model import EIGHTHS, FRAMES_PER_S, RATE_HZ, Float32, Peaks
from hearing_sounds import noise, silence, tune

#: So that there are several in half a minute.
BLOCK_FRAMES = 256
SOUND = np.concatenate([tune(1, 10), silence(9), noise(2, 2), tune(3, 7)])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "BLOCK_FRAMES", BLOCK_FRAMES)
    monkeypatch.setattr(kept, "_BLOCK_EIGHTHS", BLOCK_FRAMES * EIGHTHS)


@dataclass
class Record:
    """What the database would hold: groups and whole blocks, and how far the stream is."""

    position_s: float = 0.0
    groups: dict[tuple[float, int], Packed] = field(default_factory=dict)
    blocks: dict[float, Packed] = field(default_factory=dict)

    def note(self, keeper: Keeper, position_s: float) -> None:
        for group in keeper.groups(position_s):
            self.groups.setdefault((group.block_s, group.begin_eighth), group.packed)
        self.position_s = position_s

    def commit(self, keeper: Keeper, position_s: float, *, answered: bool = True) -> None:
        self.note(keeper, position_s)
        whole = keeper.complete()
        self._seal({block.begin_s: block.packed for block in whole})
        if answered:
            keeper.sealed(whole)
            keeper.recorded(position_s)

    def take_up(self) -> None:
        """What a new owner does first."""
        left: dict[float, list[Packed]] = {}
        for (block_s, _), packed in sorted(self.groups.items(), key=lambda item: item[0]):
            left.setdefault(block_s, []).append(packed)
        self._seal({block_s: np.concatenate(parts) for block_s, parts in left.items()})

    def _seal(self, blocks: dict[float, Packed]) -> None:
        for begin_s, packed in blocks.items():
            assert begin_s not in self.blocks or np.array_equal(self.blocks[begin_s], packed)
            self.blocks[begin_s] = packed
            for key in [key for key in self.groups if key[0] == begin_s]:
                del self.groups[key]

    @property
    def peaks(self) -> list[tuple[float, int, int]]:
        """Stream time, frequency and salience of all that is kept, in order."""
        assert not self.groups
        return [row for begin_s, packed in sorted(self.blocks.items()) for row in rows(begin_s, unpack(packed))]


def rows(start_s: float, peaks: Peaks) -> list[tuple[float, int, int]]:
    time_s = start_s + peaks.frames / FRAMES_PER_S
    return list(
        zip(
            np.round(time_s, 6).tolist(),
            (2 * peaks.eighth_hz + peaks.hashed).tolist(),
            np.minimum(np.rint(16 * peaks.salience), 255).astype(int).tolist(),
            strict=True,
        )
    )


def of_run(start_s: float, samples: Float32, *, ended: bool) -> list[tuple[float, int, int]]:
    """What a front end finds in a run; of one that is broken off, what is final by then."""
    return rows(start_s, fingerprint(samples) if ended else Window().push(samples))


_OUTCOMES = ("note", "note", "unanswered note", "commit", "unanswered commit", "nothing", "die", "gap")
_steps = st.lists(st.tuples(st.integers(1, 40_000), st.sampled_from(_OUTCOMES)), min_size=1)


@settings(max_examples=25)
@given(steps=_steps)
def test_whatever_the_cut_and_whoever_dies_all_of_it_is_kept_once(steps: Sequence[tuple[int, str]]) -> None:
    record, expected = Record(), []
    #: Where in the sound the record is, and where the run began that is heard now, in samples and in stream time.
    recorded = begin = at = 0
    position_s = run_s = 0.0
    keeper, front = Keeper(), None
    for count, then in [*steps, (len(SOUND), "end")]:
        if front is None:
            front, begin, run_s = keeper.run(position_s, Window()), at, position_s
        samples = SOUND[at : at + count]
        front.push(samples)
        at += len(samples)
        position_s += len(samples) / RATE_HZ
        if then == "die":  # the next owner goes on where the record ends
            expected += of_run(run_s, SOUND[begin : max(begin, recorded)], ended=False)
            at, position_s, keeper, front = recorded, record.position_s, Keeper(), None
            record.take_up()
            continue
        if then in ("gap", "end"):
            front.flush()
            expected += of_run(run_s, SOUND[begin:at], ended=True)
            front = None
        if then == "note":
            record.note(keeper, position_s)
            keeper.recorded(position_s)
        elif then == "unanswered note":
            record.note(keeper, position_s)
        elif then != "nothing":
            record.commit(keeper, position_s, answered=then != "unanswered commit")
        recorded = recorded if then == "nothing" else at
        position_s += 3.0 if then == "gap" else 0.0
    assert record.peaks == expected


def test_the_same_blocks_come_of_the_same_samples() -> None:
    def blocks(*sizes: int) -> list[tuple[float, int, bytes]]:
        keeper = Keeper()
        front, at, n = keeper.run(100.0, Window()), 0, 0
        while at < len(SOUND):
            front.push(SOUND[at : at + sizes[n % len(sizes)]])
            at, n = at + sizes[n % len(sizes)], n + 1
        front.flush()
        keeper.groups(1e6)
        return [(block.begin_s, block.frames, block.packed.tobytes()) for block in keeper.complete()]

    whole = blocks(len(SOUND))
    assert [begin_s for begin_s, _, _ in whole] == [100 + n * BLOCK_FRAMES / FRAMES_PER_S for n in (0, 1, 2, 3)]
    assert whole == blocks(777) == blocks(16_000, 31) == blocks(65_536)


def test_silence_is_not_kept_and_makes_nothing_due_for_ever() -> None:
    keeper = Keeper()
    front = keeper.run(0.0, Window())
    front.push(silence(60))
    assert keeper.groups(60) == [] == keeper.complete()
    keeper.recorded(60)
    assert not keeper.due
    assert len(keeper.blocks_s) == 1


def test_nothing_beyond_a_position_goes_on_record_with_it() -> None:
    keeper = Keeper()
    front = keeper.run(0.0, Window())
    for n in range(6):
        front.push(SOUND[n * 8_000 : (n + 1) * 8_000])
    assert max(group.end_eighth for group in keeper.groups(3.0)) <= 3 * FRAMES_PER_S * EIGHTHS


def test_a_group_is_asked_to_be_recorded_until_it_is() -> None:
    keeper = Keeper()
    front = keeper.run(0.0, Window())
    front.push(SOUND[:16_000])
    (first,) = keeper.groups(2.0)
    front.push(SOUND[16_000:32_000])
    assert keeper.groups(4.0)[0] is first
    keeper.recorded(2.0)
    (second,) = keeper.groups(4.0)
    assert second.begin_eighth == first.end_eighth
    keeper.recorded(4.0)
    assert keeper.groups(4.0) == []


# ------------------------------------------------------------------------------------------------- packing

_peaks = st.lists(st.tuples(st.integers(0, BLOCK_FRAMES * EIGHTHS - 1), st.integers(1_440, 30_400), st.booleans(), st.integers(0, 255)), max_size=60)


@given(_peaks)
def test_what_was_packed_comes_back(values: Sequence[tuple[int, int, bool, int]]) -> None:
    values = sorted(values)
    columns = list(zip(*values, strict=True)) or [(), (), (), ()]
    peaks = Peaks(
        eighth_frames=np.array(columns[0], np.int32),
        eighth_hz=np.array(columns[1], np.int32),
        hashed=np.array(columns[2], np.bool_),
        salience=np.array(columns[3], np.float32) / 16,
    )
    back = unpack(expand(compress(pack(peaks))))
    for column in ("eighth_frames", "eighth_hz", "hashed", "salience"):
        assert np.array_equal(getattr(back, column), getattr(peaks, column))


def test_a_very_salient_peak_is_kept_as_the_most_salient_there_is() -> None:
    found = fingerprint(SOUND[:32_000])
    loud = Peaks(eighth_frames=found.eighth_frames, eighth_hz=found.eighth_hz, hashed=found.hashed, salience=np.full(len(found), 1e6, np.float32))
    assert set(unpack(pack(loud)).salience.tolist()) == {255 / 16}


@pytest.mark.parametrize("kept_bytes", [b"", b"no zlib", zlib.compress(bytes(7)), zlib.compress(bytes(4_000_000))])
def test_what_was_never_packed_is_refused(kept_bytes: bytes) -> None:
    with pytest.raises(ValueError, match="a kept block is damaged"):
        expand(kept_bytes)


def test_a_block_takes_less_than_four_bytes_a_peak() -> None:
    found = pack(fingerprint(tune(5, 30)))
    assert len(compress(found)) < 4 * len(found)


def test_what_is_heard_again_before_the_place_of_a_session_is_not_kept_again() -> None:
    """Nor is it counted: only what lies behind is in the block."""
    from_s, start_s = 12.0, 5.0
    keeper = Keeper(from_s)
    front = keeper.run(start_s, Window())
    for begin in range(int(start_s * RATE_HZ), len(SOUND), 8_000):
        front.push(SOUND[begin : begin + 8_000])
    front.flush()
    keeper.groups(1e9)
    frames = np.concatenate([unpack(block.packed).frames + (block.begin_s - start_s) * FRAMES_PER_S for block in keeper.complete()])
    everything = fingerprint(SOUND[int(start_s * RATE_HZ) :]).frames
    assert np.array_equal(frames, everything[everything >= (from_s - start_s) * FRAMES_PER_S])
