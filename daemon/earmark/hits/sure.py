"""How sure a play is, as people say it: a rate of false alarms in words. Pure."""

import math
from typing import Final

from earmark.hits.text import FALSE_ALARMS_FLOOR

_HOURS_PER_YEAR: Final = 24 * 365.25
_HOURS_PER_MILLION_YEARS: Final = 1e6 * _HOURS_PER_YEAR


def sure_in_words(false_alarms_per_hour: float | None) -> str:
    """A rate of false alarms as people say it: "about one false alarm in 1,100 years of listening"."""
    if false_alarms_per_hour is None or not math.isfinite(false_alarms_per_hour):
        return "not known"
    if false_alarms_per_hour >= 1:
        return f"about {_two_figures(false_alarms_per_hour)} false alarm{'' if false_alarms_per_hour == 1 else 's'} in one hour of listening"
    if _hours_between(false_alarms_per_hour) > _HOURS_PER_MILLION_YEARS:
        return "less than one false alarm in a million years of listening"
    count, unit = _time_between(false_alarms_per_hour)
    return f"about one false alarm in {f'one {unit}' if count == '1' else f'{count} {unit}s'} of listening"


def sure_in_brief(false_alarms_per_hour: float | None) -> str:
    """The same for a narrow column that is headed "false alarms": "1 in 1,100 years"; 20 characters at most."""
    if false_alarms_per_hour is None or not math.isfinite(false_alarms_per_hour):
        return "not known"
    if false_alarms_per_hour >= 1:
        return f"{_two_figures(false_alarms_per_hour)} an hour"
    if _hours_between(false_alarms_per_hour) > _HOURS_PER_MILLION_YEARS:
        return "< 1 in 1M years"
    count, unit = _time_between(false_alarms_per_hour)
    return f"1 in {count} {unit}{'' if count == '1' else 's'}"


def _hours_between(false_alarms_per_hour: float) -> float:
    return 1 / max(false_alarms_per_hour, FALSE_ALARMS_FLOOR)


def _time_between(false_alarms_per_hour: float) -> tuple[str, str]:
    """How much listening there is to a false alarm, in the largest unit that fits into it."""
    hours = _hours_between(false_alarms_per_hour)
    unit, length_h = next((unit, length_h) for unit, length_h in (("year", _HOURS_PER_YEAR), ("day", 24.0), ("hour", 0.0)) if hours >= length_h)
    return _two_figures(hours / (length_h or 1.0)), unit


def _two_figures(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.12g}"
