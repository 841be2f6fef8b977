"""Everything that reads foreign bytes, with an input for it from a random number and what it may do with one.

A parser takes an input, or refuses it with an error of `earmark.errors` whose message is a sentence. Anything else is a finding: so are
values that what comes after it (PostgreSQL, an S3 key, a date) could not hold.
"""

import io
import json
import random
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

import fuzz_documents
import fuzz_media
import fuzz_playlists
from earmark.audio import boxes, fragments
from earmark.audio.containers import NoAudio, demux
from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.file import read_samples, read_tags
from earmark.audio.follow import Follower, Hole, Position
from earmark.audio.guard import Guard, opened_for
from earmark.audio.mpegts import Unexpected
from earmark.audio.order import archive_name
from earmark.audio.playlist import Master, parse
from earmark.audio.renditions import choose
from earmark.audio.segments import container_of
from earmark.audio.stretches import Stretches
from earmark.control import messages
from earmark.errors import BadMessage, BadSettings, EarmarkError, SourceUnavailable, SourceUnsupported, UnreadableAudio
from earmark.hits.text import is_storable, rfc3339
from earmark.local import manifest
from earmark.model import GapReason, Segment, Stream
from earmark.reference import content_sha256, describe, fingerprint_file, refuse_unstorable
from earmark.settings import Hls, load, tried
from earmark.web.addresses import host_of

Outcome = Literal["accepted", "refused"]
NOW: Final = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
#: Longest that a refusal may be: it is a line of a log, and `last_error` of a stream. What a user typed may be told in more words.
SENTENCE_CHARACTERS_MAX, TOLD_TO_A_USER_MAX = 1_000, 20_000


class Refused(Exception):
    """Its message is what the parser told somebody else than its caller, as `StreamDecoder` does."""


@dataclass(frozen=True, kw_only=True)
class Parser:
    name: str
    #: Its share of all inputs, in relation to the others': what costs little gets more.
    weight: int
    make: Callable[[random.Random], bytes]
    #: Takes an input, or raises.
    run: Callable[[bytes], object]
    #: What it may raise.
    refuses: tuple[type[Exception], ...]
    characters_max: int = SENTENCE_CHARACTERS_MAX

    def input(self, seed: int, number: int) -> bytes:
        """Always the same one."""
        return self.make(random.Random(f"{seed}/{self.name}/{number}"))

    def judge(self, data: bytes) -> Outcome:
        """Raises what is a finding."""
        try:
            self.run(data)
        except self.refuses as error:
            why_no_sentence(str(error), self.characters_max)
            return "refused"
        return "accepted"


def why_no_sentence(text: str, characters_max: int = SENTENCE_CHARACTERS_MAX) -> None:
    """Raises AssertionError for a refusal that is none."""
    assert text, "refused without a word"
    assert "\n" not in text, f"refused in more than one line: {text[:200]!r}"
    # What a user typed is told to a terminal by what knows terminals; what a stream said goes to PostgreSQL as it is.
    assert text.isprintable() or characters_max > SENTENCE_CHARACTERS_MAX, f"refused with characters that cannot be told: {text[:200]!r}"
    assert len(text) <= characters_max, f"refused in {len(text):,} characters: {text[:200]!r}"


# ------------------------------------------------------------------------------------------------ messages


def _messages(body: bytes) -> None:
    for said in messages.parse(body.decode("utf-8", "replace")):
        for text in _texts(said):
            assert is_storable(text), f"{said} holds what PostgreSQL cannot"
        if isinstance(said, messages.ObjectArrived):
            assert type(said.size) is int, "a size that is no number"
            assert messages.archive_counter(said.key) is None or archive_name(said.key) is not None or "\n" in said.key


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Stream | messages.StartStream | messages.StopStream | messages.ObjectArrived | messages.Ignored | messages.Unknown):
        return [text for field in fields(value) for text in _texts(getattr(value, field.name))]
    return []


# ------------------------------------------------------------------------------------------------ playlists, addresses, answers


