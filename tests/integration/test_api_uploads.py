"""A recording is announced, sent to S3 with the form that was signed for it, and followed until it is in the catalogue."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.signers
import pytest

from api_served import BUCKET, Served, s3_of, sent_to_s3, served
from control_rows import pool_of, rows, run
from earmark.control.catalogue_objects import kind_of
from earmark.index.catalogue import Recording, Tracks, postings_of
from earmark.local.aws import AwsStandIn
from earmark.local.database import create_database
from earmark.model import Track
from earmark.postgres import Pool
from index_catalogue import peaks

DATA = b"not yet looked at, only counted"


@pytest.fixture(scope="module")
def running(postgres_server: str, _template: str, aws: AwsStandIn) -> Iterator[Served]:
    dsn = create_database(postgres_server, "api_uploads", template=_template)
    with pool_of(dsn) as pool, served(pool, aws=aws, address_requests_per_minute=1_000_000) as started:
        yield started


@pytest.fixture
def api(running: Served, aws: AwsStandIn) -> Served:
    """One for all tests, with an empty bucket and nothing on record."""
    s3_of(aws).create_bucket(Bucket=BUCKET)
    for table in ("upload", "catalogue_object"):
        run(running.pool, f"delete from {table}")
    return running


def new(**changes: Any) -> dict[str, Any]:
    return {"file_name": "song.flac", "content_type": "audio/flac", "size_bytes": len(DATA), **changes}


def announced(api: Served, **changes: Any) -> dict[str, Any]:
    answer = api.ask("POST", "/v1/uploads", token=api.token("uploads:write"), json_body=new(**changes))
    assert answer.status == 201, answer
    assert answer.headers["location"] == "/v1/uploads/" + answer.document["upload_id"]
    return answer.document


def state(api: Served, upload: dict[str, Any]) -> dict[str, Any]:
    return api.ask("GET", "/v1/uploads/" + upload["upload_id"], token=api.token("uploads:write")).document


def keys(aws: AwsStandIn) -> list[str]:
    return [entry["Key"] for entry in s3_of(aws).list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_what_was_announced_is_sent_and_is_received(api: Served, aws: AwsStandIn):
    upload = announced(api)
    assert state(api, upload)["state"] == "waiting"
    assert sent_to_s3(upload["form"], DATA)[0] == 201
    assert state(api, upload)["state"] == "received"
    assert keys(aws) == [upload["key"]]
    assert upload["key"].startswith("catalogue/uploads/") and upload["key"].endswith("/song.flac")
    assert kind_of(upload["key"].removeprefix("catalogue/")) == "audio"


def test_its_description_lies_beside_it_before_it_comes(api: Served, aws: AwsStandIn):
    upload = announced(api, metadata={"title": "Song", "artists": ["A", "B"], "isrc": ["gb-aye-06-01498"], "territories": ["DE"], "valid_from": "2026-01-31"})
    (key,) = keys(aws)
    assert key == upload["key"].replace(".flac", ".json")
    assert kind_of(key.removeprefix("catalogue/")) == "sidecar"
    told = json.loads(s3_of(aws).get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert told == {"title": "Song", "artists": ["A", "B"], "isrc": ["GBAYE0601498"], "territories": ["DE"], "valid_from": "2026-01-31T00:00:00Z"}


def test_the_policy_names_bucket_key_type_exact_size_and_content_and_ends(api: Served):
    digest = hashlib.sha256(DATA)
    upload = announced(api, sha256=digest.hexdigest().upper())
    policy = json.loads(base64.b64decode(upload["form"]["fields"]["policy"]))
    for condition in (
        {"bucket": BUCKET},
        {"key": upload["key"]},
        {"Content-Type": "audio/flac"},
        ["content-length-range", len(DATA), len(DATA)],
        {"x-amz-checksum-sha256": base64.b64encode(digest.digest()).decode()},
        {"x-amz-checksum-algorithm": "SHA256"},
        {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    ):
        assert condition in policy["conditions"]
    expires = datetime.fromisoformat(policy["expiration"])
    assert timedelta(seconds=880) < expires - datetime.now(UTC) <= timedelta(seconds=900)
    assert abs(datetime.fromisoformat(upload["valid_until"]) - expires) < timedelta(seconds=5)
    assert set(upload["form"]["fields"]) >= {"key", "policy", "x-amz-signature", "Content-Type", "success_action_status"}


@pytest.mark.parametrize(
    "data,changed,refused",
    [
        (DATA + b"!", {}, (400, "EntityTooLarge")),
        (DATA[:-1], {}, (400, "EntityTooSmall")),
        (DATA, {"Content-Type": "text/html"}, (403, "AccessDenied")),
        (DATA, {"key": "catalogue/uploads/another/song.flac"}, (403, "AccessDenied")),
        (DATA, {"policy": None}, (403, "AccessDenied")),
        (DATA, {"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
    ],
    ids=["oversized", "cut off", "wrong type", "another key", "no policy", "another signature"],
)
def test_s3_takes_nothing_but_what_was_announced(api: Served, aws: AwsStandIn, data: bytes, changed: dict[str, str | None], refused: tuple[int, str]):
    upload = announced(api)
    assert sent_to_s3(upload["form"], data, **changed) == refused
    assert keys(aws) == []
    assert state(api, upload)["state"] == "waiting"


def test_a_form_that_is_sent_again_changes_nothing_where_the_content_was_announced(api: Served, aws: AwsStandIn):
    upload = announced(api, sha256=hashlib.sha256(DATA).hexdigest())
    assert sent_to_s3(upload["form"], DATA)[0] == 201
    assert sent_to_s3(upload["form"], DATA)[0] == 201
    assert sent_to_s3(upload["form"], DATA[::-1]) == (400, "BadDigest")
    assert s3_of(aws).get_object(Bucket=BUCKET, Key=upload["key"])["Body"].read() == DATA
    assert keys(aws) == [upload["key"]]


def test_after_its_time_a_form_is_refused_and_the_upload_has_expired(pool: Pool, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(botocore.signers, "get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1))
    with served(pool, aws=aws) as api:
        upload = announced(api)
        run(pool, "update upload set valid_until = now() - interval '1 second'")
        assert state(api, upload)["state"] == "expired"
        policy = json.loads(base64.b64decode(upload["form"]["fields"]["policy"]))
        assert datetime.fromisoformat(policy["expiration"]) < datetime.now(UTC)
        assert sent_to_s3(upload["form"], DATA) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "changes,field,sentence",
    [
        ({"file_name": None}, "file_name", "file_name is missing"),
        ({"file_name": ""}, "file_name", "file_name is wrong: string should have at least 1 character"),
        ({"file_name": "x" * 256}, "file_name", "file_name is wrong"),
        ({"file_name": "notes.txt"}, "file_name", "file_name is not the name of a recording"),
        ({"file_name": "song.json"}, "file_name", "file_name is not the name of a recording"),
        ({"file_name": "manifest.csv"}, "file_name", "file_name is not the name of a recording"),
        ({"file_name": "a\x00b.flac"}, "file_name", "file_name has a character that is no text"),
        ({"content_type": "text/html"}, "content_type", "content_type is wrong"),
        ({"content_type": "audio/flac\r\nX: y"}, "content_type", "content_type is wrong"),
        ({"size_bytes": 0}, "size_bytes", "size_bytes is wrong: input should be greater than 0"),
        ({"size_bytes": 10**12}, "size_bytes", "size_bytes is 1000000000000, and a recording may have 1000000000"),
        ({"size_bytes": 10**30}, "size_bytes", "size_bytes"),
        ({"size_bytes": "many"}, "size_bytes", "size_bytes is wrong"),
        ({"sha256": "abc"}, "sha256", "sha256 is wrong"),
        ({"surprise": 1}, "surprise", "surprise is not known here"),
        ({"metadata": {"titel": "x"}}, "metadata.titel", "metadata.titel is not known here"),
        ({"metadata": {"isrc": ["GBAYE060149"]}}, "metadata.isrc", "isrc 'GBAYE060149' has 11 characters and must have 12"),
        ({"metadata": {"iswc": ["T-034.524.680-2"]}}, "metadata.iswc", "iswc 'T-034.524.680-2' has the check digit 2 and should have 1"),
        ({"metadata": {"upc": ["602517484017"]}}, "metadata.upc", "upc"),
        ({"metadata": {"policy": "destroy"}}, "metadata.policy", "policy 'destroy' is none: there is track, allow, warn, block"),
        ({"metadata": {"territories": ["XX"]}}, "metadata.territories", "territories 'XX' is none"),
        ({"metadata": {"valid_from": "soon"}}, "metadata.valid_from", "valid_from 'soon' is no date"),
        ({"metadata": {"title": "\ud800"}}, "metadata.title", "title"),
        ({"metadata": {"artists": "one"}}, "metadata.artists", "metadata.artists is wrong"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_field_by_field(api: Served, aws: AwsStandIn, changes: dict[str, Any], field: str, sentence: str):
    body = {name: value for name, value in new(**changes).items() if value is not None}
    answer = api.ask("POST", "/v1/uploads", token=api.token("uploads:write"), json_body=body)
    assert (answer.status, answer.kind) == (422, "invalid"), answer
    assert answer.document["fields"][0]["field"].startswith(field)
    assert sentence in answer.document["detail"] and sentence in answer.document["fields"][0]["detail"]
    assert keys(aws) == [] and rows(api.pool, "select * from upload") == []


def test_all_that_is_wrong_is_told_at_once(api: Served):
    answer = api.ask("POST", "/v1/uploads", token=api.token(), json_body={"file_name": "a.txt", "size_bytes": -1, "metadata": {"x": 1}})
    assert {flaw["field"] for flaw in answer.document["fields"]} == {"file_name", "content_type", "size_bytes", "metadata.x"}


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.wav",
        "🎵 song.mp3",
        "a/b\\c.wav",
        "'\";--.flac",
        ".hidden/x.wav",
        "_rejected/x.wav",
        "x" * 250 + ".wav",
        "no ending",
        "${filename}.mp3",
    ],
)
def test_whatever_a_file_is_called_its_key_is_plain_and_below_its_place(api: Served, aws: AwsStandIn, name: str):
    upload = announced(api, file_name=name, metadata={"title": name})
    folder = f"catalogue/uploads/{upload['upload_id']}/"
    assert upload["key"].startswith(folder)
    last = upload["key"].removeprefix(folder)
    assert last.isascii() and "/" not in last and ".." not in last and len(last) < 150
    assert kind_of(upload["key"].removeprefix("catalogue/")) == "audio"
    assert sent_to_s3(upload["form"], DATA)[0] == 201
    assert state(api, upload)["state"] == "received"
    assert state(api, upload)["file_name"] == name
    assert len(keys(aws)) == 2


def test_two_of_one_name_are_two(api: Served, aws: AwsStandIn):
    one, other = announced(api), announced(api)
    assert one["key"] != other["key"]


def test_what_the_catalogue_makes_of_it_is_told(api: Served):
    upload = announced(api)
    follow(api.pool, upload, state="kept", track_id="isrc:X")
    told = state(api, upload)
    assert (told["state"], told["track_id"]) == ("fingerprinted", "isrc:X")
    run(api.pool, "update catalogue_object set state = 'rejected', track_id = null, reasons = '{\"it is not audio: a zip\"}'")
    told = state(api, upload)
    assert (told["state"], told["reasons"]) == ("rejected", ["it is not audio: a zip"])
    assert "track_id" not in told


def follow(pool: Pool, upload: dict[str, Any], *, state: str, track_id: str | None = None) -> None:
    """As whoever follows the bucket puts it on record."""
    run(pool, "insert into catalogue_object (bucket, key, kind, state, track_id) values (%s, %s, 'audio', %s, %s)", BUCKET, upload["key"], state, track_id)


def test_what_was_announced_without_a_form_for_its_size_is_rejected_where_s3_did_not_check(api: Served, aws: AwsStandIn):
    upload = announced(api)
    s3_of(aws).put_object(Bucket=BUCKET, Key=upload["key"], Body=DATA + b"more")
    told = state(api, upload)
    assert (told["state"], told["reasons"]) == ("rejected", ["35 bytes came, and 31 were announced: announce it again, with its size"])


class TestRemoving:
    def test_a_recording_that_came_from_the_bucket_goes_with_its_object_or_it_would_come_back(self, api: Served, aws: AwsStandIn):
        upload = announced(api, metadata={"title": "Song"})
        sent_to_s3(upload["form"], DATA)
        constellation = peaks(1, 20)
        track = Track(track_id="isrc:X", duration_s=20.0)
        Tracks(pool=api.pool).add([Recording(track=track, peaks=constellation, postings=postings_of(constellation), content_sha256=bytes(32))])
        follow(api.pool, upload, state="kept", track_id="isrc:X")
        assert len(keys(aws)) == 2
        assert api.ask("DELETE", "/v1/tracks/isrc:X", token=api.token("catalogue:delete")).status == 204
        assert keys(aws) == []
        assert Tracks(pool=api.pool).get(["isrc:X"]) == {}
        assert state(api, upload)["state"] == "removed"
        assert api.ask("DELETE", "/v1/tracks/isrc:X", token=api.token("catalogue:delete")).status == 404

    def test_a_bucket_that_lets_nobody_delete_keeps_the_recording(self, pool: Pool, aws: AwsStandIn):
        constellation = peaks(1, 20)
        track = Track(track_id="isrc:X", duration_s=20.0)
        Tracks(pool=pool).add([Recording(track=track, peaks=constellation, postings=postings_of(constellation), content_sha256=bytes(32))])
        with served(pool, aws=aws) as api:
            run(
                pool,
                "insert into catalogue_object (bucket, key, kind, state, track_id) values ('no-such-bucket', 'catalogue/x.wav', 'audio', 'kept', 'isrc:X')",
            )
            assert api.ask("DELETE", "/v1/tracks/isrc:X", token=api.token()).status == 500
            assert set(Tracks(pool=pool).get(["isrc:X"])) == {"isrc:X"}


class TestTidying:
    def test_what_never_came_goes_after_a_week_with_its_description(self, api: Served, aws: AwsStandIn):
        never, late = announced(api, metadata={"title": "never"}), announced(api, metadata={"title": "late"})
        assert len(keys(aws)) == 2
        before = api.value("earmark_api_uploads_removed_total")
        run(
            api.pool,
            "update upload set created_at = now() - interval '8 days', valid_until = now() - interval '7 days' where upload_id = %s",
            never["upload_id"],
        )
        assert tidy(api) == 1
        assert [row["upload_id"] for row in rows(api.pool, "select upload_id from upload")] == [late["upload_id"]]
        assert keys(aws) == [late["key"].replace(".flac", ".json")]
        assert api.ask("GET", "/v1/uploads/" + never["upload_id"], token=api.token()).status == 404
        assert api.value("earmark_api_uploads_removed_total") == before + 1

    def test_what_came_in_part_goes_too_and_what_came_whole_stays(self, api: Served, aws: AwsStandIn):
        partly, whole, followed = announced(api), announced(api), announced(api)
        s3_of(aws).put_object(Bucket=BUCKET, Key=partly["key"], Body=DATA[:5])
        sent_to_s3(whole["form"], DATA)
        follow(api.pool, followed, state="rejected")
        run(api.pool, "update upload set created_at = now() - interval '8 days', valid_until = now() - interval '7 days'")
        assert tidy(api) == 1
        assert keys(aws) == [whole["key"]]
        assert state(api, whole)["state"] == "received"
        assert state(api, followed)["state"] == "rejected"
        assert tidy(api) == 0

    def test_what_went_again_is_forgotten(self, api: Served):
        upload = announced(api)
        follow(api.pool, upload, state="gone")
        run(api.pool, "update upload set arrived_at = now(), created_at = now() - interval '8 days', valid_until = now() - interval '7 days'")
        assert tidy(api) == 1
        assert rows(api.pool, "select * from upload") == []

    def test_one_worker_of_all_does_it(self, api: Served):
        announced(api)
        run(api.pool, "update upload set created_at = now() - interval '8 days', valid_until = now() - interval '7 days'")
        assert tidy(api) == 1
        announced(api)
        run(api.pool, "update upload set created_at = now() - interval '8 days', valid_until = now() - interval '7 days'")
        assert api.serving._uploads.tidy() == 0


def tidy(api: Served) -> int:
    run(api.pool, "delete from sweep where kind = 'uploads'")
    return api.serving._uploads.tidy()


def test_without_a_place_no_uploads_are_taken(pool: Pool):
    with served(pool) as api:
        for method, path in (("POST", "/v1/uploads"), ("GET", "/v1/uploads/x")):
            answer = api.ask(method, path, token=api.token(), json_body=new() if method == "POST" else None)
            assert (answer.status, answer.kind) == (501, "uploads-off")


def test_a_bucket_that_is_away_is_told_and_leaves_nothing_that_is_not_tidied(pool: Pool, aws: AwsStandIn):
    with served(pool, aws=aws) as api:
        s3_of(aws).delete_bucket(Bucket=BUCKET)
        answer = api.ask("POST", "/v1/uploads", token=api.token(), json_body=new(metadata={"title": "x"}))
        assert answer.status in (500, 503)
        assert BUCKET not in answer.document["detail"]
        assert len(rows(pool, "select * from upload")) == 1
