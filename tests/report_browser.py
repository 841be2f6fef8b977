"""A report as a long evening would have it, opened in a real Chromium: its size, how soon it can be used, whom it shuts out.

`report_figures()` gives all three; without Chromium (`apt-get install chromium`) it raises ChromiumMissing.
"""

import base64
import itertools
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

import hits_samples as samples
from earmark.hits.page import details
from earmark.hits.proof.evidence import evidence_document
from earmark.hits.record import Line
from earmark.hits.reports import report
from earmark.hits.reports.report import StreamReport
from earmark.matching.histograms import HALF_CELLS, Histograms
from earmark.model import Gap, Music, Play, Stretch, Track

#: As `axe.run` wants it: the rules of WCAG 2.2 at level AA, and what is good practice besides.
AXE = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "resultTypes": ["violations"],  # of what is fine, no list
}
#: Of which the median is told.
LOADS = 5
_WORDS = ("Blue", "Sky", "Morning", "Paper", "Boat", "Silver", "Line", "Harbour", "Quiet", "Window", "Ember", "Longest", "Road", "North", "Rain", "Glass")
_OWNERS = ("Paper Boat Rights Ltd", "Harbour Street Publishing", "Nordlicht Verlag GmbH", "Sociedad de Autores del Sur", "")
_POLICIES = ("track", "track", "track", "allow", "block", "warn", "monetize")


class ChromiumMissing(Exception):
    """There is no Chromium on this machine."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one report in one browser."""

    plays: int
    bytes: int
    #: From the start of the navigation until the page is loaded and painted, and no task holds it up any more: the median of `LOADS`.
    interactive_s: float
    #: Of axe-core: the ids of the rules broken, in light and in the dark.
    violations: tuple[str, ...]
    #: What it asked of the network, and what it complained of.
    requests: tuple[str, ...]
    console: tuple[str, ...]


def report_figures(plays: int = 300, hours: float = 12.0) -> Figures:
    """Of a stream of 12 hours with 300 plays, each with its evidence. Raises ChromiumMissing."""
    text = html(long_report(plays, hours), long_proofs(plays, hours))
    violations: list[str] = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        loads = [_load(browser, path) for _ in range(LOADS)]
        for scheme in ("light", "dark"):
            with opened(browser, path, color_scheme=scheme) as (page, _):
                violations += broken(page)
    seen = loads[0][1]
    return Figures(
        plays=plays,
        bytes=len(text.encode()),
        interactive_s=statistics.median(seconds for seconds, _ in loads),
        violations=tuple(violations),
        requests=tuple(seen.requests),
        console=tuple(seen.console),
    )


def handling_figures(plays: int = 500, hours: float = 12.0) -> dict[str, float]:
    """CPU milliseconds of the page's own thread, whatever else the machine does: to open it, and for the longest sorting and finding.

    With all that is laid out and painted for them. Raises ChromiumMissing.
    """
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "report.html"
        path.write_text(html(long_report(plays, hours), long_proofs(plays, hours)), encoding="utf-8")
        with opened(browser, path) as (page, _):
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})

            def spent_ms(act: Callable[[], object]) -> float:
                before = _task_ms(session)
                act()
                page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
                return _task_ms(session) - before

            load_ms = spent_ms(page.reload)
            heads = page.locator("#list thead button")
            sort_ms = max(spent_ms(partial(heads.nth(n).evaluate, "one => one.click()")) for n in (1, 2, 5, 2, 0))
            find_ms = max(spent_ms(partial(page.fill, "#words", text)) for text in ("e", "ember", "", "zzz", ""))
        return {"bytes": path.stat().st_size, "load_cpu_ms": load_ms, "sort_cpu_ms": sort_ms, "find_cpu_ms": find_ms}


