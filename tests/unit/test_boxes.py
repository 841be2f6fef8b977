"""What an MP4 claims is counted before it is believed; what packagers write passes as it is."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.boxes import BOXES_MAX, ENTRIES_MAX, checked
from earmark.errors import UnreadableAudio


def box(kind: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4) + kind.encode() + body


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4) for number in numbers)


def fragment(samples: int) -> bytes:
    return box("moof", box("mfhd", words(0, 1)), box("traf", box("trun", words(0, samples)))) + box("mdat", bytes(100))


def inside(*kinds: str, leaf: bytes) -> bytes:
    for kind in reversed(kinds):
        leaf = box(kind, leaf)
    return leaf


def test_what_a_segment_may_claim_passes_unchanged() -> None:
    data = box("styp", b"msdh" + words(0)) + fragment(94) + fragment(ENTRIES_MAX - 94)
    assert checked(data) is data


@pytest.mark.parametrize("data", [b"", b"\0", b"<html>" * 100, bytes(1_000), b"\xff" * 1_000, words(1) + b"moof" + b"\xff" * 8], ids=repr)
def test_what_is_no_mp4_is_left_to_others(data: bytes) -> None:
    assert checked(data) == data


STBL = ("moov", "trak", "mdia", "minf", "stbl")
CLAIMS = {
    "a trun": fragment(80_000_000),
    "many truns": fragment(ENTRIES_MAX - 1) + fragment(2),
    "a trun of 64 bits": words(1) + b"moof" + (1_000).to_bytes(8) + inside("traf", leaf=box("trun", words(0, 1 << 31))),
    "a trun in a box without an end": words(0) + b"moof" + inside("traf", leaf=box("trun", words(0, 1 << 31))),
    "a trun cut off": fragment(80_000_000)[:48],
    "a trun in tags": inside("moov", "udta", leaf=box("meta", words(0), box("hdlr", bytes(24)), box("ilst", box("trun", words(0, 1 << 30))))),
    "sizes that are all alike": inside(*STBL, leaf=box("stsz", words(0, 1, 80_000_000))),
    "compact sizes": inside(*STBL, leaf=box("stz2", words(0, 4, 80_000_000))),
    "times": inside(*STBL, leaf=box("stts", words(0, 80_000_000))),
    "offsets": inside(*STBL, leaf=box("ctts", words(0, 80_000_000))),
    "edits": inside("moov", "trak", "edts", leaf=box("elst", words(0, 80_000_000))),
    "chunks": inside(*STBL, leaf=box("co64", words(0, 80_000_000))),
    "keys of samples": inside("moof", "traf", leaf=box("saiz", words(1, 0, 0) + b"\x08" + words(1 << 31))),
    "full chunks": inside(*STBL, leaf=box("stsc", words(0, 1, 1, 1 << 31, 1)) + box("stco", words(0, 80) + bytes(320))),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_claims_more_than_a_segment_holds_is_refused_in_a_sentence(claim: str) -> None:
    with pytest.raises(UnreadableAudio, match=r"^it claims .*[0-9,]+ (entries in its \w+ boxes|samples in its chunks), which is more than [0-9,]+ bytes of"):
        checked(CLAIMS[claim])


HIDDEN = {
    "compressed": (inside("moov", leaf=box("cmov", bytes(40))), "its header is compressed or hidden"),
    "in free space": (box("free", words(8) + b"mvhd"), "its header is compressed or hidden"),
    "in a codec": (
        inside(*STBL, leaf=box("stsd", words(0, 1), box("mp4a", bytes(28), box("trun", words(0, 1))))),
        "its stsd box has a table of samples inside",
    ),
    "in dust": (box("free") * (BOXES_MAX + 1), "it has more than 100,000 boxes"),
}


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_hides_is_refused(hidden: str) -> None:
    data, why = HIDDEN[hidden]
    with pytest.raises(UnreadableAudio, match=why):
        checked(data)


def test_words_that_read_like_boxes_are_words() -> None:
    said = box("meta", words(0), box("hdlr", bytes(24)), box("ilst", box("name", box("data", b"a trunk full of stsz and sidx"))))
    data = inside("moov", "udta", leaf=said) + box("emsg", b"truncated" * 9) + box("mdat", b"moof trun" * 99)
    assert checked(data) is data


def test_an_index_is_left_out_and_the_rest_stays_where_it_was() -> None:
    index = box("sidx", bytes(44))
    before, after = checked(index + fragment(3) + index), box("skip", bytes(44))
    assert before == after + fragment(3) + after


@given(
    st.lists(st.tuples(st.sampled_from(["moov", "stbl", "stsc", "saiz", "meta", "trun", "sidx", "free", "mdat"]), st.integers(0, 60), st.integers(0, 40))),
    st.binary(max_size=40),
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_it_is_an_answer_or_a_sentence(boxes: list[tuple[str, int, int]], rest: bytes) -> None:
    data = b"".join(size.to_bytes(4) + kind.encode() + bytes(content) for kind, size, content in boxes) + rest
    with suppress(UnreadableAudio):
        assert len(checked(data)) == len(data)
