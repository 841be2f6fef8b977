"""How a metric is declared: what it says, in which unit, and what to do about it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What `metric` was told."""

    labels: Mapping[str, tuple[str, ...]]
    buckets: tuple[float, ...]
    says: str
    remedy: str


def metric(says: str, remedy: str, *, labels: Mapping[str, tuple[str, ...]] = MappingProxyType({}), buckets: tuple[float, ...] = ()) -> Any:
    """Declare a metric: what it says (unit included), and what to do about it.

    A label with a closed list of values is exported from the first scrape, as zeros, so that a rate has a start;
    an empty list is an open one, filled by code that knows a small number of values. Buckets are upper bounds.
    """
    return field(metadata={Declared: Declared(labels=labels, buckets=buckets, says=says, remedy=remedy)})


def register(registry: CollectorRegistry, name: str, kind: Any, declared: Declared) -> Any:
    extra = {"buckets": declared.buckets} if declared.buckets else {}
    metric = kind(name, f"{declared.says} {declared.remedy}", tuple(declared.labels), registry=registry, **extra)
    if declared.labels:
        for values in itertools.product(*declared.labels.values()):
            metric.labels(*values)
    return metric
