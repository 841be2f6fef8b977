"""A catalogue made anew for another version of the fingerprint, beside the one in use, and exchanged for it: with files, a database and another process."""

import re
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import psycopg
import pytest

from another_catalogue import ANY, Shelf, shares, shelf
from another_fingerprint import VERSION, Here, Other, working
from control_rows import rows, run
from earmark.api.problems import of_error
from earmark.cli import main
from earmark.errors import BadSettings, CatalogueMismatch, FingerprintMismatch, SchemaMismatch
from earmark.index import beside
from earmark.index.answers import Index
from earmark.index.beside import TABLES, Lacking
from earmark.index.catalogue import Recording
from earmark.ingest import ingest
from earmark.local.aws import AwsStandIn
from earmark.model import Answer, Fetch, Lookup, Passage, Track
from earmark.postgres import Pool
from earmark.reference import fingerprint_file
from earmark.refingerprint import Made, Refused, Unfinished
from earmark.settings import Settings
from earmark.standby import Standby
from earmark.stocking import sounds
from index_audio import notes, write_wav

OURS = 2
BUCKET = "earmark-media"


@pytest.fixture
def other() -> Iterator[Other]:
    process = Other()
    yield process
    process.end()


@pytest.fixture
def shelved(other: Other, dsn: str, tmp_path: Path) -> Iterator[Shelf]:
    """Of three recordings; forked before there are any threads."""
    with shelf(dsn, tmp_path) as made:
        yield made.add(a=1, b=2, c=3)


def made(other: Other, shelved: Shelf, dsn: str) -> Made:
    done = other("make", dsn=dsn, folders=[shelved.folder])
    assert isinstance(done, Made)
    return done


def version_of(pool: Pool) -> int:
    return int(rows(pool, "select fingerprint_version from catalogue_version")[0]["fingerprint_version"])


def schemas(pool: Pool) -> list[str]:
    return [row["nspname"] for row in rows(pool, "select nspname from pg_namespace where nspname like 'earmark%%' order by 1")]


def all_there(found: dict[str, float], *names: str) -> bool:
    assert set(found) == set(names)
    return all(share > 0.99 for share in found.values())


# ------------------------------------------------------------------------------------------------ there and back


def test_a_catalogue_is_made_anew_beside_the_one_in_use_exchanged_for_it_and_back(other: Other, shelved: Shelf, dsn: str) -> None:
    shelved.add(d=1)  # the same sound as `a`: its alias
    run(shelved.pool, "update track set title = 'Morning', policy = 'block' where track_id = 'b'")
    run(shelved.pool, "insert into track_profile (track_no, content_sha256) select track_no, content_sha256 from track on conflict do nothing")
    described = "select * from track order by track_no"
    before, tables = rows(shelved.pool, described), definitions(dsn)
    profiles = rows(shelved.pool, "select * from track_profile order by track_no")
    kin = rows(shelved.pool, "select track_no, of_no from track_alias order by 1")
    assert len(kin) == 1

    assert made(other, shelved, dsn) == Made(done=4)
    assert made(other, shelved, dsn) == Made(done=0)
    heard = {name: shelved.files[name] for name in "abc"}  # an alias has no postings
    assert all_there(shares(dsn, heard), *"abc")  # as long as it is not exchanged, nothing of it is seen
    left, without = other("exchange", dsn=dsn)
    assert (left.kind, left.version, without, version_of(shelved.pool)) == ("previous", OURS, [], VERSION)
    assert schemas(shelved.pool) == ["earmark_previous"]
    assert all_there(other("heard", dsn=dsn, files=heard), *"abc")
    with pytest.raises(FingerprintMismatch, match="holds fingerprints of version 3, and this Earmark makes version 2"):
        shares(dsn, heard)
    # Who they are, what is said of them, what refers to them and who is whose alias: all as it was, and so are the tables.
    of_sound = set(beside._OF_SOUND)
    assert [{k: v for k, v in row.items() if k not in of_sound} for row in rows(shelved.pool, described)] == [
        {k: v for k, v in row.items() if k not in of_sound} for row in before
    ]
    assert rows(shelved.pool, "select * from track_profile order by track_no") == profiles
    assert rows(shelved.pool, "select track_no, of_no from track_alias order by 1") == kin
    assert {row["fingerprint_version"] for row in rows(shelved.pool, described)} == {VERSION}
    assert definitions(dsn) == tables

    left, _ = other("exchange", dsn=dsn, kind="previous")
    assert (left.kind, left.version, version_of(shelved.pool)) == ("next", VERSION, OURS)
    assert rows(shelved.pool, described) == before
    assert definitions(dsn) == tables
    assert all_there(shares(dsn, heard), *"abc")
    assert other("drop", dsn=dsn).version == VERSION
    assert schemas(shelved.pool) == []


