"""The picture of a hit: one SVG of text and dots, whatever its names are and however little there is to draw."""

import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits.proof.evidence import evidence_document
from earmark.hits.proof.picture import picture
from earmark.hits.text import columns, is_storable
from earmark.model import Track

WIDE, HIGH = 960, 780
HOSTILE = [
    "<script>alert(1)</script>",
    "]]><image href='https://example.com/x'/>",
    '" onload="alert(1)',
    "&amp;&lt;",
    "\u202egnp.exe\u2066",
    "=HYPERLINK(1)",
    "line one\nline two\r\n\ttab",
    "\x00\x1b[31m\x07",
    "😀" * 40,
    "שלום עולם",
    "長い題名" * 100,
    "x" * 2_000,
    "\ud800 half",
    "",
]


def drawn(title: str = "Blue Sky Morning", track_id: str = "first", **explained: Any) -> str:
    play = samples.play(track_id=track_id)
    track = Track(track_id=track_id, title=title, artists=(title,) if title else ())
    evidence = evidence_document(stream_id="stream", play=play, explanation=samples.explanation(88.0, **explained))
    return picture(samples.hit(play, track=track), evidence)


def numbers(picture: str) -> list[tuple[float, float]]:
    """Where dots are, and texts begin."""
    dots = [(float(x), float(y)) for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", picture)]
    return dots + [(float(text.get("x", "")), float(text.get("y", ""))) for text in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def test_it_says_what_is_heard_where_and_how_sure_that_is() -> None:
    said = [text.text or "" for text in ET.fromstring(drawn()).iter("{http://www.w3.org/2000/svg}text")]
    assert said[0] == "Blue Sky Morning - Blue Sky Morning"
    assert said[1] == "in the stream late-night-radio, 1:40–2:10, from 2026-11-21 12:01:40 UTC"
    assert said[2] == "By chance: about one false alarm in 1,100 years of listening."
    assert said[3] == "5 of 300 peaks heard in 1:44–1:56 are the recording's: worth 88 nats against chance, where 28 are asked for."
    assert "How many coincide: 5 on it, 0 at most beside it" in said
    assert said[-1].endswith("as of revision 1.")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_of_one_line_that_fits(name: str) -> None:
    document = drawn(name, track_id=name if is_storable(name) and name else "first")
    assert "<script" not in document and "<image" not in document
    root = ET.fromstring(document)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "title", "desc", "style", "text", "path", "line", "rect"}
    assert {attribute for element in root.iter() for attribute in element.attrib} <= {
        *("viewBox", "role", "aria-labelledby", "id", "class", "d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "text-anchor"),
    }
    first, *others = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert columns(first) <= 60 and all(columns(line) <= 125 for line in others)
    assert not set("".join([first, *others])) & set("\u202e\u2066\n\r\t\x00\x1b")


def test_everything_is_inside_of_it() -> None:
    for x, y in numbers(drawn()):
        assert 0 <= x <= WIDE and 0 <= y <= HIGH


@given(
    matched=st.integers(0, 40),
    half=st.integers(1, 200),
    window=st.tuples(st.floats(0, 1e6), st.sampled_from([0.0, 0.5, 12.0, 60.0])),
    line=st.tuples(st.floats(0.5, 2.0), st.floats(-1e6, 1e6)),
    cell=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
)
def test_whatever_is_on_record_is_drawn(matched: int, half: int, window: tuple[float, float], line: tuple[float, float], cell: float) -> None:
    begin_s, length_s = window
    at = np.linspace(1_000 * begin_s, 1_000 * (begin_s + length_s), matched).astype(np.int32)
    document = drawn(
        begin_s=begin_s,
        end_s=begin_s + length_s,
        speed=line[0],
        offset_s=line[1],
        matched_n=matched,
        coincidences=np.arange(2 * half + 1, dtype=np.int32) % 7,
        cell_frames=cell,
        stream_ms=at,
        eighth_hz=np.full(matched, 8_000, np.int32),
        reference_ms=at,
        others=np.stack([at, np.full(matched, 31_000, np.int32)], axis=1),
    )
    assert all(0 <= x <= WIDE and 0 <= y <= HIGH for x, y in numbers(document))


def test_nothing_at_all_is_drawn_too() -> None:
    none = np.zeros(0, np.int32)
    assert ET.fromstring(drawn(coincidences=np.zeros(3, np.int32), matched_n=0, stream_ms=none, eighth_hz=none, reference_ms=none)) is not None


def test_evidence_of_a_version_that_kept_no_other_peaks_is_drawn() -> None:
    play = samples.play()
    evidence = evidence_document(stream_id="stream", play=play, explanation=samples.explanation(88.0))
    del evidence["others"]
    assert "What was heard" in picture(samples.hit(play), evidence)
