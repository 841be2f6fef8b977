"""Bad input, met by the whole: the daemon's process, its queue, its database and its origins as they are.

One daemon hears one good stream. Meanwhile everything arrives that should not: messages that say nothing, streams that are none.
That day is lived once (the fixture `day`); each test then looks at one mistake: what it cost, which sentence it left, and that
nobody else paid for it. Catalogue files and settings follow, through the command as a user types it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from audio_media import audio_file, coded
from audio_origin import Answer
from audio_origin import Origin as Faulty
from control_events import ivs
from earmark.local import music
from earmark.local.aws import ACCOUNT, REGION, AwsStandIn, Deployment
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from index_audio import RATE_HZ, notes, write_flac, write_wav
from service_daemon import catalogued, documents, go_on_air, log_lines, programme, rows, until

GOOD = "st-good"
#: Segments of two seconds, the third one of which is spoilt where one is.
TONES: dict[str, Any] = {"duration_s": 12.0, "channels": 1}
NOISE = np.random.default_rng(2).integers(0, 256, 30_000, np.uint8).tobytes()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


# ------------------------------------------------------------------------------------------------ streams that are none


def listed(*segments: tuple[str, float], before: dict[int, str] | None = None) -> Answer:
    """A finished playlist: it is read as fast as it can be."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:3"]
    for number, (url, duration_s) in enumerate(segments):
        lines += [*filter(None, [(before or {}).get(number, "")]), f"#EXTINF:{duration_s:.6f},", url]
    return Answer("\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode())


def put_streams(faulty: Faulty) -> dict[str, str]:
    """stream_id -> where it is played."""
    routes, urls = faulty.routes, {}

    def put(name: str, answer: Answer) -> None:
        routes[f"/{name}/list.m3u8"] = answer
        urls[f"st-{name}"] = faulty.url(f"/{name}/list.m3u8")

    def segments(name: str, **media: Any) -> list[tuple[str, float]]:
        made = coded(**{**TONES, **media})
        part = f"{name}/{media.get('rate_hz', '')}{media.get('codec', '')}{media.get('seed', '')}"
        for number, data in enumerate(made.segments):
            routes[f"/{part}{number}.ts"] = Answer(data)
        return [(f"/{part}{number}.ts", duration_s) for number, duration_s in enumerate(made.durations_s)]

    put("html", Answer(b"<!DOCTYPE html><html><body>Please log in</body></html>"))
    put("redirects", Answer(status=302, headers={"Location": "/redirects/list.m3u8"}))
    put("metadata", Answer(status=301, headers={"Location": "http://169.254.169.254/latest/meta-data/iam/security-credentials/"}))
    put("files", listed(*((f"file:///etc/passwd?{n}", 2.0) for n in range(6))))
    put("mute", listed(*segments("mute", audio=False, video=True)))
    put("hangs", Answer(hangs=True))
    for name, spoilt in (("noise", Answer(NOISE)), ("huge", Answer(b"x" * 10, claims_bytes=10_000_000_000))):
        there = segments(name)
        routes[there[2][0]] = spoilt
        put(name, listed(*there))
    put("codec", listed(*segments("codec"), *segments("codec", codec="libmp3lame", rate_hz=44_100, channels=2), before={6: "#EXT-X-DISCONTINUITY"}))
    clocks = {0: "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T12:00:00Z", 6: "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T11:00:00Z"}
    put("backwards", listed(*segments("backwards"), *segments("backwards", seed=2), before=clocks))
    put("repeated", listed(*segments("repeated")))
    return urls


# ------------------------------------------------------------------------------------------------ messages that say nothing


#: Near SQS's oldest limit to a message; a mebibyte of it is the parser's own test.
NESTED = "[" * (255 << 10)
BAD_MESSAGES = {
    "a stream has started": "the message is not JSON",
    " \n": "the message is empty",
    NESTED: "the message is nested too deeply",
    json.dumps({**ivs("Stream Start", stream_id="st-nowhere"), "resources": []}): "the IVS event names no channel: its resources are empty",
}
UNKNOWN = {**ivs("Stream Start", stream_id="st-unknown"), "detail-type": "IVS Stream Mood Change"}


@dataclass(frozen=True)
class Day:
    """What was left of it."""

    streams: dict[str, dict[str, Any]]
    summaries: dict[str, dict[str, Any]]
    hits: list[dict[str, Any]]
    #: What the stream whose server hangs said about itself while it was wanted.
    hanging: str
    dead: list[str]
    in_queue: int
    log: list[dict[str, Any]]
    asked: list[str]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]


