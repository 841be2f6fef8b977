"""`earmark db status`, what the daemon exports of the catalogue, and the slowest look-ups: read from a real database."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from earmark.cli import main
from earmark.errors import DatabaseUnavailable
from earmark.index import catalogue as catalogue_module
from earmark.index import statistics, stops, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.index.lookups import Turn
from earmark.index.slowest import Slowest
from earmark.index.statistics import Glances, Replication, SlowLookUp
from earmark.keeping import Keeping
from earmark.model import Lookup, Peaks
from earmark.postgres import Pool, migrate, shipped, transaction
from earmark.telemetry import Metrics
from index_catalogue import open_pool, peaks, recording
from postgres_servers import server, standby, until

NEWEST = shipped()[-1].number
NOT_OF_THE_CATALOGUE = {
    *("inbox", "medialive_channel", "outbox", "play", "recording", "schema_migration", "stream", "sweep"),
    "action",
    *("added_stream", "api_token", "upload", "checked_file", "catalogue_object", "catalogue_said", "kept_block", "kept_group", "standing_by", "track_profile"),
    *("canary_round", "fan_out", "fleet_event", "track_format", "worker"),
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def tracks(pool: Pool) -> Tracks:
    return Tracks(pool=pool)


def one(pool: Pool, query: str) -> int:
    with transaction(pool) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def everything(pool: Pool) -> None:
    upkeep.upkeep(pool, extent="everything")


# ------------------------------------------------------------------------------------------------ statistics


def test_of_an_empty_catalogue(pool: Pool) -> None:
    found = statistics.read(pool)
    assert (found.tracks, found.hours, found.postings) == (0, 0, 0)
    assert (found.fresh.docs, found.runs.number, dict(found.runs.kinds), found.merge) == (0, 0, {}, None)
    assert (found.bytes_per_recording, found.bytes_per_posting, found.fingerprint_version, found.hash_bits) == (None, None, None, None)
    assert found.slow_look_ups == ()


def test_what_is_fresh_what_is_in_runs_and_what_they_were_made_of(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [recording(str(n), peaks(n, 300 if n == 0 else 30)) for n in range(4)]
    tracks.add(made[:1])
    everything(pool)
    with monkeypatch.context() as bulk:
        bulk.setattr(catalogue_module, "BULK_POSTINGS", 1)
        tracks.add(made[1:2])
    tracks.add(made[2:])
    found = statistics.read(pool)
    each = [len(each.postings) for each in made]
    assert found.tracks == 4
    assert found.hours == pytest.approx((300 + 3 * 30) / 3_600, rel=0.01)
    assert found.postings == sum(each)
    assert (found.fresh.docs, found.fresh.postings) == (2, each[2] + each[3])
    assert (found.runs.number, found.runs.postings, found.runs.largest) == (2, each[0] + each[1], each[0])
    assert found.runs.kinds == {"bulk": 1, "pack": 1}
    assert (found.retired_postings, found.stop_list.postings_left_out) == (0, 0)
    assert (found.fingerprint_version, found.hash_bits) == (2, 31)


def test_what_was_replaced_or_removed_counts_as_retired_until_it_is_merged_away(pool: Pool, tracks: Tracks) -> None:
    made = {name: recording(name, peaks(n, 30)) for n, name in enumerate("abc")}
    tracks.add(list(made.values()))
    everything(pool)
    tracks.remove("a")
    tracks.add([recording("b", peaks(9, 30), content=b"again")])
    found = statistics.read(pool)
    assert found.retired_postings == len(made["a"].postings) + len(made["b"].postings)
    assert found.stop_list.postings_left_out == 0
    with transaction(pool) as connection:  # a minute goes by, for readers that lag
        connection.execute("update doc set retired_at = retired_at - interval '61 s'")
        connection.execute("update run set built_at = built_at - interval '61 s'")
    everything(pool)
    found = statistics.read(pool)
    assert (found.retired_postings, found.tracks, found.runs.postings) == (0, 2, found.postings)


def test_a_doc_that_was_never_in_a_run_is_not_retired_from_one(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 30)), recording("b", peaks(2, 30))])
    tracks.remove("a")
    assert statistics.read(pool).retired_postings == 0
    assert statistics.read(pool).fresh.docs == 1


def test_a_merge_under_way_says_how_far_it_is(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as alone:
        alone.setattr(upkeep, "_begin", lambda *_: None)
        for n in range(2):
            tracks.add([recording(str(n), peaks(n, 30))])
            everything(pool)
    monkeypatch.setattr(upkeep, "_end_of_slice", lambda begin, _: begin + (1 << 29))
    done = []
    while upkeep.step(pool, extent="everything"):
        merge = statistics.read(pool).merge
        done.append(merge and (merge.runs, merge.done))
    assert done == [(2, 0.25), (2, 0.5), (2, 0.75), None]


def test_what_the_stop_list_left_out_is_known_after_merges_too(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", 2)
    monkeypatch.setattr(stops, "_MARGIN", 0.0)
    common = peaks(1, 20)
    for n in range(3):
        tracks.add([recording(f"{n} {k}", common) for k in range(3)])
        everything(pool)
    found = statistics.read(pool)
    assert found.stop_list.hashes == Index(pool=pool).open().stop_list.size > 0
    assert found.runs.number == 1
    assert found.stop_list.postings_left_out == found.postings - found.runs.postings > 0


def test_bytes_add_up_to_what_the_tables_take(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording(str(n), peaks(n, 300)) for n in range(4)])
    everything(pool)
    found = statistics.read(pool)
    sizes = "select sum(pg_total_relation_size(t::regclass)) from unnest('{%s}'::text[]) t"
    assert found.disk["postings"].total == one(pool, sizes % "run,block,fresh")
    assert found.disk["constellations"].total == one(pool, sizes % "doc")
    assert found.disk["constellations"].toast >= 4 * 4 * 300 * 33 > found.disk["constellations"].tables
    assert found.bytes == sum(disk.total for disk in found.disk.values())
    assert found.bytes_per_recording == found.bytes / 4
    assert found.bytes_per_posting == found.disk["postings"].total / found.postings
    # Every table of the schema's is in one part, or is not the catalogue's.
    with transaction(pool) as connection:
        tables = {name for (name,) in connection.execute("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")}
    assert tables - {table for of_part in statistics._TABLES.values() for table in of_part} == NOT_OF_THE_CATALOGUE


def test_what_was_in_memory_when_it_was_asked_for(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 30))])
    everything(pool)
    with transaction(pool) as connection:
        connection.execute("select pg_stat_force_next_flush(), pg_stat_reset()")
    assert statistics.read(pool).cache.block is None
    with transaction(pool) as connection:
        connection.execute("select count(posting), pg_stat_force_next_flush() from block")
    cache = statistics.read(pool).cache
    assert cache.block is not None
    assert 0 < cache.block <= 1


# ------------------------------------------------------------------------------------------------ every minute


def test_a_glance_says_what_the_statistics_say(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    glances = Glances(pool=pool)
    empty = glances.look()
    assert (empty.runs, empty.merge_done, empty.replication) == (0, 1.0, Replication(standby=False, lag_s=None))
    with monkeypatch.context() as alone:
        alone.setattr(upkeep, "_begin", lambda *_: None)
        for n in range(2):
            tracks.add([recording(str(n), peaks(n, 30))])
            everything(pool)
    monkeypatch.setattr(upkeep, "_end_of_slice", lambda begin, _: begin + (1 << 29))
    upkeep.step(pool, extent="everything")
    seen, found = glances.look(), statistics.read(pool)
    assert (seen.runs, seen.merge_done) == (3, 0.25)
    assert seen.bytes == {part: disk.total for part, disk in found.disk.items()}


def test_a_glance_counts_the_pages_since_the_one_before(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = iter([(90, 100), (90, 100), (95, 110), (3, 4)])  # the last ones began anew
    monkeypatch.setattr(statistics, "_pages", lambda _: {"all": next(counters)})
    glances = Glances(pool=pool)
    assert [glances.look().cache_hits for _ in range(4)] == [0.9, None, 0.5, 0.75]


def test_the_daemon_exports_a_glance_and_writes_down_the_slowest_look_up(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 30))])
    everything(pool)
    metrics = Metrics.build()
    keeping = keeping_of(pool, metrics)
    keeping.looked_up(TURN)
    keeping._watch()
    value = metrics.registry.get_sample_value
    assert value("earmark_catalogue_runs") == 1
    assert value("earmark_catalogue_bytes", {"part": "postings"}) == statistics.read(pool).disk["postings"].total
    assert [slow.worker for slow in statistics.read(pool).slow_look_ups] == ["w"]


@pytest.mark.parametrize("away", ["the primary", "the reader"])
def test_a_daemon_whose_database_is_away_does_the_rest_and_looks_again_later(pool: Pool, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    metrics = Metrics.build()
    keeping = keeping_of(pool, metrics)
    keeping.looked_up(TURN)

    def told() -> tuple[bool, int]:
        bytes_ = metrics.registry.get_sample_value("earmark_catalogue_bytes", {"part": "postings"})
        return bool(bytes_), len(statistics.read(pool).slow_look_ups)

    with monkeypatch.context() as patch:
        patch.setattr(*(Slowest, "write") if away == "the primary" else (Glances, "look"), unavailable)
        keeping._watch()
    assert told() == ((True, 0) if away == "the primary" else (False, 1))
    keeping._watch()
    assert told() == (True, 1)


def keeping_of(pool: Pool, metrics: Metrics) -> Keeping:
    return Keeping(pool=pool, reading=pool, worker="w", share_max=1, metrics=metrics, stop=threading.Event())


def unavailable(*_: object) -> None:
    raise DatabaseUnavailable("it is away")


def test_a_process_knows_what_it_holds_and_how_old_that_is(pool: Pool, tracks: Tracks) -> None:
    now = [1_000.0]
    index = Index(pool=pool, clock=lambda: now[0])
    assert index.seen_s_ago == float("inf")
    made = recording("a", peaks(1, 30))
    tracks.add([made])
    index.open()
    now[0] += 7
    assert index.seen_s_ago == 7
    assert index.fresh_postings == len(made.postings)


# ------------------------------------------------------------------------------------------------ slow look-ups

TURN = Turn(questions=2, hashes=300, stopped=4, postings=5_000, seconds=0.5)


def slow(pool: Pool) -> list[SlowLookUp]:
    return sorted(statistics.read(pool).slow_look_ups, key=lambda slow: (slow.worker, slow.at))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_the_slowest_of_each_hour_and_worker_is_on_record(pool: Pool) -> None:
    clock = Clock()
    one, other = Slowest(worker="one", clock=clock), Slowest(worker="other", clock=clock)
    for minutes, seconds in ((1, 0.3), (2, 0.5), (3, 0.4), (61, 0.25)):
        clock.now = NOON + timedelta(minutes=minutes)
        one.observe(replace(TURN, seconds=seconds))
    other.observe(replace(TURN, seconds=0.02))
    one.write(pool)
    other.write(pool)
    assert slow(pool) == [
        SlowLookUp(worker="one", at=NOON + timedelta(minutes=2), seconds=0.5, hashes=300, postings=5_000),
        SlowLookUp(worker="one", at=NOON + timedelta(minutes=61), seconds=0.25, hashes=300, postings=5_000),
        SlowLookUp(worker="other", at=NOON + timedelta(minutes=61), seconds=pytest.approx(0.02), hashes=300, postings=5_000),
    ]
    assert [each.seconds for each in statistics.read(pool).slow_look_ups] == sorted((each.seconds for each in slow(pool)), reverse=True)


def test_only_what_is_slower_is_written_again(pool: Pool) -> None:
    clock = Clock()
    slowest = Slowest(worker="w", clock=clock)
    slowest.observe(TURN)
    slowest.write(pool)
    assert one(pool, "with gone as (delete from slow_look_up returning 1) select count(*) from gone") == 1
    slowest.observe(replace(TURN, seconds=0.4))
    slowest.write(pool)
    assert slow(pool) == []
    slowest.observe(replace(TURN, seconds=0.625))
    slowest.write(pool)
    assert [each.seconds for each in slow(pool)] == [0.625]
    again = Slowest(worker="w", clock=clock)  # as after a restart under the same name
    again.observe(replace(TURN, seconds=0.5))
    again.write(pool)
    assert [each.seconds for each in slow(pool)] == [0.625]


def test_what_is_fast_is_not_on_record(pool: Pool) -> None:
    slowest = Slowest(worker="w")
    slowest.observe(replace(TURN, seconds=0.019))
    slowest.write(pool)
    assert slow(pool) == []


def test_what_could_not_be_written_is_written_the_next_time(pool: Pool, dsn: str) -> None:
    slowest = Slowest(worker="w", clock=Clock())
    slowest.observe(TURN)
    with open_pool(dsn, pool_max=2, statement_timeout_s=0.05) as impatient, psycopg.connect(dsn) as blocker:
        blocker.execute("lock table slow_look_up")
        with pytest.raises(DatabaseUnavailable):
            slowest.write(impatient)
    slowest.write(pool)
    assert len(slow(pool)) == 1


def test_turns_of_an_index_are_observed(pool: Pool, tracks: Tracks) -> None:
    made = recording("a", peaks(1, 30))
    tracks.add([made])
    turns: list[Turn] = []
    Index(pool=pool, observe=turns.append).open().answer(Lookup(hashes=made.postings.hash[:100], postings_max=1_000))
    assert [(turn.questions, turn.stopped) for turn in turns] == [(1, 0)]
    assert turns[0].postings >= 100


# ------------------------------------------------------------------------------------------------ replication


def test_a_standby_says_how_far_behind_it_is() -> None:
    with server() as primary, standby(primary) as follower:
        migrate(primary.dsn)
        with open_pool(primary.dsn) as there, open_pool(follower.dsn) as here:
            Tracks(pool=there).add([recording("a", peaks(1, 20)), recording("silent", Peaks.none())])
            everything(there)
            follower.catch_up()
            assert statistics.replication(there) == Replication(standby=False, lag_s=None)
            # A server writes of its own accord, too: what it sent a moment ago may not be replayed yet.
            until(lambda: statistics.replication(here) == Replication(standby=True, lag_s=0), "a standby to be where its primary is")
            found = statistics.read(here)
            assert (found.tracks, found.replication.standby, Glances(pool=here).look().runs) == (2, True, 1)
            follower.pause()
            Tracks(pool=there).remove("silent")
            received(there, here)
            lag_s = statistics.replication(here).lag_s
            assert lag_s is not None
            assert lag_s > 0
            follower.catch_up()
            primary.stop()  # all that was received is replayed, and yet nobody knows how far behind this is
            gone(here)
            lag_s = statistics.replication(here).lag_s
            assert lag_s is not None
            assert lag_s > 0


def test_a_standby_of_auroras_is_asked_in_its_own_way() -> None:
    """It refuses to be asked for WAL positions; here its functions are made up."""
    with server() as primary, standby(primary) as follower:
        migrate(primary.dsn)
        with open_pool(primary.dsn) as there, open_pool(follower.dsn) as here:
            with transaction(there) as connection:
                connection.execute("create function aurora_db_instance_identifier() returns text language sql as $$ select 'me' $$")
                connection.execute(
                    "create function aurora_replica_status(out server_id text, out replica_lag_in_msec float) returns setof record language sql "
                    "as $$ values ('writer', null::float), ('me', 125), ('another', 5000) $$"
                )
            follower.catch_up()
            assert statistics.replication(here) == Replication(standby=True, lag_s=0.125)


def received(there: Pool, here: Pool) -> None:
    target = one(there, "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
    until(lambda: one(here, "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')") >= target, "a standby to receive")


def gone(here: Pool) -> None:
    until(lambda: one(here, "select count(*) from pg_stat_wal_receiver") == 0, "a standby to notice that its primary is gone")


# ------------------------------------------------------------------------------------------------ the command

Run = Callable[..., str]


@pytest.fixture
def run(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def run(*words: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main(["db", "status", *words]) == 0
        return capsys.readouterr().out

    return run


def test_for_people_it_is_a_line_a_thing(pool: Pool, tracks: Tracks, run: Run) -> None:
    tracks.add([recording(str(n), peaks(n, 300)) for n in range(4)])
    everything(pool)
    tracks.remove("0")
    tracks.add([recording("fresh", peaks(9, 60))])
    slowest = Slowest(worker="worker-1", clock=Clock())
    slowest.observe(TURN)
    slowest.write(pool)
    lines = run().splitlines()
    expected = [
        rf"schema        {NEWEST:04d} \(this Earmark knows {NEWEST:04d}\)",
        r"fingerprint   version 2, 31-bit hashes, peaks in 1/8",
        r"recordings    4, 0\.27 h",
        r"postings      [\d,]+, of which [\d,]+ of 1 parts are not packed yet",
        r"runs          1 \(1 pack\), the largest with [\d,]+ postings",
        r"retired       [\d,]+ postings of what was replaced or removed wait to be merged away",
        r"stop list     0 hashes, 0 postings left out",
        r"on disk       SIZE, SIZE a recording, [\d.]+ bytes a posting",
        r"              postings SIZE: tables SIZE, indexes SIZE, TOAST SIZE",
        r"              constellations SIZE: tables SIZE, indexes SIZE, TOAST SIZE",
        r"              other SIZE: tables SIZE, indexes SIZE, TOAST SIZE",
        r"in memory     .*",
        r"slowest       0\.500 s at 2026-03-01 12:00:00 UTC: 300 hashes, 5,000 postings, worker-1",
        r"replication   this server is a primary",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern.replace("SIZE", r"\d+(\.\d [kM]B| bytes)"), line), (line, pattern)


def test_of_an_empty_catalogue_it_says_little(run: Run) -> None:
    lines = dict(line.split(maxsplit=1) for line in run().splitlines() if not line.startswith(" "))
    assert lines["fingerprint"] == "none yet, peaks in 1/8"
    assert lines["recordings"] == "0, 0.00 h"
    assert lines["runs"] == "none"
    assert lines["slowest"] == "no look-up of the last two days took 20 ms"


def test_for_programs_it_is_one_object(pool: Pool, tracks: Tracks, run: Run, dsn: str) -> None:
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    slowest = Slowest(worker="worker-1", clock=Clock())
    slowest.observe(TURN)
    slowest.write(pool)
    (line,) = run("--json", EARMARK_DATABASE__READ_DSN=dsn).splitlines()
    found = json.loads(line)
    assert found["schema"] == {"version": NEWEST, "daemon": NEWEST}
    assert (found["tracks"], found["runs"]["number"], found["runs"]["kinds"], found["merge"]) == (1, 1, {"pack": 1}, None)
    assert set(found["disk"]["postings"]) == {"tables", "indexes", "toast"}
    assert found["bytes"] == sum(sum(part.values()) for part in found["disk"].values())
    (slow_one,) = found["slow_look_ups"]
    assert datetime.fromisoformat(slow_one["at"]) == NOON
    assert found["replication"] == found["reader"] == {"standby": False, "lag_s": None}


def test_the_reader_is_told_of_where_there_is_one(dsn: str, run: Run) -> None:
    assert "reader" not in run()
    assert run(EARMARK_DATABASE__READ_DSN=dsn).splitlines()[-1] == "reader        this server is a primary"


def test_rows_of_runs_are_not_read_for_it_whatever_their_number(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    with transaction(pool) as connection:
        connection.execute("alter table block rename column posting to hidden; alter table fresh rename column postings to hidden")
    assert statistics.read(pool).tracks == 1
    assert Glances(pool=pool).look().runs == 1
