"""Everything about one stream goes, from PostgreSQL and S3; nothing of another, and nothing that could bring it back."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import hits_samples as samples
from control_ivs import refusal
from control_rows import leases_of, rows, run, want
from earmark.cli import main
from earmark.control import forgetting as module
from earmark.control.forgetting import Results, forget
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, LeaseLost, Transient
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.sinks import S3Sink
from earmark.local.aws import AwsStandIn
from earmark.model import Lease
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts
from earmark.settings import Outbox as OutboxSettings
from earmark.settings import Results as ResultsSettings

ID = samples.STREAM.stream_id
FOLDER = f"eu/{ID}/"


@pytest.fixture
def s3(aws: AwsStandIn) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="results")
    return client


def results(s3: Any) -> Results:
    return Results(s3=s3, bucket="results", prefix="eu/")


def ledger_of(pool: Pool, lease: Lease) -> Ledger:
    return Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK),
        results=ResultsSettings(bucket="results", prefix="eu/"),
        alerts=Alerts(topic_arn="arn:aws:sns:us-east-1:123456789012:alerts"),
        nudge=lambda: None,
        now=samples.Clock(),
    )


def heard(pool: Pool) -> None:
    """A session that heard a play, ended, and queued all that there is to publish; and another stream beside it."""
    with transaction(pool) as connection:
        lease = samples.insert_stream(connection)
    ledger = ledger_of(pool, lease)
    ledger.commit(samples.checkpoint(plays=(samples.play(),)), [samples.play()])
    ledger.commit(samples.checkpoint(state="ended", end_reason="stream_end"), [samples.play(revision=2, state="closed")])
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now()")
    run(pool, "insert into inbox (stream_id, bucket, key) values (%s, 'archive', 'a.000000.ts'), ('other', 'archive', 'b.000000.ts')", ID)
    want(pool, "other")
    run(pool, "insert into outbox (stream_id, target, key, revision, body) values ('other', 's3', 'eu/other/stream.json', 1, '{}')")


def publish(pool: Pool, s3: Any) -> None:
    class Uncounted:
        def published(self, **_: Any) -> None: ...
        def owed(self, **_: Any) -> None: ...

    sinks: Any = {"s3": S3Sink(client=s3, bucket="results")}
    assert Publisher(pool=pool, sinks=sinks, settings=OutboxSettings(), stop=threading.Event(), metrics=Uncounted()).drain(limit_s=30)


def keys(s3: Any) -> list[str]:
    return sorted(entry["Key"] for entry in s3.list_objects_v2(Bucket="results").get("Contents", ()))


def versions(s3: Any) -> list[str]:
    page = s3.list_object_versions(Bucket="results")
    return [entry["Key"] for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]


def left(pool: Pool) -> dict[str, int]:
    return {table: rows(pool, f"select count(*) as n from {table} where stream_id = %s", ID)[0]["n"] for table in ("stream", "play", "inbox", "outbox")}


def test_everything_of_a_stream_goes_and_nothing_of_another(pool: Pool, s3: Any) -> None:
    heard(pool)
    publish(pool, s3)
    of_it = [key for key in keys(s3) if key.startswith(FOLDER)]
    assert {key.removeprefix(FOLDER).partition("/")[0] for key in of_it} == {"stream.json", "hits", "cue-sheet.csv", "cut-list.json", "report.html"}
    s3.put_object(Bucket="results", Key=f"{FOLDER}evidence/x.json", Body=b"{}")
    s3.put_object(Bucket="results", Key=f"eu/{ID}-2/stream.json", Body=b"{}")  # begins with the same name
    forgotten = forget(pool, ID, results=results(s3))
    assert {table: rows for table, rows in forgotten.rows.items() if rows} == {"outbox": 2, "inbox": 1, "play": 1, "stream": 1}  # the mails had nobody to go to
    assert (forgotten.erased.objects, forgotten.erased.versions_left) == (len(of_it) + 1, "")
    assert left(pool) == dict.fromkeys(left(pool), 0)
    assert keys(s3) == ["eu/other/stream.json", f"eu/{ID}-2/stream.json"]
    assert [row["stream_id"] for row in rows(pool, "select stream_id from stream union all select stream_id from inbox")] == ["other", "other"]


def test_what_had_not_left_yet_does_not_bring_it_back(pool: Pool, s3: Any) -> None:
    heard(pool)
    run(pool, "update outbox set dead_at = now() where key like %s", "%report.html")
    forget(pool, ID, results=results(s3))
    publish(pool, s3)
    assert keys(s3) == ["eu/other/stream.json"]


def test_doing_it_twice_changes_nothing(pool: Pool, s3: Any) -> None:
    heard(pool)
    publish(pool, s3)
    forget(pool, ID, results=results(s3))
    again = forget(pool, ID, results=results(s3))
    assert (sum(again.rows.values()), again.erased.objects) == (0, 0)


def test_what_broke_off_is_finished_by_the_next(pool: Pool, s3: Any) -> None:
    heard(pool)
    publish(pool, s3)

    class Broken:
        """Deletes one page, and then no more."""

        list_object_versions, list_objects_v2 = s3.list_object_versions, s3.list_objects_v2
        left = 1

        def delete_objects(self, **arguments: Any) -> Any:
            if not self.left:
                raise refusal("SlowDown", "DeleteObjects", status=503)
            self.left -= 1
            return s3.delete_objects(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_MAX", 2)
        with pytest.raises(AwsUnavailable, match=r"s3:DeleteObjectVersion of s3://results/eu/"):
            forget(pool, ID, results=results(Broken()))
    assert left(pool)["stream"] == 0
    assert len([key for key in keys(s3) if key.startswith(FOLDER)]) > 0
    assert forget(pool, ID, results=results(s3)).erased.objects > 0
    assert keys(s3) == ["eu/other/stream.json"]


def test_all_versions_go_where_the_bucket_keeps_them(pool: Pool, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
    for n in range(5):
        for name in ("stream.json", "hits/a.json"):
            s3.put_object(Bucket="results", Key=FOLDER + name, Body=str(n).encode())
    s3.delete_object(Bucket="results", Key=f"{FOLDER}hits/a.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_MAX", 3)
        assert forget(pool, ID, results=results(s3)).erased == module.Erased(objects=2)
    assert versions(s3) == []


class Denied:
    """The client of a role that may do some things."""

    def __init__(self, s3: Any, *denied: str) -> None:
        self._s3, self._denied = s3, denied

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in self._denied:
            raise refusal("AccessDenied", name, status=403)
        return getattr(self._s3, name)  # type: ignore[no-any-return]

    def delete_objects(self, **arguments: Any) -> Any:
        """As S3 refuses: inside an answer that is none."""
        entries = arguments["Delete"]["Objects"]
        if "DeleteObjectVersion" in self._denied and "VersionId" in entries[0]:
            return {"Errors": [{"Key": entries[0]["Key"], "Code": "AccessDenied", "Message": "Access Denied"}]}
        return self._s3.delete_objects(**arguments)


@pytest.mark.parametrize("denied", ["list_object_versions", "DeleteObjectVersion"])
def test_versions_that_may_not_be_removed_are_told(pool: Pool, s3: Any, denied: str) -> None:
    s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
    for n in range(2):
        s3.put_object(Bucket="results", Key=f"{FOLDER}stream.json", Body=str(n).encode())

    class Lists(Denied):
        def list_object_versions(self, **arguments: Any) -> Any:
            if "list_object_versions" in self._denied:
                raise refusal("AccessDenied", "ListObjectVersions", status=403)
            return s3.list_object_versions(**arguments)

    erased = forget(pool, ID, results=results(Lists(s3, denied))).erased
    action = "s3:ListBucketVersions" if denied == "list_object_versions" else "s3:DeleteObjectVersion"
    assert erased.objects == 1
    assert f"allow {action} in the role's policy" in erased.versions_left
    assert keys(s3) == []
    assert len(versions(s3)) == 3  # with the mark that it is gone


def test_a_bucket_that_may_not_be_deleted_from_is_an_error(pool: Pool, s3: Any) -> None:
    s3.put_object(Bucket="results", Key=f"{FOLDER}stream.json", Body=b"{}")

    class Nothing(Denied):
        def delete_objects(self, **arguments: Any) -> Any:
            return {"Errors": [{"Key": entry["Key"], "Code": "AccessDenied"} for entry in arguments["Delete"]["Objects"]]}

    with pytest.raises(AwsRefused, match=r"s3:DeleteObject of s3://results/eu/.*stream\.json was refused: AccessDenied; allow s3:DeleteObject in"):
        forget(pool, ID, results=results(Nothing(s3)))


def test_a_bucket_that_is_not_there_is_an_error(pool: Pool, aws: AwsStandIn) -> None:
    with pytest.raises(AwsRefused, match="NoSuchBucket"):
        forget(pool, ID, results=results(aws.client("s3")))


def test_a_folder_that_never_gets_empty_is_given_up(pool: Pool) -> None:
    class Refilled:
        def list_object_versions(self, **_: Any) -> Any:
            return {"Versions": [{"Key": f"{FOLDER}stream.json", "VersionId": "1"}]}

        def delete_objects(self, **_: Any) -> Any:
            return {}

    with pytest.raises(AwsUnavailable, match="was not empty after 1000 pages"):
        forget(pool, ID, results=results(Refilled()))


def test_a_stream_that_is_listened_to_is_refused(pool: Pool) -> None:
    want(pool, ID)
    with pytest.raises(BadSettings, match=f"^the stream {ID} waits to be listened to, and is not forgotten: do it when it has ended$"):
        forget(pool, ID, results=None)
    (lease,) = leases_of(pool, "one").claim(1)
    with pytest.raises(BadSettings, match=f"^the stream {ID} is being listened to by one, and is not forgotten: do it when it has ended$"):
        forget(pool, ID, results=None)
    assert lease.stream.stream_id == ID
    assert left(pool)["stream"] == 1


@pytest.mark.parametrize("change", ["state = 'quarantined'", "wanted_at = null, stop_at = now()"], ids=["quarantined", "its end alone was heard"])
def test_what_nobody_listens_to_or_will_can_be_forgotten(pool: Pool, change: str) -> None:
    want(pool, ID)
    run(pool, f"update stream set {change}")
    assert forget(pool, ID, results=None).rows["stream"] == 1


def test_what_is_just_being_published_is_waited_for(pool: Pool) -> None:
    """Else it would arrive in the bucket after everything else is gone."""
    heard(pool)
    run(pool, "update outbox set taken_until = now() + interval '1 minute' where key like %s", "%stream.json")
    with pytest.raises(Transient, match=f"^1 of the documents and messages of the stream {ID} are just being published: try again in a minute$"):
        forget(pool, ID, results=None)
    assert left(pool)["play"] == 1
    run(pool, "update outbox set taken_until = now() - interval '1 s'")  # its publisher died
    assert forget(pool, ID, results=None).rows["stream"] == 1


def test_who_is_paused_meanwhile_changes_nothing(pool: Pool) -> None:
    with transaction(pool) as connection:
        lease = samples.insert_stream(connection)
    ledger = ledger_of(pool, lease)
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, fencing = fencing + 1")
    forget(pool, ID, results=None)
    with pytest.raises(LeaseLost):
        ledger.commit(samples.checkpoint(), [samples.play()])
    assert left(pool) == dict.fromkeys(left(pool), 0)


# The command.


@pytest.fixture
def command(dsn: str, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "results")
    monkeypatch.setenv("EARMARK_RESULTS__PREFIX", "eu/")
    monkeypatch.setenv("EARMARK_AWS__ENDPOINT_URL", aws.endpoint_url)
    monkeypatch.setenv("EARMARK_AWS__REGION", "us-east-1")
    return lambda *arguments: main(["streams", "forget", *arguments])


def test_the_command_says_what_it_removed(pool: Pool, s3: Any, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    heard(pool)
    publish(pool, s3)
    assert command(ID) == 0
    said = capsys.readouterr()
    assert said.out == f"{ID} is forgotten: 1 session, 1 play, 1 segment, 2 unsent documents; 5 objects in s3://results/{FOLDER}\n"
    assert command(ID) == 0
    assert capsys.readouterr().out == f"nothing is on record of {ID}, in the database or in s3://results/{FOLDER}\n"
    assert keys(s3) == ["eu/other/stream.json"]


def test_the_command_refuses_in_one_sentence(pool: Pool, s3: Any, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    want(pool, ID)
    assert command(ID) == 2
    assert capsys.readouterr().err == f"earmark: the stream {ID} waits to be listened to, and is not forgotten: do it when it has ended\n"


def test_the_command_works_without_a_bucket(
    pool: Pool, dsn: str, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into stream (stream_id, source, state) values (%s, 'ivs', 'ended')", [ID])
    assert command(ID) == 0
    assert capsys.readouterr().out == f"{ID} is forgotten: 1 session\n"
    assert command(ID) == 0
    assert capsys.readouterr().out == f"nothing is on record of {ID}, in the database\n"
