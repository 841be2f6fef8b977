"""A recording that is not wanted stops its stream when its grace is over: once, though the worker that heard it has been killed meanwhile."""

import json
from pathlib import Path

import pytest

from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from hits_samples import validator
from service_daemon import catalogued, environment_of, go_on_air, log_lines, programme, rows, until

STREAM = "st-unwanted"
GRACE_S = 20
POLICY = f"""
version = 1
[[rule]]
id = "not-here"
action = "block"
grace_s = {GRACE_S}
reason = "this recording is not licensed"
"""


def test_an_unwanted_recording_stops_its_stream_once(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    with Origin() as origin:
        environment = {
            **environment_of(deployed, dsn, origin),
            "EARMARK_POLICY__FILE": str(policy),
            "EARMARK_STOP_STREAM__MODE": "on",
            "EARMARK_STOP_STREAM__REVOKE_KEY": "true",
            "EARMARK_NOW_PLAYING__MODE": "on",
            "EARMARK_LEASES__TTL_S": "3",
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_SESSION__END_GRACE_S": "1",
        }
        workers = {name: Worker(environment={**environment, "EARMARK_LEASES__WORKER": name}, log=tmp_path / f"{name}.log") for name in ("one", "two")}
        with workers["one"] as one:
            channel = go_on_air(aws, origin, STREAM, programme(recording, begin_s=15, music_s=60))
            until(lambda: rows(dsn, "select 1 from action where kind = 'ivs_stop' and state = 'waiting'"), "the stop waits for the end of its grace", one)
            # What a dead worker had taken is left to it for a minute.
            until(lambda: not rows(dsn, "select 1 from outbox where target <> 'ivs_stop'"), "everything else has left", one)
            process = one._process
            assert process
            process.kill()
            process.wait()
            assert [done["operation"] for done in aws.broadcasts() if done["operation"] != "PutMetadata"] == []
            with workers["two"] as two:
                until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", two)
                until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", two)
        (row,) = rows(dsn, "select body from play")
        key = f"{STREAM}/hits/{row['body']['hit_id']}.json"
        hit = json.loads(aws.client("s3").get_object(Bucket=deployed.results_bucket, Key=key)["Body"].read())

    done = aws.broadcasts()
    assert [one["operation"] for one in done if one["operation"] != "PutMetadata"] == ["DeleteStreamKey", "StopStream"]
    assert {one["channel_arn"] for one in done} == {channel}
    validator("hit").validate(hit)
    assert row["body"] == hit
    assert (hit["state"], hit["policy"]["action"], hit["policy"]["dry_run"], hit["policy"]["rule_id"]) == ("closed", "block", False, "not-here")
    (stop,) = [action for action in hit["actions"] if action["kind"] == "ivs_stop"]
    assert stop["state"] == "done", stop
    assert stop["detail"].endswith("1 key of the channel revoked: its broadcaster needs a new one")
    length_s = hit["query"]["end_s"] - hit["query"]["begin_s"]
    assert GRACE_S <= length_s < GRACE_S + 15
    shown = [json.loads(one["metadata"]) for one in done if one["operation"] == "PutMetadata"]
    assert [(one["playing"], one["hit_id"]) for one in shown][:1] == [(True, hit["hit_id"])]
    assert [action["occasion"] for action in hit["actions"] if action["kind"] == "ivs_metadata"] == ["open", "closed"]
    told = [line for name in workers for line in log_lines(tmp_path / f"{name}.log") if line["event"] == "action.told" and line["kind"] == "ivs_stop"]
    assert [(line["level"], line["state"]) for line in told] == [("info", "done")]
    with pytest.raises(Exception, match="no stream key"):
        aws.go_live(channel, "st-next", "")
