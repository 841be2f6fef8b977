"""Few combinations in which all pairs are: of the values that two different things may have, each pair is together in one of them. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, product
from typing import TypeVar

Value = TypeVar("Value", bound=Hashable)
Pair = frozenset[tuple[str, Hashable]]


def all_pairs(values: Mapping[str, Sequence[Value]]) -> set[Pair]:
    return {frozenset([(one, a), (other, b)]) for one, other in combinations(values, 2) for a, b in product(values[one], values[other])}


def covering(values: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """One after the other, each with as many pairs that are still missing as can be had thing by thing (the greedy way of Cohen et al., AETG)."""
    missing, found = all_pairs(values), []
    while missing:
        # Something that is missing begins it; the first by its text, so that it is the same each time.
        chosen = dict(min(missing, key=lambda pair: sorted(map(repr, pair))))
        for name in sorted(values, key=lambda name: -len(values[name])):
            if name not in chosen:
                chosen[name] = max(values[name], key=lambda value: len(missing & _with(chosen, name, value)))
        found.append({name: chosen[name] for name in values})
        missing -= pairs_of(found[-1])
    return found  # type: ignore[return-value]


def pairs_of(row: Mapping[str, Hashable]) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def _with(chosen: Mapping[str, Hashable], name: str, value: Hashable) -> set[Pair]:
    return {frozenset([(name, value), known]) for known in chosen.items()}
