"""What dashboards ask PostgreSQL: every query, against the views, over rows that sessions put on record; by a role that may do nothing else."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import hits_samples as samples
from control_rows import leases_of, pool_of, rows, run, want
from dashboard_expressions import ask, asking, filled_in_sql, load, panel, queries
from earmark.control.fleet import Fleet
from earmark.control.forgetting import forget
from earmark.control.leases import Ended, Failed, HandedOver
from earmark.hits.ledger import Ledger
from earmark.hits.record import safe_name
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.model import Checkpoint, Gap, Lease, Music, Play, Stretch, Track, hit_id
from earmark.postgres import Pool
from earmark.settings import Alerts, Results

NAMES = ("fleet", "stream", "hearing", "catalogue", "cost")
READER = (samples.SCHEMAS.parent / "grafana" / "reader.sql").read_text(encoding="utf-8")
VIEWS = {f"earmark_v_{name}" for name in ("streams", "plays", "coverage", "music", "lag", "events")}
#: 256 characters in which nothing is as it should be.
ODD = "st/'\"; drop table stream; --$__timeFilter(at)${stream}$stream$1%s\\\n\t<b>𝄞 Ünïcødé\u202e".ljust(256, "§")
ORDINARY = "st-1A2B3C"
GAPS = (Gap(begin_s=100, end_s=112, reason="late"), Gap(begin_s=300, end_s=330, reason="origin_down"))
MUSIC = Music(stretches=(Stretch(begin_s=20, end_s=90), Stretch(begin_s=120, end_s=280)), heard_s=230)
LENGTH_S = 600.0
TRACKS = (
    samples.TRACK,
    Track(track_id="isrc:2", title="", artists=(), rights_holder="", duration_s=100),
    Track(track_id="isrc:3", title='D\'oh "$__x()"', artists=("Ünï",), rights_holder="O'Neill & Sons", duration_s=100, policy="block"),
)


@dataclass(frozen=True, kw_only=True)
class World:
    """A database in which things have happened, and when."""

    dsn: str
    pool: Pool
    #: When the last commits were.
    now: datetime

    def ask(self, dashboard: str, of: str, *, target: int = 0, stream: str = ORDINARY) -> list[dict[str, Any]]:
        """What a panel is shown of a stream, of the last hour."""
        query = panel(load(dashboard), of)["targets"][target]["rawSql"]
        return ask(self.dsn, query, role="earmark_reader", **self.filling(stream))

    def filling(self, stream: str) -> Mapping[str, Any]:
        return {"since": self.now - timedelta(hours=1), "until": self.now + timedelta(minutes=1), "stream": safe_name(stream)}

    def second(self, stream_s: float) -> datetime:
        """The wall clock of a second of the streams."""
        return self.now - timedelta(seconds=2 + LENGTH_S - stream_s)


def plays_of(stream_id: str) -> list[Play]:
    def play(track: Track, begin_s: float, length_s: float, **changes: Any) -> Play:
        return samples.play(track.track_id, begin_s=begin_s, length_s=length_s, hit_id=hit_id(stream_id, track.track_id, 10.0, begin_s, "ivs"), **changes)

    return [
        play(TRACKS[0], 130, 60, state="closed", revision=2),
        play(TRACKS[1], 170, 40, state="closed", revision=2, speed=1.03, pitch_cents=51.2, evidence_nats=31.5),
        play(TRACKS[2], 500, 90, speed=0.97, pitch_cents=0.0),
    ]


def session(pool: Pool, lease: Lease, now: datetime) -> None:
    """Ten minutes of a stream, two gaps, three plays, one of them on: by the daemon's own ledger."""
    ledger = Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(*TRACKS),
        results=Results(bucket="results", prefix="eu/"),
        alerts=Alerts(),
        nudge=lambda: None,
        now=lambda: now,
    )
    plays = plays_of(lease.stream.stream_id)
    clock = now - timedelta(seconds=2)
    checkpoint = samples.checkpoint(LENGTH_S, gaps=GAPS, music=MUSIC, plays=(plays[-1],), clock=clock)
    ledger.commit(checkpoint, plays)


