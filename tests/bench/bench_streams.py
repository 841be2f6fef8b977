"""Hundreds of live streams: what the daemon takes of a core, how late it is, and how many it can listen to.

    make bench-streams                    a quarter of an hour: prints the table, and writes build/bench/streams.json
    QUICK=1 make bench-streams            three minutes at one number of streams
    STREAMS=50,100,200,300 MINUTES=1.25   the steps, and how long each is looked at; then as many as it takes to find the most
    RENDITION=muxed720                    a channel that serves nothing smaller
    MUSIC=generated                       whatever there is; the hearing bench's recordings ($EARBENCH_HOME) are played if they are there
    TRACKS=10000                          in the catalogue, which is made once and kept in build/bench
    STARTS=500                            first, so many start in one second, with a daemon on every core
    PROFILE=1                             draws docs/flame-graph.svg of the last step that held; its stacks are left in build/bench/streams-stacks.txt
    STAGES=0, PIN=0                       no clocks in the daemon; no core of its own for it

Real HLS in real time from an origin of its own process (`bench.live_origin`), real AAC in several codecs and containers, the
real `earmark run` told of the streams by IVS's events, a real PostgreSQL that waits for its disk, and the AWS stand-in. The
daemon has one core to itself, all others share the rest. Recordings in the catalogue are drawn (`bench.catalogue`), but for those
that are played. **The floor** is a process that fetches, decodes and resamples the same segments and does nothing else. **The
baseline** is a plain landmark matcher that is asked each second about the last 12 s of the same programmes (`bench.live_baseline`).
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

import flame_graph
from bench import live_profile, live_real, live_rows
from bench.asked import number, one_of, whole, wholes
from bench.live_baseline import Baseline, baseline
from bench.live_machine import Machine
from bench.live_media import MATERIALS, Programme, programmes
from bench.live_observing import lags
from bench.live_rows import Burst, Measured, is_near
from bench.live_step import Step, resident_bytes, settled, step
from bench.live_truth import Listened, Verdict, judge, on_air
from bench.rows import ROOT

QUICK: Final = bool(os.environ.get("QUICK"))
RENDITION: Final = one_of("RENDITION", "mixed", ["mixed", "muxed720"])
_MATERIALS: Final = ["generated", *(["real"] if live_real.there() else [])]
MUSIC: Final = one_of("MUSIC", _MATERIALS[-1], _MATERIALS)
TRACKS: Final = whole("TRACKS", 10_000, least=1)
STREAMS: Final = wholes("STREAMS", "50" if QUICK else "50,100,200,300")
SECONDS: Final = 60 * number("MINUTES", 1 if QUICK else 1.25, least=0.25)
#: Steps beyond those asked for, to find the most streams; if any, one more for 80 % of them.
SEARCHED: Final = whole("SEARCH", 0 if QUICK else 2)
STARTS: Final = whole("STARTS", 0)
#: More than this much of what a core allows, by what fewer streams took of it, is not tried: who is overrun takes minutes to recover.
_HOPE: Final = 1.05
#: Of its core that others use: beyond that, a step that does not hold is tried again.
_DISTURBED: Final = 0.1
PROFILE: Final = os.environ.get("PROFILE") == "1"
FLOOR_STREAMS: Final = 100
FLOOR_S: Final = 15.0 if QUICK else 30.0
#: Of all windows of 12 s that a plain matcher would be asked about, it is asked about one in so many.
BASELINE_EVERY_S: Final = 12 if QUICK else 4
_STARTED_S: Final = 240.0


def figures() -> list[dict[str, Any]]:
    """Measures for a quarter of an hour. Rows of figure, value, unit, bar, met, against, command."""
    media = programmes(ROOT / "build" / "bench" / "streams-media", RENDITION, MUSIC)
    burst = _burst() if STARTS else None
    with _machine(media) as machine:
        measured = _measure(machine, media, burst)
    return list(live_rows.rows(measured, command=_command()))


def _command() -> str:
    told = {"RENDITION": (RENDITION, "mixed"), "TRACKS": (TRACKS, 10_000)}
    return " ".join(["make bench-streams", f"MUSIC={MUSIC}", *(f"{name}={value}" for name, (value, usual) in told.items() if value != usual)])


@contextmanager
def _machine(media: Sequence[Programme], workers: int = 1) -> Iterator[Machine]:
    settings = {name: value for name, value in os.environ.items() if name.startswith("EARMARK_") and "__" in name}
    settings |= {f"LIVE_{name}": os.environ.get(name, "") for name in ("STAGES", "PROFILE")} | {"PIN": os.environ.get("PIN", "")}
    with TemporaryDirectory(prefix="earmark-streams-") as place:
        folder, kept = Path(place), ROOT / "build" / "bench"
        try:
            with Machine(programmes=media, material=MUSIC, tracks=TRACKS, folder=folder, settings=settings, workers=workers) as machine:
                yield machine
        finally:
            for path in folder.glob("daemon-*.log"):
                (kept / f"streams-{path.name}").write_bytes(path.read_bytes())


def _measure(machine: Machine, media: Sequence[Programme], burst: Burst | None) -> Measured:
    time.sleep(5)
    base_bytes = resident_bytes(machine)
    _say(f"the daemon without streams takes {base_bytes / 1e6:.0f} MB")
    floors = [_floor(machine)]
    steps: list[Step] = []
    for streams in STREAMS:
        if steps and (not steps[-1].held or streams > _hoped(steps)):
            break
        steps.append(_step(machine, streams))
    for _ in range(SEARCHED):
        another = next_to_try([one.streams for one in steps if one.held], [one.streams for one in steps if not one.held], _hoped(steps))
        if another is None:
            break
        steps.append(_step(machine, another))
    if SEARCHED and (most := max((one.streams for one in steps if one.held), default=0)) and not any(is_near(one.streams, most) for one in steps):
        steps += [_step(machine, streams)] if (streams := round(most * 0.16) * 5) not in {one.streams for one in steps} else []
    if PROFILE:
        _draw(machine.folder, next((one for one in reversed(steps) if one.held), steps[-1]))
    verdict = _judge(machine, media, [(one.begin, one.end) for one in steps if one.held] or [(steps[0].begin, steps[0].end)])
    machine.go_off(len(machine.live))
    settled(machine, 0)
    floors += [] if QUICK else [_floor(machine)]
    return Measured(
        rendition=RENDITION,
        tracks=TRACKS,
        steps=sorted(steps, key=lambda one: one.streams),
        verdict=verdict,
        base_bytes=base_bytes,
        floor_ms=float(np.mean(floors)),
        floor_streams=FLOOR_STREAMS,
        baseline=_baseline(media),
        burst=burst,
    )


def _hoped(steps: Sequence[Step]) -> float:
    """As many as a core can hold, perhaps, by the step with the most that held."""
    most = max((one for one in steps if one.held), key=lambda one: one.streams, default=None)
    return _HOPE * most.streams / most.cores if most else 0.0


def next_to_try(held: Sequence[int], failed: Sequence[int], hoped: float) -> int | None:
    """Between the most that held and the least that did not, or may be hoped for; None: close enough."""
    most = max(held, default=0)
    beyond = [*failed, *([hoped] if held else [])]
    least = min((streams for streams in beyond if streams > most), default=most)
    return round((most + least) / 10) * 5 if least - most > max(10, most // 10) else None


def _floor(machine: Machine) -> float:
    """ms."""
    found = machine.floor(FLOOR_STREAMS, FLOOR_S)
    ms = 1e3 * found["cpu_s"] / found["heard_s"]
    _say(f"the decode-only floor is {ms:.3f} ms a stream-second: {found['heard_s']:.0f} of them in {found['wall_s']:.0f} s")
    return ms


def _baseline(media: Sequence[Programme]) -> Baseline:
    found = baseline(media, MATERIALS[MUSIC].played(len(media)), every_s=BASELINE_EVERY_S)
    _say(f"a plain matcher takes {found.ms:.2f} ms for a question, and knew {found.known} of {found.clean} windows of nothing but a recording")
    return found


def _step(machine: Machine, streams: int) -> Step:
    found = step(machine, streams, SECONDS)
    _tell(found)
    if not found.held and found.disturbed > _DISTURBED:
        _say(f"others used {found.disturbed:.0%} of the daemon's core: once more")
        found = step(machine, streams, SECONDS)
        _tell(found)
    return found


def _tell(found: Step) -> None:
    p50, p99, most = (found.lag_s(quantile) for quantile in (0.5, 0.99, 1.0))
    _say(
        f"{found.streams} streams {'held' if found.held else 'NOT held'}: {found.running} listened to after {found.started_s:.0f} s; "
        f"{found.ms(found.cpu_s['daemon']):.2f} ms a stream-second, {found.cores:.2f} of a core; lag {p50:.2f}, p99 {p99:.2f}, at most {most:.2f} s; "
        f"{found.heard_share:.1%} heard, {found.missed_s:.1f} s left out; {found.resident_bytes / 1e6:.0f} MB; "
        f"database {found.ms(found.cpu_s['PostgreSQL']):.2f} ms; a play is open on {found.open_share:.0%}"
    )
    stages = [f"{stage} {found.ms(cpu):.2f}" for stage, cpu in sorted(found.stages.items(), key=lambda item: -item[1])]
    if stages:
        _say(f"  ms of {', '.join(stages)}")


def _draw(folder: Path, found: Step) -> None:
    stacks = live_profile.folded(folder, found.begin, found.end)
    text = "".join(f"{stack} {samples}\n" for stack, samples in sorted(stacks.items(), key=lambda item: (-item[1], item[0])))
    (ROOT / "build" / "bench" / "streams-stacks.txt").write_text(text, encoding="utf-8")
    said = (
        f"{found.running} live streams, {found.cores:.2f} of a core, {found.ms(found.cpu_s['daemon']):.1f} ms for a second of a stream; "
        f"all threads, by processor time: {sum(stacks.values()):,} samples"
    )
    picture = flame_graph.svg(flame_graph.read(text), title="Where the daemon’s time goes", subtitle=said)
    (ROOT / "docs" / "flame-graph.svg").write_text(picture, encoding="utf-8")
    _say(f"wrote docs/flame-graph.svg, {len(picture):,} bytes")


def _judge(machine: Machine, media: Sequence[Programme], windows: Sequence[tuple[float, float]]) -> Verdict:
    """Of all that was heard until now."""
    now, begins = time.time(), dict[int, float]()
    for lag in lags(machine.folder):
        begins[lag.stream] = min(begins.get(lag.stream, lag.at), lag.at)
    streams = {number: machine.stream(number) for number in begins}
    listened = {
        number: Listened(stream=stream, parts=media[stream.programme].parts, begin=begins[number], end=machine.ended.get(number, now))
        for number, stream in streams.items()
    }
    verdict = judge(listened, list(machine.hits(now)), windows)
    for what, hits in (("wrong", verdict.wrong), ("misdated", verdict.misdated)):
        for hit in hits[:5]:
            one = listened.get(hit.stream)
            plays = [play for play in on_air(one.stream, one.parts, one.begin, now) if play.track_id == hit.track_id] if one else []
            apart = [f"{play.begin - hit.begin:+.1f} to {play.end - hit.begin:+.1f} s" for play in plays]
            _say(f"{what}: {hit}; from its begin on, that was on air from {' and '.join(apart) or 'never'}")
    return verdict


def _burst() -> Burst:
    """Streams that start in one second, with a daemon on every core: when was each of them heard first?

    Streams of silence, which so many daemons can listen to: it is asked how they come to them.
    """
    media, workers = programmes(ROOT / "build" / "bench" / "streams-media", "least", "silence"), len(os.sched_getaffinity(0))
    with _machine(media, workers) as machine:
        begun = time.time()
        sent_s = machine.go_live(STARTS)
        first: dict[int, float] = {}
        while len(first) < STARTS and time.time() < begun + _STARTED_S:
            time.sleep(1)
            for lag in lags(machine.folder):
                first.setdefault(lag.stream, lag.at - begun)
    _say(f"{STARTS} starts, sent within {sent_s:.1f} s: {len(first)} listened to, the last after {max(first.values(), default=0):.0f} s")
    return Burst(starts=STARTS, sent_s=sent_s, workers=workers, after_s=sorted(first.values()))


def _say(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit("make bench-streams")
