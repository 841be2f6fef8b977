"""What a catalogue of many recordings costs in PostgreSQL: bytes, look-ups, additions, upkeep; beside how others keep postings.

    make bench-catalogue SIZE=10000        prints the table, and writes build/bench/catalogue.json and catalogue-10000.json

A server of its own that waits for the disk, with two fifths of the machine's memory as its cache: of 24 GB that is less than
the runs of 100,000 recordings, which come from the disk's cache then. It is on the same machine, so a network adds a round trip
to each question. Recordings are of four minutes, drawn (`bench.catalogue`, which says what is right about them and what is
missing); among them are some real ones, of which excerpts are asked for. CPU is that of this process and of the server's
processes that serve it. Up to 10,000 recordings the same postings lie in a plain table too, up to 2,000 in dejavu's schema, and
each is asked the same questions in the same run, in turn.

With FOLDER=... the catalogue is kept there, and found there by the next run of that size, which then says nothing of loading.
"""

import json
import multiprocessing
import operator
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from bench.asked import whole
from bench.catalogue import Generator
from bench.catalogue_planted import Planted, planted, recall
from bench.catalogue_rivals import ask_dejavu, ask_naive, make_dejavu, make_naive
from bench.catalogue_server import backends, cpu_s, needs, server, table_bytes, wal_bytes
from bench.rows import row
from earmark import postgres
from earmark.index.answers import Index
from earmark.index.catalogue import Recording, Tracks
from earmark.index.constellations import Constellations
from earmark.index.stops import among
from earmark.index.upkeep import upkeep
from earmark.local.database import ensure_database
from earmark.matching.alignment import postings_max
from earmark.model import FRAMES_PER_S, Int32, Landmarks, Lookup, Passage, Postings, Track
from earmark.postgres import Pool
from earmark.settings import Database

#: Of the figures that `make bench` prints too, as `index`.
SHORT_SIZE: Final = 1_000
_row: Final = partial(row, command="")
#: Recordings that are written together when many are loaded: 1.2 GB of work.
_LOADED_AT_ONCE: Final = 2_500
_NAIVE_MAX, _DEJAVU_MAX = 10_000, 2_000
#: kB of a recording that the disk must have room for, in all; and beside it in a plain table, and in dejavu's.
_OURS_KB, _NAIVE_KB, _DEJAVU_KB = 260, 1_900, 5_500
_SECONDS, _WARMED = 2_000, 10_000
_BATCH: Final = 256
_BATCHES: Final = 12
_CHANGES: Final = 60
_WRITERS, _WRITING_S = 4, 20.0
#: So often each of them adds a recording when it does not add as many as it can.
_EVERY_S: Final = 2.0
_GROWTH: Final = (20, 60)
_NAIVE: Final = "a plain table (hash, track_no, frame) with a B-tree, fetched as rows; same recordings, same questions, in turn"
_TABLES: Final = ("run", "block", "fresh", "merge", "stop_list")
_ALL: Final = (*_TABLES, "doc", "track", "shared_passage")