def events(pool: Pool) -> None:
    """Two versions of workers; streams that are claimed, taken over, handed over, put aside, over."""
    Fleet(pool=pool, worker="w1", ttl_s=15, release="1.0").tell(sessions=0, room=True)
    Fleet(pool=pool, worker="w2", ttl_s=15, release="2.0").tell(sessions=0, room=True)
    first, second = leases_of(pool, "w1"), leases_of(pool, "w2", ttl_s=3600)
    want(pool, ORDINARY, ODD, "st-over", "st-set-aside", channel_name="late-night")
    taken = {lease.stream.stream_id: lease for lease in first.claim(10)}
    assert len(taken) == 4
    assert first.release(taken["st-over"], Ended("stream_end"))
    assert first.release(taken["st-set-aside"], Failed("GET https://me:pw@origin.example/live.m3u8?token=s3cr3t-1 failed, password=hunter2"))
    run(pool, "update stream set state = 'quarantined' where stream_id = 'st-set-aside'")
    run(pool, "update stream set lease_until = now() - interval '1 s' where owner is not null")
    again = {lease.stream.stream_id: lease for lease in second.claim(10)}
    assert set(again) == {ORDINARY, ODD}
    assert second.release(again[ORDINARY], HandedOver())
    want(pool, "st-waits", "canary:1")
    run(pool, "update stream set wanted_at = now() - interval '2 minutes', not_before = now() - interval '2 minutes' where stream_id = 'st-waits'")


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[World]:
    name = "test_dashboard_views"
    create_database(postgres_server, name, template=request.getfixturevalue("_template"))
    dsn = database_dsn(postgres_server, name)
    with psycopg.connect(dsn) as connection:
        connection.execute(READER.encode())
        connection.execute(READER.encode())
    with pool_of(dsn) as pool:
        events(pool)
        now = datetime.now(UTC)
        for lease in (*leases_of(pool, "w3", ttl_s=3600).claim(1, but_not=["st-waits", "canary:1"]), _held(pool, ODD)):
            session(pool, lease, now)
        run(
            pool,
            """insert into kept_block (stream_id, begin_s, frames, fingerprint_version, sketch, peaks, begin_at, kept_at)
               values (%s, 0, 8192, 2, '', '', %s, %s)""",
            *(ORDINARY, now - timedelta(seconds=602), now - timedelta(seconds=602 - 262.144 - 7.5)),
        )
        yield World(dsn=dsn, pool=pool, now=now)
        run(pool, "drop owned by earmark_reader")
    drop_database(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("drop role if exists earmark_reader")


def _held(pool: Pool, stream_id: str) -> Lease:
    (row,) = rows(pool, "select owner, fencing from stream where stream_id = %s", stream_id)
    return Lease(stream=samples.Stream(stream_id=stream_id, source="ivs"), owner=row["owner"], fencing=row["fencing"], checkpoint=Checkpoint())


# ---------------------------------------------------------------------------------------------- every query, and what it gives

#: By what asks for it; what several dashboards ask is asked once.
EVERY = {text: f"{name}: {of}" for name in NAMES for of, text in queries(load(name)).items()}


@pytest.mark.parametrize("stream", [ORDINARY, ODD], ids=["ordinary", "odd"])
def test_every_query_has_rows_whatever_the_stream_is_called(world: World, stream: str) -> None:
    with asking(world.dsn, role="earmark_reader") as connection:
        assert [of for text, of in EVERY.items() if not connection.execute(filled_in_sql(text, **world.filling(stream)).encode()).fetchall()] == []


def test_no_query_fails_for_a_stream_that_is_not_there_or_in_an_empty_database(world: World, dsn: str) -> None:
    def shown(connection: psycopg.Connection[Any], text: str, stream: str) -> bool:
        found = connection.execute(filled_in_sql(text, **{**world.filling(""), "stream": stream}).encode()).fetchall()
        return any(any(row.values()) for row in found)

    with asking(world.dsn) as full, asking(dsn) as empty:
        for stream in ("", "no such stream", "'; select 1; --", ODD.replace("$", "")):
            assert [of for text, of in EVERY.items() if shown(empty, text, stream)] == []
            assert [of for text, of in EVERY.items() if "'$stream'" in text and shown(full, text, stream)] == []


def test_the_fleet_lists_first_what_somebody_should_look_at(world: World) -> None:
    listed = world.ask("fleet", "Streams, those to look at first")
    assert [row["stream_id"] for row in listed][:2] == ["st-set-aside", "st-waits"]
    assert {row["stream_id"] for row in listed} == {"st-set-aside", "st-waits", ORDINARY, ODD}, "neither canaries nor what is over"
    by_id = {row["stream_id"]: row for row in listed}
    heard = by_id[ORDINARY]
    assert (heard["state"], heard["worker"], heard["channel_name"]) == ("running", "w3", "late-night")
    assert heard["lag_s"] == pytest.approx(2, abs=1.5)
    assert heard["heard_ratio"] == pytest.approx(558 / 600)
    assert heard["playing"] == 'Ünï – D\'oh "$__x()"'
    assert (heard["unowned_s"], by_id["st-waits"]["unowned_s"]) == (None, pytest.approx(120, abs=60))
    assert (heard["s3_bucket"], heard["s3_prefix"]) == ("results", f"eu/{ORDINARY}/")
    assert by_id[ODD]["s3_prefix"] == f"eu/{safe_name(ODD)}/"
    error = by_id["st-set-aside"]["last_error"]
    assert error == "GET https://**********@origin.example/live.m3u8?********** failed, password=**********"


@pytest.mark.parametrize("stream", [ORDINARY, ODD], ids=["ordinary", "odd"])
def test_a_streams_timeline_is_what_was_put_on_record(world: World, stream: str) -> None:
    heard, sounds, workers = (world.ask("stream", "Heard, or why not; what it sounds like; who listens", target=n, stream=stream) for n in range(3))
    marks = [(0, "heard"), (100, "late"), (112, "heard"), (300, "origin_down"), (330, "heard"), (600, None)]
    assert [(row["time"], row["media"]) for row in heard] == [(_about(world.second(s)), what) for s, what in marks]
    marks = [(20, "music"), (90, "no music"), (120, "music"), (280, "no music"), (600, None)]
    assert [(row["time"], row["sounds"]) for row in sounds] == [(_about(world.second(s)), what) for s, what in marks]
    assert [row["worker"] for row in workers] == ["w1", "w2", "w3"] if stream == ORDINARY else ["w1", "w2"]
    on = world.ask("stream", "Plays", stream=stream)
    first, last = "The Example Five, Ada Sample – Blue Sky Morning", 'Ünï – D\'oh "$__x()"'
    marks = [(130, first), (170, f"{first} + isrc:2"), (190, "isrc:2"), (210, None), (500, last), (590, None)]
    assert [(row["time"], row["plays"]) for row in on] == [(_about(world.second(s)), what) for s, what in marks]


def test_a_streams_numbers_and_lists_are_what_was_put_on_record(world: World) -> None:
    def one(title: str) -> Any:
        ((value,),) = (row.values() for row in world.ask("stream", title))
        return value

    assert (one("State"), one("Listened to by"), one("Plays so far"), one("Changed hands"), one("Music")) == ("running", "w3", 3, 2, 230)
    assert one("Heard") == pytest.approx(558 / 600)
    (about,) = world.ask("stream", "About it")
    assert rows(world.pool, "select trace_id from stream where stream_id = %s", ORDINARY) == [{"trace_id": about["trace_id"]}]
    plays = world.ask("stream", "Plays, newest first")
    assert [row["track_id"] for row in plays] == ["isrc:3", "isrc:2", samples.TRACK.track_id]
    blocked, quoted, plain = plays
    assert (blocked["action"], blocked["dry_run"], blocked["rights_holder"], blocked["state"]) == ("block", True, "O'Neill & Sons", "open")
    assert (blocked["transform"], quoted["transform"], plain["transform"]) == ("other speed, same pitch", "other speed", "as recorded")
    assert (plain["evidence_nats"], plain["false_alarms_per_hour"], plain["length_s"]) == (88.2, 1e-7, 60)
    assert (plain["began_at"], plain["ended_at"]) == (_about(world.second(130)), _about(world.second(190)))
    assert plain["latency_s"] == pytest.approx(602 - 130)
    assert (plain["s3_bucket"], plain["s3_key"]) == ("results", f"eu/{ORDINARY}/hits/{plain['hit_id']}.json")
    gaps = world.ask("stream", "Gaps, newest first")
    assert [(row["reason"], row["length_s"], row["begin_s"]) for row in gaps] == [("origin_down", 30, 300), ("late", 12, 100)]
    lag = {row["metric"]: row["value"] for row in world.ask("stream", "Behind its own clock")}
    assert lag == {"kept": pytest.approx(7.5), "hit": pytest.approx(602 - 506, abs=1.5), "now": pytest.approx(2, abs=1.5)}
    assert [row["kind"] for row in world.ask("stream", "What happened, newest first") if row["kind"] != "hit"] == ["handover", "takeover", "claimed"]


def test_annotations_are_deploys_takeovers_and_hits(world: World) -> None:
    def said(dashboard: str, name: str) -> list[str]:
        return [row["text"] for row in ask(world.dsn, queries(load(dashboard))[f"annotation {name}"], role="earmark_reader", **world.filling(ORDINARY))]

    assert said("fleet", "Deploys") == ["version 1.0: first worker w1", "version 2.0: first worker w2"]
    assert sorted(said("fleet", "Takeovers")) == ["1 stream: quarantine, from w1", "2 streams: takeover, from w1"]
    assert said("fleet", "Hits") == ["6 plays told"]
    assert said("stream", "Takeovers") == ["takeover: w2 after w1"]
    assert set(said("stream", "Hits")) == {"isrc:2: track", 'Ünï – D\'oh "$__x()": block', "The Example Five, Ada Sample – Blue Sky Morning: track"}


def test_hearing_shows_scores_transforms_actions_and_holders(world: World) -> None:
    assert sorted(row["evidence_nats"] for row in world.ask("hearing", "Evidence of plays")) == [31.5] * 2 + [88.2] * 4
    assert {row["transform"]: row["plays"] for row in world.ask("hearing", "How recordings were played")} == {
        "as recorded": 2,
        "other speed": 2,
        "other speed, same pitch": 2,
    }
    assert {row["action"]: row["plays"] for row in world.ask("hearing", "What their owners want")} == {"track": 4, "block": 2}
    assert {row["holder"] for row in world.ask("hearing", "Whose they are")} == {"O'Neill & Sons", "not said", "Paper Boat Rights Ltd"}
    assert [row["evidence_nats"] for row in world.ask("hearing", "Plays that are least sure")][:2] == [31.5, 31.5]


def test_of_very_many_gaps_the_newest_are_drawn(pool: Pool, dsn: str) -> None:
    want(pool, ORDINARY)
    now = datetime.now(UTC)
    gaps = tuple(Gap(begin_s=2.0 * n, end_s=2.0 * n + 1, reason="segment_missing") for n in range(3000))
    run(pool, "update stream set checkpoint = %s::jsonb where stream_id = %s", samples.checkpoint(6000.0, gaps=gaps, clock=now).to_json(), ORDINARY)
    filling = {"since": now - timedelta(hours=2), "until": now, "stream": ORDINARY}
    (drawn, listed) = (ask(dsn, panel(load("stream"), title)["targets"][0]["rawSql"], **filling) for title in ("Gaps", "Gaps, newest first"))
    assert (len(drawn), drawn[-1]["time"], len(listed), listed[0]["begin_s"]) == (2000, _about(now - timedelta(seconds=2)), 500, 5998)
    media = ask(dsn, panel(load("stream"), "Heard, or why not; what it sounds like; who listens")["targets"][0]["rawSql"], **filling)
    assert (len(media), media[-1]["media"], media[-2]["media"]) == (2000, None, "heard")


def test_the_variable_offers_streams_by_channel_and_id_and_asks_by_what_is_no_macro(world: World) -> None:
    offered = {row["__text"]: row["__value"] for row in ask(world.dsn, queries(load("stream"))["variable stream"], role="earmark_reader", **world.filling(""))}
    assert offered[f"late-night · {ODD}"] == safe_name(ODD)
    assert offered[f"late-night · {ORDINARY}"] == ORDINARY, "an id that is a file name is typed as it is"
    assert "late-night · st-over" in offered
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]+", key) for key in offered.values())
    with pytest.raises(AssertionError, match="unknown macro"):
        filled_in_sql("select '$stream'", **{**world.filling(""), "stream": "$__x()"})


