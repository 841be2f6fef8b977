"""A daemon is asked to go while a play is open: another one goes on with the very play, and nothing of the stream is missing."""

import json
import signal
from pathlib import Path

import pytest

from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, documents, environment_of, go_on_air, log_lines, programme, rows, until

STREAM = "st-handed-over"
#: A fetch, a commit and the intake's long poll; ECS allows 30 s unless it is told otherwise.
GONE_S = 10


def test_a_play_goes_on_under_the_same_id_with_another_owner(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    with Origin() as origin:
        environment = {
            **environment_of(deployed, dsn, origin),
            # Longer than this test: a lease that is not handed over stays where it is.
            "EARMARK_LEASES__TTL_S": "600",
        }
        workers = {name: Worker(environment={**environment, "EARMARK_LEASES__WORKER": name}, log=tmp_path / f"{name}.log") for name in ("one", "two")}
        with workers["one"] as one:
            go_on_air(aws, origin, STREAM, programme(recording, begin_s=15, music_s=30))
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", one)
            with workers["two"] as two:
                (before,) = rows(dsn, "select owner, fencing from stream")
                assert before == {"owner": "one", "fencing": 1}
                process = one._process
                assert process
                process.send_signal(signal.SIGTERM)
                until(lambda: rows(dsn, "select 1 from stream where owner = 'two'"), "the other one has the lease", two, limit_s=GONE_S)
                assert process.wait(GONE_S) == 0
                until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", two)
                until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", two)
        kept = documents(aws, deployed)

    (stream,) = rows(dsn, "select fencing, end_reason, attempts, failures from stream")
    assert stream == {"fencing": 2, "end_reason": "endlist", "attempts": 0, "failures": 0}
    (hit,) = [document for key, document in kept.items() if "/hits/" in key]
    assert (hit["state"], hit["detection"]["worker"], hit["quotation"]) == ("closed", "two", False)
    assert hit["reference"]["track_id"] == music.catalogue(1)[0].track.track_id
    assert (hit["query"]["begin_s"], hit["query"]["end_s"]) == (pytest.approx(1, abs=0.5), pytest.approx(31, abs=1))
    told = {name: [line for line in log_lines(tmp_path / f"{name}.log") if line["event"] == "play.told"] for name in workers}
    assert {line["hit_id"] for line in (*told["one"], *told["two"])} == {hit["hit_id"]}
    assert [line["state"] for line in told["one"]][-1] == "open"
    assert [line["state"] for line in told["two"]] == ["closed"]
    coverage = kept[f"{STREAM}/stream.json"]["coverage"]
    assert (coverage["gap_s"], coverage["unaccounted_s"]) == (0, 0)
    assert coverage["heard_s"] == pytest.approx(33, abs=0.2)
    alerts = aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(alert["Body"])["hit_id"] for alert in alerts] == [hit["hit_id"]]  # one mail for one play
