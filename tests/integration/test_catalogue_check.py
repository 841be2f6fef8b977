"""`earmark db check`: whoever edits a row is found out, whoever writes meanwhile is not suspected, and the remedies are true."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from tenacity import wait_none

from earmark.cli import main
from earmark.errors import DatabaseUnavailable, FingerprintMismatch
from earmark.index import integrity, integrity_runs, runs, stops, upkeep
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database, drop_database
from earmark.model import Peaks
from earmark.postgres import Pool, migrate, transaction
from index_catalogue import open_pool, peaks, recording
from postgres_servers import server, standby

Sentences = list[str]


@pytest.fixture
def tracks(pool: Pool) -> Tracks:
    return Tracks(pool=pool)


@pytest.fixture(scope="module")
def _filled(postgres_server: str) -> Iterator[str]:
    dsn = create_database(postgres_server, "filled")
    migrate(dsn)
    with open_pool(dsn) as pool:
        fill(pool)
    yield "filled"
    drop_database(postgres_server, "filled")


@pytest.fixture
def full_dsn(postgres_server: str, _filled: str) -> Iterator[str]:
    """Of a catalogue in the midst of everything."""
    yield create_database(postgres_server, "full", template=_filled)
    drop_database(postgres_server, "full")


@pytest.fixture
def full(full_dsn: str) -> Iterator[Pool]:
    with open_pool(full_dsn) as pool:
        yield pool


def check(pool: Pool, *, quick: bool = False) -> Sentences:
    return list(integrity.check(pool, quick=quick))


def sql(pool: Pool, query: str) -> int:
    """How many rows it changed."""
    with transaction(pool) as connection:
        return connection.execute(query.encode()).rowcount


def everything(pool: Pool) -> None:
    upkeep.upkeep(pool, extent="everything")


def fill(pool: Pool) -> None:
    """Runs, of which some are being merged, and recordings that are fresh, replaced, removed, long, and silent."""
    tracks, everything = Tracks(pool=pool), "everything"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "_SLICE_POSTINGS", 3_000)
        patch.setattr(upkeep, "_begin", lambda *_: None)
        for n, names in enumerate((["a", "b"], ["c", "long"], ["d", "e"])):
            tracks.add([recording(name, constellation(10 * n + k, name)) for k, name in enumerate(names)])
            assert upkeep.step(pool, extent=everything) is not None  # packs
        tracks.add([recording("b", peaks(50, 20), content=b"again")])
        tracks.remove("e")
        assert upkeep.step(pool, extent=everything) is not None
        patch.undo()
        patch.setattr(upkeep, "_SLICE_POSTINGS", 3_000)
        assert upkeep.step(pool, extent=everything) is not None  # begins to merge
    tracks.add([recording("f", peaks(60, 20)), recording("silent", Peaks.none())])
    tracks.add([recording("g", peaks(61, 20))])
    tracks.remove("g")


def constellation(seed: int, name: str) -> Peaks:
    made = peaks(seed, 600 if name == "long" else 20)
    return made.take(slice(None, None, 20)) if name == "long" else made


# ------------------------------------------------------------------------------------------------ nothing wrong


def test_nothing_is_wrong_with_an_empty_catalogue(pool: Pool) -> None:
    assert check(pool) == []


def test_nothing_is_wrong_in_the_midst_of_everything(full: Pool) -> None:
    assert sql(full, "select from merge where next_hash between 1 and 2147483647") == 1
    assert check(full) == []
    everything(full)
    assert check(full) == []


@pytest.mark.parametrize("low_bits", [0, 3, 8, 9, 16])
def test_nothing_is_wrong_whatever_the_buckets(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch, low_bits: int) -> None:
    monkeypatch.setattr(runs, "low_bits_for", lambda _: low_bits)
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    assert check(pool) == []


def test_nothing_is_wrong_with_docs_of_two_spans(pool: Pool, tracks: Tracks) -> None:
    sql(pool, "alter table doc alter doc_id restart with 524286")
    tracks.add([recording(name, peaks(n, 600)) for n, name in enumerate("ab")])
    everything(pool)
    assert check(pool) == []


def test_nothing_is_wrong_with_what_the_stop_list_left_out(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", 0)
    monkeypatch.setattr(stops, "_MARGIN", 0.0)
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    assert sql(pool, "select from stop_list where hashes <> ''") > 0
    assert check(pool) == []


def test_what_nobody_needs_any_more_may_be_gone(full: Pool) -> None:
    sql(full, "update doc set retired_at = retired_at - interval '2 hours'")
    sql(full, "update run set built_at = built_at - interval '3 hours'")
    everything(full)
    assert check(full) == []


# ------------------------------------------------------------------------------------------------ something is wrong

A_ROW = "(run_id, bucket, part) = (select run_id, bucket, part from block order by run_id, bucket, part limit 1)"
FLIPPED = "set_byte({0}, {1}, get_byte({0}, {1}) # 1)"
#: What is done by hand, and what is said of it.
DAMAGE = {
    "a byte of posting": (
        f"update block set posting = {FLIPPED.format('posting', 2)} where {A_ROW}",
        r"a row of the table block is not what was written: .*`delete from block where run_id = \d+ and bucket = \d+ and part = 0`",
    ),
    "a byte of head": (
        f"update block set head = {FLIPPED.format('head', 0)} where {A_ROW}",
        r"a row of the table block is not what was written: .*`delete from block where run_id = \d+ and bucket = \d+ and part = 0`",
    ),
    "a digest": (f"update block set digest = digest + 1 where {A_ROW}", r"a row of the table block is not what was written"),
    "the number of a run": ("update run set postings = postings - 7 where run_id = 1", r"run 1 has 7 postings more than were written: .*`update run set"),
    "a row of a run": ("delete from run where run_id = 4", r"the table block has rows of run 4 that nobody finds"),
    "impossible low_bits": ("update run set low_bits = 17 where run_id = 1", r"run 1 cannot be read: its low_bits, 17"),
    "an impossible doc_base": ("update run set doc_base = 100 where run_id = 1", r"run 1 cannot be read: .*doc_base, 100"),
    "a constellation": (
        f"update doc set peaks = {FLIPPED.format('peaks', 40)} where doc_id = 1",
        r"the recording a is damaged: its constellation is not what was written; remove it \(`earmark catalogue remove a`\), then add it again",
    ),
    "half a peak": ("update doc set peaks = peaks || '\\x00' where doc_id = 1", r"the recording a is damaged: its constellation .*, part 0 of it"),
    "where a slice begins": (
        "update doc set slice_starts[3] = slice_starts[3] + 1 where doc_id = 1",
        r"the recording a is damaged: part 0 of it cannot be read, since its slices do not fit its peaks; remove it",
    ),
    "a slice beyond the end": ("update doc set slice_starts[3] = 2147483647 where doc_id = 1", r"the recording a is damaged: part 0 of it cannot be read"),
    "too few slices": ("update doc set slice_starts = '{0}' where doc_id = 1", r"the recording a is damaged: part 0 of it cannot be read"),
    "where a part begins": ("update doc set first_frame = 7 where doc_id = 1", r"the recording a is damaged: part 0 of it cannot be read"),
    "a doc of a recording": ("delete from doc where track_no = 4 and part = 0", r"the recording long is damaged: 1 of its 3 rows in the table doc are gone"),
    "the last doc of a recording": (
        "delete from doc where track_no = 4 and part = 2",
        r"the recording long is damaged: its constellation is not what was written",
    ),
    "all docs of a recording": ("delete from doc where track_no = 1", r"the recording a is damaged: it has no row in the table doc"),
    "a track": ("delete from track where track_id = 'a'", r"doc 1 is of a recording that the table track does not have"),
    "a version": ("update track set fingerprint_version = 1 where track_id = 'a'", r"the recording a is damaged: it is said to be of version 1"),
    "what is fresh": (
        f"update fresh set postings = {FLIPPED.format('postings', 9)} where doc_id = (select min(doc_id) from fresh)",
        r"the recording f is not heard in part 0: its row of the table fresh is not what was written.*`earmark catalogue remove f`",
    ),
    "how much is fresh": ("update doc set postings = 1 where doc_id = (select min(doc_id) from fresh)", r"the recording f is counted wrongly in part 0"),
    "a fresh row": (
        "delete from fresh where doc_id = (select min(doc_id) from fresh)",
        r"the recording f is not heard in part 0: its row of the table fresh is gone",
    ),
    "a fresh row of nothing": (
        "insert into fresh (doc_id, digest, postings) values (999, 0, '')",
        r"the table fresh has a row of doc 999, .*`delete from fresh where doc_id = 999`",
    ),
    "a fresh row of what is packed": (
        "insert into fresh (doc_id, digest, postings) values (1, 0, '')",
        r"the table fresh has a row of doc 1, which is in a run or gone: nobody reads it; `delete from fresh where doc_id = 1`",
    ),
    "a run that is being merged": ("delete from run where run_id = 2", r"the merge into run 5 cannot go on, since the table run has no 2 any more"),
    "the run that is being written": ("delete from run where run_id = 5", r"the merge into run 5 cannot go on, since the table run has no 5 any more"),
    "how far a merge has come": ("update merge set next_hash = next_hash + 1", r"the merge into run 5 cannot have come as far as merge.next_hash says"),
    "the stop list": ("insert into stop_list (part, hashes) values (3, '\\x0300000203000001')", r"part 3 of the stop list is not what was written"),
}
#: Of these more than one thing shows.
SEVERAL = {"a row of a run", "a run that is being merged", "the run that is being written"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_edited_by_hand_is_told(full: Pool, damage: str) -> None:
    statement, said = DAMAGE[damage]
    assert sql(full, statement) > 0
    sentences = check(full)
    assert matching(sentences, said), sentences
    assert len(sentences) == 1 or damage in SEVERAL, sentences


def matching(sentences: Sentences, pattern: str) -> Sentences:
    return [sentence for sentence in sentences if re.search(pattern, sentence)]


def test_a_row_that_was_deleted_is_missed(full: Pool) -> None:
    ((lost,),) = rows(full, f"select length(posting) / 4 from block where {A_ROW}")
    sql(full, f"delete from block where {A_ROW}")
    (sentence,) = check(full)
    assert matching([sentence], rf"run \d+ has {lost} postings fewer than were written \(\d+\.\d\d%\)"), sentence


def test_a_part_that_was_deleted_is_missed(pool: Pool, tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.index.blocks._ROW_POSTINGS", 2)
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    assert check(pool) == []
    ((bucket, part),) = rows(pool, "select bucket, part from block where part > 0 order by bucket, part desc limit 1")
    sql(pool, f"delete from block where bucket = {bucket} and part < {part}")
    lacking, less = check(pool)
    assert matching([lacking], rf"the table block lacks {part} of the rows with run_id 1, bucket {bucket}")
    assert matching([less], r"run 1 has \d+ postings fewer than were written")


def test_low_bits_that_are_possible_and_wrong_are_told(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 60))])
    everything(pool)
    ((written,),) = rows(pool, "select low_bits from run")
    assert written == 16
    for low_bits, said in ((15, "low_bits do not fit its rows"), (3, "low_bits do not fit its rows")):
        sql(pool, f"update run set low_bits = {low_bits}")
        assert matching(check(pool), said)
    sql(pool, f"update run set low_bits = {written}")
    assert check(pool) == []


def test_rows_where_a_run_has_none_are_told(full: Pool) -> None:
    sql(full, "update merge set next_hash = next_hash / 131072 * 65536")
    assert matching(check(full), r"run [1-5] has rows in the table block where it cannot have any")


def test_a_recording_with_a_name_for_nobody_is_told_of_on_one_line(pool: Pool, tracks: Tracks) -> None:
    names = ["it's", "two\nlines"]
    tracks.add([recording(name, peaks(n, 20)) for n, name in enumerate(names)])
    sql(pool, "update track set peaks_sha256 = ''")
    quoted, escaped = check(pool)
    assert "`earmark catalogue remove 'it'\"'\"'s'`" in quoted
    assert r"the recording 'two\nlines' is damaged" in escaped
    assert "\n" not in escaped


def test_quick_leaves_out_what_is_in_runs(full: Pool) -> None:
    sql(full, DAMAGE["a byte of posting"][0])
    assert check(full, quick=True) == []
    sql(full, DAMAGE["a constellation"][0])
    assert len(check(full, quick=True)) == 1


def test_another_versions_catalogue_is_not_checked(pool: Pool, tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    sql(pool, "update catalogue_version set fingerprint_version = 7")
    with pytest.raises(FingerprintMismatch):
        check(pool)


def rows(pool: Pool, query: str) -> list[tuple[object, ...]]:
    with transaction(pool) as connection:
        return connection.execute(query.encode()).fetchall()


# ------------------------------------------------------------------------------------------------ remedies


@pytest.mark.parametrize("damage", ["a constellation", "half a peak", "where a slice begins", "all docs of a recording", "a version"])
def test_a_recording_that_is_removed_and_added_again_is_whole(full: Pool, damage: str) -> None:
    sql(full, DAMAGE[damage][0])
    tracks = Tracks(pool=full)
    assert tracks.remove("a")
    assert tracks.add([recording("a", peaks(0, 20))]) == ["added"]
    assert check(full) == []


@pytest.mark.parametrize("damage", ["what is fresh", "how much is fresh", "a fresh row"])
def test_a_fresh_recording_that_is_removed_and_added_again_is_whole(full: Pool, damage: str) -> None:
    sql(full, DAMAGE[damage][0])
    tracks = Tracks(pool=full)
    assert tracks.remove("f")
    assert tracks.add([recording("f", peaks(60, 20))]) == ["added"]
    assert check(full) == []


@pytest.mark.parametrize("damage", ["a fresh row of nothing", "the stop list", "a track"])
def test_a_statement_that_is_named_puts_it_right(full: Pool, damage: str) -> None:
    sql(full, DAMAGE[damage][0])
    (sentence,) = check(full)
    assert sql(full, sentence.split("`")[1]) == 1
    assert check(full) == []


def test_the_number_of_a_run_is_put_right_by_the_statement_that_is_named(full: Pool) -> None:
    sql(full, DAMAGE["the number of a run"][0])
    (sentence,) = check(full)
    assert sql(full, sentence.split("`")[1]) == 1
    assert check(full) == []


def test_a_damaged_row_is_gone_with_the_next_merge_and_so_is_what_was_said(full: Pool) -> None:
    sql(full, DAMAGE["a byte of posting"][0])
    everything(full)
    assert check(full) == []


def test_a_damaged_row_may_be_deleted_and_is_missed_until_its_run_is_merged(full: Pool) -> None:
    sql(full, DAMAGE["a byte of posting"][0])
    (sentence,) = check(full)
    assert sql(full, sentence.split("`")[1]) == 1
    (sentence,) = check(full)
    assert "fewer than were written" in sentence
    everything(full)
    assert check(full) == []


# ------------------------------------------------------------------------------------------------ beside writers


def busy(pool: Pool) -> Iterator[None]:
    """A writer's life: something else each time."""
    tracks, names = Tracks(pool=pool), [f"busy {n}" for n in range(6)]
    for n in range(24):
        name = names[n % len(names)]
        tracks.add([recording(name, peaks(100 + n, 10), content=b"%d" % n)])
        yield
        for _ in range(3):
            upkeep.step(pool, extent="everything")
            yield
        if n % 4 == 3:
            tracks.remove(names[(n - 2) % len(names)])
            yield