def _playlists(body: bytes) -> None:
    """Read as a stream's are: the first decides which kind it is, the others follow it; half-way another worker takes over."""
    readings = body.decode("utf-8", "replace").split(fuzz_playlists.NEXT)
    url = "https://x.live-video.net/a/list.m3u8"
    first = parse(readings[0], url)
    if isinstance(first, Master):
        chosen = choose(first, audio_kbps_min=64)
        assert is_storable(str(chosen)) or "\0" in body.decode("utf-8", "replace")
        return
    follower, position = Follower(late_s=20), Position(sequence=-1)
    for number, text in enumerate(readings):
        follower.read(text, url, cause="origin_down" if number % 2 else "skipped")
        for _ in range(2_000):
            item = follower.next()
            if item is None:
                break
            if isinstance(item, Hole):
                assert 0 <= item.duration_s <= 86_400 + 1e-6
                assert item.reason in get_args(GapReason)
                _date(item.clock_end)
            else:
                _date(item.clock)
                with suppress(SourceUnsupported):
                    _guard().checked(item.url)
                follower.still_listed(item)
            position = follower.behind(item, position)
            assert Position.from_json(position.to_json()) == position
        if number == 1:
            follower = Follower(late_s=20, resume=Position.from_json(position.to_json()))


def _date(clock: datetime | None) -> None:
    """It can be reckoned with: a day before, a day after, and written down."""
    if clock is not None:
        rfc3339(clock - timedelta(days=2)), rfc3339(clock + timedelta(days=2))


@cache
def _guard() -> Guard:
    return Guard(settings=Hls(allow_http=True), resolve=lambda _host, _port: ["93.184.216.34"])


def _addresses(body: bytes) -> None:
    text, resolved = json.loads(body)
    host_of(text)
    opened_for(Hls(), text)
    guard = Guard(settings=Hls(allow_http=True), resolve=lambda _host, _port: resolved)
    checked = guard.checked(text)
    assert checked.host == "x.live-video.net" or (checked.host or "").endswith(".live-video.net"), checked
    again = guard.checked(checked.url)
    assert (again.scheme, again.host, again.port) == (checked.scheme, checked.host, checked.port), "it reads differently the second time"
    assert set(guard.addresses(checked.host or "", 443)) <= {"93.184.216.34"}