@pytest.fixture(scope="module")
def day(request: pytest.FixtureRequest, postgres_server: str, aws: AwsStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    aws.reset()
    name = "test_bad_input"
    create_database(postgres_server, name, template=request.getfixturevalue("_template"))
    try:
        yield lived(database_dsn(postgres_server, name), aws, tmp_path_factory.mktemp("day") / "daemon.log")
    finally:
        drop_database(postgres_server, name)


def lived(dsn: str, aws: AwsStandIn, log: Path) -> Day:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    forgive_less(aws, deployed)
    with Origin() as origin, Faulty().running() as faulty:
        environment = {
            **deployed.environment(),
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": f"{origin.address},{faulty.host}",
            "EARMARK_HLS__READ_TIMEOUT_S": "0.5",
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_QUEUE__VISIBILITY_S": "5",
            "EARMARK_RECONCILE__ADOPT": "false",  # only events are tried here
        }
        with Worker(environment=environment, log=log) as worker:
            go_on_air(aws, origin, GOOD, programme(recording, begin_s=15, music_s=20))
            hanging_arn = let_it_rain(aws, deployed, dsn, put_streams(faulty))
            until(lambda: state(dsn, "st-hangs")["last_error"], "the hung server is given up for now", worker)
            hanging = state(dsn, "st-hangs")
            aws.go_offline(hanging_arn)
            aws.put_stream_event(hanging_arn, "st-hangs", "Stream End")
            until(lambda: not rows(dsn, "select 1 from stream where state <> 'ended'"), "all streams have ended", worker)
            until(lambda: len(dead_letters(aws, deployed)) >= len(BAD_MESSAGES), "the dead-letter queue has what nobody understood", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        kept = documents(aws, deployed)
        return Day(
            streams={row["stream_id"]: row for row in rows(dsn, "select * from stream")},
            summaries={key.split("/")[0]: document for key, document in kept.items() if key.endswith("stream.json")},
            hits=[document for key, document in kept.items() if "/hits/" in key],
            hanging=hanging["last_error"],
            dead=dead_letters(aws, deployed),
            in_queue=left(aws, deployed),
            log=log_lines(log),
            asked=[asked.path for asked in faulty.asked],
        )


def let_it_rain(aws: AwsStandIn, deployed: Deployment, dsn: str, urls: dict[str, str]) -> str:
    """Everything bad at once; returns the ARN of the channel whose server hangs."""
    sqs = aws.client("sqs")

    def send(*bodies: str) -> None:
        for body in bodies:
            sqs.send_message(QueueUrl=deployed.queue_url, MessageBody=body)

    arns = {stream_id: aws.put_channel(stream_id.replace("st-", "of-")) for stream_id in urls}
    for stream_id, url in urls.items():
        aws.go_live(arns[stream_id], stream_id, url)
        send(event("Stream Start", stream_id, arns[stream_id]))
    send(*[event("Stream Start", "st-repeated", arns["st-repeated"])] * 49)
    send(*BAD_MESSAGES, json.dumps(UNKNOWN))
    send(event("Stream Start", "st-absent", f"arn:aws:ivs:{REGION}:{ACCOUNT}:channel/never-made"))
    # The channel is live again by now, with another stream, and whoever follows the old event would hear that.
    arn = aws.put_channel("of-yesterday")
    aws.go_live(arn, "st-of-today", urls["st-repeated"])
    send(event("Stream Start", "st-yesterday", arn, YESTERDAY))
    arn = aws.put_channel("of-early")
    send(event("Stream End", "st-early", arn))
    until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-early' and stop_at is not null"), "the end is on record before the start")
    send(event("Stream Start", "st-early", arn))
    until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-early' and wanted_at is not null"), "the start is, too")
    return arns["st-hangs"]


def event(name: str, stream_id: str, channel_arn: str, time: datetime | None = None) -> str:
    return json.dumps(ivs(name, stream_id=stream_id, channel=channel_arn, time=(time or datetime.now(UTC)).isoformat()))


def forgive_less(aws: AwsStandIn, deployed: Deployment) -> None:
    """Twice instead of five times, so that a day is short."""
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=deployed.dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    aws.client("sqs").set_queue_attributes(QueueUrl=deployed.queue_url, Attributes={"RedrivePolicy": redrive})


def dead_letters(aws: AwsStandIn, deployed: Deployment) -> list[str]:
    found: dict[str, str] = {}
    while more := aws.client("sqs").receive_message(QueueUrl=deployed.dead_letter_url, MaxNumberOfMessages=10, VisibilityTimeout=1).get("Messages"):
        if all(message["MessageId"] in found for message in more):
            break
        found.update({message["MessageId"]: message["Body"] for message in more})
    return list(found.values())


def left(aws: AwsStandIn, deployed: Deployment) -> int:
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=deployed.queue_url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def state(dsn: str, stream_id: str) -> dict[str, Any]:
    found = rows(dsn, "select state, last_error from stream where stream_id = %s", [stream_id])
    return found[0] if found else {"state": "", "last_error": ""}


def is_a_sentence(text: str) -> bool:
    return 15 < len(text) < 300 and "\n" not in text and "Traceback" not in text and "Error(" not in text


# ------------------------------------------------------------------------------------------------ what was left of the day


def test_the_good_stream_was_heard_as_if_nothing_had_happened(day: Day) -> None:
    (hit,) = [hit for hit in day.hits if hit["stream"]["id"] == GOOD]
    assert (hit["state"], hit["reference"]["track_id"]) == ("closed", music.catalogue(1)[0].track.track_id)
    assert hit["query"]["begin_s"] == pytest.approx(1, abs=0.5)
    assert hit["query"]["end_s"] == pytest.approx(21, abs=1)
    assert hit["reference"]["begin_s"] - hit["query"]["begin_s"] == pytest.approx(14, abs=0.1)
    coverage = day.summaries[GOOD]["coverage"]
    assert (coverage["gap_s"], coverage["unaccounted_s"]) == (0, 0)
    assert coverage["heard_s"] == pytest.approx(23, abs=0.2)
    assert (day.streams[GOOD]["fencing"], day.streams[GOOD]["end_reason"]) == (1, "endlist")


def test_no_mistake_was_a_bug_and_nothing_was_heard_that_is_not_there(day: Day) -> None:
    assert [line for line in day.log if "exception" in line or line["event"] in ("session.crashed", "message.not_recorded", "loop.failed")] == []
    assert {hit["stream"]["id"] for hit in day.hits} == {GOOD}
    assert {row["state"] for row in day.streams.values()} == {"ended"}
    assert all(summary["coverage"]["unaccounted_s"] == 0 for summary in day.summaries.values())


@pytest.mark.parametrize("body, why", BAD_MESSAGES.items(), ids=["not JSON", "empty", "nested", "no resources"])
def test_a_message_that_says_nothing_is_told_once_and_set_aside(day: Day, body: str, why: str) -> None:
    (told,) = [line for line in day.said("message.not_understood") if line["reason"].startswith(why)]
    assert is_a_sentence(told["reason"])
    assert told["message_id"]
    assert body in day.dead


def test_nothing_else_is_set_aside_and_nothing_is_left_in_the_queue(day: Day) -> None:
    assert len(day.dead) == len(BAD_MESSAGES)
    assert day.in_queue == 0


def test_a_message_of_a_kind_that_nobody_knows_is_told_and_gone(day: Day) -> None:
    (told,) = day.said("message.unknown")
    assert told["detail_type"] == "'IVS Stream Mood Change'"
    assert "st-unknown" not in day.streams


def test_a_channel_that_does_not_exist(day: Day) -> None:
    summary = day.summaries["st-absent"]
    assert (summary["state"], summary["end_reason"]) == ("ended", "not_live")
    assert summary["last_error"] == f"the IVS channel arn:aws:ivs:{REGION}:{ACCOUNT}:channel/never-made does not exist (any more)"
    assert [line["reason"] for line in day.said("stream.not_found") if line["stream_id"] == "st-absent"] == [summary["last_error"]]


def test_an_event_a_day_old_whose_stream_is_over(day: Day) -> None:
    (wanted,) = [line for line in day.said("stream.wanted") if line["stream_id"] == "st-yesterday"]
    assert wanted["stale"] is True
    summary = day.summaries["st-yesterday"]
    assert (summary["end_reason"], summary["coverage"]["total_s"], summary["fetched_bytes"]) == ("not_live", 0, 0)
    assert summary["last_error"].startswith("the stream st-yesterday is not live on arn:aws:ivs:")
    assert is_a_sentence(summary["last_error"])


def test_the_same_event_fifty_times_is_one_session(day: Day) -> None:
    repeated = day.streams["st-repeated"]
    assert (repeated["fencing"], repeated["end_reason"]) == (1, "endlist")
    assert day.asked.count("/repeated/list.m3u8") <= 2  # the stream's address, and its playlist
    assert [day.asked.count(f"/repeated/{number}.ts") for number in range(6)] == [1] * 6
    assert len([line for line in day.said("stream.wanted") if line["stream_id"] == "st-repeated"]) == 1


def test_an_end_that_comes_before_its_start(day: Day) -> None:
    early = day.streams["st-early"]
    assert (early["end_reason"], early["stop_reason"], early["last_error"]) == ("stream_end", "stream_end", "")
    assert day.summaries["st-early"]["coverage"]["total_s"] == 0


REFUSED = {
    "st-html": "what 127.0.0.1 serves is not an HLS playlist: it begins with '<!DOCTYPE html><html', not #EXTM3U",
    "st-redirects": "127.0.0.1 redirects more than 5 times: the stream is not followed any further",
    "st-metadata": "the stream points at 169.254.169.254, which is a metadata service: that is never fetched",
    "st-files": "none of the stream's first 3 segments can be used; of the last one: "
    "an address in the stream begins with file: and is not fetched; only https and http are",
    "st-mute": "the stream has nothing to hear: none of its first 3 segments is audible; of the last one: it has video but no audio",
}


@pytest.mark.parametrize("stream_id, sentence", REFUSED.items(), ids=REFUSED)
def test_a_stream_that_is_none_ends_at_once_and_says_why(day: Day, stream_id: str, sentence: str) -> None:
    summary = day.summaries[stream_id]
    assert (summary["end_reason"], summary["last_error"]) == ("failed", sentence)
    assert is_a_sentence(sentence)
    assert (day.streams[stream_id]["fencing"], day.streams[stream_id]["last_error"]) == (1, sentence)
    assert [line["reason"] for line in day.said("session.refused") if line["stream_id"] == stream_id] == [sentence]
    assert summary["coverage"]["heard_s"] == 0


def test_a_server_that_hangs_is_tried_again_until_its_stream_is_over(day: Day) -> None:
    assert day.hanging == "127.0.0.1 did not answer in time (0.5 s for a read, 15 s in all)"
    coverage = day.summaries["st-hangs"]["coverage"]
    assert (day.streams["st-hangs"]["end_reason"], coverage["heard_s"]) == ("stream_end", 0)
    assert coverage["total_s"] == coverage["gap_s"] > 0  # from its start to its end
    assert {line["reason"] for line in day.said("session.failed")} == {day.hanging}


@pytest.mark.parametrize(
    "stream_id, reason, why",
    [
        ("st-noise", "segment_undecodable", "it is not mpegts (end of file)"),
        ("st-huge", "segment_refused", "127.0.0.1 announces 10,000,000,000 bytes where at most 32,000,000 are read"),
    ],
)
def test_one_bad_segment_costs_that_segment(day: Day, stream_id: str, reason: str, why: str) -> None:
    summary, made = day.summaries[stream_id], coded(**TONES)
    assert (summary["end_reason"], summary["last_error"]) == ("endlist", "")
    (gap,) = summary["gaps"]
    assert gap["reason"] == reason
    assert gap["begin_s"] == pytest.approx(sum(made.durations_s[:2]), abs=0.1)
    assert gap["duration_s"] == pytest.approx(made.durations_s[2], abs=0.1)
    assert summary["coverage"]["total_s"] == pytest.approx(12, abs=0.1)
    told = [line for line in (*day.said("segment.missed"), *day.said("segment.not_decoded")) if line["stream_id"] == stream_id]
    assert [line["why"] for line in told] == [why]


@pytest.mark.parametrize("stream_id", ["st-codec", "st-backwards"])
def test_another_codec_and_a_clock_that_runs_backwards_cost_nothing(day: Day, stream_id: str) -> None:
    summary = day.summaries[stream_id]
    assert (summary["end_reason"], summary["gaps"], summary["last_error"]) == ("endlist", [], "")
    assert summary["coverage"]["heard_s"] == pytest.approx(24, abs=0.2)


# ------------------------------------------------------------------------------------------------ files, and settings


def earmark(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))}
    command = [sys.executable, "-m", "earmark.cli", *map(str, argv)]
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)


