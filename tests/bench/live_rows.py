"""What was measured of live streams, as rows of a table with what is asked for. Pure, but for what another measurement left."""

import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from bench.live_baseline import WINDOW_S, Baseline
from bench.live_step import LAG_S_MAX, Step
from bench.live_truth import Verdict
from bench.rows import ROOT, row

Row: TypeAlias = dict[str, Any]
Makes: TypeAlias = Callable[..., Row]
#: What is asked of how many streams there may be on a core.
LEAST: Final = {"mixed": 300, "muxed720": 220}
#: Of the daemon's counters, what explains what a second of a stream costs.
_COUNTED: Final = {
    "look-ups": "lookups",
    "statements that answer them": "lookup_turns",
    "hashes asked for": "lookup_hashes",
    "postings found": "postings",
    "passages fetched to verify": "verified",
}
#: Stages that make up fingerprint and match; and those beside them that a matcher with its table in memory has none of, or has in its loop.
_MATCHING: Final = ("fingerprint", "music or not", "voting", "verification", "following")
_AROUND_IT: Final = ("look-up", "other computing")
#: Processor time of a question over that of the hearing bench's baseline, both measured on the same sounds (12-s windows of 40
#: excerpts in each of many conditions, 42 recordings, 3.8 h): 15 ms; audfprint of commit cb03ba9 (2019-09-23) as its command line has
#: it 66 ms, as its authors had it for MIREX 2014 175 ms; Olaf v2.0.9-4-ge5d89fb (2026-05-20), a process per question, 12 ms. That
#: baseline hears up to 5.5 kHz and took 1.6 to 2.1 times what `bench.plain_matcher` did of the same windows: these are on the low side.
_OVER_BASELINE: Final = {"audfprint": 66 / 15, "audfprint as for MIREX": 175 / 15, "Olaf": 12 / 15}
#: Threads and stages that take less, ms a stream-second, have no row.
_ROW_MS: Final = 0.002


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Streams that started in one second: those that were listened to, after so many seconds each."""

    starts: int
    sent_s: float
    workers: int
    after_s: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run. Steps in order of their streams."""

    rendition: str
    tracks: int
    steps: Sequence[Step]
    verdict: Verdict
    base_bytes: int
    floor_ms: float
    floor_streams: int
    baseline: Baseline
    burst: Burst | None

    @property
    def most(self) -> Step | None:
        """The most streams that held."""
        return next((one for one in reversed(self.steps) if one.held), None)

    @property
    def told(self) -> Step:
        """That the figures are of: the most that held, or the fewest that did not."""
        return self.most or self.steps[0]


def rows(measured: Measured, *, command: str) -> Iterator[Row]:
    row_of = partial(row, command=command)
    yield from _capacity(measured, row_of)
    yield from _costs(measured, row_of)
    yield from _growth(measured, row_of)
    yield from _hits(measured.verdict, row_of)
    yield _starts(measured.burst, row_of)
    yield from _beside_others(measured, row_of)
    for one in measured.steps:
        yield from _details(one, measured.base_bytes, row_of)


def _capacity(measured: Measured, row_of: Makes) -> Iterator[Row]:
    failed = [one.streams for one in measured.steps if not one.held]
    beyond = f"{min(failed)} were too many" if failed else "more were not tried"
    figure = "live streams on a core: p99 lag within a segment + 1 s, nothing left out"
    yield row_of(figure, measured.most.streams if measured.most else 0, "streams", bar=LEAST[measured.rendition], met=operator.ge, against=beyond)
    near = next((one for one in measured.steps if measured.most and is_near(one.streams, measured.most.streams)), None)
    against = f"at {near.streams} streams" if near else "no step was near it"
    yield row_of("lag p99 at 80 % of capacity", near.lag_s(0.99) if near else None, "s", bar=LAG_S_MAX, against=against)


def is_near(streams: int, most: int) -> bool:
    """Whether they are about 80 % of the most."""
    return 0.75 <= streams / most <= 0.87