# ---------------------------------------------------------------------------------------------- the views


def test_the_lengths_of_a_streams_stretches_add_up(world: World) -> None:
    (sums,) = rows(
        world.pool,
        "select sum(length_s) as all_s, sum(length_s) filter (where heard) as heard_s, count(*) from earmark_v_coverage where stream_id = %s",
        ORDINARY,
    )
    assert sums == {"all_s": 600, "heard_s": 558, "count": 5}


def test_one_row_that_cannot_be_read_hides_no_other(pool: Pool) -> None:
    """Of another version of the daemon, say: what is odd about it is left out."""
    want(pool, "st-fine", "st-odd")
    odd = {"position_s": 5, "heard_s": 5, "clock": "soon", "music": [1], "plays": {}, "fetched_bytes": "many", "last_error": [], "rendition": None}
    run(pool, "update stream set checkpoint = %s::jsonb where stream_id = 'st-odd'", json.dumps(odd))
    for view in sorted(VIEWS):
        rows(pool, f"select * from {view}")
    assert rows(pool, "select heard_s, lag_s, music_s, playing from earmark_v_streams where stream_id = 'st-odd'") == [
        {"heard_s": 5, "lag_s": None, "music_s": None, "playing": None}
    ]
    assert len(rows(pool, "select * from earmark_v_streams")) == 2


