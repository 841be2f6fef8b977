"""A station that comes and goes, its time moved by hand: what is heard, what is a gap, and how often it is asked."""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_origin import EPOCH, Hand, session_settings
from earmark.audio.decode import StreamDecoder
from earmark.audio.joins import Place
from earmark.audio.radio import AHEAD_S_MAX, PIECE_S, RadioSource
from earmark.audio.station import Station, Tuned
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.model import Missing, Piece, Segment
from earmark.session import Source
from radio_station import MP3_FRAME_S, Air, Listener, Script, mp3, noise

GONE = "radio.example has closed the connection"


class Tower:
    """Tunes in to a programme; what goes wrong is said per connection."""

    def __init__(self, hand: Hand, air: Air, *, metaint: int = 0, speed: float = 1.0) -> None:
        self.hand, self.air, self.metaint, self.speed = hand, air, metaint, speed
        #: Seconds at which there is no station.
        self.away: list[tuple[float, float]] = []
        #: Each connection lasts so long.
        self.lasts_s = 1e9
        self.dials: list[float] = []
        self.bodies: list[Script] = []
        self.refusal: Exception | None = None
        #: How much of the past there is before the programme's first second by the clock.
        self.head_s = 20.0

    def __call__(self) -> Tuned:
        self.dials.append(self.hand.time_s)
        if self.refusal:
            raise self.refusal
        if self._is_away(self.hand.time_s):
            raise SourceUnavailable("radio.example answered 404 for the station")
        listener = Listener(self.air, self._second(self.hand.time_s), metaint=self.metaint)
        ends = min([begin for begin, _ in self.away if begin > self.hand.time_s] + [self.hand.time_s + self.lasts_s])
        body = Script(self.hand, lambda now: listener.take(self._second(now), most=150), ends_at_s=ends, over=lambda: SourceUnavailable(GONE))
        self.bodies.append(body)
        return Tuned(Station(content_type="audio/mpeg", metaint=self.metaint, name="Radio Example", kbps=128, icy=True), body)

    def _second(self, now: float) -> float:
        return self.head_s + now * self.speed

    def _is_away(self, now: float) -> bool:
        return any(begin <= now < end for begin, end in self.away)


class Prompt(Hand):
    """Is woken by being asked to stop."""

    def wait(self, timeout_s: float) -> bool:
        until = self.time_s + timeout_s
        while self._events and self._events[0][0] <= until:
            before = (self.stop, self.leaving)
            super().wait(max(0.0, self._events[0][0] - self.time_s))
            if (self.stop, self.leaving) != before:
                return True
        return super().wait(until - self.time_s)


@pytest.fixture
def hand() -> Hand:
    return Prompt()


def programme(duration_s: float = 30.0, **of: Any) -> Air:
    """Frames that differ for as long as a test lasts."""
    return Air(frames=noise(duration_s), frame_s=MP3_FRAME_S, loops=True, **of)


def decodable(**of: Any) -> Air:
    return Air(frames=mp3(3.0), frame_s=MP3_FRAME_S, loops=True, **of)


def source(tower: Callable[[], Tuned], hand: Hand, **of: Any) -> RadioSource:
    return RadioSource(tune=tower, signals=hand, session=session_settings(**of.pop("session", {})), clock=hand.clock, now=hand.now, **of)


def heard(pieces: list[Piece]) -> float:
    return sum(piece.duration_s for piece in pieces if isinstance(piece, Segment))


def gaps(pieces: list[Piece]) -> list[tuple[float, str]]:
    return [(round(piece.duration_s, 1), piece.reason) for piece in pieces if isinstance(piece, Missing)]


def sound(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces if isinstance(piece, Segment))


def listened(radio: RadioSource, hand: Hand, until_s: float) -> list[Piece]:
    hand.at(until_s, hand.end)
    return list(radio.pieces())


# ------------------------------------------------------------------------------------------------ as it should be


def test_it_is_a_session_source(hand: Hand) -> None:
    def takes(_: Source) -> None: ...

    takes(source(Tower(hand, programme()), hand))


