"""Every way that we know of to make a fetcher ask somebody it must not; and a small world in which it would be found out.

In this world one public address leads to an origin, and every other one to a listener on loopback that counts who comes: so a form that gets by
the guard is counted whatever address it meant, and nothing leaves the machine. Names resolve as the form says; numbers as the system reads them.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Self
from unittest import mock

import urllib3
from urllib3.util import Url, parse_url

from audio_origin import Answer, Hand, Origin
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.errors import EarmarkError
from earmark.settings import Hls, SessionSettings
from earmark.web.addresses import Resolve

PUBLIC: Final = "93.184.216.34"
ALLOWED: Final = "x.live-video.net"
#: The operator's own, in the settings' static streams: its name is allowed, what it resolves to has to be public all the same.
OWN: Final = "radio.example"


@dataclass(frozen=True)
class Form:
    """An address that must not be fetched, and what its name resolves to where it is one."""

    url: str
    resolved: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------ the forms

_LOOPBACK_NUMBERS: Final = """
127.0.0.1 127.1 127.0.1 127.8.9.1 127.255.255.254 2130706433 0x7f000001 0x7F.0x0.0x0.0x1 0x7f.1 0x7f.0.1 0177.0.0.1 0177.1 017700000001 00000177.0.0.1
127.0.0.0x1 0x7f.0.0.01 127.0x1 2130706433. 127.0.0.1. 0 0.0.0.0 0x0 00 0.1 0.0.0.1 127.0.0.001 0000000000000000000000000000177.1 4294967295 0xffffffff
"""
_PRIVATE: Final = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.254 192.168.0.1 192.168.1.1 167772161 0xa000001 0xc0a80001 3232235521 012.0.0.1 100.64.0.1 198.18.0.1
192.0.0.1 192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 192.88.99.1
"""
_METADATA: Final = """
169.254.169.254 169.254.170.2 169.254.170.23 169.254.169.253 169.254.0.1 2852039166 0xa9fea9fe 0xA9.0xFE.0xA9.0xFE 0251.0376.0251.0376 169.254.43518
169.16689662 0251.254.169.254 169.254.169.254. 168.63.129.16 100.100.100.200 192.0.0.192 [fd00:ec2::254] [fd00:ec2::23] [fd00:ec2:0:0:0:0:0:254]
[FD00:EC2::254] [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [0:0:0:0:0:ffff:a9fe:a9fe] [::169.254.169.254] [64:ff9b::169.254.169.254] [64:ff9b::a9fe:aa02]
[2002:a9fe:a9fe::] [2002:a9fe:aa02::1] [fe80::a9fe:a9fe] [fe80::1%25eth0] [fd20:ce::254] [64:ff9b:1::a9fe:a9fe] [::ffff:0:169.254.169.254]
"""
_IPV6: Final = """
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::01] [::] [::0] [0::0] [::1%25lo] [::1%251] [fe80::1] [fe80::1%25lo] [FE80::1] [febf::1]
[::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:10.0.0.1] [::ffff:192.168.0.1] [::ffff:0.0.0.0]
[::127.0.0.1] [::7f00:1]
[::10.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] [2002:7f00:0001::1]
[2002:a00:1::] [2002:c0a8:1::] [2001::1] [2001:0:7f00:1::] [2001:db8::1] [3fff::1] [fc00::1] [fd12:3456::1] [fec0::1] [feff::1] [ff02::1] [ff0e::1] [5f00::1]
[100::1] [4000::1]
"""
_NAMES_OF_OURS: Final = """
localhost LOCALHOST localhost. localhost.localdomain ip6-localhost x.localhost metadata.google.internal instance-data metadata kubernetes.default.svc
127.0.0.1.nip.io live-video.net live-video.net. x.live-video.net. evillive-video.net live-video.net.evil.example x.live-video.net.evil.example
x.live-video.net.127.0.0.1.nip.io x-live-video.net x.live-video.neт xn--e1afmkfd.example
"""
_IDNA: Final = """
①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 127．0．0．1 127｡0｡0｡1 ⑯⑨.②⑤④.⑯⑨.②⑤④ ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ
loc\u00adalhost local\u200bhost ١٢٧.٠.٠.١ 127.0.0.\u0661 [::①] [：：1]
ｘ．ｌｉｖｅ－ｖｉｄｅｏ．ｎｅｔ x.live-video。net x\u2024live-video.net
"""
#: Whose end, or beginning, looks allowed.
_DISGUISED: Final = (
    "http://x.live-video.net@127.0.0.1/", "http://x.live-video.net:80@127.0.0.1/", "http://x.live-video.net%40127.0.0.1/", "http://user:pass@127.0.0.1/",
    "http://127.0.0.1\\.x.live-video.net/", "http://127.0.0.1\\@x.live-video.net/", "http://127.0.0.1#.x.live-video.net/",
    "http://127.0.0.1?.x.live-video.net/",
    "http://127.0.0.1/.x.live-video.net/", "http://127.0.0.1;x.live-video.net/", "http://127.0.0.1,x.live-video.net/", "http://127.0.0.1 .x.live-video.net/",
    "http://127.0.0.1\t/", "http://127.0.0.1\n/", "http://127.0.0.1\r\nHost: x.live-video.net/", "http://127.0.0.1%00.x.live-video.net/",
    "http://127.0.0.1\0.x.live-video.net/", "http://127.0.0.1%2f.x.live-video.net/", "http://127.0.0.1%23.x.live-video.net/", "http://[::1].x.live-video.net/",
    "http://[::1]@x.live-video.net@[::1]/", "http://[127.0.0.1]/", "http://@127.0.0.1/", "http://:@127.0.0.1/",
    "http://x.live-video.net&@127.0.0.1#@x.live-video.net/",
    "http://%31%32%37%2e%30%2e%30%2e%31/", "http://127%2e0%2e0%2e1/", "http://127.0.0.1%E3%80%82/", "http://%00127.0.0.1/", " http://127.0.0.1/",
    "\thttp://127.0.0.1/", "http:127.0.0.1/", "http:/127.0.0.1/", "http:///127.0.0.1/", "http:////127.0.0.1/", "http:\\\\127.0.0.1\\", "http:/\\127.0.0.1/",
    "//127.0.0.1/", "\\\\127.0.0.1\\", "///127.0.0.1/", "HTTP://127.0.0.1/", "hTTp://127.0.0.1/", "http://127.0.0.1:80/", "http://127.0.0.1:080/",
    "http://127.0.0.1:0080/", "http://127.0.0.1:/", "http://127.0.0.1:22/", "http://127.0.0.1:6379/", "http://127.0.0.1:5432/", "http://127.0.0.1:0/",
    "http://127.0.0.1:65535/", "http://127.0.0.1:65616/", "http://127.0.0.1:4294967376/", "http://127.0.0.1:-1/", "http://127.0.0.1:+80/",
    "http://127.0.0.1:٨٠/",
    "http://127.0.0.1:80:80/", "https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://localhost/", "https://10.0.0.1:443/",
)  # fmt: skip
_SCHEMES: Final = (
    "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "file:/etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "ftp://127.0.0.1/", "ftps://127.0.0.1/", "sftp://127.0.0.1/", "tftp://127.0.0.1/a", "ldap://127.0.0.1/", "jar:http://127.0.0.1!/", "netdoc:///etc/passwd",
    "data:application/vnd.apple.mpegurl,#EXTM3U", "javascript:alert(1)", "blob:http://127.0.0.1/1", "view-source:http://127.0.0.1/",
    "http+unix://%2fvar%2frun%2fdocker.sock/",
    "unix:///var/run/docker.sock", "concat:/etc/passwd|/etc/group", "crypto:http://127.0.0.1/", "tcp://127.0.0.1:80", "udp://127.0.0.1:80",
    "rtmp://127.0.0.1/live",
    "rtsp://127.0.0.1/", "ws://127.0.0.1/", "s3://bucket/key", "async:http://127.0.0.1/", "subfile,,start,0,end,9,,:/etc/passwd", "pipe:0",
    "/etc/passwd", "etc/passwd", "",
    "http", "http:", "http://", "https://", "://127.0.0.1/", "0://127.0.0.1/", "http\0://127.0.0.1/",
)  # fmt: skip
#: What a name that is allowed may resolve to.
_RESOLVED: Final = """
127.0.0.1 127.8.9.1 0.0.0.0 10.0.0.1 172.16.0.1 192.168.0.1 100.64.0.1 169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200 192.0.0.192
192.0.0.8 198.18.0.1
224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: fe80::1 fe80::1%eth0 ::1%lo fc00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fec0::1 ff02::1 ff0e::1 ::ffff:127.0.0.1
::ffff:169.254.169.254 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 2002:7f00:1:: 2002:a9fe:a9fe:: 2001:0:7f00:1::
2001:db8::1 3fff::1 5f00::1 100::1 192.88.99.1
"""


