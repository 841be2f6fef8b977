"""`earmark catalogue profile`, and what `earmark catalogue add` does when its files are added: what recordings are like, measured here."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from earmark.aws import Clients
from earmark.errors import BadSettings, UnreadableAudio
from earmark.hits.text import shown
from earmark.index import profiles
from earmark.index.catalogue import Tracks
from earmark.ingest import Result
from earmark.local.desk import opened
from earmark.postgres import Pool, statement, transaction
from earmark.profiles.file import profile_file
from earmark.profiles.musical import available
from earmark.reference import DURATION_S, content_sha256
from earmark.settings import Settings
from earmark.stocking.job import Leaving
from earmark.stocking.profiling import Bench, Measuring, Profiling, Told
from earmark.track_profile import without

#: To begin a process takes as long as measuring some minutes of sound: with less than this for each, everything is done here.
_WORTH_A_PROCESS_S = 600.0

T = TypeVar("T")
B = TypeVar("B")


def profile_tracks(track_ids: Sequence[str], *, catalogue: str | None, jobs: int | None, settings: Settings) -> int:
    """Measure the bucket's recordings that are due, or these, whatever is known of them; 1 if one of them could not be."""
    with opened(catalogue, settings) as pool, ExitStack() as stack:
        stop = threading.Event()
        profiling = Profiling(pool=pool, s3=cache(lambda: Clients(settings.aws).s3), settings=settings.catalogue, worker="desk", meter=None, stop=stop)
        without_object = _owed(pool, profiling, track_ids)
        benches = [stack.enter_context(Bench()) for _ in range(max(1, jobs or os.cpu_count() or 1))]
        counts = {"measured": 0, "failed": 0, "postponed": 0, "dropped": 0}
        for told in _side_by_side(benches, partial(_one, profiling, list(track_ids) or None), stop):
            counts[told.outcome] += 1
            if told.reason:
                print(f"earmark: {shown(f'{told.track_id} is not measured: {told.reason}')}", file=sys.stderr)
    for track_id in without_object:
        print(f"earmark: {shown(f'{track_id} came from a file: `earmark catalogue add FILE` measures it')}", file=sys.stderr)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing to measure")
    return 1 if counts["failed"] or counts["postponed"] or without_object else 0


def _owed(pool: Pool, profiling: Profiling, track_ids: Sequence[str]) -> list[str]:
    """What is to be measured is due; returns those of which there are no bytes. Raises BadSettings for recordings that are none."""
    if not track_ids:
        profiling.owe_all()
        return []
    known = Tracks(pool=pool).get(track_ids)
    if missing := [track_id for track_id in track_ids if track_id not in known]:
        raise BadSettings(f"the catalogue has no recording {missing[0]}: `earmark catalogue list` shows those it has")
    with transaction(pool) as connection:
        owed = set(profiles.owe_again(connection, track_ids))
    return [track_id for track_id in known if track_id not in owed]


def _one(profiling: Profiling, only: Sequence[str] | None, bench: Bench) -> Told | None:
    return profiling.one(bench, only=only)


def _side_by_side(benches: Sequence[B], step: Callable[[B], T | None], stop: threading.Event) -> Iterator[T]:
    """What `step` returns at each of the benches, as it comes, until it returns None there; then `stop`, and whenever nobody wants more."""
    free: SimpleQueue[B] = SimpleQueue()
    for bench in benches:
        free.put(bench)

    def once() -> T | None:
        bench = free.get()
        try:
            return step(bench)
        finally:
            free.put(bench)

    with ThreadPoolExecutor(len(benches)) as threads:
        try:
            under_way: set[Future[T | None]] = {threads.submit(once) for _ in benches}
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for made in [future.result() for future in done]:
                    if made is not None:
                        under_way.add(threads.submit(once))
                        yield made
        finally:
            stop.set()


# ------------------------------------------------------------------------------------------------ files that were added


def measure_added(results: Sequence[Result], *, pool: Pool, jobs: int | None, progress: Callable[[str, int, int], None]) -> None:
    """What these files are like, as far as the catalogue does not know yet; what cannot be measured is said in its profile.

    `progress` is told what was done, how many are, and out of how many.
    """
    added = {result.track_id: result for result in results if result.track_id and result.outcome not in ("refused", "duplicate")}
    with statement(pool) as connection:
        todo = [added[track_id] for track_id in profiles.unmeasured(connection, list(added), features=available())]
    left: SimpleQueue[Result] = SimpleQueue()
    for result in todo:
        left.put(result)
    processes = min(jobs or os.cpu_count() or 1, int(sum(result.duration_s for result in todo) / _WORTH_A_PROCESS_S))
    stop = threading.Event()
    with ExitStack() as stack:
        children = [stack.enter_context(closing(Measuring())) for _ in range(processes)]
        measure = partial(_next, left, pool, stop)
        measured = _side_by_side(children, measure, stop) if children else iter(partial(measure, None), None)
        for number, result in enumerate(measured, 1):
            progress(f"{result.path.name} measured", number, len(todo))


def _next(left: "SimpleQueue[Result]", pool: Pool, stop: threading.Event, child: Measuring | None) -> Result | None:
    """Measure the next file, in a child or here; None: there is none."""
    with suppress(Empty):
        result = left.get_nowait()
        _measure(result, pool, stop, child)
        return result
    return None


def _measure(result: Result, pool: Pool, stop: threading.Event, child: Measuring | None) -> None:
    def beat() -> None:
        if stop.is_set():
            raise Leaving

    try:
        content = content_sha256(result.path)
    except UnreadableAudio:  # it is gone: what it was like, nobody can tell
        return
    try:
        profile = child.measure(result.path, longest_s=DURATION_S[1], beat=beat) if child else profile_file(result.path)
    except UnreadableAudio as error:
        profile = without(str(error), features=available())
    with statement(pool) as connection:
        profiles.write(connection, result.track_id or "", profile, content_sha256=content)
