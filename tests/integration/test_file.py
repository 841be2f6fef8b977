"""Stored files: anything that holds audio, nothing that only names some."""

import io
import itertools
import os
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from audio_media import KINDS, audio_file, tones
from audio_origin import Hand
from earmark.audio.decode import Resampler, StreamDecoder
from earmark.audio.file import FileSource, Truncated, read_samples, read_tags
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ
from earmark.session import Signals, Source


def written(tmp_path, kind, **kwargs):
    container, codec = KINDS[kind]
    path = tmp_path / f"sound.{kind}"
    path.write_bytes(audio_file(container=container, codec=codec, **{"rate_hz": 48_000, "duration_s": 7.0, **kwargs}))
    return path


def samples(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


@pytest.mark.parametrize("kind, video", [*((kind, False) for kind in KINDS), ("m4a", True), ("mkv", True), ("ts", True)])
def test_whatever_holds_audio_is_read(tmp_path, kind, video):
    chunks = list(read_samples(written(tmp_path, kind, video=video)))
    assert len(chunks) >= 2
    assert chunks[0].start_s == 0
    assert all(before.end_s == after.start_s for before, after in itertools.pairwise(chunks))
    assert chunks[-1].end_s == pytest.approx(7.0, abs=0.06)
    assert samples(chunks).dtype == np.float32
    assert 0.05 < np.abs(samples(chunks)).max() <= 1


def test_lossless_files_give_the_very_samples(tmp_path):
    sent = (np.clip(tones(7.0), -1, 1) * 32_767).astype(np.int16).astype(np.float32) / 32_768
    resampler = Resampler(rate_hz=48_000)
    expected = np.concatenate([resampler.push(sent.mean(axis=0)), resampler.flush()])
    for kind in ("wav", "flac", "aiff"):
        assert np.abs(samples(read_samples(written(tmp_path, kind))) - expected).max() < 1e-4


def test_an_open_file_is_read_too():
    data = io.BytesIO(audio_file(duration_s=2.0))
    assert list(read_samples(data))[-1].end_s == pytest.approx(2.0, abs=0.01)


def test_memory_does_not_grow_with_the_length(tmp_path):
    path = written(tmp_path, "flac", duration_s=120.0, rate_hz=16_000, channels=1)
    tracemalloc.start()
    for chunk in read_samples(path):
        assert len(chunk.samples) <= 10 * RATE_HZ
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000, "all samples would be 3.8 MB"


# ------------------------------------------------------------------------------------------------ tags


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "m4a", "opus", "mkv"])
def test_tags_of_container_and_stream(tmp_path, kind):
    tags = {"title": "Für Elise", "artist": "L. v. B.", "album": "Bagatelles"}
    found = read_tags(written(tmp_path, kind, tags=tags))
    assert {name: found.get(name) for name in tags} == tags


@pytest.mark.parametrize("kind", ["flac", "mp3", "opus", "mkv"])
def test_codes_and_labels_have_one_name(tmp_path, kind):
    names = {"TSRC": "DEABC2600001", "publisher": "Label"} if kind == "mp3" else {"ISRC": "DEABC2600001", "ORGANIZATION": "Label"}
    found = read_tags(written(tmp_path, kind, tags=names))
    assert (found["isrc"], found["label"]) == ("DEABC2600001", "Label")


# ------------------------------------------------------------------------------------------------ what is not audio


def says(path, error, why):
    for read in (lambda p: list(read_samples(p)), read_tags):
        with pytest.raises(error) as caught:
            read(path)
        assert why in str(caught.value)
        assert str(path) in str(caught.value)


