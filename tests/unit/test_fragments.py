"""The reader of fragmented MP4: what it reads is what was put in, and whatever it does not know it leaves alone."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.fragments import Run, Sound, Unexpected, continues, read

#: AAC LC, 48 kHz, stereo.
CONFIG = b"\x11\x90"
BASE_IS_MOOF = 0x020000


def box(kind: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4) + kind.encode() + body


def words(*numbers: int) -> bytes:
    return b"".join((number % (1 << 32)).to_bytes(4) for number in numbers)


def descriptor(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes([tag, 0x80, 0x80, 0x80, len(body)]) + body


def esds(config: bytes = CONFIG, kind: int = 0x40, flags: int = 0) -> bytes:
    decoder = descriptor(4, bytes([kind, 0x15]), bytes(11), descriptor(5, config))
    return box("esds", bytes(4), descriptor(3, bytes(2), bytes([flags]), decoder, descriptor(6, b"\x02")))


@dataclass(frozen=True, kw_only=True)
class Track:
    number: int = 1
    handler: str = "soun"
    timescale: int = 48_000
    entry: bytes = field(default_factory=lambda: box("mp4a", bytes(7), b"\1", bytes(20), esds()))
    edits: bytes = b""
    samples: int = 0

    def trak(self) -> bytes:
        tables = [box("stts", words(0, 0)), box("stsc", words(0, 0)), box("stsz", words(0, 0, self.samples)), box("stco", words(0, 0))]
        stbl = box("stbl", box("stsd", words(0, 1), self.entry), *tables)
        media = box("mdia", box("mdhd", words(0, 0, 0, self.timescale, 0, 0)), box("hdlr", words(0, 0), self.handler.encode(), bytes(13)), box("minf", stbl))
        return box("trak", box("tkhd", words(0, 0, 0, self.number), bytes(68)), self.edits, media)


def header(*tracks: Track, defaults: tuple[int, int, int] = (1, 1_024, 0), more: bytes = b"") -> bytes:
    trexes = [box("trex", words(0, track.number, *defaults, 0)) for track in tracks]
    return box("ftyp", b"iso6", bytes(4)) + box("moov", box("mvhd", words(0, 0, 0, 1_000), bytes(84)), *(t.trak() for t in tracks), box("mvex", *trexes), more)


def trun(offset: int, sizes: Sequence[int], durations: Sequence[int] = (), *, flags: int = 0) -> bytes:
    flags |= 0x201 | (0x100 if durations else 0)
    entries = [words(duration, size) for duration, size in zip(durations, sizes, strict=True)] if durations else [words(size) for size in sizes]
    return box("trun", words(flags, len(sizes), offset), *entries)


def traf(*truns: bytes, at: int = 0, number: int = 1, tfhd: bytes = b"") -> bytes:
    return box("traf", tfhd or box("tfhd", words(BASE_IS_MOOF, number)), box("tfdt", words(1 << 24), at.to_bytes(8)), *truns)


def fragment(samples: Sequence[bytes], *, at: int = 0, durations: Sequence[int] = (), cut: int = 0, before: bytes = b"", after: bytes = b"") -> bytes:
    """Its samples in one `trun`, or two; `before` and `after` them is what belongs to nobody."""
    cut = cut or len(samples)
    parts = [part for part in ((samples[:cut], durations[:cut]), (samples[cut:], durations[cut:])) if part[0]]
    sizes = [[len(sample) for sample in some] for some, _ in parts]

    def moof(base: int) -> bytes:
        begins = [base + len(before) + sum(map(sum, sizes[:number])) for number in range(len(parts))]
        return box(
            "moof", box("mfhd", words(0, 1)), traf(*(trun(begin, of, lasting) for begin, of, (_, lasting) in zip(begins, sizes, parts, strict=True)), at=at)
        )

    return moof(len(moof(0)) + 8) + box("mdat", before, *samples, after)


SAMPLES = [b"one", b"three", b"5"]
PLAIN = fragment(SAMPLES)


def test_samples_are_what_was_put_in() -> None:
    assert read(header(Track()), PLAIN) == Sound(CONFIG, [Run(0, SAMPLES)])
    assert read(b"", header(Track()) + PLAIN) == read(header(Track()), PLAIN)


samples_of_fragments = st.lists(
    st.tuples(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 48_000)), min_size=1, max_size=9), st.integers(0, 9), st.binary(max_size=4)),
    min_size=1,
    max_size=4,
)


@given(samples_of_fragments, st.integers(0, 1 << 50), st.booleans())
@settings(max_examples=100, deadline=None)
def test_however_they_are_cut_into_runs_and_fragments(parts: list[tuple[list[tuple[bytes, int]], int, bytes]], at: int, indexed: bool) -> None:
    data, due = box("styp", b"msdh", bytes(4)) + (box("sidx", bytes(44)) if indexed else b""), at
    for part, cut, noise in parts:
        data += fragment([s for s, _ in part], at=due, durations=[ticks for _, ticks in part], cut=min(cut, len(part)), before=noise, after=noise[::-1])
        due += sum(ticks for _, ticks in part)
    (run,) = read(header(Track()), data).runs
    assert run.samples == [sample for part, _, _ in parts for sample, _ in part]
    assert run.pts == round(at * 90_000 / 48_000)


def test_time_may_begin_before_zero() -> None:
    before = fragment(SAMPLES, at=1).replace((1).to_bytes(8), (-1_024).to_bytes(8, signed=True))
    assert read(header(Track()), before).runs == [Run(-1_920, SAMPLES)]


def test_time_that_jumps_ahead_begins_another_run() -> None:
    apart = fragment(SAMPLES) + fragment(SAMPLES, at=48_000 * 2)
    assert [run.pts for run in read(header(Track()), apart).runs] == [0, 180_000]
    close = fragment(SAMPLES) + fragment(SAMPLES, at=48_000)
    assert [run.pts for run in read(header(Track()), close).runs] == [0]


@pytest.mark.parametrize("off, same", [(0, True), (-45_000, True), (-45_001, False), (135_000, True), (135_001, False)])
def test_a_run_goes_on_where_its_time_does(off: int, same: bool) -> None:
    assert continues(900_000 + off, 900_000) is same


@pytest.mark.parametrize(
    "edits, pts",
    [
        (words(0, 1, 0, 0, 1 << 16), 96_000),
        (words(0, 1, 0, 1_024, 1 << 16), 96_000 - 1_920),
        (words(0, 2, 500, -1, 1 << 16, 0, 0, 1 << 16), 96_000 + 45_000),
        (words(0, 2, 500, -1, 1 << 16, 0, 1_024, 1 << 16), 96_000 + 45_000 - 1_920),
        (words(1 << 24, 1) + bytes(8) + (1_024).to_bytes(8) + words(1 << 16), 96_000 - 1_920),
    ],
)
def test_an_edit_list_moves_the_time_and_drops_nothing(edits: bytes, pts: int) -> None:
    track = Track(edits=box("edts", box("elst", edits)))
    assert read(header(track), fragment(SAMPLES, at=51_200)).runs == [Run(pts, SAMPLES)]


def test_the_first_audio_track_is_read_and_pictures_are_passed_by() -> None:
    pictures = Track(number=7, handler="vide", entry=box("avc1", bytes(70)))
    moof = box("moof", box("mfhd", words(0, 1)), traf(number=7), traf(trun(0, [3, 5, 1]), number=2), traf(number=3))
    moof = moof.replace(trun(0, [3, 5, 1]), trun(len(moof) + 8, [3, 5, 1]))
    both = header(pictures, Track(number=2), Track(number=3))
    assert read(both, moof + box("mdat", *SAMPLES)).runs == [Run(0, SAMPLES)]


def test_defaults_are_those_of_the_fragment_before_those_of_the_header() -> None:
    tfhd = box("tfhd", words(BASE_IS_MOOF | 0x38, 1, 500, 2, 0))

    def segment(told: bytes) -> bytes:
        size = len(box("moof", traf(box("trun", words(1, 3, 0)), tfhd=told)))
        return box("moof", traf(box("trun", words(1, 3, size + 8)), tfhd=told)) + box("mdat", b"aabbcc")

    assert read(header(Track(), defaults=(1, 1_024, 1)), segment(tfhd)).runs == [Run(0, [b"aa", b"bb", b"cc"])]
    assert read(header(Track(), defaults=(1, 1_024, 2)), segment(box("tfhd", words(BASE_IS_MOOF, 1)))).runs == [Run(0, [b"aa", b"bb", b"cc"])]
    assert read(header(Track(), defaults=(1, 1_024, 2)), segment(box("tfhd", words(0, 1)))).runs == [Run(0, [b"aa", b"bb", b"cc"])]


def test_high_efficiency_aac_says_so_in_its_configuration() -> None:
    config = bytes.fromhex("2b8a0800")
    assert read(header(Track(entry=box("mp4a", bytes(28), esds(config), box("btrt", bytes(12))))), PLAIN).config == config


def entry(kind: str = "mp4a", *inner: bytes, version: bytes = bytes(2)) -> bytes:
    return box(kind, bytes(8), version, bytes(18), *(inner or (esds(),)))


HEADERS: dict[str, bytes] = {
    "none": b"",
    "no fragments announced": header(Track()).replace(b"mvex", b"iods"),
    "fragments of another track announced": header(Track()).replace(box("trex", words(0, 1, 1, 1_024, 0, 0)), box("trex", words(0, 2, 1, 1_024, 0, 0))),
    "two headers": header(Track()) * 2,
    "two tracks of one number": header(Track(), Track(handler="vide")),
    "pictures alone": header(Track(handler="vide")),
    "text": header(Track(handler="text"), Track(number=2)),
    "compressed": box("moov", box("cmov", bytes(40))),
    "samples": header(Track(samples=4)),
    "a clock of nothing": header(Track(timescale=0)),
    "another description": header(Track(), defaults=(2, 1_024, 0)),
    "encrypted": header(Track(entry=entry("enca", esds(), box("sinf", bytes(20))))),
    "protected": header(Track(entry=entry("mp4a", esds(), box("sinf", bytes(20))))),
    "QuickTime": header(Track(entry=entry(version=b"\0\1"))),
    "MP3": header(Track(entry=entry("mp4a", esds(kind=0x6B)))),
    "Opus": header(Track(entry=entry("Opus", box("dOps", bytes(11))))),
    "AC-3": header(Track(entry=entry("ac-3", box("dac3", bytes(3))))),
    "USAC": header(Track(entry=entry("mp4a", esds(b"\xf9\x46")))),
    "a rate of its own": header(Track(entry=entry("mp4a", esds(b"\x17\x80\x2e\xe0\x10")))),
    "no configuration": header(Track(entry=entry("mp4a", esds(b"")))),
    "half a configuration": header(Track(entry=entry("mp4a", esds(b"\x11")))),
    "a stream upon another": header(Track(entry=entry("mp4a", esds(flags=0x80)))),
    "a descriptor cut off": header(Track(entry=entry("mp4a", box("esds", bytes(4), b"\x03\x80\x80\x80\x7f", bytes(9))))),
    "edits inside": header(Track(edits=box("edts", box("elst", words(0, 2, 9, 0, 1 << 16, 9, 4, 1 << 16))))),
    "an edit list that lies": header(Track(edits=box("edts", box("elst", words(0, 80_000_000, 0, 0, 1 << 16))))),
    "tables among tags": header(Track(), more=box("udta", box("trak", bytes(9)))),
    "a sound's name among tags": header(Track(), more=box("udta", box("meta", bytes(4), box("hdlr", bytes(8), b"soun", bytes(13))))),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_is_not_known_is_left_to_others(what: str) -> None:
    with pytest.raises(Unexpected):
        read(HEADERS[what], PLAIN)


def test_tags_are_passed_by() -> None:
    tags = box("udta", box("meta", bytes(4), box("hdlr", bytes(8), b"mdir", bytes(13)), box("ilst", b"by whomever")))
    assert read(header(Track(), more=tags), PLAIN).runs == [Run(0, SAMPLES)]


def changed(kind: bytes, at: int, *numbers: int) -> Callable[[bytes], bytes]:
    """Numbers in the first box of a kind."""

    def change(data: bytes) -> bytes:
        begin = data.index(kind) + 4 + at
        return data[:begin] + words(*numbers) + data[begin + 4 * len(numbers) :]

    return change


FRAGMENTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no fragment": lambda _: box("mdat", b"onethree5"),
    "no data": lambda data: data[: data.index(b"mdat") - 4],
    "data cut off": lambda data: data[:-1],
    "a box cut off": lambda data: data + b"\0\0\0",
    "a box that is not known": lambda data: data + box("free", bytes(8)),
    "64 bits": lambda data: data.replace(words(17) + b"mdat", words(1) + b"mdat" + (25).to_bytes(8)),
    "two fragments, one piece of data": lambda data: data[: data.index(b"mdat") - 4] + data,
    "two pieces of data": lambda data: data + box("mdat", b"more"),
    "the same time twice": lambda data: data + data,
    "encrypted": lambda data: data.replace(b"tfdt", b"senc"),
    "keys": lambda data: data.replace(b"tfdt", b"saio"),
    "no time": lambda data: data.replace(b"tfdt", b"sbgp"),
    "two times": lambda data: data.replace(b"trun", b"tfdt"),
    "the end of time": changed(b"tfdt", 4, (1 << 31) - 1),
    "an unknown track": changed(b"tfhd", 4, 2),
    "data from the beginning of the file": changed(b"tfhd", 0, 1),
    "nobody's flag": changed(b"tfhd", 0, BASE_IS_MOOF | 0x40),
    "empty": changed(b"tfhd", 0, BASE_IS_MOOF | 0x010000),
    "80,000,000 samples": changed(b"trun", 0, 1, 80_000_000),
    "4,294,967,295 samples": changed(b"trun", 0, 0x201, (1 << 32) - 1),
    "no samples": changed(b"trun", 4, 0),
    "one sample less": changed(b"trun", 4, 2),
    "data before the fragment's": changed(b"trun", 8, 8),
    "data before everything": changed(b"trun", 8, -9),
    "data behind everything": changed(b"trun", 8, (1 << 31) - 1),
    "a sample of nothing": changed(b"trun", 12, 0),
    "a sample of everything": changed(b"trun", 12, (1 << 32) - 1),
    "times in another order": lambda data: data.replace(trun(108, [3, 5, 1]), trun(108, [3, 5, 1], flags=0x800)),
}


@pytest.mark.parametrize("what", FRAGMENTS)
def test_a_fragment_that_is_not_known_is_left_to_others(what: str) -> None:
    data = FRAGMENTS[what](PLAIN)
    assert data != PLAIN
    with pytest.raises(Unexpected):
        read(header(Track()), data)


@pytest.mark.parametrize("durations", [(0, 1, 1), (1, 1, 48_001)])
def test_a_sample_lasts_up_to_a_second(durations: tuple[int, ...]) -> None:
    with pytest.raises(Unexpected):
        read(header(Track()), fragment(SAMPLES, durations=durations))


def test_two_parts_of_one_track_and_the_same_bytes_twice_are_left_to_others() -> None:
    again = trun(0, [3, 5, 1])
    for parts in ((traf(again), traf(again)), (traf(again, again),)):
        size = len(box("moof", *parts))
        moof = box("moof", *parts).replace(again, trun(size + 8, [3, 5, 1]))
        with pytest.raises(Unexpected):
            read(header(Track()), moof + box("mdat", *SAMPLES))


def test_no_more_samples_and_boxes_than_a_segment_has() -> None:
    with pytest.raises(Unexpected, match="more samples than any segment has"):
        read(header(Track()), fragment([b"a"] * 120_000) + fragment([b"a"] * 120_000, at=1 << 40))
    with pytest.raises(Unexpected, match="a box that is not known"):
        read(header(Track()), box("emsg") * 10_001 + PLAIN)
    with pytest.raises(Unexpected, match="boxes in a place where they do not belong"):
        read(header(Track(), more=box("udta", bytes(70_000))), PLAIN)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_the_bytes_it_is_samples_of_them_or_unexpected(data: st.DataObject) -> None:
    whole = bytearray(header(Track(number=2, handler="vide"), Track()) + fragment(SAMPLES, durations=(9, 9, 9)) + fragment(SAMPLES, at=99, cut=1))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 4), min_size=1, max_size=3)):
        whole[at : at + 4] = data.draw(st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from([words(0), words(1), words(8), words(-1), words(1 << 31)])))
    with suppress(Unexpected):
        sound = read(b"", bytes(whole))
        samples = [sample for run in sound.runs for sample in run.samples]
        assert all(sample and sample in whole for sample in samples)
        assert sum(map(len, samples)) <= len(whole)
