"""`earmark catalogue refingerprint` and `switch`: another version of the fingerprint, beside the one in use, and in its place."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from earmark.aws import Clients
from earmark.hits.text import counted, shown
from earmark.index.beside import Beside
from earmark.local.desk import check_there, opened
from earmark.local.progress import Progress
from earmark.postgres import Pool
from earmark.refingerprint import Made, Refingerprinting, Unfinished
from earmark.settings import Settings

#: What was added while it was compared is caught up with so often, and every so many seconds while workers are waited for.
_TRIES: Final = 5
_CATCH_UP_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class When:
    """On which terms the two are exchanged."""

    #: As soon as so many workers stand by; 0: at once.
    wait: int
    #: Although nobody stands by.
    now: bool
    without_missing: bool


def refingerprint(folders: Sequence[Path], *, catalogue: str | None, jobs: int | None, when: When | None, settings: Settings) -> int:
    """A sentence for each recording whose sound is not to be had, and a count; 1 if there are any. `when`: then the two are exchanged."""
    for folder in folders:
        check_there(folder)
    with opened(catalogue, settings) as pool, _work(pool, settings) as work, Progress("refingerprint") as progress:
        there, size_bytes = work.begin()
        size = f"some {max(1, round(size_bytes / 1e6)):,} MB on the database's disk"
        print(f"the catalogue of version {there.version} is made in the schema {there.schema}, {size}", flush=True)

        def make(before: Made | None = None) -> Made:
            return work.make(
                there, folders=folders, jobs=jobs or os.cpu_count() or 1, advance=lambda done, of, what: progress.at(what, done, of), before=before
            )

        made = make()
        _tell(made)
        if when is None:
            return 1 if made.missing else 0
        if when.wait:
            work.wait_for(there.kind, when.wait, meanwhile=_now_and_then(lambda: make(made)))
        for left in range(_TRIES - 1, -1, -1):
            try:
                return _exchanged(work, there, when)
            except Unfinished:  # something was added meanwhile, or could not be made
                if not left or (made.missing and not when.without_missing):
                    raise
                made = make(made)
    raise AssertionError  # the last try says what it came to


def switch(*, catalogue: str | None, back: bool, when: When, settings: Settings) -> int:
    with opened(catalogue, settings) as pool, _work(pool, settings) as work:
        there = work.found("previous" if back else "next")
        if when.wait:
            work.wait_for(there.kind, when.wait, meanwhile=lambda: None)
        return _exchanged(work, there, when)


def drop(*, catalogue: str | None, settings: Settings) -> int:
    with opened(catalogue, settings) as pool, _work(pool, settings) as work:
        there = work.drop()
    print(f"the catalogue of version {there.version} in the schema {there.schema} is gone; that in use stays what it is")
    return 0


def _work(pool: Pool, settings: Settings) -> Refingerprinting:
    clients = Clients(settings.aws)
    return Refingerprinting(pool=pool, settings=settings, s3=lambda: clients.s3)


def _now_and_then(make: Callable[[], object]) -> Callable[[], None]:
    last = time.monotonic()

    def catch_up() -> None:
        nonlocal last
        if time.monotonic() - last > _CATCH_UP_S:
            make()
            last = time.monotonic()

    return catch_up


def _tell(made: Made) -> None:
    for sentence in made.missing.values():
        print(f"earmark: {sentence}", file=sys.stderr)
    was = "was" if made.done == 1 else "were"
    print(f"{counted(made.done, 'recording')} {was} made anew" + (f", {len(made.missing):,} could not be" if made.missing else ""), flush=True)


def _exchanged(work: Refingerprinting, there: Beside, when: When) -> int:
    left, without = work.exchange(there.kind, without_missing=when.without_missing, although_nobody=when.now)
    for track_id in without:
        print(shown(f"earmark: {track_id} was taken out of the catalogue, which has no sound of it in version {there.version}"), file=sys.stderr)
    kept = f"that of version {left.version} is kept in the schema {left.schema}"
    again = f"`earmark catalogue switch{' --back' if left.kind == 'previous' else ''}` puts it in its place again"
    print(f"the catalogue is of version {there.version} now; {kept}: {again}, `earmark catalogue switch --drop` gives it up")
    return 0