def test_every_view_and_column_says_what_it_is_and_numbers_their_unit(world: World) -> None:
    columns = rows(
        world.pool,
        """select c.relname as view, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
                  col_description(c.oid, a.attnum) as says, obj_description(c.oid) as of
             from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relname like 'earmark\\_v\\_%%' and a.attnum > 0""",
    )
    assert {column["view"] for column in columns} == VIEWS
    assert [column for column in columns if not column["says"] or not column["of"]] == []
    units = ("_s", "_nats", "_per_hour", "_cents", "_ratio", "_bytes", "_bps")
    assert [column["name"] for column in columns if column["type"] in ("double precision", "numeric", "real") and not column["name"].endswith(units)] == []


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300))
@example("")
@example(ODD)
@example("canary:1")
@example("a" * 128)
@example("a" * 129)
@example(".hidden")
@example("trailing\n")
@example("--")
def test_a_stream_is_asked_for_by_the_name_of_its_folder(world: World, name: str) -> None:
    assert rows(world.pool, "select earmark_safe_name(%s) as key", name) == [{"key": safe_name(name)}]


def test_the_reader_reads_the_views_and_nothing_else(world: World) -> None:
    with psycopg.connect(world.dsn) as connection:
        connection.execute("set session authorization earmark_reader")
        readable = connection.execute(
            """select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'S', 'p', 'f')
                 and (has_any_column_privilege(c.oid, 'select, insert, update, references')
                      or (c.relkind <> 'S' and has_table_privilege(c.oid, 'delete, truncate, trigger'))
                      or (c.relkind = 'S' and has_sequence_privilege(c.oid, 'usage, select, update')))"""
        ).fetchall()
        assert {name for (name,) in readable} == VIEWS
        writes = connection.execute("select bool_or(has_any_column_privilege(c, 'insert, update') ) from unnest(%s::text[]) c", [sorted(VIEWS)]).fetchone()
        assert writes == (False,)
    for refused in ("select url from stream", "select digest from api_token", "select last_error from outbox", "create table mine (a int)"):
        with psycopg.connect(world.dsn) as connection:
            connection.execute("set session authorization earmark_reader")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_what_happened_to_a_stream_goes_with_it_and_what_is_kept_is_bounded(pool: Pool) -> None:
    want(pool, "st-1")
    (lease,) = leases_of(pool, "w1").claim(1)
    leases_of(pool, "w1").release(lease, Ended("stream_end"))
    assert [row["kind"] for row in rows(pool, "select kind from earmark_v_events order by at")] == ["claimed", "ended"]
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now()")
    forget(pool, "st-1", results=None)
    assert rows(pool, "select * from fleet_event") == []
    run(pool, "insert into fleet_event (event_no, kind) overriding system value values (1, 'deploy'), (2, 'deploy'), (100999, 'deploy'), (101000, 'deploy')")
    assert [row["event_no"] for row in rows(pool, "select event_no from fleet_event order by 1")] == [100_999, 101_000]