def test_what_is_not_audio_is_said_in_a_sentence(tmp_path):
    def holds(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    says(holds("empty.mp3", b""), UnreadableAudio, "is empty")
    says(holds("text.mp3", b"dear diary, today I bought a record\n" * 200), UnreadableAudio, "is not audio")
    says(holds("noise.wav", np.random.default_rng(1).bytes(50_000)), UnreadableAudio, "is not audio")
    says(tmp_path / "gone.flac", UnreadableAudio, "cannot be read: no such file or directory")
    says(tmp_path, UnreadableAudio, "cannot be read: is a directory")
    mute = holds("mute.mp4", audio_file(container="mp4", audio=False, video=True))
    says(mute, SourceUnsupported, "has video but no audio")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = written(tmp_path, "wav")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def denied(self, *args, **kwargs):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr("pathlib.Path.open", denied)
    says(path, UnreadableAudio, "cannot be read: permission denied")


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "mkv", "aiff"])
def test_a_truncated_file_is_read_as_far_as_it_goes_and_then_says_so(tmp_path, kind):
    path = written(tmp_path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard = []
    with pytest.raises(Truncated, match=r"is truncated: it holds 3\.\d s of the 7\.0 s that it announces"):
        heard.extend(read_samples(path))
    assert heard[-1].end_s == pytest.approx(3.5, abs=0.2)


def test_a_truncated_mp4_without_its_table_is_not_audio(tmp_path):
    path = written(tmp_path, "m4a")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    says(path, UnreadableAudio, "is not audio")


def test_a_file_with_bad_bytes_inside_is_read_around_them(tmp_path):
    path = written(tmp_path, "mp3")
    data = bytearray(path.read_bytes())
    data[20_000:20_400] = bytes(400)
    path.write_bytes(data)
    assert list(read_samples(path))[-1].end_s == pytest.approx(7.0, abs=0.3)


# ------------------------------------------------------------------------------------------------ what names other media


@pytest.fixture
def lure():
    """A server that must never be asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
    assert asked == []


DASH = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>
<Representation id="1" bandwidth="1"><BaseURL>LURE/c.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"""


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp3", "list.ffconcat", "list.mpd", "list.sdp", "list.txt"])
def test_a_file_that_names_other_media_opens_none_of_it(tmp_path, lure, name):
    sound = written(tmp_path, "ts")
    texts = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:7\n#EXTINF:7,\n{lure}/a.ts\n#EXTINF:7,\nfile://{sound}\n#EXTINF:7,\n{sound.name}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{lure}/b.ts'\nfile '{sound.name}'\n",
        DASH.replace("LURE", lure),
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 40000 RTP/AVP 0\n",
    ]
    path = tmp_path / name
    for text in texts:
        path.write_text(text)
        with pytest.raises((UnreadableAudio, SourceUnsupported)) as caught:
            list(read_samples(path))
        assert str(path) in str(caught.value)
    path.write_text(texts[0])
    with pytest.raises(SourceUnsupported, match="is a playlist, which names media and holds none: give its http address instead"):
        list(read_samples(path))


# ------------------------------------------------------------------------------------------------ as a session's source


def test_it_is_a_session_source(tmp_path):
    def takes(_: Source) -> None: ...

    takes(FileSource(path=tmp_path / "a.wav", signals=Signals()))


def test_a_file_goes_through_a_decoder_as_it_is(tmp_path):
    path = written(tmp_path, "flac")
    source = FileSource(path=path, signals=Hand())
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [chunk for piece in source.pieces() for chunk in decoder.push(piece)] + decoder.flush()
    assert np.array_equal(samples(chunks), samples(read_samples(path)))
    assert (source.end_reason, source.fetched_bytes) == ("endlist", path.stat().st_size)


def test_a_later_owner_goes_on_in_the_middle(tmp_path):
    path = written(tmp_path, "flac")
    whole = samples(read_samples(path))
    for resume_s in (2.5, 5.118, 6.0):
        rest = list(FileSource(path=path, signals=Hand(), resume_s=resume_s).pieces())
        assert rest[0].start_s == pytest.approx(resume_s, abs=1e-4)
        assert np.array_equal(samples(rest), whole[round(resume_s * RATE_HZ) :])


def test_what_a_truncated_file_lacks_is_a_gap(tmp_path):
    path = written(tmp_path, "flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *heard, gap = FileSource(path=path, signals=Hand()).pieces()
    assert gap.gap_reason == "segment_undecodable"
    assert gap.start_s == pytest.approx(7.0, abs=0.01)
    assert heard[-1].end_s + gap.gap_before_s == pytest.approx(7.0, abs=0.01)


def test_a_worker_that_leaves_stops(tmp_path):
    hand = Hand()
    pieces = FileSource(path=written(tmp_path, "flac", duration_s=20.0), signals=hand).pieces()
    next(pieces)
    hand.hand_over()
    assert list(pieces) == []