def definitions(dsn: str) -> list[tuple[Any, ...]]:
    """All that is to be said of the tables in use, but for the names of sequences."""
    with psycopg.connect(dsn) as connection:
        return [
            *connection.execute(
                """select c.relname, c.reloptions, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage,
                          pg_get_expr(d.adbin, d.adrelid), c.relacl::text
                     from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
                    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped order by 1, a.attnum"""
            ).fetchall(),
            *connection.execute("select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1").fetchall(),
            *connection.execute(
                """select conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated from pg_constraint
                    where connamespace = 'public'::regnamespace and contype <> 'n' order by 1, 2"""
            ).fetchall(),
            *connection.execute("select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal order by 1, 2").fetchall(),
        ]


def test_what_refers_to_a_sound_is_exchanged_and_what_refers_to_a_recording_stays(dsn: str) -> None:
    """A table that is new here has to be on one of the two sides: one that refers to docs, runs and their like changes places with them."""
    with psycopg.connect(dsn) as connection:
        referring = connection.execute(
            "select conrelid::regclass::text, confrelid::regclass::text from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace"
        ).fetchall()
        columns = connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'public' and column_name in ('doc_id', 'run_id')"
        ).fetchall()
        triggers = connection.execute("select tgrelid::regclass::text from pg_trigger where not tgisinternal").fetchall()
        kept = connection.execute("select attname from pg_attribute where attrelid = 'track'::regclass and attnum > 0 and not attisdropped").fetchall()
    assert {table for table, other in referring if other in TABLES} <= set(TABLES)
    assert {table for table, _ in columns} <= set(TABLES)
    assert not {table for (table,) in triggers} & set(TABLES)
    assert set(TABLES) < set(beside.LOCKED)
    assert set(beside._OF_SOUND) < {name for (name,) in kept}
    assert {name for (name,) in kept if re.search("fingerprint|peaks|compared|aligned", name)} <= set(beside._OF_SOUND)


# ------------------------------------------------------------------------------------------------ meanwhile


def test_what_others_do_meanwhile_is_caught_up_with(other: Other, shelved: Shelf, dsn: str) -> None:
    shelved.add(d=1)
    assert made(other, shelved, dsn).done == 4
    shelved.add(e=5, b=6, f=3)  # another one, another sound under an id that is there, an alias of `c`
    shelved.remove("a")  # so that its alias `d` is a recording of its own
    run(shelved.pool, "update track set track_id = 'g' where track_id = 'c'")
    shelved.files["g"] = shelved.files.pop("c")
    with pytest.raises(Unfinished, match=r"version 3 lacks 3 recordings \(.*\): run `earmark catalogue refingerprint` again, or leave them out"):
        other("exchange", dsn=dsn)
    assert version_of(shelved.pool) == OURS
    assert made(other, shelved, dsn).done == 3
    shelved.remove("e")  # what only has to be left out, the exchange leaves out
    other("exchange", dsn=dsn)
    assert all_there(other("heard", dsn=dsn, files={name: shelved.files[name] for name in "bdg"}), *"bdg")
    numbers = shelved.numbers()
    assert rows(shelved.pool, "select track_no, of_no from track_alias") == [{"track_no": numbers["f"], "of_no": numbers["g"]}]
    assert rows(shelved.pool, "select count(*) as n from doc where retired_at is null and track_no <> all(%s)", list(numbers.values())) == [{"n": 0}]
    assert rows(shelved.pool, "select count(*) as n from shared_passage where track_no <> all(%s)", list(numbers.values())) == [{"n": 0}]


