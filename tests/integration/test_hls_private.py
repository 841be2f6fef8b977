"""A private IVS channel over real HTTP: the origin checks each token, lets none expire unnoticed, and a single-use one in once."""

import socket
import threading
from contextlib import closing, suppress

import pytest
from pydantic import SecretStr

from audio_media import coded
from audio_origin import Answer, Hand, Live, session_settings, settings
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.control.playback import IF_FORBIDDEN, Playback
from earmark.errors import SourceUnavailable
from earmark.model import Segment
from earmark.settings import Ivs
from playback_tokens import Gate, new_key, pem_of

ARN = "arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf"
KEY = new_key()
NOW = 1_800_000_000.0


@pytest.fixture
def hand():
    return Hand()


class Private:
    """A channel whose master opens to tokens, and whose variants' addresses change with each opening."""

    def __init__(self, origin, hand, *, key=KEY, variant_s=1e9, **ivs):
        self.origin, self.hand, self.variant_s = origin, hand, variant_s
        self.media = coded(duration_s=40.0)
        self.live = Live(origin, self.media, hand, head_s=4.5, ends=True)
        self.gate = Gate(KEY.public_key(), ARN, now=lambda: NOW + hand.time_s)
        self.opened_at = []
        self.origin.routes[self.live.path + "/list.m3u8"] = Answer(status=403)
        playback = Playback(settings=Ivs(playback_key=SecretStr(pem_of(key)), **ivs), secrets=pytest.fail, now=lambda: NOW + hand.time_s)
        self.configured = settings(origin)
        self.source = HlsSource(
            url_provider=self._address(playback),
            if_forbidden=IF_FORBIDDEN,
            http=Http(settings=self.configured, guard=Guard(settings=self.configured)),
            signals=hand,
            settings=self.configured,
            session=session_settings(),
            clock=hand.clock,
            now=hand.now,
        )

    def _address(self, playback):
        def address():
            url = playback.address(self.origin.url("/master.m3u8"), ARN)
            self.origin.routes[url.removeprefix(f"http://{self.origin.host}")] = self._master
            return url

        return address

    def _master(self, asked):
        if not self.gate.opens(asked.path):
            return Answer(status=403)
        opening = len(self.opened_at)
        self.opened_at.append(self.hand.time_s)
        path = f"{self.live.path}/opening-{opening}.m3u8"
        self.origin.routes[path] = lambda asked: self._variant(opening, asked)
        return Answer(f'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"\n{path}\n'.encode())

    def _variant(self, opening, asked):
        expired = self.hand.time_s - self.opened_at[opening] > self.variant_s
        return Answer(status=403) if expired else self.live.answer(asked)


@pytest.mark.parametrize("single_use", [False, True])
def test_a_private_channel_is_heard_whole_with_a_new_token_for_each_opening(origin, hand, single_use):
    """Its variants' addresses expire every twelve seconds, and its tokens after ten."""
    private = Private(origin, hand, variant_s=12.0, token_s=10, single_use=single_use)
    pieces = list(private.source.pieces())
    assert [private.media.segments.index(piece.data) for piece in pieces] == list(range(len(private.media.segments)))
    assert len(private.gate.tokens) == len(set(private.gate.tokens)) >= 3, "none is used twice, spent or not"
    assert private.gate.refused == []
    assert private.source.end_reason == "endlist"


def test_a_single_use_token_is_not_sent_again_when_a_kept_connection_breaks(origin, hand):
    """What is asked over a kept connection that the server closes is usually asked again: by then a token may be spent."""
    private = Private(origin, hand, variant_s=12.0, single_use=True)
    answer = private._master
    dropped = []

    def drop_the_second(asked):
        if len(private.opened_at) == 1 and not dropped:
            assert private.gate.opens(asked.path), "the token is spent"
            dropped.append(asked.path)
            return Answer(b"#EXTM3U\n", claims_bytes=1_000)  # and the answer breaks off
        return answer(asked)

    private._master = drop_the_second
    pieces = list(private.source.pieces())
    assert len(dropped) == 1
    assert sum(isinstance(piece, Segment) for piece in pieces) == len(private.media.segments)
    assert len(private.gate.tokens) == len(set(private.gate.tokens)) and private.gate.refused == []


def test_what_may_be_asked_for_once_goes_over_a_new_connection_and_is_never_sent_twice(origin):
    """A server may close a connection that was kept at any moment: what was asked over it is then asked again, but not this."""
    asked, ports = [], set()

    def answer(connection):
        with connection:
            while request := connection.recv(65_536):
                asked.append(request.split(b" ")[1])
                if asked[-1] != b"/kept":
                    return  # without a word
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    def serve(listener):
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                ports.add(peer)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        configured = settings(origin, allow_private=[host])
        with closing(Http(settings=configured, guard=Guard(settings=configured))) as http:
            assert http.get(f"http://{host}/kept", bytes_max=10).body == b"x"
            with pytest.raises(SourceUnavailable):
                http.get(f"http://{host}/closed?token=1", bytes_max=10, once=True)
            listener.shutdown(socket.SHUT_RDWR)
    assert asked == [b"/kept", b"/closed?token=1"]
    assert len(ports) == 2


def test_a_key_that_the_channel_does_not_know_is_said_with_what_to_do(origin, hand):
    private = Private(origin, hand, key=new_key())
    with pytest.raises(SourceUnavailable, match=r"answered 403 for the stream's playlist; is the channel private, and the public half of ivs\.playback_key"):
        list(private.source.pieces())
    assert set(private.gate.refused) == {"forged"}
    assert len(private.gate.tokens) == len(set(private.gate.tokens)) == 3, "each try brings a new one"


def test_no_token_is_in_what_is_said(origin, hand, capsys):
    private = Private(origin, hand, variant_s=12.0)
    list(private.source.pieces())
    assert "token" not in "".join(capsys.readouterr())
