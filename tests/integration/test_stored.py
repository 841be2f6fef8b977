"""Stored objects as a session's source: the samples of a file that is here, from any place on, and a sentence for what cannot be heard."""

import itertools
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audio_media import KINDS, audio_file
from audio_origin import Hand
from earmark.audio.file import read_samples
from earmark.audio.remote import RemoteFile
from earmark.audio.stored import SOUGHT, ObjectSource
from earmark.errors import AwsUnavailable, SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ
from earmark.session import Signals, Source, Stop
from stored_objects import MemoryS3, refusal

LENGTH_S = 33.0


class Here:
    """The compute thread is this one."""

    def __init__(self) -> None:
        self.jobs = 0

    def run(self, function, *args):
        self.jobs += 1
        return function(*args)


@pytest.fixture(scope="module")
def media() -> dict[str, bytes]:
    return {kind: audio_file(container=container, codec=codec, rate_hz=48_000, duration_s=LENGTH_S) for kind, (container, codec) in KINDS.items()}


def source(data: bytes | MemoryS3, *, signals=None, opening=None, **of) -> ObjectSource:
    s3 = data if isinstance(data, MemoryS3) else MemoryS3({"k": data})
    opening = opening or (lambda: RemoteFile(s3=s3, bucket="b", key="k", block_bytes=100_000))
    return ObjectSource(**{"opening": opening, "compute": Here(), "signals": signals or Hand(), "bytes_max": 10**9, "length_s_max": 3_600, **of})


def samples(pieces) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


