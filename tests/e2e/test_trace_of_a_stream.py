"""Two streams, two workers one after the other, one stream in a process of its own: every line that belongs to a stream says so, with its trace."""

import json
import re
from pathlib import Path
from typing import Any

from control_events import ivs
from earmark.cli import main
from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, documents, environment_of, log_lines, programme, rows, run_sql, until

IN_COMPANY, ALONE = "st-in-company", "st-alone"
START, AGAIN = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
#: Events that are always about one stream.
OF_A_STREAM = re.compile(r"(stream|session|lease|play|playlist|rendition|segment|media|alert|outbox)\.")


def test_all_that_is_written_of_a_stream_has_its_id_and_its_trace(dsn: str, aws: AwsStandIn, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    sqs = aws.client("sqs")
    #: Two workers died of it, long ago: it is heard alone; no event told of it first, so its row made its trace.
    run_sql(dsn, "insert into stream (stream_id, channel_arn, source, attempts) values (%s, %s, 'ivs', 2)", ALONE, _arn(ALONE))
    with Origin() as origin:
        environment = {
            **environment_of(deployed, dsn, origin),
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_LEASES__TTL_S": "3",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_LOG__REPEATS_MAX": "0",
            "EARMARK_EVIDENCE__CLIP": "true",
        }
        logs = {name: tmp_path / f"{name}.log" for name in ("one", "two")}
        workers = {name: Worker(environment={**environment, "EARMARK_LEASES__WORKER": name}, log=log) for name, log in logs.items()}
        with workers["one"] as one:
            for stream_id in (IN_COMPANY, ALONE):
                broadcast = origin.publish(stream_id, programme(recording, begin_s=15, music_s=22), rate_hz=music.RATE_HZ)
                arn = aws.put_channel(f"channel-of-{stream_id}")
                assert arn == _arn(stream_id)
                aws.go_live(arn, stream_id, broadcast.url)
                for event_id in (START, START, AGAIN):  # delivered twice, and then said by another event
                    body = ivs("Stream Start", stream_id=stream_id, channel=arn, time=_now(dsn)) | {"id": event_id}
                    sqs.send_message(QueueUrl=deployed.queue_url, MessageBody=json.dumps(body))
            until(lambda: len(rows(dsn, "select 1 from play where state = 'open'")) == 2, "both plays are open", one)
            one.kill()
            with workers["two"] as two:
                until(lambda: len(rows(dsn, "select 1 from stream where state = 'ended'")) == 2, "both have ended", two)
                until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", two)
        kept = documents(aws, deployed)

    traces = {row["stream_id"]: row["trace_id"] for row in rows(dsn, "select stream_id, trace_id from stream")}
    assert traces[IN_COMPANY] == START
    assert traces[ALONE] not in (START, AGAIN, None)
    _every_line_says_whose_it_is([line for log in logs.values() for line in log_lines(log)], traces)
    for key, document in kept.items():
        if "/evidence/" not in key:
            assert document["stream"]["trace_id"] == traces[document["stream"]["id"]], key
    _messages_have_it(sqs, deployed.alerts_queue_url, traces)

    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    assert main(["streams", "list", "--all", "--json"]) == 0
    assert {row["stream_id"]: row["trace_id"] for row in map(json.loads, capsys.readouterr().out.splitlines())} == traces
    hit = next(document for key, document in kept.items() if key.startswith(f"{IN_COMPANY}/hits/"))
    assert main(["hits", "show", hit["hit_id"]]) == 0
    shown = capsys.readouterr().out
    assert START in shown and hit["track"]["title"] in shown
    assert main(["hits", "show", hit["hit_id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stream"]["trace_id"] == START
    for name, value in deployed.environment().items():
        monkeypatch.setenv(name, value)
    for key, document in kept.items():
        if "/hits/" in key:
            _it_holds(document, capsys)


def _it_holds(hit: dict[str, Any], capsys: Any) -> None:
    """Heard by one worker, taken over by another, or in a process of its own: its clip and all else is in the bucket as it was told."""
    assert main(["hits", "verify", hit["hit_id"], "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert {part["name"]: part["state"] for part in verdict["parts"]} == dict.fromkeys(["the record", "the peaks", "the picture", "the clip"], "intact")
    assert [score["by"] for score in verdict["scores"]] == ["clip", "peaks"]


def _every_line_says_whose_it_is(lines: list[dict[str, Any]], traces: dict[str, str]) -> None:
    for line in lines:
        named = [stream_id for stream_id in traces if stream_id in json.dumps(line)]
        if named or OF_A_STREAM.match(line["event"]):
            assert line.get("stream_id") in traces, line
            assert line.get("trace_id") == traces[line["stream_id"]], line
    told = {(line["event"], line.get("stream_id")) for line in lines}
    for stream_id in traces:
        assert {(event, stream_id) for event in ("stream.wanted", "lease.claimed", "rendition.chosen", "play.told", "session.ended")} <= told
    assert ("session.alone", ALONE) in told
    assert any(line.get("alone") is True and line["event"] == "play.told" for line in lines), "the child's lines are among them"


def _messages_have_it(sqs: Any, queue_url: str, traces: dict[str, str]) -> None:
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    seen = set()
    for message in messages:
        hit = json.loads(message["Body"])
        stream_id = hit["stream"]["id"]
        assert hit["stream"]["trace_id"] == message["MessageAttributes"]["trace_id"]["StringValue"] == traces[stream_id]
        seen.add(stream_id)
    assert seen == set(traces)


def _arn(stream_id: str) -> str:
    return f"arn:aws:ivs:us-east-1:123456789012:channel/channel-of-{stream_id}"


def _now(dsn: str) -> str:
    return str(rows(dsn, """select to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as now""")[0]["now"])
