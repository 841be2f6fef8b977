"""What evidence is worth: false alarms per hour by chance, measured, fitted, and predicted against observed.

    make bench-calibration [HOURS=2]                         a sample: 2 h of real sound, 10 h of decoys
    PYTHONPATH=tests python -m bench.bench_calibration 40    all of it, and docs/calibration.*; half an hour on two cores

What is counted is in `calibration_hearing`, what is heard in `calibration_sound`. **Fitted** is on the half of the recordings
(and of their decoys) whose name has an even hash; **checked** on the other half, and on all. Of streams heard against a
catalogue of their own package (the *relatives*), those lines are left out which share a sample for all we know: pitch and
tempo are the stream's own within 0.1 %. They are listed.
"""

import itertools
import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2

from bench import calibration_chart as chart
from bench import calibration_hearing as hearing
from bench import calibration_sound as sound
from bench.asked import number
from bench.calibration_hearing import Event, Heard
from bench.rows import row
from earmark.matching.confidence import CHANCE, ChanceModel, false_alarms_per_hour, threshold_nats
from earmark.model import CatalogueSize, Float64

COMMAND: Final = "make bench-calibration"
DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "calibration.md"
BEGIN, END = "<!-- calibration: tests/bench/bench_calibration.py -->\n", "<!-- end of calibration -->"
#: Events are fitted from here on.
FIT_ABOVE_NATS: Final = 13.0
#: Pitch and tempo of a shared sample are the stream's own within this.
SAME_SPEED: Final = 0.001
#: Predicted against observed: within this factor.
FACTOR_BAR: Final = 3.0


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of sound against catalogues of one size."""

    kind: str
    catalogue_h: float
    #: Of the hours asked for.
    share: float

    @property
    def name(self) -> str:
        return f"{self.kind} against {self.catalogue_h:g} h"


PARTS: Final = (
    Part("real", 4, 1.0),
    Part("decoys", 4, 5.0),
    Part("relatives", 4, 0.15),
    Part("real", 40, 0.5),
    Part("decoys", 40, 0.5),
    Part("real", 160, 0.25),
)
#: Rates to be checked, and on what.
CHECKED: Final = (
    *((rate, "real", size_h) for size_h in (4, 40, 160) for rate in (10.0, 1.0)),
    *((rate, "decoys", 4) for rate in (1.0, 0.1)),
)


# ---------------------------------------------------------------------------------------------------- measuring


def measure(hours: float) -> dict[str, list[Heard]]:
    """Every part; the name of each, and what its streams gave."""
    processes = multiprocessing.get_context("fork")
    with processes.Pool() as pool:
        pool.map(sound.prepare, sound.recordings(), chunksize=1)
        pool.map(sound.prepare_voice, sound.VOICES, chunksize=1)
    measured: dict[str, list[Heard]] = {}
    for size_h, parts in itertools.groupby(PARTS, key=lambda part: part.catalogue_h):
        hearing.CATALOGUES.clear()
        hearing.CATALOGUES.update((package, hearing.catalogue(package, size_h)) for package in sound.packages())
        with processes.Pool() as pool:
            for part in parts:
                measured[part.name] = pool.map(hearing.hear, hearing.jobs(part.kind, part.share * hours), chunksize=1)
                print(f"calibration: heard {sum(h.hours for h in measured[part.name]):.1f} h of {part.name}", file=sys.stderr, flush=True)
    return measured


# ---------------------------------------------------------------------------------------------------- fitting


def chance(event: Event, heard: Heard) -> bool:
    """Whether an event cannot be a shared sample: other packages share none, and what is shared keeps its pitch and tempo."""
    if heard.job.package != heard.job.against:
        return True
    return max(abs(event.pitch / heard.speed - 1), abs(event.slope / heard.speed - 1)) > SAME_SPEED


def nats_of(heard: Sequence[Heard]) -> Float64:
    return np.array([event.nats for h in heard for event in h.events if chance(event, h)])


def hours_of(heard: Sequence[Heard]) -> float:
    return sum(h.hours for h in heard)


def fit(parts: Sequence[Sequence[Heard]]) -> ChanceModel:
    """The most likely figures: how fast chance falls with each nat, and how often it reaches so much, by the catalogue's size.

    Events above `FIT_ABOVE_NATS` are exponential from there on, and come as a Poisson process whose rate is a power of the
    catalogue's seconds.
    """
    exceeding = np.concatenate([nats_of(heard) for heard in parts]) - FIT_ABOVE_NATS
    exceeding = exceeding[exceeding > 0]
    hours = np.array([hours_of(heard) for heard in parts])
    counts = np.array([np.count_nonzero(nats_of(heard) > FIT_ABOVE_NATS) for heard in parts])
    sizes = np.array([np.mean([h.catalogue_s for h in heard]) for heard in parts]) / CHANCE.catalogue_s

    def surprise(logs: Float64) -> float:
        expected = hours * np.exp(logs[0]) * sizes ** logs[1]
        return float((expected - counts * np.log(expected)).sum())

    log_rate, growth = minimize(surprise, np.array([3.0, 0.5]), method="Nelder-Mead").x
    return replace(
        CHANCE,
        lines_per_hour=float(np.exp(log_rate)),
        from_nats=FIT_ABOVE_NATS,
        per_nat=float(len(exceeding) / exceeding.sum()),
        growth=float(growth),
    )


def poisson_interval(count: int, exposure: float) -> tuple[float, float]:
    """95 %, exact."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low) / exposure, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / exposure


