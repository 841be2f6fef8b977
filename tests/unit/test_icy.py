"""Words out of the sound: however the bytes are cut, and whatever they are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.icy import TITLE_CHARACTERS_MAX, Deinterleaver, decoded, title_of
from radio_station import interleaved, words


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def _told(metaint: int, pieces: list[bytes]) -> tuple[bytes, list[tuple[int, str]]]:
    """All of the sound; and the titles, each with how much sound was before it."""
    apart, sound, titles = Deinterleaver(metaint), b"", []
    for piece in pieces:
        for part in apart.push(piece):
            if isinstance(part, str):
                titles.append((len(sound), part))
            else:
                sound += part
    return sound, titles


TITLES = st.text(st.characters(codec="utf-8", exclude_characters="'"), max_size=60).map(lambda text: f"StreamTitle='{text}';".encode())


@given(
    sound=st.binary(max_size=600),
    metaint=st.integers(1, 120),
    blocks=st.lists(st.one_of(st.just(b""), TITLES, st.binary(max_size=200)), max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_cutting_of_the_bytes_gives_the_same_sound_and_the_same_titles_at_the_same_places(
    sound: bytes, metaint: int, blocks: list[bytes], cuts: list[int]
) -> None:
    sent = interleaved(sound, metaint, [words(block) for block in blocks])
    whole = _told(metaint, [sent])
    assert whole[0] == sound
    assert _told(metaint, _cut(sent, cuts)) == whole
    assert _told(metaint, [bytes([byte]) for byte in sent]) == whole
    said = [(place * metaint, title) for place, block in enumerate(blocks[: len(sound) // metaint], 1) if (title := title_of(block)) is not None]
    assert whole[1] == said


def test_without_words_everything_is_sound() -> None:
    assert _told(0, [b"ab", b"", b"c"]) == (b"abc", [])


@pytest.mark.parametrize(
    "block, title",
    [
        (b"StreamTitle='Ada Sample - First Light';StreamUrl='http://radio.example/';", "Ada Sample - First Light"),
        (b"StreamTitle='Don't Stop 'Til It's Over';\0\0\0", "Don't Stop 'Til It's Over"),
        (b"StreamTitle='What's Up';StreamUrl='';", "What's Up"),
        (b"StreamTitle='a';b';\0", "a';b"),
        (b"StreamUrl='x';StreamTitle='behind';", "behind"),
        (b"StreamTitle='no semicolon'\0\0", "no semicolon"),
        (b"StreamTitle='cut off in the mid", "cut off in the mid"),
        (b"StreamTitle='';", ""),
        ("StreamTitle='Für Elise – Ødegård';".encode(), "Für Elise – Ødegård"),
        ("StreamTitle='Für Elise';".encode("latin-1"), "Für Elise"),
        (b"StreamTitle='\x1b[31mred\x07\x00 \xe2\x80\xaeesrever \t\n line';", "[31mred esrever line"),
        (b"StreamTitle='\xff\xfe\x80\x81';", "ÿþ"),
        (b"StreamUrl='only';", None),
        (b"", None),
        (b"\0" * 4080, None),
    ],
)
def test_a_title_is_what_stands_between_its_quotes(block: bytes, title: str | None) -> None:
    assert title_of(block) == title


@given(st.binary(max_size=4080))
def test_4080_bytes_of_garbage_are_a_bounded_line_of_visible_text(garbage: bytes) -> None:
    said = title_of(b"StreamTitle='" + garbage)
    assert said is not None
    assert len(said) <= TITLE_CHARACTERS_MAX
    assert said.isprintable()
    assert said == said.strip()


def test_what_is_very_long_is_cut() -> None:
    assert decoded(b"x" * 4080) == "x" * TITLE_CHARACTERS_MAX