def test_a_station_is_heard_from_the_past_that_it_sends_on(hand: Hand) -> None:
    tower = Tower(hand, programme())
    radio = source(tower, hand)
    pieces = listened(radio, hand, 20.0)
    assert gaps(pieces) == []
    assert heard(pieces) == pytest.approx(24.0, abs=0.3)  # four seconds of the past, and those that were listened for
    assert sound(pieces) in b"".join(noise(30.0)) * 3
    assert {piece.container for piece in pieces} == {"mp3"}
    assert [piece.duration_s for piece in pieces[:-1]] == [pytest.approx(PIECE_S, abs=MP3_FRAME_S)] * (len(pieces) - 1)
    assert radio.end_reason == "stream_end"
    assert radio.rendition == "audio only, 128 kbit/s, mp3, Radio Example"
    assert radio.fetched_bytes == pytest.approx(24 * 16_000, rel=0.05)
    assert len(tower.dials) == 1
    assert tower.bodies[0].closed


def test_the_past_that_comes_at_once_does_not_put_the_clock_into_the_future(hand: Hand) -> None:
    radio, decoder = source(Tower(hand, decodable(burst_s=15.0)), hand), StreamDecoder(segment_s_max=60)
    hand.at(20.0, hand.end)
    for piece in radio.pieces():
        for chunk in decoder.push(piece):
            assert chunk.clock is not None
            assert chunk.clock + timedelta(seconds=chunk.end_s - chunk.start_s) <= hand.now() + timedelta(seconds=0.05)
    assert decoder.position_s == pytest.approx(35.0, abs=0.3)


def test_the_decoder_hears_one_signal_without_a_break(hand: Hand) -> None:
    radio, decoder = source(Tower(hand, decodable()), hand), StreamDecoder(segment_s_max=60)
    chunks = [chunk for piece in listened(radio, hand, 15.0) for chunk in decoder.push(piece)] + decoder.flush()
    assert sum(len(chunk.samples) for chunk in chunks) / 8000 == pytest.approx(19.0, abs=0.3)
    assert not any(chunk.gap_before_s for chunk in chunks)


def test_a_hand_over_leaves_at_once_and_an_end_hands_on_what_is_there(hand: Hand) -> None:
    tower = Tower(hand, programme())
    hand.at(7.3, hand.hand_over)
    radio = source(tower, hand)
    left = list(radio.pieces())
    assert heard(left) <= 11.3
    assert tower.bodies[0].closed
    assert radio.end_reason == "failed"  # nobody asks


# ------------------------------------------------------------------------------------------------ words


def test_titles_lie_where_they_stand_in_the_sound(hand: Hand) -> None:
    # The programme's 20th second is the first of our time, of which four are sent of the past.
    air = programme(titles=[(0.0, "Before"), (26.0, "Ada Sample - Blue"), (31.0, "")])
    radio = source(Tower(hand, air, metaint=8_192), hand)
    listened(radio, hand, 15.0)
    told = [(round(title.begin_s, 1), title.text) for title in radio.titles.newest(9)]
    assert told[0] == (0.0, "Before")  # on air before anybody listened
    assert told[1] == (pytest.approx(10.0, abs=0.6), "Ada Sample - Blue")  # half a second of sound is between two blocks
    assert told[2] == (pytest.approx(15.0, abs=0.6), "")


def test_titles_travel_to_the_next_owner(hand: Hand) -> None:
    air = programme(titles=[(0.0, "Before"), (26.0, "Ada Sample - Blue")])
    first = source(Tower(hand, air, metaint=8_192), hand)
    position = [piece.position for piece in listened(first, hand, 12.0)][-1]
    again = source(Tower(hand, air, metaint=8_192), hand, resume=position, start_s=100.0)
    assert again.titles.now == "Ada Sample - Blue"
    assert again.titles.during(95.0, 100.0) == "Ada Sample - Blue"
    assert again.titles.during(80.0, 90.0) == "Before"


# ------------------------------------------------------------------------------------------------ broken connections


