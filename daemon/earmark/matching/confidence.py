"""What evidence means: nats against chance to false alarms per hour of stream, for the catalogue of now.

In sound that is not in the catalogue, lines that chance draws through some recording reach x nats so often in an hour::

    lines_per_hour * (catalogue_s / size) ** -growth * exp(-per_nat * (x - from_nats))

A line counts once, with the most evidence that it ever has. Twice as many recordings are not twice as many chances, since the
best of similar lines counts and a larger catalogue asks for more votes (`alignment.votes_least`). Fitted from 13 nats up, on
one half of 300 hours of other music, speech and decoys against catalogues of 4 to 160 hours; it predicted the other half
within a factor of one and a half, from ten alarms an hour to one in ten (docs/calibration.md). Beyond 20 nats nothing was observed: the
exponential is an extrapolation, and a cautious one, since what was observed falls faster the further it goes.

It is a promise about chance, and not about recordings that share a sample (`samples`, `stretches`).
"""

import math
from dataclasses import dataclass

from earmark.model import CatalogueSize


@dataclass(frozen=True, kw_only=True)
class ChanceModel:
    """Fitted figures; they belong to one version of the fingerprint."""

    #: Lines above `from_nats` per stream-hour, in a catalogue of so many seconds.
    lines_per_hour: float
    from_nats: float
    catalogue_s: float
    #: How fast that falls with each nat.
    per_nat: float
    #: With which power of the catalogue's seconds it grows.
    growth: float
    #: No catalogue counts as smaller: below, nothing was measured.
    catalogue_s_least: float
    #: Lines per hour at most, whatever the evidence: one in each step of about a second.
    lines_per_hour_most: float


CHANCE = ChanceModel(
    lines_per_hour=4.0,
    from_nats=13.0,
    catalogue_s=40 * 3_600.0,
    per_nat=0.71,
    growth=0.25,
    catalogue_s_least=4 * 3_600.0,
    lines_per_hour_most=3_516.0,
)


def false_alarms_per_hour(nats: float, size: CatalogueSize, chance: ChanceModel = CHANCE) -> float:
    """How often per stream-hour chance alone gives this much evidence, or more."""
    return min(_lines_per_hour(size, chance) * math.exp(-chance.per_nat * (nats - chance.from_nats)), chance.lines_per_hour_most)


def threshold_nats(rate_per_hour: float, size: CatalogueSize, chance: ChanceModel = CHANCE) -> float:
    """The evidence that chance alone reaches this often per stream-hour; inverse of `false_alarms_per_hour`."""
    return chance.from_nats + math.log(_lines_per_hour(size, chance) / rate_per_hour) / chance.per_nat


def _lines_per_hour(size: CatalogueSize, chance: ChanceModel) -> float:
    return chance.lines_per_hour * math.pow(max(size.seconds, chance.catalogue_s_least) / chance.catalogue_s, chance.growth)
