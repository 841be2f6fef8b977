"""Nothing is fetched that was not allowed, from nowhere that was not checked, nor for ever."""

import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from audio_origin import Answer, Origin, settings
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard, opened_for
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls
from earmark.web.addresses import host_of


def http(*origins, resolve=None, tls=None, **changes):
    configured = settings(*origins, **changes)
    guard = Guard(settings=configured, resolve=resolve) if resolve else Guard(settings=configured)
    return Http(settings=configured, guard=guard, tls=tls)


def get(client, url, bytes_max=1000, **kwargs):
    return client.get(url, bytes_max=bytes_max, **kwargs)


# ------------------------------------------------------------------------------------------------ by the text


@pytest.mark.parametrize(
    "url, why",
    [
        ("file:///etc/passwd", "begins with file:"),
        ("FILE:/etc/passwd", "begins with file:"),
        ("ftp://x.live-video.net/a", "begins with ftp:"),
        ("data:text/plain,hello", "begins with data:"),
        ("concat:/a|/b", "begins with concat:"),
        ("/etc/passwd", "no scheme"),
        ("", "no scheme"),
        ("https://", "no host"),
        ("https://user:password@x.live-video.net/", "a user"),
        ("https://evil.example/", "evil.example, which is not fetched from"),
        ("https://live-video.net.evil.example/", "not fetched from"),
        ("https://evillive-video.net/", "not fetched from"),
        ("https://127.0.0.1/", "127.0.0.1, which is not fetched from"),
        ("https://[::1]/", "not fetched from"),
        ("http://169.254.170.2/v2/credentials", "169.254.170.2, which is a metadata service"),
        ("http://[fd00:ec2::254]/latest", "which is a metadata service"),
        ("http://[::ffff:169.254.169.254]/latest", "which is a metadata service"),
        ("http://x.live-video.net/", "plain http"),
        ("https://x.live-video.net:99999/", "is not a URL"),
        ("https://[::/", "is not a URL"),
    ],
)
def test_an_address_that_may_not_be_fetched_is_refused_by_its_text(url, why):
    with pytest.raises(SourceUnsupported, match="fetched") as caught:
        Guard(settings=Hls()).checked(url)
    assert why in str(caught.value)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://x.live-video.net/a?b=c", "https://A.B.Live-Video.NET:444/x", "https://radio.example/x", "https://exact.example/y"])
def test_allowed_suffixes_hosts_and_the_operators_own_host(url):
    guard = Guard(settings=Hls(allow_hosts=(".live-video.net", "exact.example")))
    assert guard.checked(url, named_host="radio.example").scheme == "https"


def test_plain_http_is_a_setting_or_a_named_private_host():
    assert Guard(settings=Hls(allow_http=True)).checked("http://x.live-video.net/")
    assert Guard(settings=Hls(allow_private=("127.0.0.1:8000",))).checked("http://127.0.0.1:8000/a.m3u8")
    for url in ("http://127.0.0.1:8001/", "http://127.0.0.1/"):
        with pytest.raises(SourceUnsupported):
            Guard(settings=Hls(allow_private=("127.0.0.1:8000",))).checked(url)


def test_who_types_an_address_opens_its_host_and_port_and_no_other():
    for url, pair in (("http://localhost:8000/x.m3u8", "localhost:8000"), ("https://[::1]/x", "[::1]:443"), ("http://Radio.example/x", "radio.example:80")):
        opened = opened_for(Hls(), url)
        assert opened.allow_private == (pair,)
        assert Guard(settings=opened, resolve=lambda host, port: ["127.0.0.1"]).checked(url)
    guard = Guard(settings=opened_for(Hls(), "http://localhost:8000/x.m3u8"), resolve=lambda host, port: ["127.0.0.1"])
    assert guard.addresses("localhost", 8000) == ["127.0.0.1"]
    assert Guard(settings=opened_for(Hls(), "http://[::1]:8000/")).addresses("::1", 8000) == ["::1"]
    with pytest.raises(SourceUnsupported):
        guard.checked("http://localhost:8001/x.m3u8")
    for url in ("file:///etc/passwd", "https://[::", "http://"):
        assert opened_for(Hls(), url) == Hls()
    with pytest.raises(SourceUnsupported, match="metadata service"):
        Guard(settings=opened_for(Hls(), "http://169.254.169.254/")).addresses("169.254.169.254", 80)


def test_a_message_names_the_host_and_never_the_token():
    assert host_of("https://x.live-video.net/a?token=secret") == "x.live-video.net"
    assert host_of("https://[::") == ""