def test_what_a_new_connection_brings_again_is_not_heard_again_and_nothing_is_missing(hand: Hand) -> None:
    tower = Tower(hand, programme())
    tower.away = [(10.0, 11.0)]  # shorter than the four seconds of the past that come then
    pieces = listened(source(tower, hand), hand, 25.0)
    assert gaps(pieces) == []
    assert heard(pieces) == pytest.approx(29.0, abs=0.3)
    assert sound(pieces) in b"".join(noise(30.0)) * 3
    assert not any(piece.discontinuity for piece in pieces if isinstance(piece, Segment))


def test_a_longer_absence_is_a_gap_and_the_sum_is_the_time_that_passed(hand: Hand) -> None:
    tower = Tower(hand, programme(60.0))
    tower.away = [(10.0, 30.0)]
    pieces = listened(source(tower, hand), hand, 50.0)
    ((gap_s, reason),) = gaps(pieces)
    assert reason == "origin_down"
    assert heard(pieces) + gap_s == pytest.approx(54.0, abs=0.5)
    assert gap_s == pytest.approx(20.0 - 4.0 + 5.0, abs=6.0)  # as long as it took to ask again, less the past


def test_where_the_overlap_cannot_be_known_the_clock_has_to_do(hand: Hand) -> None:
    """Each listener of such a server gets an encoding of his own: what was heard before is left out by the second, not by the frame."""
    tower, other = Tower(hand, programme(30.0)), Tower(hand, Air(frames=noise(30.0, seed=2), frame_s=MP3_FRAME_S, loops=True))
    tower.away = [(10.0, 1e9)]
    pieces = listened(source(lambda: tower() if hand.time_s < 10 else other(), hand), hand, 25.0)
    assert gaps(pieces) == []
    assert heard(pieces) == pytest.approx(29.0, abs=0.6)
    assert [piece.discontinuity for piece in pieces if isinstance(piece, Segment)].count(True) == 1


def test_a_connection_that_breaks_in_digital_silence_brings_nothing_twice(hand: Hand) -> None:
    """Its frames are all alike: where it goes on cannot be told by them, and a song before it must not be heard again."""
    air = programme(60.0, burst_s=20.0)
    air.frames = [*air.frames[:1_000], *[air.frames[1_000]] * (len(air.frames) - 1_000)]
    tower = Tower(hand, air)
    tower.away = [(15.0, 17.0)]
    pieces = listened(source(tower, hand), hand, 22.0)
    assert gaps(pieces) == []
    assert heard(pieces) == pytest.approx(42.0, abs=0.6)
    assert sound(pieces).count(air.frames[900]) == 1


def test_a_server_that_closes_every_second_is_heard_all_the_same_and_not_flooded(hand: Hand) -> None:
    tower = Tower(hand, programme(60.0))
    tower.lasts_s = 1.0
    pieces = listened(source(tower, hand), hand, 30.0)
    assert gaps(pieces) == []
    assert heard(pieces) == pytest.approx(34.0, abs=1.5)
    assert len(tower.dials) <= 31


def test_a_server_that_closes_at_once_and_sends_the_same_again_is_asked_ever_more_rarely(hand: Hand) -> None:
    tower = Tower(hand, programme(), speed=0.0)  # nothing new goes on air
    tower.lasts_s = 0.3
    hand.at(300.0, hand.hand_over)
    with pytest.raises(SourceUnavailable):
        list(source(tower, hand, session={"silent_origin_s": 100}).pieces())
    assert len(tower.dials) < 20


def test_a_connection_over_which_nothing_comes_any_more_is_made_anew(hand: Hand) -> None:
    tower = Tower(hand, programme(60.0))
    air_upto = tower.air.upto
    stalled: list[float] = []

    def upto(second: float) -> int:  # the first connection falls silent after eight seconds
        return air_upto(min(second, 28.0) if len(tower.dials) == 1 else second)

    tower.air.upto = upto  # type: ignore[method-assign]
    pieces = listened(source(tower, hand), hand, 40.0)
    assert len(tower.dials) == 2
    assert 17.0 < tower.dials[1] < 21.0
    ((gap_s, reason),) = gaps(pieces)
    assert reason == "origin_down"
    assert heard(pieces) + gap_s == pytest.approx(44.0, abs=1.0)
    assert not stalled