def local(tmp_path: Path, data: bytes) -> np.ndarray:
    path = tmp_path / "sound"
    path.write_bytes(data)
    return samples(read_samples(path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_are_those_of_a_file_that_is_here(media, kind, tmp_path):
    made = source(media[kind])
    pieces = list(made.pieces())
    assert np.array_equal(samples(pieces), local(tmp_path, media[kind]))
    assert pieces[0].start_s == 0
    assert all(before.end_s == pytest.approx(after.start_s, abs=1e-9) for before, after in itertools.pairwise(pieces))
    assert (made.end_reason, made.said) == ("endlist", "")
    assert made.fetched_bytes >= len(media[kind]) * 0.9
    assert (made.described.rate_hz, made.described.channels) == (48_000, 2)
    assert made.described.announced_s is None or made.described.announced_s == pytest.approx(LENGTH_S, abs=0.2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stopped_s", [11.0, 24.703])
def test_a_later_owner_goes_on_in_the_middle(media, kind, stopped_s, tmp_path):
    whole = local(tmp_path, media[kind])
    first = source(media[kind])
    for _ in first.pieces():
        pass
    place = first.place(stopped_s)
    later = source(media[kind], resume_s=stopped_s, resume=place)
    rest = list(later.pieces())
    assert rest[0].start_s == pytest.approx(stopped_s, abs=1 / RATE_HZ)
    expected = whole[round(stopped_s * RATE_HZ) :]
    heard = samples(rest)
    assert len(heard) == pytest.approx(len(expected), abs=10)
    shared = min(len(heard), len(expected))
    assert np.abs(heard[:shared] - expected[:shared]).max() < (1e-4 if first.described.container in SOUGHT else 1e-9)
    if first.described.container in SOUGHT:
        assert place
        assert later._compute.jobs < first._compute.jobs, "what was heard is not decoded again"


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_owner_may_be_given_a_window_of_what_was_heard_before(media, kind, tmp_path):
    whole = local(tmp_path, media[kind])
    first = source(media[kind], lead_in_s=12.0)
    for _ in first.pieces():
        pass
    for stopped_s, from_s in ((5.0, 0.0), (24.703, 12.703)):
        rest = list(source(media[kind], resume_s=stopped_s, resume=first.place(stopped_s), lead_in_s=12.0).pieces())
        assert rest[0].start_s == pytest.approx(from_s, abs=1 / RATE_HZ)
        heard, expected = samples(rest), whole[round(from_s * RATE_HZ) :]
        shared = min(len(heard), len(expected))
        assert len(heard) == pytest.approx(len(expected), abs=10)
        assert np.abs(heard[:shared] - expected[:shared]).max() < 1e-4


def test_a_place_that_is_not_where_it_was_costs_time_and_nothing_else(media, tmp_path):
    """Another file's anchor, or one of a version that reckoned otherwise."""
    whole = local(tmp_path, media["m4a"])
    for place in ("20.0@123456789", "20.0@-7"):
        rest = samples(source(media["m4a"], resume_s=21.0, resume=place).pieces())
        assert np.array_equal(rest, whole[21 * RATE_HZ :])


def test_a_movie_with_its_header_at_the_end_and_pictures_between_is_read_by_ranges():
    data = audio_file(container="mp4", codec="aac", duration_s=12.0, rate_hz=48_000, video=True)
    assert data.find(b"moov") > data.find(b"mdat")
    s3 = MemoryS3({"k": data})
    made = source(s3)
    assert list(made.pieces())[-1].end_s == pytest.approx(12.0, abs=0.1)
    assert all(end - begin <= 100_000 for begin, end in s3.asked)


def test_memory_does_not_grow_with_the_length(tmp_path):
    data = audio_file(container="flac", codec="flac", duration_s=240.0, rate_hz=16_000, channels=1)
    s3 = MemoryS3({"k": data})
    tracemalloc.start()
    for piece in source(s3).pieces():
        assert len(piece.samples) <= 10 * RATE_HZ
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000, "all samples would be 7.7 MB"


def test_it_is_a_session_source():
    def takes(_: Source) -> None: ...

    takes(source(b""))


# ------------------------------------------------------------------------------------------------ what cannot be heard, or not to its end


def refused(made: ObjectSource, error: type[Exception], why: str) -> list:
    heard = []
    with pytest.raises(error, match=why) as caught:
        heard.extend(made.pieces())
    assert "\n" not in str(caught.value)
    assert made.end_reason == "failed"
    return heard


def encrypted(data: bytes) -> bytes:
    at = data.index(b"stsd")
    assert data[at + 16 : at + 20] == b"mp4a"
    return data[: at + 16] + b"enca" + data[at + 20 :]


def test_each_is_refused_in_a_sentence(media, tmp_path):
    with zipfile.ZipFile(tmp_path / "song.mp3", "w") as archive:
        archive.writestr("song.txt", "no music in here" * 1_000)
    refused(source((tmp_path / "song.mp3").read_bytes()), UnreadableAudio, r"s3://b/k is not audio")
    refused(source(b""), UnreadableAudio, r"s3://b/k is empty")
    refused(source(encrypted(media["m4a"])), SourceUnsupported, r"s3://b/k cannot be heard: its sound is encrypted \(DRM\), and nobody here has the key")
    mute = audio_file(container="mp4", audio=False, video=True)
    refused(source(mute), SourceUnsupported, "s3://b/k has video but no audio")
    refused(source(media["wav"], bytes_max=1_000), SourceUnsupported, r"s3://b/k has [\d,]+ bytes, more than check.bytes_max \(1,000\)")
    refused(source(MemoryS3()), UnreadableAudio, "s3://b/k was deleted before it was read")


@pytest.mark.parametrize("kind", ["flac", "mkv", "m4a", "wav"])
def test_a_file_that_says_it_is_too_long_is_not_heard(media, kind):
    assert refused(source(media[kind], length_s_max=20), SourceUnsupported, r"lasts 0:00:33, longer than check.length_s_max \(0:00:20\): it is not heard") == []


def test_one_that_does_not_say_is_heard_so_far(media):
    heard = refused(source(media["aac"], length_s_max=15), SourceUnsupported, r"is longer than check.length_s_max \(0:00:15\): what comes after is not heard")
    assert heard[-1].end_s == pytest.approx(20, abs=0.6)


@pytest.mark.parametrize("kind", ["flac", "mkv", "mp3", "wav", "aiff"])
def test_what_a_truncated_file_lacks_is_a_gap(media, kind):
    data = media[kind]
    made = source(data[: len(data) // 2])
    *heard, gap = made.pieces()
    assert (gap.gap_reason, len(gap.samples)) == ("segment_undecodable", 0)
    assert gap.start_s == pytest.approx(LENGTH_S, abs=0.2)
    assert heard[-1].end_s == pytest.approx(LENGTH_S / 2, abs=1.0)
    assert "is truncated: it holds" in made.said
    assert made.end_reason == "endlist"


def test_an_object_that_is_deleted_while_it_is_read_is_told_once_and_the_rest_is_a_gap(media):
    s3 = MemoryS3({"k": media["wav"]})
    made, heard = source(s3), []
    with pytest.raises(UnreadableAudio, match="^s3://b/k was deleted while it was read$"):
        for piece in made.pieces():
            heard.append(piece)
            s3.objects.clear()
    *_, gap = heard
    assert gap.gap_reason == "segment_missing"
    assert gap.start_s == pytest.approx(LENGTH_S, abs=0.01)
    assert 0 < gap.gap_before_s < LENGTH_S


def test_what_an_earlier_owner_heard_is_no_gap_though_it_is_deleted_before_that_is_reached_again(media):
    s3 = MemoryS3({"k": media["mp3"]})
    made, heard = source(s3, resume_s=25.0), []

    def gone(begin: int) -> None:
        if begin >= 200_000:
            s3.objects.clear()

    s3.before = gone
    with pytest.raises(UnreadableAudio, match="deleted"):
        for piece in made.pieces():
            heard.append(piece)  # noqa: PERF402 -- what came before it raised counts
    assert [piece.gap_before_s for piece in heard] == [pytest.approx(LENGTH_S - 25, abs=0.2)]


def test_one_that_is_replaced_while_it_is_read_is_not_read_on(media):
    s3 = MemoryS3({"k": media["wav"]})
    made = source(s3)
    with pytest.raises(UnreadableAudio, match="s3://b/k was replaced while it was read"):
        for _ in made.pieces():
            s3.objects["k"] = media["aiff"]


def test_a_run_that_is_told_to_stop_was_replaced(media):
    signals = Signals()
    made = source(media["wav"], signals=signals)
    with pytest.raises(UnreadableAudio, match="it was replaced while it was read"):
        for _ in made.pieces():
            signals.request(Stop.END)
    with pytest.raises(UnreadableAudio, match="it was replaced before it was read"):
        next(made.pieces())


def test_a_worker_that_leaves_stops(media):
    signals = Signals()
    pieces = source(media["flac"], signals=signals).pieces()
    next(pieces)
    signals.request(Stop.HANDOVER)
    assert list(pieces) == []


def test_what_passes_is_no_end_of_the_file(media):
    """FFmpeg takes what a read fails of for the end; a file that S3 could not give for now is not truncated."""
    s3 = MemoryS3({"k": media["mp3"]})

    def away(begin: int) -> None:
        if begin >= 200_000:
            raise refusal("SlowDown", 503, "GetObject")

    s3.before = away
    with pytest.raises(AwsUnavailable):
        list(source(s3).pieces())
