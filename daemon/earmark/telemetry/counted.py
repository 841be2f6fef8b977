"""The catalogue's answers, counted and timed on their way to hearing."""

import time
from collections.abc import Callable
from typing import Protocol

from earmark.model import Answer, CatalogueSize, Fetch, Lookup, Postings, Question
from earmark.telemetry.metrics import Metrics


class Catalogue(Protocol):
    """What answers: `index`."""

    def answer(self, question: Question) -> Answer: ...
    @property
    def last_size(self) -> CatalogueSize: ...


class CountedCatalogue:
    """A catalogue whose answers are counted and timed; look-ups alone have a histogram, because they are the hot query."""

    def __init__(self, catalogue: Catalogue, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._clock = clock

    def size(self) -> CatalogueSize:
        return self._catalogue.last_size

    def answer(self, question: Question) -> Answer:
        began = self._clock()
        answer = self._catalogue.answer(question)
        if isinstance(question, Lookup):
            self._metrics.lookups_total.inc()
            self._metrics.lookup_hashes_total.inc(len(question.hashes))
            self._metrics.lookup_seconds.observe(self._clock() - began)
        if isinstance(answer, Postings):
            self._metrics.postings_total.inc(len(answer))
        if isinstance(question, Fetch):
            self._metrics.verified_total.inc(len(question.passages))
        return answer
