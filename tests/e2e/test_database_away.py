"""PostgreSQL breaks its connections, then stops and starts again, while a stream is heard: nothing is lost, nothing is there twice."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.database import EmbeddedServer, create_database
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from earmark.postgres import migrate
from service_daemon import catalogued, documents, environment_of, go_on_air, log_lines, programme, rows, until

STREAM = "st-steadfast"
#: Much longer than a lease lives, and longer than the origin's playlist lists a segment.
AWAY_S, LEASE_S = 14, 3


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """Of this test's own, since it is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-away-"))
    embedded = EmbeddedServer(folder=folder)
    embedded.start()
    yield embedded
    embedded.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_database_that_goes_and_comes_back(server: EmbeddedServer, aws: AwsStandIn, tmp_path: Path) -> None:
    dsn = create_database(server.dsn, "earmark")
    migrate(dsn)
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    log = tmp_path / "daemon.log"
    with Origin() as origin:
        environment = {
            **environment_of(deployed, dsn, origin),
            "EARMARK_LEASES__TTL_S": str(LEASE_S),
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
        }
        with Worker(environment=environment, log=log) as worker:
            go_on_air(aws, origin, STREAM, programme(recording, begin_s=15, music_s=36))
            until(lambda: rows(dsn, "select 1 from stream where checkpoint is not null"), "it is listened to", worker)
            for _ in range(5):
                time.sleep(1.5)  # somewhere in a commit, a look-up, a renewal or between them
                assert break_connections(server.dsn) > 0
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", worker)
            server.stop()
            time.sleep(AWAY_S)
            worker.check()
            server.start()
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        kept = documents(aws, deployed)

    (stream,) = rows(dsn, "select fencing, end_reason, last_error from stream")
    assert stream == {"fencing": 1, "end_reason": "endlist", "last_error": ""}  # the session itself sat it out
    (hit,) = [document for key, document in kept.items() if "/hits/" in key]
    assert (hit["state"], hit["reference"]["track_id"]) == ("closed", music.catalogue(1)[0].track.track_id)
    assert (hit["query"]["begin_s"], hit["query"]["end_s"]) == (pytest.approx(1, abs=0.5), pytest.approx(37, abs=1))
    (play,) = rows(dsn, "select hit_id, state, revision from play")
    assert play == {"hit_id": hit["hit_id"], "state": "closed", "revision": hit["revision"]}
    coverage = kept[f"{STREAM}/stream.json"]["coverage"]
    assert (coverage["gap_s"], coverage["unaccounted_s"]) == (0, 0)
    assert coverage["heard_s"] == pytest.approx(39, abs=0.2)
    lines = log_lines(log)
    assert [line for line in lines if "exception" in line or line["level"] == "error"] == []
    assert len([line for line in lines if line["level"] == "warning"]) < 20  # an outage is told, and not at each attempt


def break_connections(dsn: str) -> int:
    """As a fail-over does: all of the daemon's, wherever they are."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cut = connection.execute("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = 'earmark' and pid <> pg_backend_pid()")
        return int(cut.fetchall()[0][0])
