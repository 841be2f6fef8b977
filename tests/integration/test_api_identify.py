"""What is in a clip, asked over HTTP: by sound, and by what `earmark fingerprint --json` made of it."""

import asyncio
import io
import json
import tempfile
import threading
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from api_served import Served, served
from control_rows import pool_of
from earmark.api.identifying import Identifying
from earmark.api.problems import Problem
from earmark.cli import main
from earmark.clip import Clip, to_json
from earmark.fingerprint.window import fingerprint
from earmark.index.answers import Index
from earmark.ingest import ingest
from earmark.local.database import create_database
from earmark.model import FINGERPRINT_VERSION, RATE_HZ, Float32, MatchParams
from earmark.postgres import Pool
from earmark.settings import Api
from index_audio import notes, write_flac, write_wav

SECONDS = 30


@pytest.fixture(scope="module")
def known(postgres_server: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """DSN of a catalogue with one recording."""
    path = write_flac(tmp_path_factory.mktemp("known") / "known.flac", notes(1, SECONDS), title="Known")
    dsn = create_database(postgres_server, "api_identify", template=_template)
    with pool_of(dsn) as pool:
        assert [result.outcome for result in ingest([path], pool=pool, jobs=1)] == ["added"]
    return dsn


@pytest.fixture(scope="module")
def api(known: str) -> Iterator[Served]:
    with pool_of(known) as pool, served(pool, identify_bytes_max=2_000_000, address_requests_per_minute=1_000_000) as running:
        yield running


def wav(samples: Float32) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, len(samples), "NONE", ""))
        file.writeframes(np.rint(samples * 32_767).astype(np.int16).tobytes())
    return out.getvalue()


def heard(api: Served, body: bytes, content_type: str = "audio/wav", *, status: int = 200) -> dict:
    answer = api.ask("POST", "/v1/identify", token=api.token("identify"), body=body, headers={"Content-Type": content_type})
    assert answer.status == status, answer
    return answer.document