# ------------------------------------------------------------------------------------------------ by the address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "169.254.170.2", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fd00:ec2::254",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_a_name_that_resolves_to_no_public_address_is_refused(address):
    guard = Guard(settings=Hls(), resolve=lambda host, port: [address])
    with pytest.raises(SourceUnsupported, match=r"x\.live-video\.net, which is "):
        guard.addresses("x.live-video.net", 443)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_may_be_connected_to(address):
    guard = Guard(settings=Hls(), resolve=lambda host, port: ["10.0.0.1", address, "127.0.0.1"])
    assert guard.addresses("x.live-video.net", 443) == [str(ipaddress.ip_address(address))]


def test_a_named_private_host_may_be_and_a_metadata_service_never():
    found = ["10.0.0.1"]
    guard = Guard(settings=Hls(allow_private=("cdn.internal:8443",)), resolve=lambda host, port: found)
    assert guard.addresses("cdn.internal", 8443) == ["10.0.0.1"]
    with pytest.raises(SourceUnsupported, match="add cdn.internal:443 to hls.allow_private"):
        guard.addresses("cdn.internal", 443)
    found[:] = ["169.254.169.254"]
    with pytest.raises(SourceUnsupported, match="metadata service"):
        guard.addresses("cdn.internal", 8443)


def test_a_name_that_cannot_be_found_may_be_found_later():
    def resolve(host, port):
        raise OSError(-2, "Name or service not known")

    with pytest.raises(SourceUnavailable, match="the host x.example cannot be found: Name or service not known"):
        Guard(settings=Hls(), resolve=resolve).addresses("x.example", 443)


def test_a_name_that_resolves_to_loopback_is_not_connected_to(origin):
    origin.routes["/"] = Answer(b"inside")
    port = int(origin.host.rpartition(":")[2])
    client = http(allow_http=True, resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(SourceUnsupported, match="not a public address"):
        get(client, f"http://rebound.live-video.net:{port}/")
    assert origin.asked == []


def test_the_address_that_was_checked_is_the_one_connected_to(origin):
    """The name resolves nowhere else; Host stays the name."""
    origin.routes["/"] = Answer(b"hello")
    port = int(origin.host.rpartition(":")[2])
    answers = [["127.0.0.1"]]
    client = http(allow_private=[f"radio.example:{port}"], resolve=lambda host, port: answers.pop())
    assert get(client, f"http://radio.example:{port}/").body == b"hello"
    assert get(client, f"http://radio.example:{port}/").body == b"hello", "a kept connection is not looked up again"
    assert [asked.headers["host"] for asked in origin.asked] == [f"radio.example:{port}"] * 2


# ------------------------------------------------------------------------------------------------ redirects


def test_each_hop_is_checked_like_the_first(origin):
    origin.routes["/a"] = Answer(status=302, headers={"Location": "/b?x=1"})
    origin.routes["/b?x=1"] = Answer(status=307, headers={"Location": origin.url("/c")})
    origin.routes["/c"] = Answer(b"arrived")
    reply = get(http(origin), origin.url("/a"))
    assert (reply.status, reply.body, reply.url) == (200, b"arrived", origin.url("/c"))


@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "https://evil.example/", "http://[::", "//169.254.169.254/"])
def test_a_redirect_to_a_forbidden_address_is_not_followed(origin, to):
    origin.routes["/a"] = Answer(status=302, headers={"Location": to})
    with pytest.raises(SourceUnsupported):
        get(http(origin), origin.url("/a"))


def test_endless_redirects_end(origin):
    origin.routes["/a"] = Answer(status=302, headers={"Location": "/a"})
    with pytest.raises(SourceUnsupported, match="redirects more than 3 times"):
        get(http(origin, redirects_max=3), origin.url("/a"))
    assert origin.count("/a") == 4


# ------------------------------------------------------------------------------------------------ sizes and times


def test_ten_gigabytes_by_its_own_word_are_not_read(origin):
    origin.routes["/a"] = Answer(b"x" * 10, claims_bytes=10_000_000_000)
    with pytest.raises(SourceUnsupported, match=r"announces 10,000,000,000 bytes where at most 1,000 are read"):
        get(http(origin), origin.url("/a"))


def test_more_than_the_limit_without_a_word_is_not_read_to_its_end(origin):
    origin.routes["/a"] = Answer(b"x" * 5000, dribbles=True)
    with pytest.raises(SourceUnsupported, match=r"sends more than the 1,000 bytes"):
        get(http(origin), origin.url("/a"))