def _costs(measured: Measured, row_of: Makes) -> Iterator[Row]:
    told = measured.told
    at, daemon_ms = f"at {told.streams} streams", told.ms(told.cpu_s["daemon"])
    yield row_of("daemon CPU per stream-second", daemon_ms, "ms", against=f"{at}, {told.open_share:.0%} with an open play")
    yield row_of("streams per core, by that", 1e3 / daemon_ms, "streams")
    yield row_of("decode-only floor per stream-second", measured.floor_ms, "ms", against=f"{measured.floor_streams} streams at live pace, one thread")
    yield row_of("daemon CPU over the decode-only floor", daemon_ms / measured.floor_ms, "ratio", bar=2.0, against=at)
    yield row_of("database CPU per stream-second", told.ms(told.cpu_s["PostgreSQL"]), "ms", bar=0.5, against=f"{at}, {measured.tracks:,} tracks")
    yield row_of("resident memory, process base", measured.base_bytes / 1e6, "MB", bar=150.0, against=f"catalogue of {measured.tracks:,} tracks open")
    yield row_of("resident memory per stream", (told.resident_bytes - measured.base_bytes) / told.streams / 1e6, "MB", bar=1.5, against=at)


def _growth(measured: Measured, row_of: Makes) -> Iterator[Row]:
    fewest, most = measured.steps[0], measured.most
    ratio = most.ms(most.cpu_s["daemon"]) / fewest.ms(fewest.cpu_s["daemon"]) if most and most.streams > fewest.streams else None
    yield row_of(
        "CPU per stream at the most streams over that at the fewest", ratio, "ratio", bar=1.1, against=f"{most.streams if most else 0}, {fewest.streams}"
    )
    cpu = []
    for size in (1_000, 100_000):
        path = ROOT / "build" / "bench" / f"catalogue-{size}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        cpu += [one["value"] for one in found if one["figure"] == "CPU of a stream-second, 256 at once, client and server"]
    against = "what make bench-catalogue SIZE=1000 and SIZE=100000 left, 256 at once"
    yield row_of("CPU per look-up at 100,000 tracks over that at 1,000", cpu[1] / cpu[0] if len(cpu) == 2 else None, "ratio", bar=2.0, against=against)


def _hits(verdict: Verdict, row_of: Makes) -> Iterator[Row]:
    yield row_of("wrong hits", len(verdict.wrong), "hits", bar=0, against="of what was not on air; quotations, told as such, left out")
    yield row_of("hits that begin too early, or end too late, by more than 3 s", len(verdict.misdated), "hits")
    for name, found, count in (("clean", verdict.clean_found, verdict.clean), ("talked over", verdict.covered_found, verdict.covered)):
        asked: Mapping[str, Any] = {"bar": 100.0, "met": operator.ge} if name == "clean" else {}
        yield row_of(f"plays found, {name}", 100 * found / count if count else None, "%", against=f"{found} of {count}", **asked)
    for name, seconds, bars in (
        ("clean play's start to its hit in S3", verdict.after_begin_s, (None, None)),
        ("the same, beyond the playlist's own latency", verdict.after_listed_s, (5.0, 8.0)),
    ):
        for quantile, bar in zip((0.5, 0.95), bars, strict=True):
            value = float(np.quantile(seconds, quantile)) if seconds else None
            against = f"{len(seconds)} plays{'; from when the segment with the start was complete' if bar else ''}"
            yield row_of(f"{name}, p{100 * quantile:.0f}", value, "s", bar=bar, against=against)