def test_a_deploy_is_the_first_worker_of_another_version(pool: Pool) -> None:
    def come(worker: str, release: str) -> None:
        Fleet(pool=pool, worker=worker, ttl_s=15, release=release).tell(sessions=0, room=True)

    def deploys() -> list[str]:
        return [row["version"] for row in rows(pool, "select version from fleet_event order by event_no")]

    for worker, release in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"), ("a2", "1"), ("a", "1")):
        come(worker, release)
    assert deploys() == ["1", "2"]
    run(pool, "update worker set seen_at = now() - interval '5 minutes' where version = '1'")
    come("e", "1")
    assert deploys() == ["1", "2", "1"], "what was gone and comes again is a deploy, too: back to the version before"
    come("f", "")
    assert deploys() == ["1", "2", "1"], "a worker of before says no version"


def test_positions_and_renewals_ask_no_trigger(pool: Pool) -> None:
    """They are a statement a second for all streams; only claims and failures are told."""
    want(pool, "st-1")
    leases = leases_of(pool, "w1")
    (lease,) = leases.claim(1)
    leases.renew()
    session(pool, lease, datetime.now(UTC))
    assert [row["kind"] for row in rows(pool, "select kind from fleet_event")] == ["claimed"]
    (definition,) = rows(pool, "select pg_get_triggerdef(oid) as text from pg_trigger where tgname = 'stream_changed_hands'")
    assert "UPDATE OF fencing, state" in definition["text"]


