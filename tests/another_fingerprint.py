"""An Earmark that makes version 3 of the fingerprint: its hashes are others, so nothing that it makes is found by version 2, nor the other way.

In a process of its own: forked, and told what to do (`Other`), or begun like any (`environment`, by `version_three/sitecustomize.py`).
"""

import importlib
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import earmark.model

TESTS = Path(__file__).resolve().parent
VERSION = 3
LIMIT_S = 60


def become() -> None:
    """Before anything else of Earmark is imported."""
    earmark.model.FINGERPRINT_VERSION = VERSION  # type: ignore[misc]  # which is what another version is
    _mix()


def _mix() -> None:
    from earmark.fingerprint import landmarks

    landmarks._GOLDEN = np.uint64(0xD1B5_4A32_D192_ED03)


def environment() -> dict[str, str]:
    """Of a process that is begun like any, and becomes that Earmark."""
    return {"PYTHONPATH": os.pathsep.join([str(TESTS / "version_three"), str(TESTS)])}


class Other:
    """One process; asked to do something, it does that and says what came of it."""

    def __init__(self) -> None:
        self._context = get_context("fork")  # it has what we have imported, and becomes another one afterwards
        self._begin()

    def _begin(self) -> None:
        self._pipe, there = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def __call__(self, what: str, **arguments: Any) -> Any:
        self.ask(what, **arguments)
        return self.answer()

    def ask(self, what: str, **arguments: Any) -> None:
        self._pipe.send((what, arguments))

    @property
    def answered(self) -> bool:
        return self._pipe.poll(0)

    def answer(self) -> Any:
        assert self._pipe.poll(LIMIT_S)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def dies(self, what: str, *, at: tuple[str, str, int], **arguments: Any) -> None:
        """It is killed by the signal that nobody can handle, when a function of a module is over for the n-th time; another process takes its place."""
        self.ask(what, dies_at=at, **arguments)
        self._process.join(LIMIT_S)
        assert self._process.exitcode == -signal.SIGKILL
        self.end()
        self._begin()

    def end(self) -> None:
        self._process.kill()
        self._process.join(LIMIT_S)
        self._pipe.close()


# ------------------------------------------------------------------------------------------------ in that process


def _serve(pipe: Connection) -> None:
    from earmark.index import version

    version.OURS = VERSION  # type: ignore[misc]
    _mix()
    while True:
        try:
            what, arguments = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        if (at := arguments.pop("dies_at", None)) is not None:
            _die_at(*at)
        try:
            pipe.send(DOES[what](**arguments))
        except Exception as error:  # raised where it was asked
            pipe.send(error)


def _die_at(module: str, function: str, times: int) -> None:
    of = importlib.import_module(module)
    *path, name = function.split(".")
    for part in path:
        of = getattr(of, part)
    whole: Callable[..., Any] = getattr(of, name)
    calls = 0

    def last(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        result = whole(*arguments, **named)
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(of, name, last)


class Here:
    """In place of a process that decodes: this one has loaded what it needs."""

    def fingerprint(self, path: Path, *, longest_s: float, beat: Callable[[], object]) -> Any:
        from earmark.reference import fingerprint_file

        beat()
        return SimpleNamespace(fingerprinted=fingerprint_file(path, longest_s=longest_s))

    def close(self) -> None:
        """There is none."""


@contextmanager
def working(dsn: str, s3: Any = None) -> Any:
    from pydantic import SecretStr

    from earmark.postgres import open_pool
    from earmark.refingerprint import Refingerprinting
    from earmark.settings import Database, Settings
    from earmark.stocking import sounds

    usual, sounds.Apart = sounds.Apart, Here  # type: ignore[assignment,misc]
    settings = Settings(database=Database(dsn=SecretStr(dsn)))
    try:
        with open_pool(settings.database) as pool, Refingerprinting(pool=pool, settings=settings, s3=lambda: s3) as work:
            yield work
    finally:
        sounds.Apart = usual  # type: ignore[misc]


def make(dsn: str, folders: list[Path]) -> Any:
    """`Made`."""
    with working(dsn) as work:
        there, size_bytes = work.begin()
        assert size_bytes > 0
        return work.make(there, folders=folders, jobs=1, advance=lambda *_: None)


def exchange(dsn: str, kind: str = "next", *, impatient: bool = False, **terms: bool) -> Any:
    """What lies beside then, and what was taken out for it."""
    from earmark import refingerprint
    from earmark.index import beside

    if impatient:
        refingerprint._LOCK_WAIT_S, beside._PAUSE_S = 0.05, 0.01  # type: ignore[misc]
    with working(dsn) as work:
        return work.exchange(kind, **terms)


def drop(dsn: str) -> Any:
    with working(dsn) as work:
        return work.drop()


def add(dsn: str, path: Path, track_id: str) -> str:
    """A recording, by a worker of that Earmark."""
    from pydantic import SecretStr

    from earmark.ingest import ingest
    from earmark.postgres import open_pool
    from earmark.reference import Source
    from earmark.settings import Database

    with open_pool(Database(dsn=SecretStr(dsn))) as pool:
        (result,) = ingest([Source(path=path, track_id=track_id)], pool=pool, jobs=1)
        return str(result.outcome)


def heard(dsn: str, files: dict[str, Path]) -> dict[str, float]:
    """Of each file's postings the share that a look-up finds in the recording of that name."""
    from another_catalogue import shares

    return shares(dsn, files)


DOES: dict[str, Callable[..., Any]] = {"make": make, "exchange": exchange, "drop": drop, "add": add, "heard": heard}
