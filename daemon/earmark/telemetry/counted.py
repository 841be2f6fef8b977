"""What passes on its way to hearing, and to the metrics, is counted with what only we know of it."""

import time
from collections.abc import Callable
from typing import Protocol

from earmark.model import Answer, CatalogueSize, Fetch, GapReason, Lookup, Play, Postings, Question
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


class ViewingMeter:
    """What a session of an IVS stream counts, and the view that IVS bills for it."""

    def __init__(self, metrics: Metrics, *, rendition: Callable[[], str]) -> None:
        self._metrics = metrics
        self._rendition = rendition

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        self._metrics.heard(media_s=media_s, lag_s=lag_s, clock_lag_s=clock_lag_s)
        self._metrics.viewed(rendition=self._rendition(), media_s=media_s)

    def missed(self, *, media_s: float, reason: GapReason) -> None:
        self._metrics.missed(media_s=media_s, reason=reason)

    def told(self, play: Play, *, latency_s: float) -> None:
        self._metrics.told(play, latency_s=latency_s)

    def music(self, *, media_s: float, identified: bool) -> None:
        self._metrics.music(media_s=media_s, identified=identified)


class CanaryMeter:
    """What a session of the canary counts: its cost. What it hears is nobody's media, and its hits are nobody's."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:  # noqa: ARG002 -- of real streams alone
        self._metrics.asked_database(media_s=media_s)

    def missed(self, *, media_s: float, reason: GapReason) -> None: ...

    def told(self, play: Play, *, latency_s: float) -> None: ...

    def music(self, *, media_s: float, identified: bool) -> None: ...
