"""Inside a daemon whose telemetry is to be weighed: at a signal nothing is counted any more, at the next all is again."""

import signal
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_METRICS = ((Counter, "inc"), (Gauge, "set"), (Gauge, "inc"), (Gauge, "dec"), (Histogram, "observe"))


def arm() -> None:
    swapped: list[tuple[type, str, Any]] = []

    def switch(*_: object) -> None:
        if swapped:
            for kind, name, function in swapped:
                setattr(kind, name, function)
            swapped.clear()
            return
        for kind, name, instead in [*((kind, name, _nothing) for kind, name in _METRICS), (MetricWrapperBase, "labels", _itself), *_ports()]:
            swapped.append((kind, name, getattr(kind, name)))
            setattr(kind, name, instead)

    signal.signal(signal.SIGUSR2, switch)


def _ports() -> list[tuple[type, str, Callable[..., None]]]:
    """What the rooms count through; who holds a bound method goes on to call it, and it counts nothing."""
    from earmark.telemetry import Metrics

    found = [(name, getattr(Metrics, name)) for name in dir(Metrics) if not name.startswith("_")]
    return [(Metrics, name, _nothing) for name, value in found if getattr(value, "__module__", "").startswith("earmark.telemetry") and name != "build"]


def _nothing(*_: object, **__: object) -> None: ...


def _itself(metric: Any, *_: object, **__: object) -> Any:
    return metric
