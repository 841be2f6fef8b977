"""Which of the recordings that are there is it? And what is wrong with its ISRCs."""

from earmark.duplicates import Described, clashes, duplicate, in_words
from earmark.matching.overlaps import Compared, Kind, Overlap, Span
from earmark.model import Track


def known(track_no: int, *, isrc: tuple[str, ...] = (), of_no: int | None = None, found: bool = True) -> Described:
    return Described(track_no=track_no, track_id=f"t{track_no}", title=f"Title {track_no}", isrc=isrc, of_no=of_no, found=found)


def lies(other_no: int, kind: Kind, *, share: float = 1.0, other_share: float = 1.0, rest_s: float = 0.0, speed: float = 1.0) -> Compared:
    laid = Overlap(
        kind=kind,
        speed=speed,
        share=share,
        other_share=other_share,
        rest_s=rest_s,
        other_rest_s=0.0,
        spans=(Span(begin_s=0, end_s=115, other_begin_s=5, other_end_s=120),),
    )
    return Compared(other_no=other_no, version=True, evidence_nats=100, own=(), others=(), overlap=laid)


NEW = Track(track_id="new", isrc=("A",))


def test_the_one_that_was_there_first_is_the_one() -> None:
    there = {no: known(no) for no in (3, 4, 5)}
    found = duplicate(NEW, [lies(5, "same"), lies(3, "passage"), lies(4, "same")], there)
    assert found is not None
    assert (found.of.track_no, found.in_no) == (4, 4)


def test_an_alias_leads_to_the_first_and_never_to_a_chain() -> None:
    there = {4: known(4), 5: known(5, of_no=4)}
    both = duplicate(NEW, [lies(5, "same"), lies(4, "same", rest_s=10)], there)
    assert both is not None
    assert (both.of.track_no, both.found.track_no, both.in_no) == (4, 4, 5)  # what it has of its own, the alias has, and is looked up by
    only_the_alias = duplicate(NEW, [lies(5, "excerpt", other_share=0.3)], there)
    assert only_the_alias is not None
    assert (only_the_alias.of.track_no, only_the_alias.found.track_no, only_the_alias.in_no) == (4, 5, 5)
    not_looked_up = duplicate(NEW, [lies(5, "same")], {4: known(4), 5: known(5, of_no=4, found=False)})
    assert not_looked_up is not None
    assert not_looked_up.in_no is None


def test_what_has_seconds_or_a_speed_of_its_own_keeps_its_postings() -> None:
    there = {4: known(4)}
    for relation in (lies(4, "same", rest_s=12), lies(4, "same", speed=1.02)):
        found = duplicate(NEW, [relation], there)
        assert found is not None
        assert found.in_no is None


def test_a_recording_is_no_duplicate_of_its_excerpt_nor_a_track_of_a_mix_nor_an_edit_of_the_whole() -> None:
    there = {4: known(4, isrc=("B",)), 5: known(5)}
    assert duplicate(NEW, [lies(5, "excerpt", share=0.3, other_share=1)], there) is None
    assert duplicate(NEW, [lies(5, "excerpt", share=1, other_share=0.05)], there) is None
    assert duplicate(NEW, [lies(4, "excerpt", share=1, other_share=0.6)], there) is None
    assert duplicate(NEW, [lies(5, "excerpt", share=1, other_share=0.3)], there) is not None
    assert duplicate(NEW, [lies(5, "passage", share=0.5)], there) is None
    assert duplicate(NEW, [lies(9, "same")], there) is None  # gone meanwhile


def test_isrcs_that_say_something_else_are_told() -> None:
    there = {4: known(4, isrc=("B",)), 5: known(5, isrc=("A", "B")), 6: known(6)}
    assert clashes(NEW, [lies(5, "same"), lies(6, "same")], there, {5: there[5]}) == ()
    (two,) = clashes(NEW, [lies(4, "same")], there, {})
    assert two == "new and t4 are one recording, and have two ISRCs, A and B: one of them is wrong"
    (one,) = clashes(NEW, [lies(5, "passage")], there, {5: there[5]})
    assert one == "new and t5 have one ISRC, A, and are two recordings: one of them has a wrong one"
    assert clashes(NEW, [lies(4, "excerpt", other_share=0.5)], there, {}) == ()  # an edit has its own


def test_it_is_said_in_a_few_words() -> None:
    found = duplicate(NEW, [lies(4, "same", speed=1.02)], {4: known(4)})
    assert found is not None
    assert in_words(found) == "1:55 of it are 0:05–2:00 of t4 (Title 4), at speed +2.0%"
