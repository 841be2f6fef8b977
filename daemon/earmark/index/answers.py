"""What hearing asks of the catalogue, answered: postings of hashes, passages of constellations, numbers of recordings."""

import time
from collections.abc import Callable
from typing import Final, assert_never

from earmark.errors import CatalogueMismatch, DatabaseUnavailable
from earmark.index.catalogue import Tracks
from earmark.index.constellations import Constellations
from earmark.index.docs import Docs
from earmark.index.lookups import LookUps, Turn
from earmark.index.outage import Outage
from earmark.model import Answer, CatalogueSize, Fetch, Int32, Lookup, Question, Resolve
from earmark.postgres import Pool, statement

#: About 40,000 slices of 8 s: the passages of 200 open plays fit a hundred times over.
CACHE_BYTES: Final = 64 << 20


class Index:
    """The catalogue as it is now, give or take a second. May be asked by many threads at once.

    Args:
        pool: of the primary, or of a reader that lags behind it: a new recording is then heard that much later.
        follow_every_s: how often added and removed recordings are looked for; 0: before every answer.
        cache_bytes: for constellations.
        observe: told of each statement that answers look-ups.
        exchanged: told when an answer was refused because the tables are another version's by now.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        follow_every_s: float = 1.0,
        cache_bytes: int = CACHE_BYTES,
        observe: Callable[[Turn], None] = lambda _: None,
        exchanged: Callable[[CatalogueMismatch], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._constellations = Constellations(pool=pool, cache_bytes=cache_bytes)
        self._docs = Docs(pool=pool, follow_every_s=follow_every_s, on_gone=self._constellations.forget, on_changed=self._constellations.changed, clock=clock)
        self._clock = clock
        self._exchanged = exchanged
        self._outage = Outage(clock=clock)
        self._look_ups = LookUps(pool=pool, known=self._docs.known, observe=observe, clock=clock)

    def open(self) -> "Index":
        """Read which recordings there are, so that the first question does not wait for it.

        Raises CatalogueMismatch if the catalogue was made by another version of the fingerprint, DatabaseUnavailable.
        """
        Tracks(pool=self._pool).check_version()
        self.refresh()
        return self

    def answer(self, question: Question) -> Answer:
        """Raises DatabaseUnavailable, at once if that was another's answer a moment ago; the question may then be asked again.

        Raises CatalogueMismatch if the tables are another version's by now.
        """
        self._outage.check()
        began = self._clock()
        try:
            answer = self._answer(question)
        except DatabaseUnavailable as error:
            self._outage.failed(error, waited_s=self._clock() - began)
            raise
        except CatalogueMismatch as error:
            self._exchanged(error)
            raise
        self._outage.over()
        return answer

    def _answer(self, question: Question) -> Answer:
        match question:
            case Lookup():
                return self._look_ups.answer(question)
            case Fetch(passages=passages):
                self._docs.known()
                return self._constellations.fetch(passages)
            case Resolve(track_ids=track_ids):
                with statement(self._pool) as connection:
                    rows = connection.execute("select track_id, track_no from track where track_id = any(%s)", [list(track_ids)], prepare=True)
                    return dict(rows.fetchall())
            case _:
                assert_never(question)

    def size(self) -> CatalogueSize:
        """Of now: looks, if it is time to."""
        return self._docs.size()

    @property
    def last_size(self) -> CatalogueSize:
        """As last seen: asks nobody, and answers at once."""
        return self._docs.last_known.size

    @property
    def track_nos(self) -> Int32:
        """Of all recordings, as last seen."""
        docs = self._docs.last_known.docs
        numbers: Int32 = docs.track_no[(docs.track_no >= 0) & (docs.first_frame == 0)]
        return numbers

    @property
    def since(self) -> str:
        """To be taken before `track_nos`: what is not among those came with this transaction, or a later one (`docs.came_since`)."""
        return self._docs.since

    @property
    def stop_list(self) -> Int32:
        """Hashes that are not asked for, ascending, as last seen."""
        return self._docs.last_known.stopped

    @property
    def fresh_postings(self) -> int:
        """That are held in memory, as last seen."""
        return len(self._docs.last_known.fresh)

    @property
    def seen_s_ago(self) -> float:
        """How old what was last seen is."""
        return self._docs.age_s

    def refresh(self) -> None:
        """Look for added and removed recordings now."""
        self._docs.refresh()

    def follow(self, *, wait: Callable[[float], bool], failed: Callable[[DatabaseUnavailable], None]) -> None:
        """Look for them every `follow_every_s`, on a thread of its own, until `wait` says that it is over.

        Without that, whoever asks looks when it is time to, and waits for it: while many are added, a tenth of a second.
        """
        self._docs.follow(wait=wait, failed=failed)
