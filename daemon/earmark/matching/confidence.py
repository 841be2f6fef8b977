"""What evidence means: nats against chance to false alarms per hour of stream, for the catalogue of now.

Of the candidates that were verified in sound that is not in the catalogue, a share ``0.26 exp(-0.6 (x - 4))`` came out
above x nats, from 4 to 18 (9,887 candidates under talk-over; music alone is the same up to 12, then come real quotations).
How many are verified in an hour depends on the catalogue: the more recordings, the more landmarks agree by chance.
Together they turn a rate that somebody can be asked for, false alarms per hour, into a threshold, and a play's evidence
back into a rate. Extrapolated beyond 18 nats: a promise about chance, not about recordings that share a sample.
"""

import math
from dataclasses import dataclass

from earmark.model import CatalogueSize


@dataclass(frozen=True, kw_only=True)
class ChanceModel:
    """Fitted figures; they belong to one version of the fingerprint."""

    #: Share of verified chance candidates above `from_nats`, and how fast it falls with each nat.
    share: float
    per_nat: float
    from_nats: float
    #: Candidates verified per hour of out-of-catalogue music, against a catalogue of so many seconds.
    candidates_per_hour: float
    catalogue_s: float
    #: No catalogue is so small, or so large, that it is better, or worse, than this: eight a second are verified at most.
    candidates_per_hour_least: float
    candidates_per_hour_most: float


CHANCE = ChanceModel(
    share=0.26,
    per_nat=0.6,
    from_nats=4.0,
    candidates_per_hour=9_600.0,
    catalogue_s=79 * 3_600.0,
    candidates_per_hour_least=9_600.0,
    candidates_per_hour_most=8 * 3_600.0,
)


def candidates_per_hour(size: CatalogueSize, chance: ChanceModel = CHANCE) -> float:
    """Candidates verified per stream-hour by chance."""
    expected = chance.candidates_per_hour * size.seconds / chance.catalogue_s
    return min(max(expected, chance.candidates_per_hour_least), chance.candidates_per_hour_most)


def false_alarms_per_hour(nats: float, size: CatalogueSize, chance: ChanceModel = CHANCE) -> float:
    """How often per stream-hour chance alone gives this much evidence, or more."""
    share = min(1.0, chance.share * math.exp(-chance.per_nat * (nats - chance.from_nats)))
    return candidates_per_hour(size, chance) * share


def threshold_nats(rate_per_hour: float, size: CatalogueSize, chance: ChanceModel = CHANCE) -> float:
    """The evidence that chance alone reaches this often per stream-hour; inverse of `false_alarms_per_hour`."""
    return chance.from_nats - math.log(rate_per_hour / (candidates_per_hour(size, chance) * chance.share)) / chance.per_nat