@pytest.mark.parametrize("damage", ["", "a constellation", "a fresh row of nothing"])
def test_whatever_is_written_between_two_statements_is_no_damage(full: Pool, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    if damage:
        sql(full, DAMAGE[damage][0])
    monkeypatch.setattr(upkeep, "_SLICE_POSTINGS", 3_000)
    monkeypatch.setattr(integrity_runs, "_RANGE_BYTES", 4_000)
    monkeypatch.setattr(integrity, "_RECORDINGS", integrity._RECORDINGS.replace(f"limit {integrity._TRACKS}", "limit 1"))
    writer, asked = busy(full), integrity._Asked._ask

    def ask(self: integrity._Asked, *words: object) -> object:
        next(writer, None)
        return asked(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(integrity._Asked, "_ask", ask)
    sentences = check(full)
    while next(writer, self_ := "over") != self_:  # the writer must have had its say in every part of the check
        sentences += check(full)
    assert len(set(sentences)) == (1 if damage else 0), sentences
    if damage:
        assert matching(sentences, DAMAGE[damage][1])


def test_a_writer_on_a_thread_of_its_own_is_no_damage(full: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_SLICE_POSTINGS", 3_000)
    monkeypatch.setattr(integrity_runs, "_RANGE_BYTES", 8_000)
    over, started = threading.Event(), threading.Event()

    def write() -> None:
        try:
            for _ in busy(full):
                started.set()
        finally:
            started.set()
            over.set()

    sentences: Sentences = []
    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        assert started.wait(30)
        while not over.is_set():
            sentences += check(full)
        writing.result()
    assert sentences == []


def test_a_merge_that_ends_while_its_runs_are_read_leaves_none_unread(full: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was damaged in a run that is merged away meanwhile is gone; what is damaged in its successor is told."""
    monkeypatch.setattr(integrity_runs, "_RANGE_BYTES", 4_000)
    begun = threading.Event()

    def advance(*_: object) -> None:
        if not begun.is_set():
            begun.set()
            everything(full)
            sql(
                full,
                "update block set digest = digest + 1 where (run_id, bucket) = (select run_id, max(bucket) from block group by run_id order by 1 desc limit 1)",
            )

    (sentence,) = integrity.check(full, advance=advance)
    assert "is not what was written" in sentence


# ------------------------------------------------------------------------------------------------ elsewhere


def test_a_standby_is_checked_like_its_primary() -> None:
    with server() as primary, standby(primary) as follower:
        migrate(primary.dsn)
        with open_pool(primary.dsn) as there, open_pool(follower.dsn) as here:
            fill(there)
            follower.catch_up()
            assert check(here) == []
            sql(there, DAMAGE["a constellation"][0])
            sql(there, DAMAGE["a byte of posting"][0])
            follower.catch_up()
            assert len(check(here)) == 2


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and output of a command on a database."""

    def run(dsn: str, *words: str) -> tuple[int, str]:
        monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
        code = main(["db", *words])
        return code, capsys.readouterr().out

    return run


def test_the_command_says_so_when_nothing_is_wrong(full_dsn: str, run: Callable[..., tuple[int, str]]) -> None:
    code, out = run(full_dsn, "check")
    assert code == 0
    assert matching([out], r"^nothing is wrong with 7 recordings and [\d,]+ postings\n$"), out
    assert matching([run(full_dsn, "check", "--quick")[1]], r"postings, whose rows in runs were not read\n$")


def test_the_command_tells_twenty_things_and_how_many_more(pool: Pool, tracks: Tracks, dsn: str, run: Callable[..., tuple[int, str]]) -> None:
    tracks.add([recording(f"r{n:02d}", peaks(n, 5)) for n in range(25)])
    sql(pool, "update doc set peaks = '\\x00010203' where track_no <= 22")
    code, out = run(dsn, "check")
    lines = out.splitlines()
    assert code == 1
    assert [line.split()[2] for line in lines[:20]] == [f"r{n:02d}" for n in range(20)]
    assert lines[20:] == ["and 2 more"]


def test_the_command_refuses_another_versions_catalogue(pool: Pool, tracks: Tracks, dsn: str, run: Callable[..., tuple[int, str]]) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    sql(pool, "update catalogue_version set fingerprint_version = 7")
    assert run(dsn, "check") == (2, "")


def test_a_statement_that_fails_for_a_reason_that_may_pass_is_asked_again(full: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a standby, which ends statements that keep it from following."""
    monkeypatch.setattr(integrity, "wait_random_exponential", lambda max: wait_none())  # noqa: A006 -- tenacity's name
    asked, times = integrity._Asked._ask, Counter[str]()

    def ask(self: integrity._Asked, query: str, parameters: Mapping[str, object]) -> object:
        times[f"{query} {parameters}"] += 1
        if times[f"{query} {parameters}"] < failing:
            raise DatabaseUnavailable("canceling statement due to conflict with recovery")
        return asked(self, query, parameters)

    monkeypatch.setattr(integrity._Asked, "_ask", ask)
    failing = integrity._TRIES
    assert check(full) == []
    times.clear()
    failing = integrity._TRIES + 1
    with pytest.raises(DatabaseUnavailable):
        check(full)


# ------------------------------------------------------------------------------------------------ size


def test_no_statement_reads_all_of_a_large_table(pool: Pool) -> None:
    sql(
        pool,
        """
        insert into run (low_bits, doc_base, postings) values (16, 0, 1), (8, 0, 1);
        insert into block (run_id, bucket, part, digest, head, posting) select 1 + n % 2, n, 0, 0, '\\x0001', '\\x00000000' from generate_series(1, 60000) n;
        insert into fresh (doc_id, digest, postings) select n, 0, '' from generate_series(1, 20000) n;
        insert into doc (track_no, part, first_frame, frames, postings, slice_starts, peaks, packed)
          select n, 0, 0, 8192, 1000, array_fill(0, array[33]), '', n > 20000 from generate_series(1, 40000) n;
        insert into track (track_id, duration_s, fingerprint_version, content_sha256, peaks_sha256)
          select 't' || n, 1, 1, int4send(n), int4send(n) from generate_series(1, 40000) n;
        analyze;
        """,
    )
    parameters = {"run_id": 1, "begin": 0, "end": 1 << 20, "track_no": 100, "doc_id": 100}
    with transaction(pool) as connection:
        for query in (
            integrity_runs._RANGE,
            integrity_runs._MISPLACED,
            integrity_runs._FIRST_ROWS,
            integrity_runs._UNKNOWN_RUNS,
            integrity._FRESH,
            integrity._RECORDINGS,
        ):
            plan = "\n".join(row[0] for row in connection.execute(f"explain {query}".encode(), parameters))
            for table in ("block", "fresh", "doc", "track"):
                assert f"Seq Scan on {table}" not in plan, plan


def test_a_recording_whose_fresh_postings_were_damaged_is_named_after_they_were_packed_too(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("a", peaks(1, 60)), recording("b", peaks(2, 60))])
    with transaction(pool) as connection:
        connection.execute("update fresh set postings = set_byte(postings, 5, 255) where doc_id = (select min(doc_id) from fresh)")
    upkeep.upkeep(pool, extent="everything")
    (sentence,) = integrity.check(pool)
    assert sentence.startswith("the recording a is damaged: part 0 of it is not heard")
