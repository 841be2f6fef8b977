"""Predicted and observed false alarms per hour against evidence, as a picture that needs no library: SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 78, 24, 64, 58
#: Ends of the axis of rates, per hour.
RATES: Final = (0.003, 300.0)
#: Told apart without colour vision (Okabe and Ito), and by their places within a step.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
#: Points of one step stand beside one another, so many steps apart.
_BESIDE: Final = 0.11


@dataclass(frozen=True, slots=True)
class Point:
    """What was observed from some evidence on: a rate, and its interval. A rate of 0 is drawn as the interval's end alone."""

    nats: float
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[Point]
    #: Predicted: (nats, rate) of the ends of a straight line.
    line: Sequence[tuple[float, float]]


def svg(title: str, subtitle: str, series: Sequence[Series], *, nats: tuple[float, float], marked: Sequence[float]) -> str:
    """The whole picture.

    Args:
        title, subtitle: above it.
        series: in the order of the legend.
        nats: ends of the axis.
        marked: rates with a line across.
    """
    axes = _Axes(RATES, nats)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="17" font-weight="600" fill="#1a1a1a">{escape(title)}</text>',
        f'<text x="{LEFT}" y="46" fill="#555555">{escape(subtitle)}</text>',
        *axes.grid(marked),
    ]
    for number, one in enumerate(series):
        parts += _drawn(axes, one, COLOURS[number % len(COLOURS)], (number - (len(series) - 1) / 2) * _BESIDE)
    parts += _legend(series)
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axes:
    rates: tuple[float, float]
    nats: tuple[float, float]

    def x(self, nats: float) -> float:
        low, high = self.nats
        return round(LEFT + (nats - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, rate: float) -> float:
        low, high = map(math.log10, self.rates)
        at = (math.log10(min(max(rate, self.rates[0]), self.rates[1])) - low) / (high - low)
        return round(HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM), 1)

    def grid(self, marked: Sequence[float]) -> list[str]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = []
        for power in range(math.ceil(math.log10(self.rates[0])), math.floor(math.log10(self.rates[1])) + 1):
            rate, y = 10.0**power, self.y(10.0**power)
            stroke = 'stroke="#888888" stroke-dasharray="5 4"' if rate in marked else 'stroke="#e4e4e4"'
            parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}" {stroke}/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#333333">{rate:g}</text>')
        for nats in range(math.ceil(self.nats[0]), math.floor(self.nats[1]) + 1, 2):
            x = self.x(nats)
            parts.append(f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 5}" stroke="#333333"/>')
            parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle" fill="#333333">{nats}</text>')
        middle = (TOP + bottom) / 2
        parts += [
            f'<line x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#333333"/>',
            f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle" fill="#333333">evidence, nats</text>',
            f'<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle" fill="#333333">lines above it per stream-hour, by chance</text>',
        ]
        return parts


def _drawn(axes: _Axes, series: Series, colour: str, beside: float) -> list[str]:
    parts = []
    if series.line:
        ends = " ".join(f"{axes.x(nats)},{axes.y(rate)}" for nats, rate in series.line)
        parts.append(f'<polyline points="{ends}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    for point in series.points:
        x = axes.x(point.nats + beside)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{axes.y(point.low)}" y2="{axes.y(point.high)}" stroke="{colour}" stroke-width="1.4"/>')
        if point.rate > 0:
            parts.append(f'<circle cx="{x}" cy="{axes.y(point.rate)}" r="3.4" fill="{colour}"/>')
    return parts


def _legend(series: Sequence[Series]) -> list[str]:
    parts = []
    for number, one in enumerate(series):
        y = TOP + 12 + 20 * number
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<circle cx="{WIDTH - 380}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - 368}" y="{y}" fill="#333333">{escape(one.name)}</text>')
    y = TOP + 12 + 20 * len(series)
    parts.append(f'<line x1="{WIDTH - 388}" x2="{WIDTH - 372}" y1="{y - 4}" y2="{y - 4}" stroke="#666666" stroke-width="1.6"/>')
    parts.append(f'<text x="{WIDTH - 368}" y="{y}" fill="#333333">predicted; bars are 95 % Poisson intervals</text>')
    return parts
