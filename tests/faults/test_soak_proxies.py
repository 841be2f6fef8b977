"""The proxies of a run do what the schedule says, count it, and tell what the server behind them did."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import psycopg
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError

from earmark.aws import asking
from earmark.errors import AwsUnavailable
from earmark.local.aws import AwsStandIn
from faults.http_proxy import HttpProxy, aws_way, hls_way
from faults.schedule import Injected, Kind, Odds, Schedule
from faults.tcp_proxy import TcpProxy

BODY = b"#EXTM3U " * 100


@pytest.fixture
def upstream() -> Iterator[str]:
    """Answers everything with the same."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, _format: str, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def always(way: str, kind: Kind, injected: Injected, *, seconds: float = 0.05) -> Schedule:
    return Schedule(seed=1, injected=injected, odds={way: Odds(percent={kind: 100}, delay_s=(seconds, seconds), hole_s=(seconds, seconds))})


@pytest.fixture
def injected() -> Injected:
    return Injected()


# ------------------------------------------------------------------------------------------------ schedule


def test_a_seed_draws_the_same_faults_whatever_else_is_asked() -> None:
    odds = {"s3": Odds(percent={"delay": 20, "reset": 20}), "sns": Odds(percent={"half": 50})}
    one, other = (Schedule(seed=7, injected=Injected(), odds=odds) for _ in range(2))
    alone = [one.draw("s3") for _ in range(200)]
    among = [(other.draw("s3"), other.draw("sns"))[0] for _ in range(200)]
    assert alone == among
    assert {fault.kind for fault in alone if fault} == {"delay", "reset"}
    assert [fault for fault in alone if fault is None]
    assert alone != [Schedule(seed=8, injected=Injected(), odds=odds).draw("s3") for _ in range(200)]


def test_what_is_injected_is_counted_and_nothing_in_calm(injected: Injected) -> None:
    schedule = always("s3", "reset", injected)
    assert schedule.draw("s3")
    assert schedule.draw("sqs") is None
    schedule.calm()
    assert schedule.draw("s3") is None
    schedule.resume()
    schedule.draw("s3")
    assert injected.counts == {("s3", "reset"): 2}
    assert injected.total == 2


# ------------------------------------------------------------------------------------------------ HTTP


def get(address: str, path: str = "/a.ts") -> bytes:
    with urllib3.PoolManager(retries=False, timeout=5) as http:
        response = http.request("GET", f"http://{address}{path}")
        return response.data if response.status == 200 else str(response.status).encode()


def test_without_faults_it_passes_everything_on(upstream: str, injected: Injected) -> None:
    with HttpProxy(
        upstream=upstream, schedule=Schedule(seed=1, injected=injected, odds={}), way=hls_way, watch=frozenset({"playlist"}), keep=frozenset({"playlist"})
    ) as proxy:
        assert get(proxy.address) == get(proxy.address, "/b.m3u8?x=1") == BODY
        (passed,) = proxy.passed
    assert (passed.path, passed.status, passed.told, passed.answer) == ("/b.m3u8?x=1", 200, True, BODY)


def test_of_half_a_request_nothing_is_passed_on(upstream: str, injected: Injected) -> None:
    """As of a worker that is killed while it writes to S3."""
    schedule = Schedule(seed=1, injected=injected, odds={})
    with HttpProxy(upstream=upstream, schedule=schedule, way=hls_way, watch=frozenset({"segment"})) as proxy:
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as sender:
            sender.sendall(b"GET /a.ts HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfour")
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(100) == b""
        assert proxy.passed == []


@pytest.mark.parametrize(
    "kind, happens", [("reset", "closed|reset|aborted"), ("hole", "closed|reset|aborted"), ("half", "IncompleteRead"), ("forget", "closed|reset|aborted")]
)
def test_a_fault_that_breaks_the_answer(upstream: str, injected: Injected, kind: Kind, happens: str) -> None:
    with HttpProxy(upstream=upstream, schedule=always("segment", kind, injected), way=hls_way, watch=frozenset({"segment"})) as proxy:
        with pytest.raises(urllib3.exceptions.ProtocolError, match=happens):
            get(proxy.address)
        carried_out = kind in ("half", "forget")
        assert [passed.told for passed in proxy.passed] == ([False] if carried_out else [])
    assert injected.counts == {("segment", kind): 1}


def test_a_delay_delays_and_an_error_is_one(upstream: str, injected: Injected) -> None:
    with HttpProxy(upstream=upstream, schedule=always("segment", "delay", injected), way=hls_way) as proxy:
        assert get(proxy.address) == BODY
    with HttpProxy(upstream=upstream, schedule=always("segment", "refuse", injected), way=hls_way) as proxy:
        assert get(proxy.address) == b"503"