def test_a_byte_now_and_then_runs_into_the_deadline(origin):
    origin.routes["/a"] = Answer(b"", dribbles=True)
    with pytest.raises(SourceUnavailable, match=r"did not answer in time .*0\.6 s in all"):
        get(http(origin), origin.url("/a"), bytes_max=10_000_000)


def test_headers_that_dribble_run_into_the_deadline_too():
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.02):
                    self.wfile.write(b"x")
            except OSError:
                pass

        def log_message(self, *_):
            pass

    done = threading.Event()
    server = HTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        host = f"127.0.0.1:{server.server_port}"
        with pytest.raises(SourceUnavailable, match="did not answer in time"):
            get(http(allow_private=[host]), f"http://{host}/")
    finally:
        done.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_hangs_is_left(origin):
    origin.routes["/a"] = Answer(hangs=True)
    with pytest.raises(SourceUnavailable, match="127.0.0.1 did not answer in time"):
        get(http(origin), origin.url("/a"))


def test_an_answer_that_breaks_off_is_no_answer(origin):
    origin.routes["/a"] = Answer(b"half", claims_bytes=8)
    with pytest.raises(SourceUnavailable, match="broke off"):
        get(http(origin), origin.url("/a"))


def test_a_port_where_nobody_listens():
    closed = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    host = f"127.0.0.1:{closed.server_port}"
    closed.server_close()
    with pytest.raises(SourceUnavailable, match="127.0.0.1 cannot be reached: .*refused"):
        get(http(allow_private=[host]), f"http://{host}/")


def test_any_status_is_an_answer_and_the_connection_is_used_again(origin):
    origin.routes["/ok"] = Answer(b"x" * 900)
    origin.routes["/same"] = Answer(status=304, headers={"ETag": '"1"'})
    client = http(origin)
    assert [get(client, origin.url(path)).status for path in ("/gone", "/ok", "/same", "/gone", "/ok")] == [404, 200, 304, 404, 200]
    assert len(origin.connections) == 1


def test_each_request_is_told_with_its_seconds_and_bytes(origin):
    told = []
    origin.routes["/ok"] = Answer(b"x" * 900)
    origin.routes["/late"] = Answer(hangs=True)
    configured = settings(origin)
    client = Http(settings=configured, guard=Guard(settings=configured), fetched=lambda seconds, size: told.append((seconds, size)))
    get(client, origin.url("/ok"))
    with pytest.raises(SourceUnavailable):
        get(client, origin.url("/late"))
    assert [size for _, size in told] == [900, 0]
    assert all(seconds > 0 for seconds, _ in told)


def test_a_compressed_answer_is_read_up_to_its_limit(origin):
    import gzip

    origin.routes["/a"] = Answer(gzip.compress(b"#EXTM3U\n"), headers={"Content-Encoding": "gzip"})
    origin.routes["/bomb"] = Answer(gzip.compress(b"0" * 1_000_000), headers={"Content-Encoding": "gzip"})
    origin.routes["/broken"] = Answer(b"no gzip", headers={"Content-Encoding": "gzip"})
    client = http(origin)
    assert get(client, origin.url("/a")).body == b"#EXTM3U\n"
    with pytest.raises(SourceUnsupported, match="sends more than"):
        get(client, origin.url("/bomb"), bytes_max=10_000)
    with pytest.raises(SourceUnavailable):
        get(client, origin.url("/broken"))


# ------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("media.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def tls_origin(certificate):
    origin = Origin()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: seen.append(name)
    origin._server.socket = context.wrap_socket(origin._server.socket, server_side=True)
    with origin.running() as running:
        yield running, seen


def test_a_checked_address_changes_neither_sni_nor_the_certificates_name(tls_origin, certificate):
    origin, seen = tls_origin
    origin.routes["/"] = Answer(b"secret")
    port = int(origin.host.rpartition(":")[2])
    pairs = [f"media.example:{port}", f"other.example:{port}"]
    client = http(allow_private=pairs, resolve=lambda host, port: ["127.0.0.1"], tls=ssl.create_default_context(cafile=str(certificate)))
    assert get(client, f"https://media.example:{port}/").body == b"secret"
    assert seen == ["media.example"]
    with pytest.raises(SourceUnavailable, match="other.example failed the TLS handshake: .*other.example"):
        get(client, f"https://other.example:{port}/")


def test_a_certificate_that_nobody_vouches_for(tls_origin):
    origin, _ = tls_origin
    port = int(origin.host.rpartition(":")[2])
    client = http(allow_private=[f"media.example:{port}"], resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(SourceUnavailable, match="failed the TLS handshake"):
        get(client, f"https://media.example:{port}/")
