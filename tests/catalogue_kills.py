"""What a kill leaves of the catalogue: operations in processes of their own, stopped wherever one can be killed.

Where that is, is not marked in the code. In such a process psycopg itself is made to stop: before every statement, among
the rows of an `executemany`, before a COPY, inside of it and at its end, before a commit, when the server has been told to
commit, and when it has said that it did. The process then says where it is, and waits: to be killed, or to go on with a
server that was.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias
from unittest import mock

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from earmark.index import catalogue as catalogue_module
from earmark.index import integrity, stops, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.index.stretches import SharedPassages
from earmark.local.database import create_database, drop_database
from earmark.model import CatalogueSize, Fetch, Int32, Lookup, Passage, Peaks, Postings, Relation, Resolve, Shared, Track
from earmark.postgres import Pool
from index_catalogue import expected, open_pool, peaks, recording
from postgres_servers import Server, until

ANY: Final = 1_000_000


# ------------------------------------------------------------------------------------------------ sounds


def _sounds() -> dict[str, Peaks]:
    named = {"packed": peaks(1, 8), "fresh": peaks(2, 6), "old": peaks(3, 8), "two": peaks(5, 6), "three": peaks(6, 6)}
    named["long"] = peaks(4, 300).take(slice(0, None, 12))  # two docs, and few peaks
    common = peaks(7, 6)
    return named | {f"version {n}": common.take(np.arange(len(common)) != 20 * n) for n in range(8)}


SOUNDS: Final = _sounds()


def hashes_of(*names: str) -> Int32:
    """All hashes of these sounds."""
    return np.unique(np.concatenate([recording(name, SOUNDS[name]).postings.hash for name in names]))


# ------------------------------------------------------------------------------------------------ operations

#: Of a module, a name, and what it is in the process of an operation.
Setting: TypeAlias = tuple[Any, str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something that changes the catalogue, or how it lies in its tables."""

    #: What is in the catalogue before and after it: the name of a sound for each track_id.
    before: Mapping[str, str]
    after: Mapping[str, str]
    #: Makes the catalogue that is there before.
    prepare: Callable[[Pool], None]
    #: Does it, or a step of it; whether there was something to do.
    run: Callable[[Pool], bool]
    in_steps: bool = False
    settings: Sequence[Setting] = ()
    #: Afterwards a hash with more postings has none.
    stop_above: int = ANY

    def do(self, pool: Pool) -> None:
        """In this process, to its end."""
        with applied(self.settings):
            while self.run(pool) and self.in_steps:
                pass


