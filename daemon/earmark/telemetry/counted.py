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
        if isinstance(question, Lookup) and isinstance(answer, Postings):
            self._metrics.answered(hashes=len(question.hashes), postings=len(answer), seconds=self._clock() - began)
        if isinstance(question, Fetch):
            self._metrics.verified(passages=len(question.passages))
        return answer