DEATHS = {
    "the tables are made": ("make", ("earmark.index.beside", "make", 1)),
    "a recording is written": ("make", ("earmark.index.beside", "put", 2)),
    "a recording is compared": ("make", ("earmark.relating", "Relating.relate", 2)),
    "what is written is packed": ("make", ("earmark.index.upkeep", "upkeep", 1)),
    "columns have changed places": ("exchange", ("earmark.index.beside", "_swap_columns", 1)),
    "tables have changed places": ("exchange", ("earmark.index.beside", "exchange", 1)),
    "the others are dropped": ("drop", ("earmark.index.beside", "drop", 1)),
}


@pytest.mark.parametrize("what, at", DEATHS.values(), ids=DEATHS)
def test_killed_when_it_has_done_something_and_not_said_so_it_goes_on(other: Other, shelved: Shelf, dsn: str, what: str, at: tuple[str, str, int]) -> None:
    folders = {"folders": [shelved.folder]} if what == "make" else {}
    if what != "make":
        made(other, shelved, dsn)
    before = rows(shelved.pool, "select * from track order by 1")
    other.dies(what, dsn=dsn, at=at, **folders)
    assert version_of(shelved.pool) == OURS
    assert rows(shelved.pool, "select * from track order by 1") == before
    assert all_there(shares(dsn, shelved.files), *"abc")
    assert made(other, shelved, dsn).missing == {}
    other("exchange", dsn=dsn)
    assert all_there(other("heard", dsn=dsn, files=shelved.files), *"abc")
    assert rows(shelved.pool, "select count(*) as n from track where compared_no is distinct from track_no") == [{"n": 0}]
    assert rows(shelved.pool, "select track_no, count(*) as n from doc where retired_at is null group by 1 having count(*) > 1") == []


# ------------------------------------------------------------------------------------------------ look-ups in flight