def test_a_clip_is_identified_as_the_command_does_it(api: Served, known: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clip = write_wav(tmp_path / "clip.wav", notes(1, SECONDS)[8 * 16_000 : 20 * 16_000])
    answer = heard(api, clip.read_bytes())
    capsys.readouterr()  # the access log
    assert main(["identify", str(clip), "--catalogue", known, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert answer["matches"] == told["matches"]
    (match,) = answer["matches"]
    assert match["track"]["title"] == "Known"
    assert match["reference_begin_s"] - match["begin_s"] == pytest.approx(8, abs=0.1)
    assert answer["duration_s"] == pytest.approx(12)


def test_what_was_fingerprinted_elsewhere_gives_the_same_matches_and_no_sound_is_sent(api: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clip = write_wav(tmp_path / "clip.wav", notes(1, SECONDS)[8 * 16_000 : 20 * 16_000])
    assert main(["fingerprint", str(clip), "--json"]) == 0
    carried = capsys.readouterr().out.encode()
    assert len(carried) < 30_000
    assert heard(api, carried, "application/json; charset=utf-8") == heard(api, clip.read_bytes())


def test_a_fingerprint_of_another_version_is_refused_in_one_sentence(api: Served):
    document = {**json.loads(to_json(Clip(peaks=fingerprint(notes(1, 5, rate_hz=RATE_HZ)), duration_s=5.0))), "fingerprint_version": FINGERPRINT_VERSION + 1}
    answer = heard(api, json.dumps(document).encode(), "application/json", status=422)
    assert answer["type"].endswith("fingerprint-mismatch")
    assert f"fingerprint_version {FINGERPRINT_VERSION + 1}, and this Earmark hears {FINGERPRINT_VERSION}: make it anew" in answer["detail"]


def test_silence_is_heard_and_nothing_is_in_it(api: Served):
    assert heard(api, wav(np.zeros(10 * 16_000, np.float32)))["matches"] == []


def test_what_the_catalogue_does_not_have_is_not_found_in_it(api: Served):
    assert heard(api, wav(notes(2, 10)))["matches"] == []


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("song.mp3", b"x" * 1_000)
    return out.getvalue()


def video_without_sound() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            for packet in stream.encode(av.VideoFrame(64, 64, "yuv420p")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize(
    "body,content_type,why",
    [
        (zipped(), "audio/mpeg", "the body is not audio"),
        (b"", "audio/mpeg", "the body is empty"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "audio/mpegurl", "a playlist"),
        (b"\x00" * 5_000, "application/octet-stream", "is not audio"),
        (video_without_sound(), "video/mp4", "video but no audio"),
        (b"{}", "application/json", "it is not what `earmark fingerprint FILE --json` writes"),
        (b"[" * 10_000, "application/json", "it is not JSON"),
    ],
    ids=["a zip", "nothing", "a playlist", "zeros", "video without sound", "another document", "JSON without an end"],
)
def test_what_cannot_be_heard_is_refused_in_one_sentence(api: Served, body: bytes, content_type: str, why: str):
    answer = heard(api, body, content_type, status=422)
    assert answer["type"].endswith("unreadable-audio")
    assert why in answer["detail"]
    assert "/tmp" not in answer["detail"]


@pytest.mark.parametrize("content_type", ["text/html", "image/png", "", "multipart/form-data; boundary=x"])
def test_what_is_neither_audio_nor_a_fingerprint_is_not_taken(api: Served, content_type: str):
    answer = heard(api, b"x", content_type, status=415)
    assert "name what it is by the header Content-Type" in answer["detail"]


def opus_of_silence(hours: float) -> bytes:
    """A day of it is small enough to be sent."""
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 6_000
        stream.options = {"frame_duration": "60", "application": "voip", "vbr": "on"}
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2_880), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        packet = next(packet for n in range(20) for packet in _encoded(stream, frame, n))
        for n in range(int(hours * 3_600 / 0.06)):
            again = av.Packet(bytes(packet))
            again.stream, again.time_base = stream, packet.time_base
            again.pts = again.dts = n * 2_880
            again.duration = 2_880
            container.mux(again)
    return out.getvalue()


def _encoded(stream, frame, n):
    frame.pts = n * 2_880
    return stream.encode(frame)


def test_a_day_is_refused_as_soon_as_there_is_more_of_it_than_is_heard_at_once(api: Served):
    body = opus_of_silence(1.0)
    assert len(body) < 2_000_000
    answer = heard(api, body, "audio/ogg", status=422)
    assert "it is longer than 10 minutes" in answer["detail"]


def test_more_bytes_than_are_taken_are_refused(api: Served):
    assert heard(api, b"\x00" * 2_000_001, "audio/wav", status=413)["type"].endswith("too-large")


def test_what_takes_too_long_to_decode_is_ended_with_its_process(pool: Pool):
    with served(pool, identify_wait_s=0.01) as api:
        answer = api.ask("POST", "/v1/identify", token=api.token(), body=wav(notes(1, 5)), headers={"Content-Type": "audio/wav"})
        assert (answer.status, answer.kind) == (503, "busy")
        assert "not decoded in time" in answer.document["detail"]
        assert int(answer.headers["retry-after"]) >= 1


def test_only_so_many_are_identified_at_once_and_only_so_many_wait(pool: Pool):
    index, at_work, go_on = Index(pool=pool).open(), threading.Semaphore(0), threading.Event()
    identifying = Identifying(pool=pool, catalogue=index, params=MatchParams(), settings=Api(identify_at_once=1), preload="earmark.api.apart")

    def work(_deadline_s: float) -> dict[str, Any]:
        at_work.release()
        assert go_on.wait(10)
        return {}

    async def ask() -> list[Any]:
        asked = [asyncio.create_task(identifying._in_turn(work)) for _ in range(4)]
        await asyncio.to_thread(at_work.acquire)
        await asyncio.sleep(0.1)
        assert not at_work.acquire(blocking=False)
        go_on.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())
    assert answers[:3] == [{}] * 3
    assert isinstance(answers[3], Problem) and answers[3].kind == "busy"


def test_no_file_is_left_behind(api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    heard(api, wav(notes(2, 5)))
    heard(api, zipped(), "audio/mpeg", status=422)
    assert list(tmp_path.glob("earmark-*")) == []


class TestTheCommand:
    def test_it_says_what_it_heard(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        clip = write_wav(tmp_path / "clip.wav", notes(1, 5))
        assert main(["fingerprint", str(clip)]) == 0
        assert capsys.readouterr().out.startswith(f"{clip}: 0:05, ")

    @pytest.mark.parametrize("name,code,sentence", [("none.wav", 2, "there is no "), (".", 2, "is a folder"), ("zip.mp3", 1, "is not audio")])
    def test_what_is_no_sound_is_told_in_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, sentence: str):
        (tmp_path / "zip.mp3").write_bytes(zipped())
        assert main(["fingerprint", str(tmp_path / name), "--json"]) == code
        said = capsys.readouterr()
        assert said.out == "" and sentence in said.err and said.err.count("\n") == 1
