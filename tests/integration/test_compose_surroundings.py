"""`earmark surroundings`: where it listens, what it says is wrong, and that streams start and end on it for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
import urllib3

from earmark.cli import main
from earmark.errors import AwsUnavailable, BadSettings, EarmarkError
from earmark.local import on_air
from earmark.local.addresses import Address, address, host_and_port
from earmark.local.aws import ACCOUNT, AwsStandIn
from earmark.local.music import RATE_HZ
from earmark.local.origin import Broadcast, Origin
from earmark.local.surroundings import Channel, Surroundings
from service_daemon import until
from surroundings_child import short_programme


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`aws` and `origin` are this machine, as they are another container."""
    found = socket.getaddrinfo

    def resolved(host: str, *rest: object, **more: object) -> object:
        return found("127.0.0.1" if host in ("aws", "origin") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ------------------------------------------------------------------------------------------------ where it listens


@pytest.mark.usefixtures("names")
def test_every_service_of_the_stand_in_answers_to_the_name_of_another_container() -> None:
    port = free_port()
    with AwsStandIn(Address("0.0.0.0", port)) as aws:
        deployed = aws.deploy()
        assert aws.endpoint_url == f"http://127.0.0.1:{port}"
        aws.endpoint_url = f"http://aws:{port}"  # from here on as the daemon does
        queue_url = deployed.queue_url.replace("127.0.0.1", "aws")
        aws.client("s3").put_object(Bucket=deployed.media_bucket, Key="a/b.flac", Body=b"x")
        assert aws.client("s3").get_object(Bucket=deployed.media_bucket, Key="a/b.flac")["Body"].read() == b"x"
        channel = aws.put_channel("named")
        aws.go_live(channel, "st-1Named", f"http://origin:{port}/m.m3u8")
        aws.put_stream_event(channel, "st-1Named", "Stream Start")
        received = [message["Body"] for _ in range(2) for message in aws.client("sqs").receive_message(QueueUrl=queue_url).get("Messages", [])]
        assert ["b.flac" in body for body in received] == [True, False]
        aws.client("sns").publish(TopicArn=deployed.topic_arn, Message="m", Subject="s")
        assert [mail.subject for mail in aws.mails()] == ["s"]
        assert aws.client("ivs").get_stream(channelArn=channel)["stream"]["playbackUrl"] == f"http://origin:{port}/m.m3u8"


def test_what_lies_in_the_stand_ins_buckets_opens_in_a_browser(aws: AwsStandIn) -> None:
    """Which signs nothing."""
    deployed = aws.deploy()
    on_air.open_to_browsers(aws, deployed.results_bucket)
    aws.client("s3").put_object(Bucket=deployed.results_bucket, Key="st-1/report.html", Body=b"<p>", ContentType="text/html")
    listed = urllib3.request("GET", f"{aws.endpoint_url}/{deployed.results_bucket}", retries=False)
    assert b"<Key>st-1/report.html</Key>" in listed.data
    opened = urllib3.request("GET", f"{aws.endpoint_url}/{deployed.results_bucket}/st-1/report.html", retries=False)
    assert (opened.data, opened.headers["content-type"].partition(";")[0]) == (b"<p>", "text/html")
    aws.client("s3").put_object(Bucket=deployed.media_bucket, Key="a.flac", Body=b"x")
    assert urllib3.request("GET", f"{aws.endpoint_url}/{deployed.media_bucket}/a.flac", retries=False).status == 403


def test_a_stand_in_that_has_ended_is_told() -> None:
    with AwsStandIn() as aws:
        aws.check()
        assert aws._process
        aws._process.kill()
        aws._process.wait()
        with pytest.raises(AwsUnavailable, match="ended with exit code -9"):
            aws.check()


def test_a_port_that_is_taken_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(EarmarkError, match=f"the HLS origin cannot listen on {there}: Address already in use; name another"):
            Origin(listen=there)
        with pytest.raises(AwsUnavailable, match=f"did not start at {there}"), AwsStandIn(there):
            pass
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("text", ["", "4566", "localhost:4566", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:٣", "127.0.0.1:-1", "[::1]:80"])
def test_what_is_no_address_is_a_sentence(text: str) -> None:
    with pytest.raises(BadSettings, match="is no address to listen on: write an IPv4 address"):
        address(text)


@pytest.mark.parametrize("text", ["origin", ":80", "a b:80", "http://origin:80", "o/x:80", "u@origin:80", "origin:port", "::1:80"])
def test_what_is_no_host_and_port_is_a_sentence(text: str) -> None:
    with pytest.raises(BadSettings, match="is no host and port: write them as in origin:8000"):
        host_and_port(text)


def test_addresses_that_can_be_listened_on() -> None:
    assert address("0.0.0.0:4566") == Address("0.0.0.0", 4566)
    assert address("0.0.0.0:4566").reached_at(4566) == "127.0.0.1:4566"
    assert address("10.0.0.7:0").reached_at(8001) == "10.0.0.7:8001"
    assert host_and_port("origin:8000") == "origin:8000"


# ------------------------------------------------------------------------------------------------ what is wrong


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["surroundings", *arguments])
    return code, capsys.readouterr().err


def test_without_a_database_there_is_nothing_to_surround(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(capsys)
    assert code == 2
    assert said.count("\n") == 1 and "EARMARK_DATABASE__DSN" in said


def test_a_database_that_was_never_migrated_is_told_before_anything_starts(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", postgres_server)
    code, said = run(capsys)
    assert code == 2
    assert said.count("\n") == 1 and "db migrate" in said


def test_a_wrong_address_is_told_before_anything_starts(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    for arguments in (("--aws=4566",), ("--origin=everywhere:8000",), ("--origin-known-as=origin",)):
        code, said = run(capsys, *arguments)
        assert (code, said.count("\n")) == (2, 1)


# ------------------------------------------------------------------------------------------------ for ever


@pytest.fixture
def served() -> Iterator[Origin]:
    with Origin(known_as="origin:8000") as made:
        yield made


def test_what_is_encoded_once_goes_on_air_again_and_again(served: Origin) -> None:
    assert served.answer("/") is None
    encoded = served.encoded("programme", np.zeros(5 * RATE_HZ, np.float32), rate_hz=RATE_HZ)
    first = served.put_on_air("one", encoded, begin=1_000.0)
    assert first.url == "http://origin:8000/one/master.m3u8"
    assert (first.begin, first.on_air) == (1_000.0, pytest.approx(1_002, abs=0.1))
    assert first.duration_s == pytest.approx(5, abs=0.1)
    assert b"#EXT-X-ENDLIST" in (served.answer("/one/audio/media.m3u8") or ("", b""))[1]
    again = served.put_on_air("one", encoded)
    assert served.answer("/one/master.m3u8") is None  # its first segment is not over
    assert again.begin > first.begin
    served.put_on_air("two", encoded, begin=again.begin - 3)
    assert served.answer("/") == ("text/plain", b"/two/master.m3u8\n")


class Clock:
    """Time that passes when somebody sleeps, until it is over."""

    def __init__(self, *, until: float) -> None:
        self.now, self._until = 1_800_000_000.0, 1_800_000_000.0 + until

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._until:
            raise KeyboardInterrupt


def test_streams_start_and_end_for_ever_and_only_so_many_are_kept(aws: AwsStandIn, served: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, deployed = Clock(until=600), aws.deploy()
    monkeypatch.setattr(on_air, "time", clock)
    monkeypatch.setattr(served, "_now", clock.time)
    monkeypatch.setattr(on_air, "STREAMS_KEPT", 4)
    monkeypatch.setattr(on_air, "ALERTS_MAX", 20)
    around = Surroundings.__new__(Surroundings)
    around.aws, around.deployed = aws, deployed
    s3, sqs, said = aws.client("s3"), aws.client("sqs"), deque[tuple[str, str]]()
    lock = threading.Lock()

    def start(channel: Channel, stream_id: str, broadcast: Broadcast) -> None:
        with lock:
            said.append(("start", stream_id))
        assert clock.now >= broadcast.on_air
        s3.put_object(Bucket=deployed.results_bucket, Key=f"{stream_id}/stream.json", Body=b"{}")
        sqs.send_message(QueueUrl=deployed.alerts_queue_url, MessageBody="hit")

    monkeypatch.setattr(Channel, "start", start)
    monkeypatch.setattr(Channel, "end", lambda _channel, stream_id: said.append(("end", stream_id)))
    encoded = served.encoded("programme", np.zeros(31 * RATE_HZ, np.float32), rate_hz=RATE_HZ)
    with pytest.raises(KeyboardInterrupt):
        on_air._keep_on_air(around, [Channel(name, aws=aws, origin=served) for name in ("early-show", "late-show")], encoded)
    starts = [stream_id for what, stream_id in said if what == "start"]
    ends = [stream_id for what, stream_id in said if what == "end"]
    # 600 s in rounds of 42: fourteen on each of two channels, each with an id of its own, a half of a round apart.
    assert len(starts) == len(set(starts)) == 29
    assert all(stream_id.isascii() and stream_id.removeprefix("st-").isalnum() for stream_id in starts)
    assert ends == starts[: len(ends)]
    assert len(starts) - len(ends) <= 2
    kept = {listed["Key"].partition("/")[0] for listed in s3.list_objects_v2(Bucket=deployed.results_bucket)["Contents"]}
    assert kept == set(starts[len(ends) - 4 :])
    waiting = sqs.get_queue_attributes(QueueUrl=deployed.alerts_queue_url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert int(waiting["ApproximateNumberOfMessages"]) < 20


def test_the_command_fills_the_catalogue_goes_on_air_and_ends_when_it_is_told_to(dsn: str, tmp_path: Path) -> None:
    """All of it but the length of the programme: what another container would see, until SIGTERM."""
    aws, hls = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = [sys.executable, "-m", "surroundings_child", f"--aws={aws}", f"--origin={hls}", "--origin-known-as=origin:8000"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "EARMARK_DATABASE__DSN": dsn}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: status(f"http://{hls}/") == 200, "something is on air")
            assert urllib3.request("GET", f"http://{hls}/").data == b"/late-night-radio/master.m3u8\n"
            around = AwsStandIn()
            around.endpoint_url = f"http://{aws}"
            queue = f"http://{aws}/{ACCOUNT}/earmark-streams"
            (message,) = around.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
            event = json.loads(message["Body"])
            assert event["detail"]["event_name"] == "Stream Start"
            stream = around.client("ivs").get_stream(channelArn=event["resources"][0])["stream"]
            assert (stream["streamId"], stream["playbackUrl"]) == (event["detail"]["stream_id"], "http://origin:8000/late-night-radio/master.m3u8")
        finally:
            process.send_signal(signal.SIGTERM)
            said, complained = process.communicate(timeout=30)
    assert (process.returncode, complained) == (0, "")
    assert f"export AWS_ENDPOINT_URL=http://{aws}\n" in said and "export EARMARK_HLS__ALLOW_PRIVATE=origin:8000\n" in said
    # Started again, they find the catalogue as they left it.
    again = Surroundings.__new__(Surroundings)
    again.dsn = dsn
    assert len(again.catalogue(short_programme(tmp_path)).recordings) == 1
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from track").fetchone() == (1,)


def status(url: str) -> int:
    """0: nobody answers there, yet."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=5).status
    except urllib3.exceptions.HTTPError:
        return 0
