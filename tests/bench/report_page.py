"""The report of a stream of twelve hours with 300 plays, in a real Chromium; without one, "not run"."""

from typing import Any, Final

from bench.rows import row
from report_browser import ChromiumMissing, Figures, handling_figures, report_figures

COMMAND: Final = "make bench-report ONLY=page"
#: Within a tenth of a second what is done seems to happen at once: J. Nielsen, "Usability Engineering", 1993.
AT_ONCE_MS: Final = 100.0
#: The first opening of a browser on a machine reads it from disk.
RUNS: Final = 3
HANDLED: Final = 500


def rows() -> list[dict[str, Any]]:
    """Measures for some ten seconds."""
    found = _measured()
    last = found[-1] if found else None
    for said in (*last.violations, *last.console, *last.requests) if last else ():
        print(f"report.html: {said}", flush=True)
    against = "generated plays and their evidence, 12 hours, 300 plays; no clips"
    axe = "axe-core, WCAG 2.2 AA, light and dark"
    soon_s = sorted(one.interactive_s for one in found)
    interactive = f"headless Chromium, the file from disk, the middle of {RUNS}"
    return [
        row("report.html of 12 hours, 300 plays", last and last.bytes / 1e6, "MB", bar=1.0, against=against, command=COMMAND),
        row("report.html, until one can use it", soon_s[len(soon_s) // 2] if soon_s else None, "s", bar=1.0, against=interactive, command=COMMAND),
        row(
            "report.html, whom it shuts out",
            last and len(last.violations),
            "violations",
            bar=0,
            against=axe,
            command=COMMAND,
        ),
        row("report.html, asked of the network", last and len(last.requests), "requests", bar=0, against="the same", command=COMMAND),
        row("report.html, complaints", last and len(last.console), "lines", bar=0, against="the browser's console", command=COMMAND),
        *_handling(),
    ]


def _handling() -> list[dict[str, Any]]:
    try:
        spent_ms = handling_figures(HANDLED)
    except ChromiumMissing:  # said by then
        spent_ms = {}
    against = "CPU of the page's thread, all that is laid out and painted included; the slowest of five"
    names = (("sort_cpu_ms", "sorting"), ("find_cpu_ms", "finding words"))
    return [row(f"report.html of {HANDLED} plays, {what}", spent_ms.get(name), "ms", bar=AT_ONCE_MS, against=against, command=COMMAND) for name, what in names]


def _measured() -> list[Figures]:
    try:
        return [report_figures() for _ in range(RUNS)]
    except ChromiumMissing as missing:
        print(f"report.html: {missing}", flush=True)
        return []