def test_a_folder_of_bad_files_beside_a_good_one(dsn: str, tmp_path: Path) -> None:
    """Each one sentence that begins with its path; the good one is in the catalogue."""
    why = {
        "empty.mp3": "cannot be fingerprinted: the file is empty",
        "cut.flac": "is truncated: it holds ",
        "text.mp3": "is not audio: no known format, or damaged at its beginning",
        "silence.wav": "cannot be fingerprinted: it is silent",
        "short.wav": "cannot be fingerprinted: it is 1.0 s long, and 3 s are the least that can be recognised",
        "mute.mp4": "has video but no audio: there is nothing to hear",
        "z-again.wav": "is not added: it is the same file as",
        "z-again.flac": "is not added: the catalogue has the same audio as sha256:",
    }
    write_wav(tmp_path / "good.wav", notes(1, 6))
    write_wav(tmp_path / "z-again.wav", notes(1, 6))
    write_flac(tmp_path / "z-again.flac", notes(1, 6))
    write_wav(tmp_path / "silence.wav", np.zeros(10 * RATE_HZ, np.float32))
    write_wav(tmp_path / "short.wav", notes(5, 1))
    cut = write_flac(tmp_path / "cut.flac", notes(6, 20))
    os.truncate(cut, cut.stat().st_size // 2)
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("This is a shopping list.\n" * 1_000)
    (tmp_path / "mute.mp4").write_bytes(audio_file(container="mp4", video=True, audio=False))
    done = earmark("catalogue", "add", tmp_path, EARMARK_DATABASE__DSN=dsn)
    assert done.returncode == 1
    # Where it takes more than five seconds, there are lines of how far it is between them.
    lines = [line for line in done.stderr.splitlines() if line.startswith("earmark: ")]
    assert len(lines) == len(why)
    for name, words in why.items():
        (line,) = [line for line in lines if line.startswith(f"earmark: {tmp_path}/{name} ")]
        assert words in line
        assert is_a_sentence(line.replace(str(tmp_path), ""))
    assert sorted(done.stdout.strip().split(", ")) == ["1 added", "2 duplicate", "6 refused"]
    assert [row["title"] for row in rows(dsn, "select title from track")] == ["good"]


def test_a_file_without_permission() -> None:
    """The superuser is never denied, so the process gives its rights away once it has loaded what it needs."""
    code = """if True:
        import os, sys
        from pathlib import Path
        from earmark.reference import content_sha256
        if os.geteuid() == 0:
            os.setuid(65534)
        content_sha256(Path(sys.argv[1]))"""
    with tempfile.TemporaryDirectory() as folder:  # where others may go, unlike below tmp_path
        Path(folder).chmod(0o755)
        path = write_wav(Path(folder, "a.wav"), notes(1, 4))
        path.chmod(0)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == f"earmark.errors.UnreadableAudio: {path} cannot be read: permission denied"


def test_wrong_settings_keep_the_daemon_from_starting(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text("[queue]\nurll = 'x'\n", encoding="utf-8")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into schema_migration (number, name, checksum, oldest_daemon) values (9000, 'later', 'x', 9000)")
    down = "postgresql://earmark:secret@127.0.0.1:1/earmark"
    wrong = [
        (2, "there is no setting queue.urll", {"EARMARK_CONFIG": str(file)}),
        (2, "the setting leases.ttl_s (set by EARMARK_LEASES__TTL_S) is wrong: ", {"EARMARK_LEASES__TTL_S": "soon"}),
        (2, "no database is named: set database.dsn in the settings file, or EARMARK_DATABASE__DSN", {}),
        (1, "PostgreSQL at 127.0.0.1 port 1, database earmark cannot be reached: ", {"EARMARK_DATABASE__DSN": down}),
        (2, "the database's schema is too new: its migration 9000_later asks for a daemon that knows migration 9000", {"EARMARK_DATABASE__DSN": dsn}),
    ]
    for code, words, environment in wrong:
        done = earmark("run", **environment)
        assert done.returncode == code, words
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"earmark: {words}")
        assert "secret" not in line