CALLS: dict[str, Callable[..., object]] = {
    "s3": lambda client: client.put_object(Bucket="earmark", Key="k", Body=b"x"),
    "sns": lambda client: client.publish(TopicArn="arn:aws:sns:us-east-1:123456789012:t", Message="m"),
    "sqs": lambda client: client.receive_message(QueueUrl="http://127.0.0.1/123456789012/q"),
    "ivs": lambda client: client.list_streams(),
}


@pytest.mark.parametrize(
    "kind, codes", [("throttle", {"SlowDown", "Throttling", "ThrottlingException"}), ("expire", {"ExpiredToken", "ExpiredTokenException"})]
)
@pytest.mark.parametrize("service", CALLS)
def test_errors_that_boto3_understands_as_the_service_s_own(upstream: str, injected: Injected, service: str, kind: Kind, codes: set[str]) -> None:
    with HttpProxy(upstream=upstream, schedule=always(service, kind, injected), way=aws_way) as proxy:
        config = Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required")
        client = boto3.client(service, endpoint_url=f"http://{proxy.address}", config=config)
        with pytest.raises(ClientError) as refused:
            CALLS[service](client)
        assert refused.value.response["Error"]["Code"] in codes
        with pytest.raises(AwsUnavailable), asking(service, "it"):
            CALLS[service](client)


def test_a_write_of_a_worker_is_remembered_as_the_stand_in_did_it(aws: AwsStandIn, injected: Injected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "w3.14")
    aws.client("s3").create_bucket(Bucket="earmark")
    schedule = Schedule(seed=1, injected=injected, odds={"s3": Odds(percent={"forget": 100})})
    with HttpProxy(upstream=aws.endpoint_url.removeprefix("http://"), schedule=schedule, way=aws_way, watch=frozenset({"s3"})) as proxy:
        config = Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        client = boto3.client("s3", endpoint_url=f"http://{proxy.address}", config=config)
        schedule.calm()
        client.put_object(Bucket="earmark", Key="k", Body=b"one", Metadata={"earmark-revision": "1"})
        schedule.resume()
        with pytest.raises(Exception, match="closed|reset"):
            client.put_object(Bucket="earmark", Key="k", Body=b"two", Metadata={"earmark-revision": "2"})
        one, two, again = proxy.passed
    assert [passed.told for passed in (one, two, again)] == [True, False, False]
    assert {passed.worker for passed in (one, two, again)} == {"w3.14"}
    assert (one.path, one.headers["x-amz-meta-earmark-revision"], two.headers["x-amz-meta-earmark-revision"]) == ("/earmark/k", "1", "2")
    assert one.digest != two.digest == again.digest
    assert json.loads(json.dumps(aws.client("s3").get_object(Bucket="earmark", Key="k")["Metadata"])) == {"earmark-revision": "2"}


# ------------------------------------------------------------------------------------------------ PostgreSQL


@pytest.fixture
def socket_path(postgres_server: str) -> str:
    return postgres_server.partition("host=")[2] + "/.s.PGSQL.5432"


def dsn_of(proxy: TcpProxy) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"


def test_a_connection_through_the_proxy_is_one_until_it_is_broken(socket_path: str, injected: Injected) -> None:
    with TcpProxy(upstream=socket_path, schedule=Schedule(seed=1, injected=injected, odds={}), way="postgres") as proxy:
        with psycopg.connect(dsn_of(proxy), autocommit=True) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
            assert proxy.break_all() == 1
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
        with psycopg.connect(dsn_of(proxy), autocommit=True) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("kind", ["reset", "hole", "half", "forget"])
def test_a_statement_that_meets_a_fault(socket_path: str, injected: Injected, kind: Kind) -> None:
    schedule = always("postgres", kind, injected)
    schedule.calm()
    with TcpProxy(upstream=socket_path, schedule=schedule, way="postgres") as proxy, psycopg.connect(dsn_of(proxy), autocommit=True) as connection:
        schedule.resume()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert injected.counts == {("postgres", kind): 1}


def test_a_server_that_is_down_is_down_behind_the_proxy(injected: Injected) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with (
        TcpProxy(upstream=("127.0.0.1", port), schedule=Schedule(seed=1, injected=injected, odds={}), way="postgres") as proxy,
        pytest.raises(psycopg.OperationalError),
    ):
        psycopg.connect(dsn_of(proxy))