def test_a_station_that_is_gone_for_long_ends_the_run_for_the_next_owner(hand: Hand) -> None:
    tower = Tower(hand, programme())
    tower.away = [(10.0, 1e9)]
    pieces: list[Piece] = []
    with pytest.raises(SourceUnavailable, match="answered 404"):
        pieces.extend(source(tower, hand, session={"silent_origin_s": 60}).pieces())
    assert 69.0 < hand.time_s < 95.0
    assert len(tower.dials) < 15


def test_the_next_owner_goes_on_where_the_frames_are_the_same(hand: Hand) -> None:
    tower = Tower(hand, programme(60.0))
    first = listened(source(tower, hand), hand, 10.0)
    hand.stop = None
    hand.wait(2.0)
    second = listened(source(tower, hand, resume=first[-1].position, start_s=heard(first)), hand, 25.0)
    assert gaps(second) == []
    assert sound(first) + sound(second) in b"".join(noise(60.0)) * 2


@pytest.mark.parametrize("reason", ["worker_lost", "origin_down"])
def test_what_went_on_air_between_two_owners_is_a_gap_with_its_reason(hand: Hand, reason: Any) -> None:
    tower = Tower(hand, programme(60.0))
    first = listened(source(tower, hand), hand, 10.0)
    hand.stop = None
    hand.wait(30.0)
    second = listened(source(tower, hand, resume=first[-1].position, resume_reason=reason), hand, 50.0)
    ((gap_s, said),) = gaps(second)
    assert said == reason
    assert isinstance(second[0], Missing)
    assert gap_s == pytest.approx(26.0, abs=0.6)
    assert heard(first) + heard(second) + gap_s == pytest.approx(54.0, abs=0.6)


def test_a_position_says_where_the_sound_was_left(hand: Hand) -> None:
    pieces = listened(source(Tower(hand, programme()), hand), hand, 10.0)
    place = Place.from_json(pieces[-1].position)
    assert place is not None
    assert place.at == pytest.approx(EPOCH + timedelta(seconds=10.0), abs=timedelta(seconds=0.3))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.2, 20), st.floats(0.1, 40)), max_size=4))
def test_heard_and_gaps_are_the_time_that_passed_however_it_comes_and_goes(absences: list[tuple[float, float]]) -> None:
    hand = Prompt()
    tower = Tower(hand, programme(60.0))
    at = 0.0
    for there_s, away_s in absences:
        tower.away.append((at + there_s, at + there_s + away_s))
        at += there_s + away_s
    pieces = listened(source(tower, hand, session={"silent_origin_s": 600}), hand, at + 40.0)
    gap_s = sum(piece.duration_s for piece in pieces if isinstance(piece, Missing))
    # What is there and not yet a gap: two network's-worths of half a second for each absence, at most; frames that come twice are dropped.
    assert heard(pieces) + gap_s == pytest.approx(at + 44.0, abs=0.6 * (1 + len(absences)))


# ------------------------------------------------------------------------------------------------ what must not be


def test_a_sender_of_a_hundred_times_the_pace_is_read_as_it_plays(hand: Hand) -> None:
    tower = Tower(hand, programme(), speed=100.0)
    pieces = listened(source(tower, hand), hand, 60.0)
    assert 60.0 < heard(pieces) < 60.0 + AHEAD_S_MAX + 10.0
    assert gaps(pieces) == []


def test_servers_that_bring_another_past_each_time_cannot_put_us_ahead(hand: Hand) -> None:
    """A file that begins anew with each connection, served as fast as it goes."""
    seeds = itertools.count(1)

    def tune() -> Tuned:
        tower = Tower(hand, Air(frames=noise(20.0, seed=next(seeds) % 5), frame_s=MP3_FRAME_S, burst_s=20.0))
        tower.head_s = 1_000.0
        return tower()

    pieces = listened(source(tune, hand), hand, 120.0)
    assert heard(pieces) < 120.0 + AHEAD_S_MAX + 25.0


