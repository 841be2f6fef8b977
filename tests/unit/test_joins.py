"""Where one connection goes on from another."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.joins import KEPT, LEAST, Place, Tail
from earmark.titles import Title

FRAMES = [f"frame {number}".encode() for number in range(200)]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _after(heard: list[bytes]) -> Tail:
    tail = Tail()
    tail.add(heard)
    return tail


@given(heard=st.integers(LEAST, 150), begins=st.integers(0, 150), brought=st.integers(0, 60))
def test_what_comes_behind_the_last_frame_is_found_where_enough_of_both_is_the_same(heard: int, begins: int, brought: int) -> None:
    new = FRAMES[begins : begins + brought]
    common = heard - begins
    known = LEAST <= common <= brought
    assert _after(FRAMES[:heard]).continued_in(new) == (common if known else None)


def test_where_frames_are_alike_nothing_can_be_told() -> None:
    silence = [b"silence"] * 100
    assert _after(FRAMES[:20] + silence).continued_in(silence + FRAMES[20:30]) is None
    assert _after(silence[:30] + FRAMES[:10]).continued_in(silence[:30] + FRAMES[:20]) == 40


def test_too_little_of_the_past_tells_nothing() -> None:
    assert _after(FRAMES[: LEAST - 1]).continued_in(FRAMES[:20]) is None
    assert _after(FRAMES[:50]).continued_in([]) is None
    assert Tail().continued_in(FRAMES) is None


def test_no_more_than_a_second_of_checksums_is_kept() -> None:
    assert len(_after(FRAMES).checksums) == KEPT


def test_a_place_comes_back_as_it_was() -> None:
    place = Place(at=NOON, checksums=_after(FRAMES).checksums, titles=(Title(-12.5, "Für Elise"), Title(-1.0, "")))
    text = place.to_json()
    assert Place.from_json(text) == place
    assert len(text) < 600
    assert Tail(place.checksums).continued_in(FRAMES[180:]) == 20


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '{"sequence": 7}', '{"at": "soon", "frames": "", "titles": []}', '{"at": "2026-11-21", "frames": "zz", "titles": []}']
)
def test_a_place_of_another_source_is_none(text: str) -> None:
    assert Place.from_json(text) is None


def test_a_place_without_a_time_zone_is_in_utc() -> None:
    assert Place.from_json('{"at": "2026-11-21T12:00:00", "frames": "", "titles": []}') == Place(at=NOON)