def forms() -> list[Form]:
    """All of them, each once."""
    literal = [Form(f"http://{host}/latest/meta-data/") for host in (_LOOPBACK_NUMBERS + _PRIVATE + _METADATA + _IPV6).split()]
    named = [Form(f"http://{host}/", ("127.0.0.1",)) for host in (_NAMES_OF_OURS + _IDNA).split()]
    disguised = [Form(url, ("127.0.0.1",)) for url in (*_DISGUISED, *_SCHEMES)]
    resolved = [Form(f"{scheme}://{host}/", (address,)) for address in _RESOLVED.split() for scheme, host in (("http", ALLOWED), ("https", OWN))]
    several = [Form(f"http://{ALLOWED}/", ("::1", "127.0.0.1", "10.0.0.1")), Form(f"http://{ALLOWED}/", ("169.254.169.254", "fd00:ec2::254"))]
    return list(dict.fromkeys([*literal, *named, *disguised, *resolved, *several]))


# ------------------------------------------------------------------------------------------------ the world


class Listener:
    """Counts connections on loopback, answers each with a playlist's first line, and hangs up."""

    def __init__(self) -> None:
        self.count = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.count += 1
            with connection, suppress(OSError):
                connection.settimeout(1)
                connection.recv(4_096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n#EXTM3U\n")


class LetsEverythingThrough(Guard):
    """What it would be like without a guard."""

    def checked(self, url: str, *, named_host: str = "") -> Url:
        return parse_url(url)

    def addresses(self, host: str, port: int) -> list[str]:
        return list(self._resolve(host.strip("[]"), port))


MakeGuard = Callable[..., Guard]


@dataclass
class World:
    origin: Origin
    listener: Listener
    make_guard: MakeGuard
    #: What names resolve to at this moment; a function may change its mind.
    resolve: Resolve = field(default=lambda _host, _port: [PUBLIC])
    #: Where connections were made to, in order.
    dialled: list[str] = field(default_factory=list)

    def http(self, **changes: Any) -> Http:
        """As generous as an operator may be: plain http is allowed, and one private address is open, which is not the listener's."""
        values: dict[str, Any] = {"allow_http": True, "allow_private": ("127.0.0.1:1", "10.9.9.9:80"), "connect_timeout_s": 2, "read_timeout_s": 2, **changes}
        settings = Hls.model_validate(values)
        return Http(settings=settings, guard=self.make_guard(settings=settings, resolve=self._resolved), tls=_tls())

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        return self.resolve(host, port)

    def resolving(self, form: Form) -> None:
        self.resolve = lambda host, _port: [PUBLIC] if host == "origin.live-video.net" else list(form.resolved) or numeric(host)

    def dial(self, address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        self.dialled.append(address[0])
        to = self.origin.host.rpartition(":") if address[0] == PUBLIC else None
        return socket.create_connection((to[0], int(to[2])) if to else self.listener.address, timeout=2)


@cache
def _tls() -> ssl.SSLContext:
    """To make one takes longer than to use it."""
    return ssl.create_default_context()


def numeric(host: str) -> list[str]:
    """As the system reads an address that is none of a name: without asking anybody. Raises OSError for a name."""
    found = socket.getaddrinfo(host.replace("%25", "%"), 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@contextmanager
def world(make_guard: MakeGuard = Guard) -> Iterator[World]:
    with Origin().running() as origin, Listener() as listener:
        made = World(origin, listener, make_guard)
        with mock.patch.object(urllib3.util.connection, "create_connection", made.dial):
            yield made


# ------------------------------------------------------------------------------------------------ ways to make somebody ask


def directly(here: World, form: Form) -> None:
    here.resolving(form)
    with here_closing(here.http()) as http:
        http.get(form.url, bytes_max=1_000, named_host=OWN)


def by_a_redirect(here: World, form: Form) -> None:
    """Of an origin that is allowed, and by way of another one that is."""
    here.resolving(form)
    location = form.url.encode("utf-8", "surrogatepass").decode("latin-1").replace("\r", "").replace("\n", "")
    here.origin.routes["/list.m3u8"] = Answer(status=302, headers={"Location": "http://origin.live-video.net/again"})
    here.origin.routes["/again"] = Answer(status=307, headers={"Location": location})
    with here_closing(here.http()) as http:
        http.get("http://origin.live-video.net/list.m3u8", bytes_max=1_000)


PLAYLISTS: Final = {
    "a variant": '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"\n{url}\n',
    "a rendition": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{url}"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\n/v.m3u8\n',
    "a segment": "#EXTM3U\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n",
    "a part of a segment": "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:10@0\n{url}\n#EXT-X-ENDLIST\n",
    "a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:2,\n/1.ts\n#EXT-X-ENDLIST\n',
    "a header": '#EXTM3U\n#EXT-X-MAP:URI="{url}"\n#EXTINF:2,\n/1.ts\n#EXT-X-ENDLIST\n',
}


def by_a_playlist(here: World, form: Form, text: str) -> None:
    """Followed as a stream's is, to its end."""
    here.resolving(form)
    here.origin.routes["/list.m3u8"] = Answer(text.format(url=form.url).encode())
    here.origin.routes["/1.ts"] = Answer(b"\x47" * 188)
    hand = Hand()
    hand.at(100, hand.end)
    with here_closing(here.http()) as http:
        source = HlsSource(
            url_provider=lambda: "http://origin.live-video.net/list.m3u8", http=http, signals=hand, settings=Hls(), session=SessionSettings(), clock=hand.clock,
            now=hand.now,
        )  # fmt: skip
        for _ in source.pieces():
            pass


@contextmanager
def here_closing(http: Http) -> Iterator[Http]:
    try:
        yield http
    finally:
        http.close()


def ways(every: Sequence[Form]) -> list[tuple[str, Form, Callable[[World, Form], None]]]:
    """Each form asked directly and by redirects; every third one by each place of a playlist, too, if it fits into one line."""
    made: list[tuple[str, Form, Callable[[World, Form], None]]] = [("directly", form, directly) for form in every]
    made += [("by a redirect", form, by_a_redirect) for form in every]
    lines = [form for form in every if form.url and form.url.isprintable() and '"' not in form.url and form.url[0] not in "# "]
    for name, text in PLAYLISTS.items():
        made += [(f"by {name}", form, lambda here, form, text=text: by_a_playlist(here, form, text)) for form in lines[::3]]  # type: ignore[misc]
    return made


def tried(make_guard: MakeGuard = Guard, *, every: Sequence[Form] | None = None) -> tuple[list[str], int]:
    """What reached the listener, and how many tries there were."""
    reached: list[str] = []
    asked = ways(forms() if every is None else every)
    with world(make_guard) as here:
        for way, form, ask in asked:
            before = here.listener.count, len(here.dialled)
            with suppress(EarmarkError, ValueError, urllib3.exceptions.HTTPError, OSError):
                ask(here, form)
            if (here.listener.count, len([address for address in here.dialled[before[1] :] if address != PUBLIC])) != (before[0], 0):
                reached.append(f"{way}: {form.url} {' '.join(form.resolved)}")
    return reached, len(asked)