def _task_ms(session: CDPSession) -> float:
    return 1_000 * next(one["value"] for one in session.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration")


def _load(browser: Browser, path: Path) -> tuple[float, "Seen"]:
    with opened(browser, path) as (page, seen):
        return interactive(page), seen


# ------------------------------------------------------------------------------------------------ the report


def long_report(plays: int, hours: float, *, hostile: Sequence[str] = ()) -> StreamReport:
    """Plays one after the other, some of them at once; between them speech, unidentified music, a gap now and then. `hostile`: titles among theirs."""
    total_s = hours * 3_600
    spacing_s = total_s / max(plays, 1)
    gaps = (
        ()
        if not total_s
        else tuple(
            Gap(begin_s=round(begin_s, 3), end_s=round(begin_s + length_s, 3), reason=reason)
            for begin_s, length_s, reason in zip(
                np.linspace(total_s * 0.07, total_s * 0.93, 9),
                itertools.cycle((6.0, 48.0, 2.0, 310.0)),
                itertools.cycle(("segment_missing", "origin_down", "late", "worker_lost")),
                strict=False,
            )
        )
    )
    music = tuple(
        Stretch(begin_s=round(begin_s, 3), end_s=round(begin_s + spacing_s * 0.9, 3)) for begin_s in np.arange(0, total_s * 0.95, spacing_s * 9 or 1.0)
    )
    silence = tuple(
        Stretch(begin_s=round(begin_s, 3), end_s=round(begin_s + 20.0, 3)) for begin_s in np.arange(total_s * 0.01, total_s * 0.9, total_s / 8 or 1.0)
    )
    speech = tuple(
        Stretch(begin_s=round((n + 0.1) * spacing_s, 3), end_s=round((n + 0.1 + 0.1 * (n % 7)) * spacing_s, 3)) for n in range(1, min(plays, 500), 3)
    )
    lines = [Line.of(_hit(n, spacing_s, hostile)) for n in range(plays)]
    checkpoint = samples.checkpoint(total_s, gaps=gaps, state="ended", end_reason="stream_end")
    return StreamReport(
        stream=samples.STREAM,
        checkpoint=replace(checkpoint, speech=speech, silence=silence, music=Music(stretches=music, heard_s=sum(s.end_s - s.begin_s for s in music))),
        plays=tuple(sorted(lines, key=lambda line: line.begin_s)),
        worker="worker-1",
        updated_at=samples.NOON,
    )


def long_proofs(plays: int, hours: float, *, hostile: Sequence[str] = (), clip: bool = False) -> dict[str, details.Proof]:
    """What explains the plays of `long_report`; with `clip` each has one in the stream's folder."""
    spacing_s = hours * 3_600 / max(plays, 1)
    proofs = {}
    for n in range(min(plays, details.PROOFS_MAX)):
        hit = _hit(n, spacing_s, hostile)
        hit["evidence"] = {"key": samples.PLACE.evidence_key(hit["hit_id"])}
        if clip:
            hit["evidence"]["clip"] = {"key": f"eu/st-1A2B3C/evidence/{hit['hit_id']}.flac", "begin_s": 10.0, "end_s": 25.0}
        proofs[hit["hit_id"]] = details.of(hit, _evidence(n, _play(n, spacing_s)))
    return proofs


def html(whole: StreamReport, proofs: dict[str, details.Proof]) -> str:
    return report.html(whole, proofs, linked=True)


def _play(n: int, spacing_s: float) -> Play:
    length_s = spacing_s * (0.35, 0.6, 0.25, 1.2)[n % 4]
    speed = (1.0, 1.0, 1.031, 0.98)[n % 4]
    rate = (1e-12, 1e-9, 3e-7, 2e-5)[n % 4]
    return samples.play(
        f"isrc:GBAYE06{n % 210:05}",
        begin_s=round(n * spacing_s + 0.2 * spacing_s, 3),
        length_s=round(length_s, 3),
        state="closed",
        speed=speed,
        pitch_cents=round(1_200 * float(np.log2(speed)), 1),
        false_alarms_per_hour=rate,
        evidence_nats=40.0 + 3 * (n % 50),
        quotation=n % 17 == 3,
        also_matching=("isrc:GBAYE0699999",) if n % 23 == 5 else (),
    )


def _hit(n: int, spacing_s: float, hostile: Sequence[str]) -> dict[str, Any]:
    which = n % 210
    title = hostile[n] if n < len(hostile) else " ".join(_WORDS[(which * k + k) % len(_WORDS)] for k in (1, 3, 7)[: 1 + which % 3])
    owner = hostile[n] if n < len(hostile) else _OWNERS[which % len(_OWNERS)]
    track = Track(
        track_id=f"isrc:GBAYE06{which:05}",
        title=title,
        artists=(hostile[n],) if n < len(hostile) else (f"The {_WORDS[which % 16]} {_WORDS[(which // 3) % 16]}s",),
        album=f"{_WORDS[(which + 5) % 16]} Tapes",
        label="Paper Boat",
        isrc=(f"GBAYE06{which:05}",),
        rights_holder=owner,
        policy=_POLICIES[which % len(_POLICIES)],
        duration_s=240.0,
    )
    return samples.hit(_play(n, spacing_s), track=track)


def _evidence(n: int, play: Play) -> dict[str, Any]:
    """As large as one of clean music is: peaks in line, and coincidences by chance around them."""
    random = np.random.default_rng(n)
    begin_s, matched = play.begin_s + 1.0, 240 + 20 * (n % 7)
    stream_ms = np.sort(random.integers(round(begin_s * 1_000), round((begin_s + 12.0) * 1_000), matched)).astype(np.int32)
    layout = Histograms
    counts = random.poisson(6.0, int(2 * layout.half[1] + 1)).astype(np.int32)
    counts[len(counts) // 2] = matched
    offset_s = play.reference_begin_s - play.speed * play.begin_s
    found = samples.explanation(
        play.evidence_nats,
        begin_s=begin_s,
        end_s=begin_s + 12.0,
        speed=play.speed,
        offset_s=offset_s,
        heard_n=matched + 120,
        stored_n=matched + 150,
        matched_n=matched,
        cell_frames=float(2 * HALF_CELLS[1]),
        coincidences=counts,
        stream_ms=stream_ms,
        eighth_hz=random.integers(1_440, 30_400, matched).astype(np.int32),
        reference_ms=np.round(play.speed * stream_ms + 1_000 * offset_s + random.normal(0, 8, matched)).astype(np.int32),
    )
    return evidence_document(stream_id=samples.STREAM.stream_id, play=play, explanation=found)


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def seconds_of(clock: str) -> int:
    """Of h:mm:ss or m:ss."""
    return sum(int(part) * unit for part, unit in zip(reversed(clock.split(":")), (1, 60, 3_600), strict=False))


# ------------------------------------------------------------------------------------------------ the browser


@dataclass
class Seen:
    """What a page did besides showing itself."""

    requests: list[str] = field(default_factory=list)
    #: Errors, warnings, and what the policy kept from running.
    console: list[str] = field(default_factory=list)


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The one that is installed, without a window. Raises ChromiumMissing."""
    path = chromium_path()
    if path is None:
        raise ChromiumMissing("chromium is not installed on this machine")
    # As root it has no sandbox; it is shown pages of our own alone.
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[tuple[Page, Seen]]:
    """A file, in a window of its own; `options`: of the window, as playwright has them (viewport, color_scheme, java_script_enabled ...)."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True} | options)
    seen, page = Seen(), context.new_page()
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
    page.add_init_script(_LONG_TASKS)
    try:
        page.goto(path.as_uri(), wait_until="load")
        seen.requests.remove(path.as_uri())
        yield page, seen
    finally:
        context.close()


_LONG_TASKS = """
window.__busy = [];
new PerformanceObserver(list => window.__busy.push(...list.getEntries().map(e => e.startTime + e.duration))).observe({type: 'longtask', buffered: true});
"""
_INTERACTIVE = """
() => new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const [navigation] = performance.getEntriesByType('navigation');
  const painted = performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? performance.now();
  done(Math.max(navigation.loadEventEnd, painted, ...window.__busy) / 1000);
}, 0)))
"""


def interactive(page: Page) -> float:
    """Seconds from the start of the navigation until it was loaded, painted, and through with tasks of 50 ms and more."""
    return float(page.evaluate(_INTERACTIVE))


def broken(page: Page, *rules: str) -> list[str]:
    """The rules of axe-core (all of `AXE`, or these) that the page breaks, each with the first place where it does."""
    found = Axe().run(page, options=AXE | {"runOnly": {"type": "rule", "values": rules}} if rules else AXE).response["violations"]
    return [f"{one['id']}: {' '.join(one['nodes'][0]['html'].split())[:160]}" for one in found]