# ---------------------------------------------------------------------------------------------- ten thousand streams

COUNT = 10_000


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """Ten thousand streams that are on, each with gaps and a play, and as many that are over."""
    name = "test_dashboard_many"
    create_database(postgres_server, name, template=request.getfixturevalue("_template"))
    dsn = database_dsn(postgres_server, name)
    now = datetime.now(UTC)
    gaps = tuple(Gap(begin_s=10.0 * n, end_s=10.0 * n + 1, reason="late") for n in range(4))
    checkpoint = samples.checkpoint(LENGTH_S, gaps=gaps, music=MUSIC, plays=(samples.play(),), clock=now)
    hit = samples.hit(samples.play())
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            insert into stream (stream_id, source, channel_name, wanted_at, state, owner, lease_until, claimed_at, heard_at, fencing, checkpoint, ended_at)
            select 'st-' || n, 'ivs', 'channel ' || n, now(), case when n <= %(on)s then 'running' else 'ended' end,
                   case when n <= %(on)s then 'w' || n %% 40 end, case when n <= %(on)s then now() + interval '1 hour' end,
                   now(), now() - n * interval '1 ms', 1,
                   case when n <= %(on)s then jsonb_set(%(checkpoint)s::jsonb, '{plays,0,hit_id}', to_jsonb('hit-' || n)) end,
                   case when n > %(on)s then now() - n * interval '1 minute' end
              from generate_series(1, 2 * %(on)s) n""",
            {"on": COUNT, "checkpoint": checkpoint.to_json()},
        )
        connection.execute(
            """
            insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing, opened_at)
            select 'hit-' || n, 'st-' || n, 't', 1, 'open', 100, 130, %(body)s::jsonb, 1, now() - n * interval '30 s' from generate_series(1, 2 * %(on)s) n""",
            {"on": COUNT, "body": json.dumps(hit)},
        )
        connection.execute(
            """
            insert into fleet_event (kind, stream_id, worker, at)
            select 'claimed', 'st-' || n, 'w1', now() - n * interval '10 s' from generate_series(1, 2 * %s) n""",
            [COUNT],
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("analyze")
    yield dsn
    drop_database(postgres_server, name)


def plan(dsn: str, text: str, filling: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    with psycopg.connect(dsn) as connection:
        began = time.perf_counter()
        row = connection.execute(f"explain (analyze, buffers, format json) {filled_in_sql(text, **filling)}".encode()).fetchone()
        took_s = time.perf_counter() - began
    assert row
    return row[0][0]["Plan"], took_s


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def test_among_ten_thousand_streams_no_query_reads_what_it_does_not_show(many: str) -> None:
    now = datetime.now(UTC)
    for text, of in EVERY.items():
        whole, took_s = plan(many, text, {"since": now - timedelta(hours=3), "until": now, "stream": "st-77"})
        scanned = {node["Relation Name"] for node in _nodes(whole) if node["Node Type"] == "Seq Scan"}
        pages = whole["Shared Hit Blocks"] + whole["Shared Read Blocks"]
        print(f"{took_s * 1000:8.1f} ms {pages:8} pages  {of}")  # noqa: T201 -- with -s
        assert took_s < 5, f"{of}: {took_s:.2f} s"
        if "'$stream'" in text:
            assert scanned & {"stream", "play", "fleet_event"} == set(), f"{of}: one stream is found by an index"
            assert pages < 500, of


def _about(moment: datetime) -> Any:
    """The database keeps microseconds, and seconds of streams are floats."""

    class About:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, datetime) and abs((other - moment).total_seconds()) < 0.01

        def __hash__(self) -> int:
            return hash(moment)

        def __repr__(self) -> str:
            return f"about {moment}"

    return About()