class _Server(threading.Thread):
    """Answers each connection on loopback with the bytes it holds, and closes it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(2)
                connection.recv(65_536)
                connection.sendall(self.answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass


@cache
def _web() -> tuple[_Server, Http]:
    server = _Server()
    server.start()
    settings = Hls(allow_private=(server.host,), connect_timeout_s=2, read_timeout_s=2, deadline_s=4, redirects_max=2)
    return server, Http(settings=settings, guard=Guard(settings=settings, resolve=lambda host, _port: [host]))


def _answers(body: bytes) -> None:
    server, http = _web()
    server.answer = body
    reply = http.get(f"http://{server.host}/list.m3u8", bytes_max=100_000)
    assert len(reply.body) <= 100_000
    http.get(f"http://{server.host}/list.m3u8", bytes_max=100_000, headers={"If-None-Match": reply.headers.get("etag", "")})


# ------------------------------------------------------------------------------------------------ media


def _segment(whole: bytes) -> None:
    """The spoilt segment, and a good one behind it in the same stream: whoever comes after is none the worse for it."""
    init, data = fuzz_media.header_and_rest(whole)
    told: list[str] = []
    decoder = StreamDecoder(segment_s_max=60, failed=lambda _failure, why: told.append(why))
    if not init:
        stretches = Stretches(seconds=0.5)
        with suppress(Unexpected):
            assert sum(len(stretch.data) for stretch in [*stretches.push(data), *stretches.flush()]) <= 4 * len(data) + 10_000
    heard_s = _pushed(decoder, init, data)
    good_init, good = fuzz_media.segments("mp4" if init else "mpegts")[0]
    before_s = decoder.position_s
    chunks = decoder.push(Segment(data=good, init=good_init, container="mp4" if init else "mpegts", duration_s=1, discontinuity=True, fetched_at=NOW))
    heard_after_s = sum(len(chunk.samples) for chunk in [*chunks, *decoder.flush()]) / 8_000
    assert heard_after_s > 0.8, f"only {heard_after_s} s were heard of the good segment behind it"
    assert 0 <= heard_s <= before_s + 1 <= 86_400 + 100
    for why in told:
        why_no_sentence(why)
    if told:
        raise Refused(told[0])


def _fragments(whole: bytes) -> None:
    """What our reader of fMP4 reads, FFmpeg reads, too, or refuses; it may end early, at a picture that is not whole."""
    init, data = fuzz_media.header_and_rest(whole)
    try:
        sound = fragments.read(init, data)
    except fragments.Unexpected as unexpected:
        raise Refused(str(unexpected)) from None
    ours = [(number, run.pts, sample) for number, run in enumerate(sound.runs) for sample in run.samples]
    assert sum(len(sample) for _, _, sample in ours) <= len(data), "it has more samples than bytes"
    with suppress(UnreadableAudio, NoAudio):
        media = demux(boxes.checked(init + data), "mp4")
        theirs = [(number, run.pts, bytes(packet)) for number, run in enumerate(media.runs) for packet in run.coded]  # type: ignore[arg-type]
        assert media.key == ("aac", sound.config, True), "FFmpeg finds another codec"
        assert theirs == ours[: len(theirs)], "FFmpeg finds other samples"
        assert len(theirs) == len(ours) or b"vide" in init + data, "FFmpeg finds fewer samples"


def _pushed(decoder: StreamDecoder, init: bytes, data: bytes) -> float:
    segment = Segment(data=data, init=init, container=container_of(data, fragmented=bool(init)), duration_s=1, fetched_at=NOW)
    heard = 0
    for chunk in decoder.push(segment):
        assert np.isfinite(chunk.samples).all(), "what is heard is no number"
        heard += len(chunk.samples)
    return heard / 8_000


# ------------------------------------------------------------------------------------------------ files, manifests, settings


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="earmark-fuzz-"))


def _put(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _files(data: bytes) -> None:
    path = _put("file", data)
    content_sha256(path)
    tags = read_tags(path)
    made = fingerprint_file(path)
    for _ in read_samples(io.BytesIO(data)):
        break
    track = describe(manifest.Source(path=path), tags, b"content", made.duration_s)
    assert all(is_storable(text) for text in (track.title, *track.artists, track.album, track.label, *track.isrc))


def _manifests(data: bytes) -> None:
    sources = manifest.read(_put("manifest.json" if data[:1] == b"j" else "manifest.csv", data[1:]))
    refused: list[UnreadableAudio] = []
    for source in sources:
        try:
            refuse_unstorable(source)
        except UnreadableAudio as error:
            refused.append(error)
            continue
        track = describe(source, {}, b"content", 1.0)
        values = [track.track_id, track.title, *track.artists, track.album, track.label, *track.isrc, *track.iswc, *track.upc, track.rights_holder]
        assert all(isinstance(value, str) and is_storable(value) for value in values), track
    if refused:
        raise refused[0]


def _settings(data: bytes) -> None:
    loaded = load(_put("earmark.toml", data), environ={})
    _numbers(loaded.settings.model_dump())


def _environment(data: bytes) -> None:
    said = json.loads(data)
    loaded = load(None, environ=said)
    _numbers(loaded.settings.model_dump())
    for value in said.values():
        tried(loaded.settings, "matching", [f"matching.window_s={value}"])


def _numbers(value: Any) -> None:
    """Waits, sizes and rates are finite."""
    if isinstance(value, dict):
        for item in value.values():
            _numbers(item)
    elif isinstance(value, float):
        assert np.isfinite(value), "a setting is no finite number"


def parsers() -> tuple[Parser, ...]:
    source = (SourceUnsupported, SourceUnavailable)
    segment = (SourceUnsupported, UnreadableAudio, Refused)
    return (
        Parser(name="messages", weight=20, make=fuzz_documents.message, run=_messages, refuses=(BadMessage,)),
        Parser(name="playlists", weight=14, make=fuzz_playlists.playlists, run=_playlists, refuses=(SourceUnsupported,)),
        Parser(name="addresses", weight=15, make=fuzz_playlists.address, run=_addresses, refuses=source),
        Parser(name="answers", weight=10, make=fuzz_playlists.answer, run=_answers, refuses=source),
        Parser(name="ts", weight=9, make=fuzz_media.transport_stream, run=_segment, refuses=segment),
        Parser(name="fmp4", weight=9, make=fuzz_media.fragmented_mp4, run=_segment, refuses=segment),
        Parser(name="fragments", weight=9, make=fuzz_media.fragmented_mp4, run=_fragments, refuses=(Refused,)),
        Parser(name="packed", weight=9, make=fuzz_media.packed_audio, run=_segment, refuses=segment),
        Parser(name="files", weight=6, make=fuzz_media.file, run=_files, refuses=(UnreadableAudio, SourceUnsupported)),
        Parser(
            name="manifests", weight=10, make=fuzz_documents.manifest, run=_manifests, refuses=(BadSettings, UnreadableAudio), characters_max=TOLD_TO_A_USER_MAX
        ),
        Parser(name="settings", weight=9, make=fuzz_documents.settings_file, run=_settings, refuses=(BadSettings,), characters_max=TOLD_TO_A_USER_MAX),
        Parser(name="environment", weight=9, make=fuzz_documents.environment, run=_environment, refuses=(BadSettings,), characters_max=TOLD_TO_A_USER_MAX),
    )


def parser_of(name: str) -> Parser:
    return next(parser for parser in parsers() if parser.name == name)


assert issubclass(BadMessage, EarmarkError)
