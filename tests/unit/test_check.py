"""A file's record: written seldom, whole, and with the place to go on from; and where its documents lie."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.check import Seldom
from earmark.errors import DatabaseUnavailable
from earmark.hits.checked import HTML, JSON, KEY_BYTES_MAX, is_checked, outcome, results_key
from earmark.model import Gap
from earmark.settings import load
from hits_samples import checkpoint, play


class Kept:
    def __init__(self) -> None:
        self.commits = []
        self.away = False

    def commit(self, checkpoint, changed):
        if self.away:
            raise DatabaseUnavailable("it is away")
        self.commits.append((checkpoint, list(changed)))

    def note(self, checkpoint):
        raise AssertionError("positions are not noted")


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def seldom(kept, clock):
    return Seldom(recorder=kept, every_s=5, place=lambda position_s: f"behind {position_s:g}", clock=lambda: clock[0])


def test_at_the_beginning_every_few_seconds_and_at_the_end(seldom, kept, clock):
    for second in range(12):
        clock[0] = float(second)
        seldom.commit(checkpoint(float(second)), ())
    seldom.commit(checkpoint(99.0, state="ended", end_reason="endlist"), ())
    assert [written.position_s for written, _ in kept.commits] == [0, 5, 10, 99]


def test_what_changed_in_between_comes_with_it_the_newest_of_each_state(seldom, kept, clock):
    seldom.commit(checkpoint(0.0), ())
    first, second = play(state="provisional"), play(state="provisional", revision=2)
    opened, other = play(state="open", revision=3), play("other")
    for changed in ([first], [second, other], [opened]):
        seldom.commit(checkpoint(10.0), changed)
    assert len(kept.commits) == 1
    clock[0] = 5.0
    seldom.commit(checkpoint(20.0), ())
    ((_, changed),) = kept.commits[1:]
    assert sorted(changed, key=lambda p: (p.track_id, p.revision)) == sorted([second, opened, other], key=lambda p: (p.track_id, p.revision))


def test_the_place_to_go_on_from_is_that_of_what_is_on_record(seldom, kept):
    seldom.commit(checkpoint(7.0), ())
    ((written, _),) = kept.commits
    assert written == replace(checkpoint(7.0), source_position="behind 7")


def test_what_could_not_be_written_is_written_with_the_next_try(seldom, kept, clock):
    kept.away = True
    with pytest.raises(DatabaseUnavailable):
        seldom.commit(checkpoint(3.0), [play()])
    kept.away = False
    seldom.commit(checkpoint(3.0), [play()])
    assert [changed for _, changed in kept.commits] == [[play()]]


def test_flushing_twice_writes_once(seldom, kept):
    seldom.commit(checkpoint(1.0), ())
    seldom.commit(checkpoint(2.0), ())
    seldom.flush()
    seldom.flush()
    assert [written.position_s for written, _ in kept.commits] == [1, 2]
    assert seldom.note(checkpoint(3.0)) == 3.0


# ------------------------------------------------------------------------------------------------ where results lie


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400).filter(lambda key: len(key.encode()) <= KEY_BYTES_MAX))
def test_results_lie_beside_the_file_and_are_none_themselves(key):
    for ending in (JSON, HTML):
        there = results_key(key, ending)
        assert len(there.encode()) <= KEY_BYTES_MAX
        assert not is_checked(there)
        if len(key.encode()) <= KEY_BYTES_MAX - len(ending):
            assert there == key + ending


def test_two_long_names_that_begin_alike_have_results_of_their_own():
    long = "é" * 511
    first, second = results_key(long + "a", JSON), results_key(long + "b", JSON)
    assert first != second
    assert re.fullmatch(r"é+~[0-9a-f]{10}\.earmark\.json", first)


def test_folders_are_no_files():
    assert [is_checked(key) for key in ("check/a.mp3", "check/", "check/a/", "check/a.mp3.earmark.json", "check/a.earmark.html", "check/earmark.json")] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]


def test_how_much_was_heard():
    whole = checkpoint(10.0, state="ended", end_reason="endlist")
    assert outcome(whole) == "heard"
    assert outcome(checkpoint(10.0, gaps=[Gap(begin_s=5, end_s=10, reason="segment_undecodable")], state="ended", end_reason="endlist")) == "partly"
    assert outcome(replace(whole, end_reason="failed")) == "partly"
    assert outcome(checkpoint(0.0, state="ended", end_reason="failed")) == "refused"


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/check", "bucket/check/", "s3:///check/", "s3://bucket//"])
def test_a_place_is_a_folder_of_a_bucket(place):
    with pytest.raises(Exception, match=r"check\.place"):
        load(environ={"EARMARK_CHECK__PLACE": place})
    for good in ("", "s3://bucket/", "s3://bucket/check/", "s3://bucket/a/b c/"):
        assert load(environ={"EARMARK_CHECK__PLACE": good}).settings.check.place == good


def test_results_are_not_put_where_they_would_be_checked():
    environ = {"EARMARK_CHECK__PLACE": "s3://one/", "EARMARK_RESULTS__BUCKET": "one", "EARMARK_RESULTS__PREFIX": "results/"}
    with pytest.raises(Exception, match="must not lie in check.place"):
        load(environ=environ)
    assert load(environ=environ | {"EARMARK_CHECK__PLACE": "s3://one/check/"}).settings.check.place