def test_a_server_that_keeps_a_minute_of_the_past_is_joined_where_it_was_left(hand: Hand) -> None:
    tower = Tower(hand, programme(200.0, burst_s=60.0))
    tower.head_s, tower.away = 100.0, [(40.0, 60.0)]
    pieces = listened(source(tower, hand), hand, 90.0)
    assert gaps(pieces) == []
    assert sound(pieces) in b"".join(noise(200.0)) * 2
    assert heard(pieces) == pytest.approx(150.0, abs=0.5)


def test_what_is_no_station_is_refused_at_once_and_what_does_not_answer_after_three_tries(hand: Hand) -> None:
    tower = Tower(hand, programme())
    tower.refusal = SourceUnsupported("what radio.example serves is text/html")
    with pytest.raises(SourceUnsupported, match="text/html"):
        list(source(tower, hand).pieces())
    assert len(tower.dials) == 1
    tower.refusal = SourceUnavailable("radio.example cannot be reached")
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        list(source(tower, hand).pieces())
    assert len(tower.dials) == 4


def test_an_errors_page_where_a_station_was_is_sat_out(hand: Hand) -> None:
    tower = Tower(hand, programme(60.0))
    tower.lasts_s = 10.0
    hand.at(9.0, lambda: setattr(tower, "refusal", SourceUnsupported("what radio.example serves is text/html")))
    hand.at(30.0, lambda: setattr(tower, "refusal", None))
    pieces = listened(source(tower, hand), hand, 50.0)
    ((gap_s, reason), *_) = gaps(pieces)
    assert reason == "origin_down"
    assert gap_s > 10.0


def _pour(*data: bytes) -> Callable[[float], bytes]:
    left: Iterator[bytes] = iter(data)
    return lambda _now: next(left, b"")


@pytest.mark.parametrize("garbage", [b"<html>" * 4_000, b"\0" * 24_000, b"OggS" * 6_000], ids=["html", "zeros", "ogg"])
def test_bytes_without_a_frame_in_them_are_refused(hand: Hand, garbage: bytes) -> None:
    body = Script(hand, _pour(*[garbage] * 20), over=lambda: SourceUnavailable(GONE))
    radio = source(lambda: Tuned(Station(content_type="audio/mpeg", metaint=0, name="", kbps=0, icy=False), body), hand)
    with pytest.raises(SourceUnsupported, match="hardly sound"):
        list(radio.pieces())
    assert body.closed


def test_a_frame_now_and_then_in_a_flood_is_refused(hand: Hand) -> None:
    body = Script(hand, _pour(*[b"".join(mp3(2.0)[:3]) + b"\0" * 60_000] * 50), over=lambda: SourceUnavailable(GONE))
    radio = source(lambda: Tuned(Station(content_type="audio/mpeg", metaint=0, name="", kbps=0, icy=False), body), hand)
    with pytest.raises(SourceUnsupported, match="hardly sound"):
        list(radio.pieces())
    assert radio.fetched_bytes < 600_000


def test_words_without_end_between_single_bytes_of_sound_are_refused(hand: Hand) -> None:
    """`icy-metaint: 1`, and a block of 4,080 bytes each time."""
    listener = b"".join(bytes([byte]) + b"\xff" + b"x" * 4080 for byte in b"".join(mp3(2.0)[:4]))
    body = Script(hand, _pour(*(listener[at : at + 65_536] for at in range(0, len(listener), 65_536))), over=lambda: SourceUnavailable(GONE))
    radio = source(lambda: Tuned(Station(content_type="audio/mpeg", metaint=1, name="", kbps=0, icy=True), body), hand)
    with pytest.raises(SourceUnsupported, match="hardly sound"):
        list(radio.pieces())
    assert radio.fetched_bytes < 300_000


def test_a_station_that_is_silent_from_the_first_is_given_up(hand: Hand) -> None:
    radio = source(lambda: Tuned(Station(content_type="audio/mpeg", metaint=0, name="", kbps=0, icy=False), Script(hand, _pour(), over=Exception)), hand)
    with pytest.raises(SourceUnavailable, match="sends no sound"):
        list(radio.pieces())
    assert hand.time_s < 45.0