@contextmanager
def applied(settings: Iterable[Setting]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, value in settings:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


_BULK: Final = ((catalogue_module, "BULK_POSTINGS", 1),)
#: A merge in three slices; what is fresh stays so.
_SLICES: Final = ((upkeep, "_SLICE_POSTINGS", 1_300), (upkeep, "_pack", lambda *_: None))
_STOPPING: Final = ((stops, "_ABOVE_LEAST", 6), (stops, "_MARGIN", 0.0))


def _add(pool: Pool, **named: str) -> bool:
    Tracks(pool=pool).add([recording(track_id, SOUNDS[name], content=name.encode()) for track_id, name in named.items()])
    return True


def _step(pool: Pool) -> bool:
    return upkeep.step(pool, extent="everything") is not None


def _start(pool: Pool) -> None:
    """A recording in a run, and one in none."""
    _add(pool, a="packed")
    _step(pool)
    _add(pool, b="fresh")


def _start_with_old(pool: Pool) -> None:
    """And an old one, in a run too, which shares something with each of them."""
    _add(pool, a="packed", x="old")
    _step(pool)
    _add(pool, b="fresh")
    numbers = Index(pool=pool).answer(Resolve(track_ids=("a", "b", "x")))
    assert isinstance(numbers, dict)
    stretch = Shared(begin_frame=100, end_frame=300, eighth_frames=(900, 2_000))
    relations = [Relation(other_no=numbers[name], version=False, evidence_nats=40.0, own=(stretch,), others=(stretch,)) for name in ("a", "b")]
    SharedPassages(pool=pool).put(numbers["x"], relations)


def _start_packing(pool: Pool) -> None:
    """Docs of three recordings to pack, and one of a recording that is gone."""
    _start(pool)
    _add(pool, x="long", y="two", gone="three")
    Tracks(pool=pool).remove("gone")


def _start_stopping(pool: Pool) -> None:
    _start(pool)
    _add(pool, **{f"v{n}": f"version {n}" for n in range(8)})


def _start_merging(pool: Pool, *, steps: int) -> None:
    """Three runs, with postings of a recording that was removed and of one that was replaced; steps of their merge are done."""
    _add(pool, a="packed", gone="three")
    _step(pool)
    with applied(_BULK):
        _add(pool, b="fresh", y="old")
        _add(pool, x="long")
    Tracks(pool=pool).remove("gone")
    _add(pool, y="two")
    with applied(_SLICES):
        for _ in range(steps):
            _step(pool)


def _merge(steps: int) -> Operation:
    return Operation(before=_FOUR, after=_FOUR, prepare=lambda pool: _start_merging(pool, steps=steps), run=_step, in_steps=True, settings=_SLICES)


_TWO: Final = {"a": "packed", "b": "fresh"}
_FOUR: Final = _TWO | {"x": "long", "y": "two"}
_VERSIONS: Final = _TWO | {f"v{n}": f"version {n}" for n in range(8)}
OPERATIONS: Final = {
    "add": Operation(before=_TWO, after=_FOUR, prepare=_start, run=lambda pool: _add(pool, x="long", y="two")),
    "bulk add": Operation(before=_TWO, after=_FOUR, prepare=_start, run=lambda pool: _add(pool, x="long", y="two"), settings=_BULK),
    "replace": Operation(before=_TWO | {"x": "old"}, after=_TWO | {"x": "long"}, prepare=_start_with_old, run=lambda pool: _add(pool, x="long")),
    "bulk replace": Operation(
        before=_TWO | {"x": "old"}, after=_TWO | {"x": "long"}, prepare=_start_with_old, run=lambda pool: _add(pool, x="long"), settings=_BULK
    ),
    "remove": Operation(before=_TWO | {"x": "old"}, after=_TWO, prepare=_start_with_old, run=lambda pool: Tracks(pool=pool).remove("x")),
    "pack": Operation(before=_FOUR, after=_FOUR, prepare=_start_packing, run=_step),
    "pack and stop": Operation(before=_VERSIONS, after=_VERSIONS, prepare=_start_stopping, run=_step, settings=_STOPPING, stop_above=6),
    "first slice of a merge": _merge(0),
    "second slice of a merge": _merge(1),
    "last slice of a merge": _merge(2),
}


# ------------------------------------------------------------------------------------------------ what the catalogue answers


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that can be asked, answered."""

    tracks: list[Track]
    size: CatalogueSize
    #: Of each track: place of the hash, frame; in that order.
    postings: dict[str, bytes] = field(repr=False)
    #: Of each track: its length, times and frequencies of its peaks, what it shares.
    passages: dict[str, tuple[float, bytes, bytes, tuple[Shared, ...]]] = field(repr=False)


def ask(pool: Pool, index: Index, hashes: Int32) -> Answers:
    tracks = list(Tracks(pool=pool).all())
    numbers = index.answer(Resolve(track_ids=tuple(track.track_id for track in tracks)))
    assert isinstance(numbers, dict)
    whole = tuple(Passage(track_no=number, begin_frame=0, end_frame=20_000) for number in numbers.values())
    found, references = index.answer(Lookup(hashes=hashes, postings_max=ANY)), index.answer(Fetch(passages=whole))
    assert isinstance(found, Postings)
    assert isinstance(references, list)
    return Answers(
        tracks=tracks,
        size=index.size(),
        postings={track_id: _sorted(found, number) for track_id, number in numbers.items()} | {"": _sorted(found, *numbers.values(), others=True)},
        passages={r.track_id: (r.duration_s, r.peaks.eighth_frames.tobytes(), r.peaks.eighth_hz.tobytes(), r.shared) for r in references},
    )


def _sorted(found: Postings, *track_nos: int, others: bool = False) -> bytes:
    chosen = np.isin(found.track_no, track_nos, invert=others)
    return np.sort(found.query[chosen].astype(np.int64) << 32 | found.frame[chosen]).tobytes()


def by_truth(named: Mapping[str, str], hashes: Int32, stop_above: int) -> dict[str, bytes]:
    """The postings of these sounds, by the plainest means."""
    found = expected({track_id: SOUNDS[name] for track_id, name in named.items()}, hashes, ANY)
    often = {place for place, count in Counter(place for place, _, _ in found).items() if count > stop_above}
    rows: dict[str, list[int]] = {track_id: [] for track_id in ("", *named)}
    for place, track_id, frame in found:
        if place not in often:
            rows[track_id].append(place << 32 | frame)
    return {track_id: np.sort(np.array(of_track, np.int64)).tobytes() for track_id, of_track in rows.items()}


# ------------------------------------------------------------------------------------------------ in a process of its own


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where an operation can be killed."""

    #: Of the process.
    pid: int
    #: Which it is, from one on.
    number: int
    what: str
    #: The server has been told to commit, this time or before.
    committed: bool


_WAITS_S: Final = 60


class _GoOn(BaseException):
    """Said by a signal."""


def _go_on(*_: object) -> None:
    raise _GoOn


class _Points:
    """Counts the points that this process comes to, and stops at one of them."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._committed = False
        self.passed: list[str] = []

    def __call__(self, what: str) -> None:
        self.passed.append(what)
        if len(self.passed) == self._stop_at:
            with suppress(_GoOn):
                signal.signal(signal.SIGUSR1, _go_on)
                _say(point={"pid": os.getpid(), "number": self._stop_at, "what": what, "committed": self._committed})
                time.sleep(_WAITS_S)
                os._exit(1)  # whoever ran the test is gone

    def instrument(self) -> None:  # noqa: C901 -- six small functions, each of which one of psycopg's asks first
        execute, executemany, copy = psycopg.Cursor.execute, psycopg.Cursor.executemany, psycopg.Cursor.copy
        write, finish, commit = psycopg.Copy.write, psycopg.Copy.finish, psycopg.Connection.commit
        inside: list[Any] = []

        def mine() -> bool:
            """Or the pool's, whose threads set up its connections."""
            return threading.current_thread() is threading.main_thread()

        def _execute(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
            if mine() and (words := _words(query)):
                self(f"before {words}")
            return execute(cursor, query, *args, **options)

        def _executemany(cursor: Any, query: Any, rows: Any, **options: Any) -> None:
            def sent() -> Iterator[Any]:
                *first, last = rows
                yield from first
                self(f"before the last row of {_words(query)}")
                yield last

            executemany(cursor, query, sent() if rows else rows, **options)

        def _copy(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
            self(f"before {_words(query)}")
            return copy(cursor, query, *args, **options)

        def _write(copying: Any, data: bytes) -> None:
            if copying in inside or len(data) < 1_000:  # not the header
                write(copying, data)
                return
            inside.append(copying)
            half = len(data) // 2
            write(copying, data[:half])
            copying.connection.pgconn.flush()  # libpq would wait for more
            self("inside the copy")
            write(copying, data[half:])

        def _finish(copying: Any, error: BaseException | None) -> None:
            self("at the end of the copy")
            finish(copying, error)

        def _commit(connection: Any) -> None:
            if connection.pgconn.transaction_status == TransactionStatus.IDLE or not mine():
                commit(connection)
                return
            self("before the commit")
            self._committed = True
            if len(self.passed) + 1 == self._stop_at:
                connection.pgconn.send_query(b"commit")
                connection.pgconn.flush()
            self("inside the commit")
            commit(connection)
            self("after the commit")

        for owner, name, made in (
            (psycopg.Cursor, "execute", _execute),
            (psycopg.Cursor, "executemany", _executemany),
            (psycopg.Cursor, "copy", _copy),
            (psycopg.Copy, "write", _write),
            (psycopg.Copy, "finish", _finish),
            (psycopg.Connection, "commit", _commit),
        ):
            setattr(owner, name, made)


def _words(query: Any) -> str:
    text = query.decode() if isinstance(query, bytes) else str(query)
    return " ".join(text.split()[:5])


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def serve() -> None:
    """Run operations, each in a fork of this process, as told by lines of standard input."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _run_and_exit(**json.loads(line))
        _, status = os.waitpid(pid, 0)
        _say(gone=status)


def _run_and_exit(operation: str, dsn: str, stop_at: int) -> None:
    try:
        chosen, points = OPERATIONS[operation], _Points(stop_at)
        with applied(chosen.settings), open_pool(dsn) as pool:
            points.instrument()
            did = chosen.run(pool)
        _say(ended={"did": did, "points": points.passed})
    except BaseException as error:
        _say(failed=f"{type(error).__name__}: {error}")
    os._exit(0)


# ------------------------------------------------------------------------------------------------ and the other end of it


class Stopped:
    """An operation that has come to a point; or, if there are not so many, to its end."""

    def __init__(self, operations: "Operations", said: Mapping[str, Any]) -> None:
        self._operations = operations
        #: None: it has come to its end.
        self.point = Point(**said["point"]) if "point" in said else None
        self.did = bool(said.get("ended", {}).get("did"))
        #: All that it has passed, at its end.
        self.points: list[str] = said.get("ended", {}).get("points", [])
        assert "failed" not in said, said

    def kill(self) -> None:
        self._operations.end_waiting()

    def go_on(self) -> str:
        """How it ends then: the name of an error and its sentence; empty: well."""
        assert self.point
        os.kill(self.point.pid, signal.SIGUSR1)
        return str(self._operations.hear_end().get("failed", ""))


class Operations:
    """Runs operations in processes of their own, one at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        #: The process that has come to a point, and waits there.
        self._waiting: int | None = None

    def start(self, operation: str, dsn: str, *, stop_at: int = 0) -> Stopped:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"operation": operation, "dsn": dsn, "stop_at": stop_at}) + "\n")
        self._process.stdin.flush()
        said = self._hear()
        if "point" in said:
            self._waiting = said["point"]["pid"]
        else:
            self._hear_gone(0)
        return Stopped(self, said)

    def end_waiting(self) -> None:
        if self._waiting is not None:
            os.kill(self._waiting, signal.SIGKILL)
            self._hear_gone(signal.SIGKILL)

    def hear_end(self) -> dict[str, Any]:
        said = self._hear()
        self._hear_gone(0)
        return said

    def _hear_gone(self, status: int) -> None:
        self._waiting = None
        said = self._hear()
        assert said == {"gone": status}, said

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the process that runs operations has ended"
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def operations() -> Iterator[Operations]:
    # One process imports everything once; it has a single thread, so that it can be forked.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "import catalogue_kills; catalogue_kills.serve()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        running = Operations(process)
        try:
            yield running
        finally:
            running.end_waiting()
            process.communicate()


