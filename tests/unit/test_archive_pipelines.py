"""Both pipelines of a standard channel: each second from one of them, none twice, and what one of them lost from the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.mpegts import PTS_HZ, PTS_MODULUS, ticks_between
from earmark.audio.order import ArchiveItem, Lost, Next, Position
from earmark.audio.pipelines import Pipelines

EPOCH = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
#: Time stamps wrap within what is played here.
PTS_0 = PTS_MODULUS - 90 * PTS_HZ


@dataclass
class Made:
    """A file: what it holds of the programme, and when it arrives."""

    item: ArchiveItem
    begin_s: float
    end_s: float
    at_s: float
    pts: int | None


def files(
    numbers: Sequence[int],
    *,
    spare: bool = False,
    file_s: float = 10.0,
    phase_s: float = 0.0,
    base: str = "",
    clock_s: float = 0.0,
    late_s: float = 0.5,
    first: int = 0,
    stamped: bool = True,
) -> list[Made]:
    """Files of one pipeline by their numbers: `first` is what its counter was when the programme began, `clock_s` by how much its time stamps are off."""
    base = base or f"p{int(spare)}/show-20260304T050607"
    made = []
    for number in numbers:
        begin_s = max(0.0, phase_s + number * file_s)
        end_s = phase_s + (number + 1) * file_s
        at_s = end_s + late_s
        key = f"{base}.{first + number:06d}.ts"
        item = ArchiveItem(bucket="b", key=key, sequencer=f"{at_s:09.3f}", made_at=EPOCH + timedelta(seconds=int(end_s)), spare=spare)
        pts = (PTS_0 + round((begin_s + clock_s) * PTS_HZ)) % PTS_MODULUS if stamped else None
        made.append(Made(item, begin_s, end_s, at_s, pts))
    return made


@dataclass
class Heard:
    """Who was heard from when to when, the gaps between, and what was never to be heard."""

    stretches: list[tuple[bool, float, float]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    runs: int = 0
    useless: list[ArchiveItem] = field(default_factory=list)
    left: list[ArchiveItem] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> list[tuple[float, float]]:
        """Neighbours joined."""
        joined: list[tuple[float, float]] = []
        for _, begin, end in self.stretches:
            if joined and begin <= joined[-1][1] + 1e-3:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((begin, end))
        return joined


def listen(
    made: Sequence[Made], *, until_s: float = 300.0, closing_s: float = 1e9, unusable: Sequence[ArchiveItem] = (), resume: Position | None = None
) -> Heard:
    """As `archive.ArchiveSource` does, at once."""
    by_item = {file.item: file for file in made}
    pipelines = Pipelines(gap_wait_s=5.0, begins=lambda item: by_item[item].pts, now_s=0.0, resume=resume)
    heard, inbox, now_s = Heard(), list[ArchiveItem](), 0.0
    coming = sorted(made, key=lambda file: file.at_s)
    while now_s <= until_s:
        while coming and coming[0].at_s <= now_s:
            inbox.append(coming.pop(0).item)
        while True:
            useless = pipelines.offer(inbox, now_s)
            heard.useless += useless
            inbox = [item for item in inbox if item not in useless]
            found = pipelines.next(now_s, closing=now_s >= closing_s)
            if found is None:
                break
            if isinstance(found, Lost):
                heard.lost.append(found.last)
                continue
            inbox.remove(found.item)
            file = by_item[found.item]
            if found.item in unusable:
                pipelines.failed(found, Lost(base=found.base, last=found.counter))
                continue
            heard.runs += found.begins_run
            _hear(heard, file, found, pipelines)
            heard.at_s.append(now_s)
        now_s += 1.0
    heard.left = inbox
    return heard


def _hear(heard: Heard, file: Made, found: Next, pipelines: Pipelines) -> None:
    cut_s = 0.0
    if found.from_pts is not None:
        assert file.pts is not None
        cut_s = max(0.0, ticks_between(file.pts, found.from_pts) / PTS_HZ)
    begin_s = min(file.begin_s + cut_s, file.end_s)
    if file.end_s - begin_s > 1e-3:
        heard.stretches.append((found.item.spare, round(begin_s, 3), round(file.end_s, 3)))
    end = None if file.pts is None else (file.pts + round((file.end_s - file.begin_s) * PTS_HZ)) % PTS_MODULUS
    pipelines.heard(end)
    pipelines.finished(found, media_s=file.end_s - file.begin_s if end is not None else 0.0)


def without(made: Sequence[Made], *counters: int) -> list[Made]:
    return [file for file in made if int(file.item.key[-9:-3]) not in counters]


def test_of_two_that_deliver_one_is_heard_and_the_other_passed_over() -> None:
    heard = listen([*files(range(12)), *files(range(12), spare=True, late_s=0.2)], until_s=140)
    assert heard.seconds == [(0, 120)]
    assert {spare for spare, *_ in heard.stretches} == {False}
    assert len(heard.useless) == 12 and not heard.left and not heard.lost


@pytest.mark.parametrize("file_s", [2.0, 10.0, 60.0])
def test_a_file_that_one_lost_is_heard_from_the_other_after_the_wait(file_s: float) -> None:
    one, other = files(range(12), file_s=file_s), files(range(12), spare=True, file_s=file_s)
    heard = listen([*without(one, 5), *other], until_s=20 * file_s + 30)
    assert heard.seconds == [(0, 12 * file_s)]
    assert not heard.lost and heard.runs == 0 and not heard.left
    assert [spare for spare, begin, _ in heard.stretches if begin == 5 * file_s] == [True]
    assert heard.at_s[5] - 6 * file_s <= 8, "no longer than gap_wait_s"


def test_when_one_stops_the_other_is_heard_without_waiting_for_each_file() -> None:
    heard = listen([*files(range(5)), *files(range(20), spare=True)], until_s=260)
    assert heard.seconds == [(0, 200)]
    assert [begin for spare, begin, _ in heard.stretches if spare] == [50 + 10 * n for n in range(15)]
    # The first is waited for; from then on each is heard as it comes.
    assert [round(at_s - 10 * (n + 1)) for n, at_s in enumerate(heard.at_s)][5:] == [6] + [1] * 14


def test_one_that_stopped_and_comes_back_is_the_others_stand_in() -> None:
    back = files(range(9, 20), base="p0/show-20260304T050700")
    heard = listen([*files(range(5)), *back, *files([n for n in range(20) if n != 15], spare=True)], until_s=260)
    assert heard.seconds == [(0, 200)]
    assert [spare for spare, begin, _ in heard.stretches if begin == 150] == [False]


def test_one_that_never_begins_is_not_waited_for_for_long() -> None:
    heard = listen(files(range(6), spare=True), until_s=100)
    assert heard.seconds == [(0, 60)]
    assert (heard.runs, heard.lost) == (0, [])


def test_one_that_never_begins_is_stood_in_for_from_the_beginning_in_whatever_order_the_files_come() -> None:
    other = files(range(6), spare=True)
    shuffled = [Made(other[n].item, other[n].begin_s, other[n].end_s, 10 + place * 0.1, other[n].pts) for place, n in enumerate((1, 0, 3, 2, 5, 4))]
    swapped = [Made(replace(file.item, made_at=EPOCH + timedelta(seconds=10 + place)), *_rest(file)) for place, file in enumerate(shuffled)]
    assert listen(swapped, until_s=60).seconds == [(0, 60)]


def _rest(file: Made) -> tuple[float, float, float, int | None]:
    return file.begin_s, file.end_s, file.at_s, file.pts


@pytest.mark.parametrize("phase_s", [-3.0, -7.5])
@pytest.mark.parametrize("first", [0, 40])
def test_files_that_are_cut_elsewhere_fill_in_by_their_time_stamps(phase_s: float, first: int) -> None:
    """One pipeline restarted some time ago: it counts otherwise, and closes its files at other moments."""
    one, other = files(range(12)), files(range(14), spare=True, phase_s=phase_s, first=first)
    heard = listen([*without(one, 5), *other], until_s=260, closing_s=240)
    assert heard.seconds == [(0, 140 + phase_s)], "what one lost, and what it did not bring at the end"
    assert heard.lost == [] and heard.runs == 0


def test_a_file_that_cannot_be_read_is_heard_from_the_other() -> None:
    one, other = files(range(8)), files(range(8), spare=True)
    heard = listen([*one, *other], until_s=100, unusable=[one[3].item])
    assert heard.seconds == [(0, 80)]
    assert heard.lost == []


def test_what_both_lost_is_lost() -> None:
    one, other = without(files(range(8)), 3), without(files(range(8), spare=True), 3)
    heard = listen([*one, *other], until_s=120)
    assert heard.seconds == [(0, 30), (40, 80)]
    assert heard.lost == [3]


def test_clocks_that_have_nothing_to_do_with_each_other_are_not_compared() -> None:
    """By number, as both count alike, and as a break; nothing is trimmed by time stamps that mean nothing."""
    one, other = files(range(8)), files(range(8), spare=True, clock_s=30_000)
    heard = listen([*without(one, 3), *other], until_s=120)
    assert heard.seconds == [(0, 80)]
    assert heard.runs == 1, "a break, once"


def test_without_time_stamps_numbers_do() -> None:
    one, other = files(range(8), stamped=False), files(range(8), spare=True, stamped=False)
    heard = listen([*without(one, 3), *other], until_s=120)
    assert heard.seconds == [(0, 80)]


def test_of_another_clock_and_another_count_the_next_whole_file_is_heard_when_one_stops() -> None:
    other = files(range(14), spare=True, phase_s=-4.0, clock_s=30_000, first=40)
    heard = listen([*files(range(5)), *other], until_s=260)
    begins = [begin for spare, begin, _ in heard.stretches if spare]
    assert begins[0] == 56, "nothing of what was heard is heard again"
    assert heard.seconds == [(0, 50), (56, 136)]
    assert heard.runs == 1


def test_a_channel_that_starts_anew_does_so_on_both() -> None:
    """Time stamps begin again with the same values: what the other has of the new run is not taken for the rest of the old one."""
    old = [*files(range(5)), *files(range(5), spare=True)]
    again = [
        Made(file.item, file.begin_s, file.end_s, file.at_s, (PTS_0 + round((file.begin_s - 80) * PTS_HZ)) % PTS_MODULUS)
        for spare in (False, True)
        for file in files(range(8, 16), spare=spare, base=f"p{int(spare)}/show-20260304T051000")
    ]
    heard = listen([*old, *again], until_s=220)
    assert heard.seconds == [(0, 50), (80, 160)]
    assert heard.runs == 1
    assert {spare for spare, *_ in heard.stretches} == {False}
    assert not heard.left


def test_the_last_short_file_of_the_other_is_heard_when_the_channel_stops() -> None:
    one, other = files(range(5)), files(range(6), spare=True)
    heard = listen([*one, *other], until_s=75, closing_s=62)
    assert heard.seconds == [(0, 60)]


@pytest.mark.parametrize("spare", [False, True])
def test_the_next_owner_goes_on_with_the_pipeline_that_was_heard(spare: bool) -> None:
    base, pts, made_at = f"p{int(spare)}/show-20260304T050607", (PTS_0 + 50 * PTS_HZ) % PTS_MODULUS, EPOCH + timedelta(seconds=50)
    position = Position(base=base, counter=4, pts=pts, made_at=made_at, spare=spare)
    position = Position.from_json(position.to_json()) or pytest.fail("it travels as text")
    coming = [file for file in [*files(range(4, 9)), *files(range(4, 9), spare=True)] if file.item.spare != spare or file.begin_s != 60]
    heard = listen(coming, until_s=120, resume=position)
    assert heard.seconds == [(50, 90)]
    assert next(begin for which, begin, _ in heard.stretches if which == spare) == 50


lost = st.sets(st.integers(1, 19), max_size=6)


@given(
    gone=lost,
    others_gone=lost,
    count=st.sampled_from([(0.0, 0), (-0.3, 5), (-0.65, 17)]),
    file_s=st.sampled_from([2.0, 10.0]),
    delays=st.lists(st.floats(0.1, 3.5), min_size=41, max_size=41),
)
def test_no_second_is_heard_twice_and_none_is_missed_that_somebody_had(
    gone: set[int], others_gone: set[int], count: tuple[float, int], file_s: float, delays: list[float]
) -> None:
    """Files of two seconds arrive in any order."""
    phase_s, first = count[0] * file_s, count[1]
    one = without(files(range(20), file_s=file_s), *gone)
    other = without(files(range(21), spare=True, file_s=file_s, phase_s=phase_s, first=first), *(first + n for n in others_gone))
    made = [Made(file.item, file.begin_s, file.end_s, file.end_s + delay, file.pts) for file, delay in zip([*one, *other], delays, strict=False)]
    heard = listen(made, until_s=400, closing_s=300)
    ends = [end for _, _, end in heard.stretches]
    begins = [begin for _, begin, _ in heard.stretches]
    assert all(begin >= end - 1e-3 for begin, end in zip(begins[1:], ends, strict=False)), "in order, and nothing twice"
    had: Any = lambda t: any(file.begin_s <= t < file.end_s for file in made)  # noqa: E731
    times = [t / 2 + 0.25 for t in range(round(40 * file_s))]
    missed = [t for t in times if had(t) and not any(begin <= t < end for _, begin, end in heard.stretches)]
    assert missed == []
