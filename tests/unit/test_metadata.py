"""What an owner says about a recording: as it is kept, or a sentence for each field that cannot be."""

import json
import re
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from earmark.errors import BadSettings
from earmark.metadata import FIELDS, LISTS, checked, of_row, table
from stocked_bucket import SIDECAR


def wrong(**said: Any) -> list[str]:
    return checked(said)[1]


def test_what_is_right_is_kept_in_one_form() -> None:
    kept, sentences = checked(SIDECAR)
    assert sentences == []
    assert (kept["isrc"], kept["iswc"], kept["upc"]) == (("GBAYE0601498",), ("T0345246801",), ("00602517484016",))
    assert (kept["policy"], kept["territories"]) == ("block", ("WW", "-US"))
    # A day by itself is the last one on which it holds.
    assert (kept["valid_from"], kept["valid_to"]) == ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert checked(kept) == (kept, [])


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("isrc", "GBAYE060149", "has 11 characters and must have 12"),
        ("isrc", ["GBAYE0601498", "GB1YE060149800"], "has 14 characters"),
        ("isrc", "1BAYE0601498", "two letters, three letters or digits and seven digits"),
        ("iswc", "T-034.524.680-2", "has the check digit 2 and should have 1"),
        ("iswc", "034.524.680-1", "T and ten digits"),
        ("upc", "602517484010", "has the check digit 0 and should have 6"),
        ("upc", 6025174840, "12 digits (UPC), 13 (EAN) or 14 (GTIN)"),
        ("policy", "blokc", "there is track, allow, warn, block"),
        ("territories", ["DE", "UK"], "'UK' is none"),
        ("territories", "-US", "no WW that it could be left out of"),
        ("territories", ["WW", "DE"], "WW, which is everywhere, and DE besides"),
        ("valid_from", "01.02.2026", "is no date"),
        ("valid_from", "2026-02-30", "a date that no calendar has"),
        ("valid_from", "2026-01-01T12:00", "does not say in which time zone"),
        ("valid_to", "9999-12-31", "beyond the years"),
        ("title", "x" * 2_001, "has 2,001 characters and may have 2,000"),
        ("title", ["a", "b"], "must be text"),
        ("title", True, "must be text"),
        ("artists", {"a": 1}, "must be text or a list of texts"),
        ("artists", ["a"] * 101, "has 101 entries"),
        ("album", "nul \0", "a character that is no text"),
        ("label", "half \ud83d", "a character that is no text"),
        ("track_id", "x" * 501, "may have 500"),
    ],
)
def test_each_field_that_is_wrong_has_its_sentence(field: str, value: Any, says: str) -> None:
    (sentence,) = wrong(**{field: value})
    assert sentence.startswith(field) and says in sentence


def test_of_several_wrong_fields_each_is_told() -> None:
    assert len(wrong(isrc="x", policy="x", territories="x", title="fine")) == 3


def test_what_no_recording_has_is_told_with_what_it_has() -> None:
    (sentence,) = wrong(artis="x")
    assert sentence.startswith("'artis' is nothing that a recording has") and "artists" in sentence


def test_a_time_that_would_never_hold_is_told() -> None:
    assert "it would never hold" in wrong(valid_from="2026-02-01", valid_to="2026-01-01")[0]
    assert wrong(valid_from="2026-02-01", valid_to="2026-02-01") == []  # that day


@pytest.mark.parametrize(
    "text, kept",
    [("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"), ("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00Z"), ("2026-01-31", "2026-01-31T00:00:00Z")],
)
def test_times_are_kept_in_utc(text: str, kept: str) -> None:
    assert checked({"valid_from": text}) == ({"valid_from": kept}, [])


def test_what_is_empty_was_not_said() -> None:
    assert checked(dict.fromkeys(FIELDS, "") | {"isrc": [], "upc": None, "duration_s": 3, "path": "x"}) == ({}, [])


@given(st.integers(0, 10**9 - 1))
def test_of_all_check_digits_of_a_work_one_is_right(number: int) -> None:
    assert sum(not wrong(iswc=f"T{number:09d}{digit}") for digit in range(10)) == 1


@given(st.integers(0, 10**13 - 1), st.sampled_from([11, 12, 13]))
def test_of_all_check_digits_of_a_release_one_is_right(number: int, digits: int) -> None:
    assert sum(not wrong(upc=f"{number % 10**digits:0{digits}d}{digit}") for digit in range(10)) == 1


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "track_id", "nonsense"]), _VALUES))
def test_whatever_is_said_is_kept_as_text_or_told(said: dict[str, Any]) -> None:
    kept, sentences = checked(said)
    for name, value in kept.items():
        texts = value if name in LISTS else (value,)
        assert isinstance(value, tuple if name in LISTS else str)
        assert all(isinstance(text, str) and "\0" not in text and text == text.strip() for text in texts)
        json.dumps(value).encode()
    assert all(re.match(r"\w+ |'", sentence) for sentence in sentences)
    assert checked(kept)[0] == kept or sentences


@pytest.mark.parametrize("text", ["{}", "[1]", "[" * 100_000, '[{"a": 1}', "nonsense", '{"path": "a"}'])
def test_a_manifest_that_is_no_list_of_objects_is_told(text: str) -> None:
    with pytest.raises(BadSettings):
        table(text, as_json=True)


def test_a_table_separates_lists_by_semicolons() -> None:
    (row,) = table("path,artists,title\na.flac,One; Two,'=1+1\n", as_json=False)
    assert of_row(row) == {"path": "a.flac", "artists": ["One", "Two"], "title": "=1+1"}