# ------------------------------------------------------------------------------------------------ scenes


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A catalogue on which one operation is done again and again."""

    server: Server
    operations: Operations
    name: str
    template: str
    hashes: Int32
    before: Answers
    after: Answers

    @classmethod
    def of(cls, server: Server, operations: Operations, name: str) -> "Scene":
        """Makes the catalogue, and has the operation done once to know what is there before and after."""
        operation, template = OPERATIONS[name], "template_" + name.replace(" ", "_")
        hashes = hashes_of(*{"old", "three", *operation.before.values(), *operation.after.values()})
        dsn = create_database(server.dsn, template, template="template_earmark")
        with open_pool(dsn) as pool:
            operation.prepare(pool)
            before = ask(pool, Index(pool=pool), hashes)
        scene = cls(server=server, operations=operations, name=name, template=template, hashes=hashes, before=before, after=before)
        with scene.stage() as stage:
            stage.do_it()
            scene = replace(scene, after=stage.fresh_answers())
        assert before.postings == by_truth(operation.before, hashes, ANY)
        assert scene.after.postings == by_truth(operation.after, hashes, operation.stop_above)
        return scene

    @contextmanager
    def stage(self) -> Iterator["Stage"]:
        """A copy of the catalogue as it is before, and a reader that knows it; in the end nothing in its tables is wrong."""
        name = f"stage_{next(_serial)}"
        dsn = create_database(self.server.dsn, name, template=self.template)
        with open_pool(dsn) as pool:
            yield Stage(scene=self, dsn=dsn, pool=pool, reader=Index(pool=pool, follow_every_s=0).open())
            damage = list(integrity.check(pool))
            assert not damage, damage
        drop_database(self.server.dsn, name)

    def points(self) -> list[str]:
        """All that the operation comes by."""
        with self.stage() as stage:
            return stage.start().points


@dataclass(frozen=True, kw_only=True)
class Stage:
    scene: Scene
    dsn: str
    pool: Pool
    #: One that was there before the operation, and goes on.
    reader: Index

    def start(self, stop_at: int = 0) -> Stopped:
        return self.scene.operations.start(self.scene.name, make_conninfo(self.dsn, application_name=_OPERATION), stop_at=stop_at)

    def do_it(self) -> None:
        """To its end, in as many steps as it takes."""
        while self.start().did and OPERATIONS[self.scene.name].in_steps:
            pass

    def wait_for_end(self) -> None:
        """Until the server has noticed that an operation's process is gone."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            count = "select count(*) from pg_stat_activity where application_name = %s"
            until(lambda: connection.execute(count, [_OPERATION]).fetchone() == (0,), "a killed operation's connections to end")

    def wait_for_copy(self) -> None:
        """Until the server has got some of what an operation copies."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            under_way = "select from pg_stat_progress_copy where datname = current_database() and bytes_processed > 0"
            until(lambda: connection.execute(under_way).fetchone() is not None, "a copy to have begun")

    def answers(self) -> Answers:
        """What the reader says that has been there all the time."""
        return ask(self.pool, self.reader, self.scene.hashes)

    def fresh_answers(self) -> Answers:
        """What a reader says that has just come."""
        return ask(self.pool, Index(pool=self.pool).open(), self.scene.hashes)


_OPERATION: Final = "operation"
_serial = itertools.count(1)