def size_of(heard: Sequence[Heard]) -> CatalogueSize:
    return CatalogueSize(tracks=0, seconds=float(np.mean([h.catalogue_s for h in heard])), postings=0)


@dataclass(frozen=True, slots=True)
class Compared:
    """A predicted rate, and what was observed above its threshold."""

    rate: float
    part: str
    half: str
    threshold_nats: float
    hours: float
    expected: float
    observed: int
    low_per_hour: float
    high_per_hour: float

    @property
    def ratio(self) -> float:
        """Observed over predicted."""
        return self.observed / self.expected

    @property
    def decided(self) -> bool:
        """Whether so much was heard that the interval is narrower than what is asked for."""
        return self.expected >= 4


def compare(rate: float, part: str, heard: Sequence[Heard], model: ChanceModel, half: str) -> Compared:
    heard = [h for h in heard if half == "all" or not h.fitted_on]
    # Each stream against the catalogue it was heard with.
    threshold = threshold_nats(rate, size_of(heard), model)
    hours, observed = hours_of(heard), int(np.count_nonzero(nats_of(heard) > threshold))
    low, high = poisson_interval(observed, hours)
    return Compared(rate, part, half, threshold, hours, rate * hours, observed, low, high)


def comparisons(measured: dict[str, list[Heard]], model: ChanceModel) -> list[Compared]:
    named = [(rate, Part(kind, hours, 0).name) for rate, kind, hours in CHECKED]
    return [compare(rate, name, measured[name], model, half) for rate, name in named for half in ("held out", "all")]


# ---------------------------------------------------------------------------------------------------- telling


def figures() -> list[dict[str, Any]]:
    if not sound.there():
        print(f"calibration: the hearing bench's music is not under {sound.HOME} (EARBENCH_HOME): nothing can be measured.", file=sys.stderr)
        return [_row("chance: observed over predicted", None, "ratio", FACTOR_BAR)]
    measured = measure(number("HOURS", 2.0, least=0.1))
    return rows(measured, CHANCE)


def rows(measured: dict[str, list[Heard]], model: ChanceModel) -> list[dict[str, Any]]:
    found = []
    for one in comparisons(measured, model):
        if one.half == "all":
            ratio = round(one.ratio, 3) if one.decided else None
            found.append(_row(f"{one.rate:g}/h, {one.part}: observed over predicted", ratio, "ratio", FACTOR_BAR))
    for name, heard in measured.items():
        told = [event.told_nats for h in heard for event in h.events if chance(event, h)]
        found += [
            _row(f"{name}: heard", round(hours_of(heard), 1), "h"),
            _row(f"{name}: candidates verified", round(sum(h.candidates for h in heard) / hours_of(heard)), "1/h"),
            _row(f"{name}: most evidence by chance", round(float(nats_of(heard).max(initial=0)), 1), "nats"),
            _row(f"{name}: most that all rules let pass", round(max(told, default=0.0), 1), "nats"),
        ]
    return found


def _row(name: str, value: float | None, unit: str, bar: float | None = None) -> dict[str, Any]:
    return row(name, value, unit, command=COMMAND, bar=bar, met=lambda ratio, factor: 1 / factor <= ratio <= factor)


def report(measured: dict[str, list[Heard]]) -> dict[str, Any]:
    """All that docs/calibration.json says. The model is fitted on one half; what the product has is `CHANCE`."""
    halves = [[h for h in measured[part.name] if h.fitted_on] for part in PARTS if part.kind != "relatives"]
    fitted = fit(halves)
    return {
        "command": "PYTHONPATH=tests python -m bench.bench_calibration HOURS",
        "made": datetime.now(UTC).date().isoformat(),
        "model": asdict(CHANCE),
        "fitted": {name: {k: round(v, 4) for k, v in asdict(m).items()} for name, m in (("on one half", fitted), *_separately(measured))},
        "checked": [_rounded(asdict(one) | {"ratio": one.ratio, "decided": one.decided}) for one in comparisons(measured, fitted)],
        "parts": {name: _part(heard, fitted) for name, heard in measured.items()},
        "relatives": _related(measured),
    }