def figures() -> list[dict[str, Any]]:
    """Measures for minutes to an hour. Rows of figure, value, unit, bar, met, against, command."""
    size, folder = whole("SIZE", 10_000, least=100), Path(os.environ["FOLDER"]) if os.environ.get("FOLDER") else None
    rivals_kb = (_NAIVE_KB if size <= _NAIVE_MAX else 0) + (_DEJAVU_KB if size <= _DEJAVU_MAX else 0)
    needs(folder or Path(tempfile.gettempdir()), size * (_OURS_KB + rivals_kb) / 1e6)
    with server(folder) as dsn, _database(dsn, f"catalogue_{size}") as pool:
        few, found = _planted(dsn), planted()
        rows = _load(pool, size, found)
        rows += _sizes(pool)
        with _index(pool) as index:
            rows += _look_ups(pool, index)
            rows += _naive(pool, index, size) + _dejavu(pool, index, size)
            rows += _passages(pool)
            rows += _changes(pool)
            rows += _cold_start(pool)
            rows += _while_written(pool, index)
            rows += _recalls(found, few, index)
        with _database(dsn, "growth") as growing:
            rows += _growth(growing)
    rows = [row | {"command": f"make bench-catalogue SIZE={size}"} for row in rows]
    (Path("build/bench")).mkdir(parents=True, exist_ok=True)
    Path(f"build/bench/catalogue-{size}.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return rows


def short() -> list[dict[str, Any]]:
    """What can be said in two minutes."""
    with server() as dsn, _database(dsn, "short") as pool:
        rows = _load(pool, SHORT_SIZE, Planted([], [], "")) + _sizes(pool)
        with _index(pool) as index:
            rows += _look_ups(pool, index) + _naive(pool, index, SHORT_SIZE) + _passages(pool) + _changes(pool)
    return [row | {"command": "make bench ARGS=index"} for row in rows]


@contextmanager
def _database(server_dsn: str, name: str) -> Iterator[Pool]:
    dsn = ensure_database(server_dsn, name)
    postgres.migrate(dsn)
    with _pool(dsn) as pool:
        yield pool


def _pool(dsn: str) -> Pool:
    return postgres.open_pool(Database(dsn=SecretStr(dsn), pool_max=4, statement_timeout_s=1_800), application_name="bench", reading=True)


@contextmanager
def _index(pool: Pool) -> Iterator[Index]:
    """As a worker has it: a thread of its own follows what is added."""
    index, over = Index(pool=pool).open(), threading.Event()
    following = threading.Thread(target=index.follow, kwargs={"wait": over.wait, "failed": lambda error: print(error, file=sys.stderr)})
    following.start()
    try:
        yield index
    finally:
        over.set()
        following.join()


def _recordings(generator: Generator, begin: int, end: int, *, name: str = "track") -> Iterator[Recording]:
    for number in range(begin, end):
        hashes, frames = generator.postings(number)
        track = Track(track_id=f"{name} {number}", title=f"Recording {number} of nobody", duration_s=generator.duration_s(number))
        postings = Landmarks(hash=hashes, frame=frames.astype(np.float64))
        yield Recording(track=track, peaks=generator.peaks(number), postings=postings, content_sha256=f"{name} {number}".encode())


# ------------------------------------------------------------------------------------------------ load


def _load(pool: Pool, size: int, found: Planted) -> list[dict[str, Any]]:
    tracks, generator = Tracks(pool=pool), Generator()
    if Index(pool=pool).open().size().tracks >= size:
        return [
            _row(figure, None, unit)
            for figure, unit in (("load, merges and vacuum included", "M postings/s"), ("WAL of a first load over its stored size", "ratio"))
        ]
    took_s, begin_wal, postings = 0.0, wal_bytes(pool), 0
    recordings = iter(_chain(found.recordings(), _recordings(generator, 0, size - len(found.real))))
    while batch := list(islice(recordings, _LOADED_AT_ONCE)):
        postings += sum(len(recording.postings) for recording in batch)
        took_s += _s(lambda batch=batch: (tracks.add(batch), upkeep(pool)))
        print(f"  {postings / 1e6:,.0f} million postings in {took_s:,.0f} s", file=sys.stderr, flush=True)
    took_s += _s(lambda: upkeep(pool, extent="everything"))
    stored = table_bytes(pool, *_ALL)
    return [
        _row(
            "load, merges and vacuum included",
            postings / took_s / 1e6,
            "M postings/s",
            bar=2.0,
            met=operator.ge,
            against=f"one writer, {_LOADED_AT_ONCE:,} recordings at a time; fingerprints apart",
        ),
        _row("WAL of a first load over its stored size", (wal_bytes(pool) - begin_wal) / stored, "ratio", bar=3.0, against=f"{stored / 1e9:.2f} GB stored"),
    ]


def _chain(*parts: Iterator[Recording]) -> Iterator[Recording]:
    for part in parts:
        yield from part


# ------------------------------------------------------------------------------------------------ bytes


def _sizes(pool: Pool) -> list[dict[str, Any]]:
    size = Index(pool=pool).open().size()
    index, everything, kept = table_bytes(pool, *_TABLES), table_bytes(pool, *_ALL), _one(pool, "select sum(postings) from run")
    # Each row with its line pointer, and the primary key; without the room in pages that merges have left for the next ones.
    packed = _one(pool, "select sum(pg_column_size(b.*) + 4) + pg_indexes_size('block') from block b")
    each = 240 / (size.seconds / size.tracks) / size.tracks / 1e3
    return [
        _row("recordings", size.tracks, "recordings"),
        _row("postings of all recordings", size.postings / 1e6, "million"),
        _row("postings that are kept: those on the stop list left out", kept / 1e6, "million"),
        _row("hashes on the stop list", _one(pool, "select coalesce(sum(length(hashes)), 0) / 4 from stop_list"), "hashes"),
        _row("bytes per posting that is kept, packed", packed / kept, "B", bar=6.5, against="rows of blocks, and their index"),
        _row(
            "bytes per posting that is kept, as it lies on disk",
            index / kept,
            "B",
            bar=13.0,
            against="runs, blocks, fresh, stop list, indexes, and room that merges have left",
        ),
        _row("bytes per posting of a recording, packed", packed / size.postings, "B", against="those on the stop list counted, which take none"),
        _row(
            "a recording of four minutes, packed, everything",
            (packed + everything - index) * each,
            "kB",
            bar=150.0,
            against="2 MB in the AWS sample, 7 MB in dejavu's schema",
        ),
        _row("a recording of four minutes, as it lies on disk", everything * each, "kB"),
        _row("of these, its constellation", table_bytes(pool, "doc") * each, "kB"),
        _row("in all, on disk", everything / 1e9, "GB"),
    ]


def _growth(pool: Pool) -> list[dict[str, Any]]:
    """Recordings come a few at a time, and the catalogue is kept up as the daemon does it."""
    batches, each = _GROWTH
    tracks, generator = Tracks(pool=pool), Generator(seed=1)
    for batch in range(batches):
        for recording in _recordings(generator, batch * each, (batch + 1) * each, name="grown"):
            tracks.add([recording])
        upkeep(pool)
    left, total = _one(pool, "select coalesce(sum(postings), 0) from run"), _one(pool, "select coalesce(sum(postings), 0) from doc where not packed")
    return [
        _row(
            f"bytes per posting after {batches} batches of growth",
            table_bytes(pool, *_TABLES) / (left + total),
            "B",
            bar=13.0,
            against=f"{each} recordings a batch, one at a time; no merge asked for",
        )
    ]


# ------------------------------------------------------------------------------------------------ look-ups


def _look_ups(pool: Pool, index: Index) -> list[dict[str, Any]]:
    generator, most = Generator(seed=2), postings_max(index.size())
    seconds = generator.seconds(_SECONDS)

    def ask(hashes: Int32) -> int:
        answer = index.answer(Lookup(hashes=hashes, postings_max=most))
        assert isinstance(answer, Postings)
        return len(answer)

    # Warm, by other seconds: a large table that is read from end to end does not stay in the server's cache.
    for begin in range(0, _WARMED, _BATCH):
        ask(np.concatenate([generator.second(_SECONDS + number) for number in range(begin, begin + _BATCH)]))
    took = [_s(lambda second=second: ask(second)) * 1e3 for second in seconds]
    client, backend, postings = _cpu(pool, lambda: sum(ask(second) for second in seconds))
    each = 1e3 / len(seconds)
    rows = [
        _row("look-up of one stream-second, p50", np.median(took), "ms", bar=2.0, against=f"{np.mean([len(s) for s in seconds]):.0f} hashes, warm"),
        _row("look-up of one stream-second, p99", np.quantile(took, 0.99), "ms", bar=10.0),
        _row("CPU of one stream-second asked alone, client", client * each, "ms"),
        _row("CPU of one stream-second asked alone, server", backend * each, "ms"),
        _row("postings of one stream-second", postings / len(seconds), "postings"),
    ]
    batches = [np.concatenate([seconds[n] for n in chosen]) for chosen in np.random.default_rng(3).integers(0, len(seconds), (_BATCHES, _BATCH))]
    ask(batches[0])
    took = [_s(lambda batch=batch: ask(batch)) * 1e3 for batch in batches]
    client, backend, _ = _cpu(pool, lambda: sum(ask(batch) for batch in batches))
    each = 1e3 / _BATCH / _BATCHES
    bar = next((bar for least, most, bar in ((9_000, 12_000, 0.7), (90_000, 120_000, 1.5)) if least <= index.size().tracks <= most), None)
    return [
        *rows,
        _row(f"CPU of a stream-second, {_BATCH} at once, client and server", (client + backend) * each, "ms", bar=bar),
        _row("of it, client", client * each, "ms"),
        _row(f"look-up of {_BATCH} stream-seconds at once, p50", np.median(took), "ms"),
    ]


def _cpu(pool: Pool, call: Callable[[], int]) -> tuple[float, float, int]:
    """CPU of this process, of the server's, and what the call returns."""
    pids = backends(pool)
    ours, theirs = time.process_time(), cpu_s(pids)
    result = call()
    return time.process_time() - ours, cpu_s(pids) - theirs, result


def _naive(pool: Pool, index: Index, size: int) -> list[dict[str, Any]]:
    if size > _NAIVE_MAX:
        return []
    rival = _rival(pool, index, size, "naive", make_naive, ask_naive)
    return [
        _row("a plain table: bytes per posting", rival["bytes"], "B"),
        _row("a plain table: bytes over ours", rival["bytes over ours"], "ratio", bar=8.0, met=operator.ge, against=f"{_NAIVE}; tables as they lie on disk"),
        *_asked("a plain table", rival, bar=4.0),
    ]


def _dejavu(pool: Pool, index: Index, size: int) -> list[dict[str, Any]]:
    if size > _DEJAVU_MAX:
        return []
    rival = _rival(pool, index, size, "dejavu", make_dejavu, ask_dejavu)
    return [
        _row("dejavu's schema: bytes per posting", rival["bytes"], "B"),
        _row("dejavu's schema: bytes over ours", rival["bytes over ours"], "ratio", against="the same recordings, twenty hexadecimal digits a hash"),
        *_asked("dejavu's schema", rival),
    ]


def _asked(name: str, rival: dict[str, float], *, bar: float | None = None) -> list[dict[str, Any]]:
    return [
        _row(f"{name}: load", rival["load"], "M postings/s"),
        _row(f"{name}: look-up of one stream-second, p50", rival["p50"], "ms", against=f"ours in the same turns {rival['our p50']:.2f} ms"),
        _row(f"{name}: CPU of a stream-second", rival["CPU"], "ms", against=f"ours in the same turns {rival['our CPU']:.2f} ms"),
        _row(f"{name}: CPU over ours", rival["CPU"] / rival["our CPU"], "ratio", bar=bar, met=operator.ge, against="client and server, through SQL"),
    ]


def _rival(pool: Pool, index: Index, size: int, table: str, make: Callable[..., None], ask: Callable[[Pool, Int32], int]) -> dict[str, float]:
    """The same postings in another table, asked the same seconds in turns."""
    postings = index.size().postings
    load_s = _s(lambda: make(pool, map(Generator().postings, range(size))))
    stored, most = table_bytes(pool, table) / postings, postings_max(index.size())
    # Who keeps no stop list could: they are asked what ours asks.
    seconds = [second[~among(second, index.stop_list)] for second in Generator(seed=2).seconds(400)]
    cpu, took = [0.0, 0.0], (list[float](), list[float]())
    calls: tuple[Callable[[Int32], object], ...] = (lambda s: index.answer(Lookup(hashes=s, postings_max=most)), lambda s: ask(pool, s))
    for begin in range(0, len(seconds), 40):
        for n, call in enumerate(calls):
            client, server_s, _ = _cpu(pool, lambda n=n, call=call, begin=begin: _timed(took[n], call, seconds[begin : begin + 40]))
            cpu[n] += client + server_s
    with postgres.maintenance(pool) as connection:
        connection.execute(f"drop table {table} cascade")
    ours = table_bytes(pool, *_TABLES) / postings  # what the stop list spares us is part of it
    (our_p50, p50), (our_cpu, their_cpu) = (float(np.median(t)) * 1e3 for t in took), (1e3 * s / len(seconds) for s in cpu)
    return {
        "bytes": stored,
        "bytes over ours": stored / ours,
        "load": postings / load_s / 1e6,
        "p50": p50,
        "our p50": our_p50,
        "CPU": their_cpu,
        "our CPU": our_cpu,
    }


def _timed(took: list[float], ask: Callable[[Int32], object], seconds: Sequence[Int32]) -> int:
    took.extend(_s(lambda second=second: ask(second)) for second in seconds)
    return len(seconds)


def _passages(pool: Pool) -> list[dict[str, Any]]:
    """Of recordings that nobody asked for before."""
    random, at_once = np.random.default_rng(4), 50
    with postgres.statement(pool) as connection:
        numbers = [no for (no,) in connection.execute("select track_no from track order by track_no limit 20000").fetchall()]
    constellations = Constellations(pool=pool, cache_bytes=0)
    chosen = []
    for _ in range(200):
        begins = random.integers(0, int(220 * FRAMES_PER_S), at_once)
        chosen.append(
            [
                Passage(track_no=int(no), begin_frame=int(b), end_frame=int(b) + 313)
                for no, b in zip(random.choice(numbers, at_once, replace=False), begins, strict=True)
            ]
        )
    first, again = ([_s(lambda passages=passages: constellations.fetch(passages)) * 1e3 for passages in chosen] for _ in range(2))
    name = f"{at_once} passages of ten seconds from the database, p50"
    return [
        _row(name, np.median(again), "ms", bar=1.0, against=f"{at_once} different recordings, nothing kept in our memory, and all in the server's"),
        _row(f"{name}, nobody asked for before", np.median(first[20:]), "ms"),
    ]


# ------------------------------------------------------------------------------------------------ changes


def _changes(pool: Pool) -> list[dict[str, Any]]:
    tracks, generator = Tracks(pool=pool), Generator(seed=5)
    new = list(_recordings(generator, 0, _CHANGES, name="new"))
    other = [
        Recording(track=r.track, peaks=o.peaks, postings=o.postings, content_sha256=b"other " + r.content_sha256)
        for r, o in zip(new, _recordings(generator, _CHANGES, 2 * _CHANGES), strict=True)
    ]
    add = [_s(lambda r=r: tracks.add([r])) * 1e3 for r in new]
    replace = [_s(lambda r=r: tracks.add([r])) * 1e3 for r in other]
    remove = [_s(lambda r=r: tracks.remove(r.track.track_id)) * 1e3 for r in new]
    n = f"n = {_CHANGES}"
    return [
        _row("add one recording, fingerprint apart, p50", np.median(add), "ms", bar=60.0, against=n),
        _row("add one recording, fingerprint apart, p99", np.quantile(add, 0.99), "ms", bar=300.0, against=n),
        _row("replace one, p50", np.median(replace), "ms", bar=100.0, against=n),
        _row("remove one, p50", np.median(remove), "ms", bar=5.0, against=n),
    ]


def _cold_start(pool: Pool) -> list[dict[str, Any]]:
    """Of a process of its own, Python's imports included."""
    program = """
import sys, numpy as np
from pydantic import SecretStr
from earmark.index.answers import Index
from earmark.model import Lookup
from earmark.postgres import open_pool
from earmark.settings import Database
with open_pool(Database(dsn=SecretStr(sys.argv[1]))) as pool:
    Index(pool=pool).open().answer(Lookup(hashes=np.arange(0, 2**31 - 1, 2**24, dtype=np.int32), postings_max=1_000))
"""
    took = [_s(lambda: subprocess.run([sys.executable, "-c", program, str(pool.conninfo)], check=True)) for _ in range(5)]
    return [_row("start of a process to its first look-up, p50", np.median(took), "s", bar=5.0, against="n = 5, Python's imports included")]


def _write(dsn: str, number: int, every_s: float, stop: Event, written: Any) -> None:
    """Add recordings until told to stop, and keep the catalogue up."""
    with _pool(dsn) as pool:
        tracks, generator, count = Tracks(pool=pool), Generator(seed=100 + number), 0
        while not stop.wait(every_s):
            for recording in _recordings(generator, count, count + 1, name=f"writer {number} {every_s}"):
                tracks.add([recording])
            count += 1
            upkeep(pool)
        written.put(count)


def _while_written(pool: Pool, index: Index) -> list[dict[str, Any]]:
    """Beside writers that take all the machine they can get, and beside as many that leave some of it."""
    most, seconds = postings_max(index.size()), Generator(seed=2).seconds(_SECONDS)

    def look_ups(limit_s: float) -> tuple[float, float]:
        took: list[float] = []
        begun = time.monotonic()
        while time.monotonic() - begun < limit_s:
            second = seconds[len(took) % len(seconds)]
            took.append(_s(lambda second=second: index.answer(Lookup(hashes=second, postings_max=most))) * 1e3)
            time.sleep(0.005)
        return float(np.median(took)), float(np.quantile(took, 0.99))

    rows = []
    for every_s, how, bar in ((0.0, "", 2.0), (_EVERY_S, f" one each {_EVERY_S:.0f} s", None)):
        idle_p50, idle = look_ups(5.0)
        with _writers(pool, every_s) as written:
            look_ups(4.0)  # until all are at it
            busy_p50, busy = look_ups(_WRITING_S)
        name, against = f"while {_WRITERS} writers add{how}, over idle", f"{{:.1f}} ms idle, {{:.1f}} ms; {os.cpu_count()} cores for all of it"
        rows += [
            _row(f"look-up p99 {name}", busy / idle, "ratio", bar=bar, against=against.format(idle, busy)),
            _row(f"look-up p50 {name}", busy_p50 / idle_p50, "ratio", against=against.format(idle_p50, busy_p50)),
            _row(f"recordings added meanwhile{how}", sum(written), "recordings"),
        ]
        upkeep(pool)
    return rows


@contextmanager
def _writers(pool: Pool, every_s: float) -> Iterator[list[int]]:
    """Processes that write meanwhile; afterwards it says how many recordings each has added."""
    context = multiprocessing.get_context("spawn")
    stop, written, counts = context.Event(), context.Queue(), list[int]()
    writers = [context.Process(target=_write, args=(str(pool.conninfo), n, every_s, stop, written)) for n in range(_WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield counts
    finally:
        stop.set()
        counts += [written.get(timeout=120) for _ in writers]
        for writer in writers:
            writer.join(60)


# ------------------------------------------------------------------------------------------------ recall


def _planted(dsn: str) -> dict[str, float]:
    """Recall in a catalogue of 100."""
    found = planted()
    with _database(dsn, "few") as pool:
        if Index(pool=pool).open().size().tracks == 0:
            recordings = [*found.recordings(), *_recordings(Generator(), 0, 100 - len(found.real))]
            Tracks(pool=pool).add(recordings)
            upkeep(pool, extent="everything")
        return recall(found, Index(pool=pool).open())


def _recalls(found: Planted, few: dict[str, float], index: Index) -> list[dict[str, Any]]:
    many = recall(found, index)
    return [
        _row(
            f"recall, {condition}",
            many[condition],
            "%",
            bar=few[condition] - 1,
            met=operator.ge,
            against=f"{few[condition]:.1f} % among 100; {found.what}, {found.count(condition)} excerpts of 12 s",
        )
        for condition in many
    ]


# ------------------------------------------------------------------------------------------------ means


def _one(pool: Pool, query: str) -> float:
    with postgres.maintenance(pool) as connection:
        found = connection.execute(query).fetchone()
    assert found is not None
    return float(found[0])


def _s(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