def _beside_others(measured: Measured, row_of: Makes) -> Iterator[Row]:
    told, plain = measured.told, measured.baseline
    ours_ms = told.ms(sum(told.stages[stage] for stage in _MATCHING)) if told.stages.keys() >= {*_MATCHING} else None
    all_ms = ours_ms and ours_ms + told.ms(sum(told.stages.get(stage, 0.0) for stage in _AROUND_IT) + told.cpu_s["PostgreSQL"])
    ratio = plain.ms / ours_ms if ours_ms else None
    asked = f"a plain landmark matcher asked with {WINDOW_S} s each second, {plain.windows} windows, {plain.recordings} recordings in memory"
    figure = "fingerprint + match CPU: the bench's baseline over ours"
    yield row_of(figure, ratio, "ratio", bar=4.0, met=operator.ge, against=f"at {told.streams} streams; {asked}")
    yield row_of(f"{figure}, with look-ups, database and other computing", plain.ms / all_ms if all_ms else None, "ratio", against=asked)
    for name, factor in _OVER_BASELINE.items():
        against = f"{factor:.2g} times the baseline, by what both took of the same sounds elsewhere"
        yield row_of(f"fingerprint + match CPU: {name} over ours", ratio and factor * ratio, "ratio", against=against)
    yield row_of("fingerprint + match CPU per stream-second", ours_ms, "ms", against=f"at {told.streams} streams: {', '.join(_MATCHING)}")
    yield row_of("the same, of the bench's baseline", plain.ms, "ms", against=asked)
    known = 100 * plain.known / plain.clean if plain.clean else None
    against = f"{plain.known} of {plain.clean} in which nothing else sounds; {plain.wrong} of {plain.windows} taken for what was not on air"
    yield row_of("windows that the bench's baseline knew", known, "%", against=against)


def _starts(burst: Burst | None, row_of: Makes) -> Row:
    figure, bar = "500 starts in one second: all listening, p95", 120.0
    if burst is None:
        return row_of(figure, None, "s", bar=bar, against="STARTS=500")
    # One that was missed was never listened to.
    after_s = [*burst.after_s, *[float("inf")] * (burst.starts - len(burst.after_s))]
    value = float(np.quantile(after_s, 0.95, method="inverted_cdf"))
    against = f"{burst.starts} events within {burst.sent_s:.1f} s, {burst.workers} daemons, streams of silence, {burst.starts - len(burst.after_s)} missed"
    return row_of(figure.replace("500", str(burst.starts)), value if np.isfinite(value) else None, "s", bar=bar, against=against)


def _details(one: Step, base_bytes: int, row_of: Makes) -> Iterator[Row]:
    name = f"{one.streams} streams: "
    yield row_of(
        f"{name}held",
        float(one.held),
        "yes or no",
        against=f"{one.running} listened to, {one.heard_share:.1%} heard, {one.missed_s:.1f} s left out, {one.starved} starved",
    )
    yield row_of(f"{name}all listened to after", one.started_s, "s")
    yield row_of(f"{name}daemon CPU", one.cores, "cores", against=f"the computing thread is busy {one.busy:.0%} of the time")
    yield row_of(f"{name}share of the daemon's core that others used", 100 * one.disturbed, "%", against="much: the step says little, and is to be repeated")
    for quantile, which in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        yield row_of(f"{name}lag {which}", one.lag_s(quantile), "s", against="from a segment being complete until it was heard")
    for quantile, which in ((0.5, "p50"), (0.99, "p99")):
        yield row_of(f"{name}  of it until it was asked for, {which}", one.asked_after_s(quantile), "s")
    for quantile, which in ((0.5, "p50"), (0.99, "p99")):
        yield row_of(f"{name}  of it since it was in hand, {which}", one.in_hand_s(quantile), "s")
    yield row_of(f"{name}largest median lag of a stream over the middle one", one.unfairness, "ratio")
    yield row_of(f"{name}streams with an open play", 100 * one.open_share, "%")
    yield row_of(f"{name}resident memory per stream", (one.resident_bytes - base_bytes) / one.streams / 1e6, "MB")
    yield row_of(f"{name}origin CPU per request", 1e3 * one.cpu_s["origin"] / max(1, one.requests), "ms", against=f"{one.requests / one.seconds:.0f} a second")
    for what, counter in _COUNTED.items():
        yield row_of(f"{name}{what}", one.per_s(counter), "1/s")
    for who, spent in (("CPU of", one.cpu_s), ("  thread", one.threads), ("  stage", one.stages)):
        for what, cpu_s in sorted(spent.items(), key=lambda item: -item[1]):
            if one.ms(cpu_s) >= _ROW_MS:
                yield row_of(f"{name}{who} {what}", one.ms(cpu_s), "ms/s")
