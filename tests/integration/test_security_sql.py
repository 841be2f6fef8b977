"""Hostile text through every text column that a stranger, a manifest or a command reaches: it comes back as it was, or was refused in a sentence."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import control_events
from control_rows import leases_of, pool_of, row, rows
from earmark.commands.adding import identifier as _id
from earmark.control import wanted
from earmark.control.leases import Ended, Failed
from earmark.control.messages import ObjectArrived, StartStream, StopStream, parse
from earmark.control.places import Places
from earmark.control.static import StaticStreams
from earmark.errors import BadMessage, BadSettings, StreamNotFound, UnreadableAudio
from earmark.hits import outbox
from earmark.hits.proof import evidence
from earmark.hits.reports import report
from earmark.hits.text import is_storable
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.model import Stream
from earmark.postgres import Pool, transaction
from earmark.reference import Source, describe, refuse_unstorable
from earmark.settings import StaticStream
from fuzz_bytes import TEXTS
from index_catalogue import peaks, recording_of

INJECTIONS = (
    "'; drop table stream cascade; --", "' or '1'='1", "%s", "%(stream_id)s", "%", "%%", "$1", ":name", "\\'; --", "E'\\x27'", "{}", "a,b", "{a,b}",
    '{"a","b"}', "NULL",
    "(1,2)",
    "pg_sleep(9)", "'||(select version())||'", "/*", "*/", "--", "\u02bc; drop table track; --", "\u2019", "\x08", "\x1a", "\ufffe", "\\", "\\\\", "\\x00",
    "{\\", '"', "''", "$$", "$a$",
)  # fmt: skip
HOSTILE = sorted({*INJECTIONS, *(text for text in TEXTS if len(text) < 3_000)})
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=40))
tried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SOUND = peaks(1, 6)
TABLES = ("stream", "inbox", "outbox", "play", "track", "doc", "medialive_channel")


@pytest.fixture(scope="module")
def pool(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[Pool]:
    name = "test_security_sql"
    create_database(postgres_server, name, template=request.getfixturevalue("_template"))
    with pool_of(database_dsn(postgres_server, name)) as opened:
        yield opened
    drop_database(postgres_server, name)


@pytest.fixture(autouse=True)
def _tables_stay(pool: Pool) -> Iterator[None]:
    """Nothing was dropped, and nothing is in the catalogue of tables that was not there before."""
    names = "select table_name from information_schema.tables where table_schema = 'public' order by 1"
    before = rows(pool, names)
    yield
    assert rows(pool, names) == before
    assert {table["table_name"] for table in before} >= set(TABLES)


def recorded(pool: Pool, body: Any, archives: dict[str, str] | None = None) -> list[Any]:
    """What a message said, when it is on record; nothing if it was refused."""
    try:
        said = parse(json.dumps(body))
    except BadMessage as error:
        told = str(error)
        assert told.isprintable()
        return []
    for message in said:
        if isinstance(message, StartStream | StopStream | ObjectArrived):
            with transaction(pool) as connection:
                wanted.record(connection, message, places=Places(archives=archives or {}))
    return said


# ------------------------------------------------------------------------------------------------ events


@tried
@given(TEXT, TEXT)
@example("st-1", "'; drop table stream cascade; --")
@example("st-2", "a\0b")
@example("st-3", "\ud800")
@example("'; drop table stream; --", "x")
def test_a_stream_of_an_event(pool: Pool, stream_id: str, channel_name: str) -> None:
    for message in recorded(pool, control_events.ivs("Stream Start", stream_id=stream_id, channel_name=channel_name)):
        assert isinstance(message, StartStream)
        kept = row(pool, message.stream.stream_id)
        assert (kept["stream_id"], kept["channel_arn"]) == (stream_id, control_events.IVS_CHANNEL)
        assert is_storable(kept["channel_name"])
        assert kept["channel_name"] == message.stream.channel_name or kept["wanted_at"] < datetime.now(UTC)
    recorded(pool, control_events.ivs("Stream End", stream_id=stream_id))


@tried
@given(TEXT)
def test_the_arn_of_an_event(pool: Pool, text: str) -> None:
    for arn in (text, f"{control_events.MEDIALIVE_CHANNEL}{text}", control_events.MEDIALIVE_CHANNEL.replace("us-west-2", text)):
        with transaction(pool) as connection:
            connection.execute("delete from stream")  # a channel's id and the moment make a stream's, whatever else its ARN says
        for message in recorded(pool, control_events.medialive("RUNNING", channel=arn)):
            if isinstance(message, StartStream):
                assert row(pool, message.stream.stream_id)["channel_arn"] == (arn or f"{control_events.MEDIALIVE_CHANNEL[:-6]}999999")


@tried
@given(TEXT, TEXT, TEXT)
@example("b", "'; drop table inbox; --", "v")
@example("b", "../../etc/passwd", "..")
@example("b", "/lead", "v" * 2_000)
def test_an_object_of_an_event(pool: Pool, bucket: str, key: str, version: str) -> None:
    archives = {"s3://b/": "*", f"s3://{bucket}/": "archive"}
    body = control_events.s3_event(f"{key}/f/{key}.000001.ts", bucket=bucket, sequencer="1", **{"version-id": version})
    for message in recorded(pool, body, archives):
        assert isinstance(message, ObjectArrived)
        assert (message.bucket, message.key, message.version) == (bucket, f"{key}/f/{key}.000001.ts", version)
        kept = rows(pool, "select * from inbox where bucket = %s and key = %s and version = %s", bucket, message.key, version)
        assert len(kept) <= 1
        if kept and kept[0]["stream_id"]:
            opened = row(pool, kept[0]["stream_id"])
            assert set(opened["stream_id"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=+@-")
            assert opened["url"].startswith(f"s3://{bucket}/") or not key


# ------------------------------------------------------------------------------------------------ settings, sessions, outbox


@tried
@given(TEXT, TEXT)
def test_tags_and_address_of_a_static_stream(pool: Pool, name: str, value: str) -> None:
    assume(is_storable(name) and is_storable(value))  # of a settings file, which is UTF-8; NUL is TOML's to refuse
    with transaction(pool) as connection:
        connection.execute("delete from stream where source = 'hls'")
    static = StaticStream(name="radio", url=f"https://radio.example/{value}", tags={name: value})
    (stream_id,) = StaticStreams(pool=pool, streams=[static], retry_s=1).ensure(NOW)
    kept = row(pool, stream_id)
    assert (kept["tags"], kept["url"]) == ({name: value}, f"https://radio.example/{value}")


@tried
@given(TEXT)
def test_why_a_session_failed(pool: Pool, text: str) -> None:
    assume(is_storable(text))  # fuzzing holds every parser of a stream to that
    with transaction(pool) as connection:
        connection.execute("delete from stream")
        assert wanted.open_stream(connection, Stream(stream_id="st", source="ivs", channel_name="x"))
    leases = leases_of(pool, "worker'; --")
    for outcome in (Failed(error=text), Ended(reason="failed", error=text)):
        (lease,) = leases.claim(1)
        assert leases.release(lease, outcome)
        assert row(pool, "st")["last_error"] == text
        with transaction(pool) as connection:
            connection.execute("update stream set not_before = now()")


@tried
@given(TEXT)
def test_an_id_that_is_typed(pool: Pool, text: str) -> None:
    try:
        typed = _id(text)
    except BadSettings as error:
        told = str(error)
        assert "is not UTF-8" in told
        return
    for load in (report.load, evidence.load):
        with transaction(pool) as connection, pytest.raises((StreamNotFound, BadSettings)):
            load(connection, typed)
    assert Tracks(pool=pool).show(typed) is None
    assert Tracks(pool=pool).remove(typed) is False
    assert Tracks(pool=pool).get([typed]) == {}
    assert leases_of(pool, "w").end_quarantine(typed) is False
    assert outbox.list_dead(pool) == []


# ------------------------------------------------------------------------------------------------ the catalogue


@tried
@given(TEXT, TEXT, st.lists(TEXT, max_size=3))
@example("x", "'; drop table track cascade; --", ["{a,b}", '"', "\\", "NULL", ""])
@example("a\0b", "x", [])
@example("%s", "\ud800", ["x"])
@example("é", "e\u0301", [])
def test_a_recording_of_a_manifest(pool: Pool, track_id: str, text: str, several: list[str]) -> None:
    metadata = dict.fromkeys(("title", "album", "label", "rights_holder"), text) | dict.fromkeys(("artists", "isrc", "iswc", "upc"), several)
    source = Source(path=Path("a.flac"), track_id=track_id, metadata=metadata)
    try:
        refuse_unstorable(source)
    except UnreadableAudio as error:
        told = str(error)
        assert told.startswith("a.flac is not added: its ")
        assert is_storable(told)
        return
    assume(track_id)
    tracks = Tracks(pool=pool)
    described = describe(source, {}, b"content", 30.0)
    tracks.add([recording_of(described, SOUND, track_id.encode())])
    kept = tracks.get([track_id])[track_id]
    assert (kept.track_id, kept.title, kept.album, kept.label, kept.rights_holder) == (track_id, text, text, text, text)
    assert [kept.artists, kept.iswc, kept.upc] == [tuple(several)] * 3
    assert tracks.remove(track_id)
    assert tracks.get([track_id]) == {}
