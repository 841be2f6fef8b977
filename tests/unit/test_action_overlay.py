"""What is put into a stream for its player: JSON that fits, whatever titles strangers write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.actions.overlay import BYTES_MAX, metadata

HOSTILE = {
    "long": "x" * 2_000,
    "emoji": "👩‍🎤" * 500,
    "markup": "<script>alert(1)</script>",
    "formula": "=HYPERLINK(1)",
    "turned": "\u202egnirts\u202c",
    "lines": "one\r\ntwo\x00three",
    "quotes": '"\\' * 1_000,
    "half": "\ud800",
}


def hit(state="open", **track):
    made = samples.hit(samples.play(state=state))
    made["track"] |= track
    return made


def test_a_player_reads_what_plays():
    assert json.loads(metadata(hit())) == {
        "earmark": 1,
        "playing": True,
        "hit_id": samples.play().hit_id,
        "track_id": "isrc:GBAYE0601498",
        "title": "Blue Sky Morning",
        "artist": "The Example Five, Ada Sample",
    }


def test_its_end_names_the_hit_and_nothing_else():
    assert json.loads(metadata(hit("closed"))) == {"earmark": 1, "playing": False, "hit_id": samples.play().hit_id}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_the_title_is_it_fits_and_reads_as_one_line(text):
    made = metadata(hit(title=text, artists=[text]))
    read = json.loads(made)
    assert len(made.encode()) <= BYTES_MAX
    assert read["hit_id"] == samples.play().hit_id
    assert read["track_id"] == "isrc:GBAYE0601498"
    for word in (read["title"], read["artist"]):
        assert not set(word) & set("\r\n\x00\u202e\u202c\ud800")
        assert not word.endswith(("\u200d…", "\ufe0f…"))


def test_a_short_artist_leaves_its_room_to_the_title():
    read = json.loads(metadata(hit(title="é" * 290, artists=["Ada"])))
    assert (read["title"], read["artist"]) == ("é" * 290, "Ada")
    both = json.loads(metadata(hit(title="🎵" * 290, artists=["🎵" * 290])))
    assert min(len(both["title"]), len(both["artist"])) > 90


def test_an_id_that_is_too_long_to_be_told_whole_is_not_told():
    document = hit()
    document["reference"]["track_id"] = "t" * 301
    assert json.loads(metadata(document))["track_id"] is None


@given(title=st.text(max_size=400), artist=st.text(max_size=400), track_id=st.text(max_size=400))
def test_it_always_fits_and_is_never_empty_of_what_there_is(title, artist, track_id):
    document = hit(title=title, artists=[artist])
    document["reference"]["track_id"] = track_id
    made = metadata(document)
    assert len(made.encode()) <= BYTES_MAX
    json.loads(made)