class Asking:
    """Readers of version 2, who ask again and again."""

    def __init__(self, shelved: Shelf, readers: int) -> None:
        self.index = Index(pool=shelved.pool, follow_every_s=0.05).open()
        number = next(iter(shelved.numbers().values()))
        self.questions = [
            Lookup(hashes=np.unique(np.concatenate([fingerprint_file(path).postings.hash for path in shelved.files.values()])), postings_max=ANY),
            Fetch(passages=(Passage(track_no=number, begin_frame=0, end_frame=100),)),
        ]
        self.truth = [said(self.index.answer(question)) for question in self.questions]
        self.answers: list[tuple[int, bytes | None]] = []
        self.faults: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(readers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        try:
            while not self._over.is_set():
                for n, question in enumerate(self.questions):
                    try:
                        self.answers.append((n, said(self.index.answer(question))))
                    except FingerprintMismatch:
                        self.answers.append((n, None))
        except BaseException as error:  # handed to the test
            self.faults.append(error)


def said(answer: Answer) -> bytes:
    if isinstance(answer, list):
        return b"".join(reference.peaks.eighth_hz.tobytes() for reference in answer)
    assert not isinstance(answer, dict)
    return np.sort(answer.track_no.astype(np.int64) << 32 | answer.frame).tobytes() + np.sort(answer.query).tobytes()


def test_whoever_asks_while_it_is_exchanged_is_answered_from_the_old_tables_or_refused(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    with Asking(shelved, readers=4) as asking:
        while len(asking.answers) < 50:
            time.sleep(0.01)
        other("exchange", dsn=dsn)
        at_most = len(asking.answers)
        while len(asking.answers) < at_most + 50:
            time.sleep(0.01)
    assert asking.faults == []
    assert 0 in {n for n, answer in asking.answers if answer is None}
    assert [answer for n, answer in asking.answers if answer is not None and answer != asking.truth[n]] == []
    later = asking.answers[at_most + 4 :]  # each thread may have noted one that it had before
    assert {answer for n, answer in later if n == 0} == {None}
    assert {answer for n, answer in later if n == 1} <= {None, asking.truth[1]}  # passages that it had in memory are the old ones


def test_a_look_up_that_has_begun_is_waited_for_and_one_that_comes_meanwhile_is_refused(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    asking = Asking(shelved, readers=0)
    answers: dict[str, bytes | FingerprintMismatch] = {}

    def ask(name: str) -> threading.Thread:
        def answer() -> None:
            try:
                answers[name] = said(asking.index.answer(asking.questions[0]))
            except FingerprintMismatch as error:
                answers[name] = error

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        return thread

    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as last, psycopg.connect(dsn, autocommit=True) as admin:
        first.execute("lock table block in access exclusive mode")
        last.execute("lock table fresh in access share mode")
        begun = ask("begun")
        waits(admin, "select r.low_bits")
        other.ask("exchange", dsn=dsn)
        waits(admin, "lock table")
        first.rollback()
        begun.join(10)
        assert answers["begun"] == asking.truth[0]
        waits(admin, "lock table")  # for the last of its locks: it has all the others
        came = ask("came")
        waits(admin, "select ")
        last.rollback()
        came.join(10)
    other.answer()
    assert isinstance(answers["came"], FingerprintMismatch)


def waits(admin: psycopg.Connection[Any], words: str) -> None:
    """Until somebody's statement that begins so waits for a lock."""
    for _ in range(2_000):
        if admin.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock' and ltrim(query, E'\\n ') ilike %s", [words + "%"]).fetchone():
            return
        time.sleep(0.005)
    raise AssertionError(f"nobody who begins with {words!r} waits")


def test_whoever_adds_while_it_is_exchanged_is_refused_and_nothing_of_it_is_written(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    path = write_wav(shelved.folder / "late.wav", notes(9, 5.0))
    failed: list[BaseException] = []

    def add() -> None:
        try:
            list(ingest([path], pool=shelved.pool, jobs=1, shared_passages=False))
        except FingerprintMismatch as error:
            failed.append(error)

    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as admin:
        reader.execute("select count(*) from doc")  # so that the exchange has to wait, with its gate closed
        other.ask("exchange", dsn=dsn)
        waits(admin, "lock table")
        adding = threading.Thread(target=add, daemon=True)
        adding.start()
        waits(admin, "select pg_advisory_xact_lock_shared")
        reader.rollback()
        adding.join(10)
    other.answer()
    assert len(failed) == 1
    assert rows(shelved.pool, "select count(*) as n from track") == [{"n": 3}]
    assert rows(shelved.pool, "select count(*) as n from doc where retired_at is null") == [{"n": 3}]


# ------------------------------------------------------------------------------------------------ refused


def test_recordings_without_a_sound_are_named_and_block_the_exchange_unless_they_are_left_out(other: Other, shelved: Shelf, dsn: str) -> None:
    shelved.files["b"].unlink()
    done = made(other, shelved, dsn)
    assert done.done == 2
    assert done.missing == {
        "b": f"b cannot be made anew: it did not come from an object of a bucket, and none of the files in {shelved.folder} is what it was made of"
    }
    with pytest.raises(Unfinished, match=r"lacks 1 recording \(b\)"):
        other("exchange", dsn=dsn)
    left, without = other("exchange", dsn=dsn, without_missing=True)
    assert (left.version, without) == (OURS, ["b"])
    assert sorted(shelved.numbers()) == ["a", "c"]
    assert all_there(other("heard", dsn=dsn, files={name: shelved.files[name] for name in "ac"}), *"ac")


def test_the_canarys_recording_is_not_made_anew_and_keeps_nobody_from_the_exchange_or_back(other: Other, shelved: Shelf, dsn: str) -> None:
    canary = fingerprint_file(shelved.files["a"])

    def add() -> None:
        described = Track(track_id="canary:recording", duration_s=canary.duration_s)
        shelved.tracks.add([Recording(track=described, peaks=canary.peaks, postings=canary.postings, content_sha256=b"canary")])

    add()
    assert made(other, shelved, dsn) == Made(done=3)
    left, without = other("exchange", dsn=dsn)
    assert (left.version, without, sorted(shelved.numbers())) == (OURS, [], ["a", "b", "c"])
    with working(dsn) as work:
        work.exchange("previous")
    add()  # its next round
    assert sorted(shelved.numbers()) == ["a", "b", "c", "canary:recording"]
    assert made(other, shelved, dsn) == Made(done=0)


def test_whoever_reads_for_long_is_not_waited_for_and_nothing_has_changed(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    with psycopg.connect(dsn) as reader:
        reader.execute("select count(*) from block")
        with pytest.raises(Refused, match="is read for longer than can be waited for, by an export perhaps: try again when it has ended"):
            other("exchange", dsn=dsn, impatient=True)
        assert all_there(shares(dsn, shelved.files), *"abc")
        assert schemas(shelved.pool) == ["earmark_next"]
    other("exchange", dsn=dsn)


def test_it_is_not_exchanged_while_streams_are_listened_to_and_nobody_stands_by(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    run(
        shelved.pool,
        """insert into stream (stream_id, source, state, owner, lease_until, wanted_at)
           values ('st-1', 'ivs', 'running', 'one', now() + interval '1 hour', now())""",
    )
    with pytest.raises(Refused, match=r"1 stream is listened to, and no worker of version 3 stands by to go on: start some first .* or say --now"):
        other("exchange", dsn=dsn)
    run(shelved.pool, "insert into standing_by (worker, fingerprint_version) values ('two', 3)")
    run(shelved.pool, "update standing_by set seen_at = now() - interval '1 minute'")
    with pytest.raises(Refused, match="no worker of version 3 stands by"):
        other("exchange", dsn=dsn)
    run(shelved.pool, "update standing_by set seen_at = now()")
    other("exchange", dsn=dsn)
    with pytest.raises(Refused, match="no worker of version 2 stands by"):
        other("exchange", dsn=dsn, kind="previous")
    other("exchange", dsn=dsn, kind="previous", although_nobody=True)


def test_what_cannot_be_right_is_refused_in_a_sentence(other: Other, shelved: Shelf, dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def refused(*arguments: str, code: int = 2) -> str:
        assert main(["catalogue", *arguments]) == code
        said = capsys.readouterr().err
        assert said.startswith("earmark: ")
        assert said.count("\n") == 1
        return said

    assert "is of version 2 already, which is what this Earmark makes: nothing is to be done" in refused("refingerprint")
    assert "no catalogue of another version is being made" in refused("switch")
    assert "there is nothing to go back to" in refused("switch", "--back")
    assert "nothing is to be dropped" in refused("switch", "--drop")
    assert "there is no /nowhere" in refused("refingerprint", "--from", "/nowhere")
    made(other, shelved, dsn)
    assert "the tables beside the catalogue are of version 3, and this Earmark makes version 2: let theirs do it" in refused("switch")
    # A migration would reach one of the two sets only.
    run(shelved.pool, "delete from schema_migration where number = 18")
    assert "lacks the migration 0018_standing_by: run `earmark db migrate`" in refused("switch")
    assert main(["db", "migrate"]) == 2
    assert re.search("0018_standing_by would not reach the catalogue of version 3 in the schema earmark_next: exchange them first", capsys.readouterr().err)


def test_a_schema_that_is_somebody_elses_is_left_alone(shelved: Shelf, other: Other, dsn: str) -> None:
    run(shelved.pool, "create schema earmark_next")
    with pytest.raises(SchemaMismatch, match="the schema earmark_next does not say of which version of the fingerprint it is, so it is not Earmark's"):
        other("make", dsn=dsn, folders=[])
    run(shelved.pool, "create schema earmark_previous")
    with pytest.raises(SchemaMismatch, match="has both schemas earmark_next and earmark_previous, of which one at most is Earmark's own doing"):
        other("drop", dsn=dsn)


def test_only_one_at_a_time_and_never_backwards(other: Other, shelved: Shelf, dsn: str) -> None:
    with working(dsn), pytest.raises(BadSettings, match="another refingerprint of the catalogue in PostgreSQL at .* runs: wait until it has ended, or end it"):
        other("make", dsn=dsn, folders=[])
    made(other, shelved, dsn)
    other("exchange", dsn=dsn)
    with pytest.raises(BadSettings, match="is of version 3 already"):
        other("make", dsn=dsn, folders=[])
    shelved_before = schemas(shelved.pool)
    assert shelved_before == ["earmark_previous"]
    with working(dsn) as work:  # the old one may bring up to date what is kept for the way back
        there, _ = work.begin()
        assert (there.kind, there.version) == ("previous", OURS)
    other("drop", dsn=dsn)
    with working(dsn) as work, pytest.raises(BadSettings, match="newer than version 2, which this Earmark makes: versions do not go backwards"):
        work.begin()
    run(shelved.pool, "delete from catalogue_version")
    with pytest.raises(BadSettings, match="is empty: there is nothing to make anew"):
        other("make", dsn=dsn, folders=[])


def test_the_way_back_takes_what_was_added_since_once_the_old_one_has_made_it(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    other("exchange", dsn=dsn)
    later = write_wav(shelved.folder / "later.wav", notes(9, 5.0))
    other("add", dsn=dsn, path=later, track_id="later")
    with pytest.raises(Unfinished, match=r"version 2 lacks 1 recording \(later\): run `earmark catalogue refingerprint` of the Earmark that makes version 2"):
        other("exchange", dsn=dsn, kind="previous")
    with working(dsn) as work:
        there, _ = work.begin()
        assert work.make(there, folders=[shelved.folder], jobs=1, advance=lambda *_: None).done == 1
        assert work.exchange("previous")[0].version == VERSION
    assert all_there(shares(dsn, {**shelved.files, "later": later}), "a", "b", "c", "later")


# ------------------------------------------------------------------------------------------------ standing by


def test_a_worker_stands_by_until_the_catalogue_is_its_own(other: Other, shelved: Shelf, dsn: str) -> None:
    made(other, shelved, dsn)
    other("exchange", dsn=dsn)
    stop, stood = threading.Event(), []
    standby = Standby(pools=[shelved.pool], worker="old", listens=True, stop=stop, stood=stood.append)
    came: list[bool] = []
    waiting = threading.Thread(target=lambda: came.append(standby.wait()), daemon=True)
    waiting.start()
    until = time.monotonic() + 10
    while not rows(shelved.pool, "select 1 from standing_by where worker = 'old' and fingerprint_version = 2") and time.monotonic() < until:
        time.sleep(0.02)
    assert "holds fingerprints of version 3" in stood[0]
    other("exchange", dsn=dsn, kind="previous")
    waiting.join(10)
    assert came == [True]
    assert stood[1:] == [""]
    assert rows(shelved.pool, "select * from standing_by") == []
    other("exchange", dsn=dsn)
    stop.set()
    assert not standby.wait()


# ------------------------------------------------------------------------------------------------ objects


def test_objects_are_taken_by_their_content_whatever_lies_under_the_key_now(aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "Apart", Here)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    made_of = write_wav(tmp_path / "it.wav", notes(1, 5.0)).read_bytes()
    version = s3.put_object(Bucket=BUCKET, Key="it.wav", Body=made_of)["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="it.wav", Body=b"something else")

    def of(**changes: str) -> Recording | str:
        lacking = Lacking(**{"track_no": 1, "track_id": "it", "content_sha256": sha256(made_of).digest(), "bucket": BUCKET, "key": "it.wav", **changes})
        with sounds.Sounds(s3=lambda: s3, settings=Settings(), folders=[]) as heard:
            ((_, recording),) = heard.of([lacking], jobs=2)
        return recording

    found = of(version=version)
    assert isinstance(found, Recording)
    assert found.track.duration_s == pytest.approx(5, abs=0.01)
    assert of() == "it cannot be made anew: s3://earmark-media/it.wav holds other bytes now than it was made of"
    assert of(key="gone.wav") == "it cannot be made anew: s3://earmark-media/gone.wav is gone"
    assert of(bucket="") == "it cannot be made anew: it did not come from an object of a bucket, and no folder was named with --from to look for it in"
    broken = sha256(b"something else").digest()
    with sounds.Sounds(s3=lambda: s3, settings=Settings(), folders=[]) as heard:
        ((_, sentence),) = heard.of([Lacking(track_no=1, track_id="it", content_sha256=broken, bucket=BUCKET, key="it.wav")], jobs=1)
    assert isinstance(sentence, str)
    assert sentence.startswith("it cannot be made anew: it.wav ")


def test_who_asks_the_api_meanwhile_is_told_to_ask_again_and_nothing_of_the_server() -> None:
    problem = of_error(CatalogueMismatch("the catalogue in PostgreSQL at db.internal holds fingerprints of version 3"))
    assert problem is not None
    assert (problem.kind, problem.status, problem.detail) == ("unavailable", 503, "the catalogue is being exchanged: try again later")