def _separately(measured: dict[str, list[Heard]]) -> list[tuple[str, ChanceModel]]:
    """Fitted on everything, and on each kind of sound: how much they differ."""
    parts = [(part.kind, measured[part.name]) for part in PARTS if part.kind != "relatives"]
    return [("on all", fit([heard for _, heard in parts]))] + [
        (f"on all {kind}", fit([heard for k, heard in parts if k == kind])) for kind in ("real", "decoys")
    ]


def _part(heard: Sequence[Heard], model: ChanceModel) -> dict[str, Any]:
    nats, hours = nats_of(heard), hours_of(heard)
    told = np.array([event.told_nats for h in heard for event in h.events if chance(event, h)])
    by_condition: dict[str, list[Heard]] = {}
    for h in heard:
        by_condition.setdefault(h.job.condition if h.job.recording else "speech alone", []).append(h)
    return {
        "streams": len(heard),
        "hours": round(hours, 2),
        "catalogue_h": round(size_of(heard).seconds / 3_600, 2),
        "candidates_per_hour": round(sum(h.candidates for h in heard) / hours),
        "most_nats": [round(float(n), 1) for n in np.sort(nats)[::-1][:5]],
        "all_rules": {"most_nats": round(float(told.max(initial=0)), 1), "above_8_nats": int(np.count_nonzero(told > 8))},
        "above": [_above(nats, hours, n, size_of(heard), model) for n in range(8, 25)],
        "above_11_nats_per_hour_by_condition": {
            name: [round(float(np.count_nonzero(nats_of(some) > 11)) / hours_of(some), 2), round(hours_of(some), 2)] for name, some in by_condition.items()
        },
    }


def _above(nats: Float64, hours: float, n: float, size: CatalogueSize, model: ChanceModel) -> dict[str, float]:
    count = int(np.count_nonzero(nats > n))
    low, high = poisson_interval(count, hours)
    return _rounded({"nats": n, "events": count, "per_hour": count / hours, "low": low, "high": high, "predicted": false_alarms_per_hour(n, size, model)})


def _related(measured: dict[str, list[Heard]]) -> list[dict[str, Any]]:
    """Lines that were left out, because they may be of a shared sample."""
    heard = [h for some in measured.values() for h in some]
    left_out = [(h, event) for h in heard for event in h.events if event.nats > FIT_ABOVE_NATS and not chance(event, h)]
    found = [_rounded({"stream": h.source} | asdict(event)) for h, event in left_out]
    return sorted(found, key=lambda related: -related["nats"])[:20]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}


def picture(told: dict[str, Any]) -> str:
    series = []
    for name, part in told["parts"].items():
        if name.startswith("relatives"):
            continue
        seen = [above for above in part["above"] if FIT_ABOVE_NATS - 1 <= above["nats"] < 24]
        last = next((k for k, above in enumerate(seen) if above["events"] == 0), len(seen))
        points = [chart.Point(a["nats"], a["per_hour"], a["low"], a["high"]) for a in seen[:last]]
        line = [(a["nats"], a["predicted"]) for a in seen if a["predicted"] > chart.RATES[0]]
        kind = "other music and speech" if name.startswith("real") else "decoys"
        series.append(chart.Series(f"{part['hours']:.0f} h of {kind}, catalogue of {part['catalogue_h']:.0f} h", points, line))
    return chart.svg(
        "How much evidence chance gives",
        "Sound that is not in the catalogue; lines fitted on one half of the recordings, points on all of them",
        series,
        nats=(FIT_ABOVE_NATS - 1.5, 24),
        marked=(10, 1, 0.1),
    )


def table(told: dict[str, Any]) -> str:
    """Predicted against observed, for people."""
    lines = ["", "| predicted | sound and catalogue | from nats | expected | observed | an hour | observed over predicted |", "| --- " * 7 + "|"]
    halves = {(c["rate"], c["part"], c["half"]): c for c in told["checked"]}
    for (rate, part, half), c in halves.items():
        if half == "all":
            ratios = f"{c['ratio']:.2f} ({halves[rate, part, 'held out']['ratio']:.2f})" if c["decided"] else "too few"
            an_hour = f"{c['observed'] / c['hours']:.2g}, {c['low_per_hour']:.2g} to {c['high_per_hour']:.2g}"
            told_of = f"{c['hours']:.0f} h of {part.replace('real', 'real sound')}"
            lines.append(f"| {rate:g} an hour | {told_of} | {c['threshold_nats']:.1f} | {c['expected']:.0f} | {c['observed']} | {an_hour} | {ratios} |")
    return "\n".join([*lines, "", ""])


def publish(measured: dict[str, list[Heard]]) -> None:
    DOCS.mkdir(exist_ok=True)
    told = report(measured)
    (DOCS / "calibration.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (DOCS / "calibration.svg").write_text(picture(told), encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(told) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    if not sound.there():
        sys.exit(f"calibration: the hearing bench's music is not under {sound.HOME} (EARBENCH_HOME): without it nothing can be measured.")
    publish(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 40.0))
