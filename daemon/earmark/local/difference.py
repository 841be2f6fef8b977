"""Two accounts of the same audio, play by play: what both tell, what they tell differently, what only one of them tells. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from earmark.model import Play

Kind: TypeAlias = Literal["same", "changed", "only_before", "only_after"]
KINDS: tuple[Kind, ...] = ("same", "changed", "only_before", "only_after")
#: Smaller differences are those of rounding, or of another encoder.
_SECONDS, _EVIDENCE_SHARE = 0.05, 0.01


@dataclass(frozen=True, kw_only=True)
class Account:
    """A play as one side tells it; seconds of stream time and of the recording."""

    track_id: str
    begin_s: float
    end_s: float
    #: provisional, open, closed, or quotation.
    state: str
    evidence_nats: float
    reference_begin_s: float
    speed: float
    #: When it was first told; None where that is not known.
    told_s: float | None

    @classmethod
    def of_play(cls, play: Play) -> "Account":
        return cls(
            track_id=play.track_id,
            begin_s=round(play.begin_s, 3),
            end_s=round(play.end_s, 3),
            state="quotation" if play.quotation else play.state,
            evidence_nats=round(play.evidence_nats, 1),
            reference_begin_s=round(play.reference_begin_s, 3),
            speed=round(play.speed, 5),
            told_s=round(play.first_heard_s, 3),
        )

    @classmethod
    def of_hit(cls, hit: Mapping[str, Any]) -> "Account":
        """From a hit document, which says when it was told by the clock on the wall alone."""
        return cls(
            track_id=hit["reference"]["track_id"],
            begin_s=hit["query"]["begin_s"],
            end_s=hit["query"]["end_s"],
            state="quotation" if hit["quotation"] else hit["state"],
            evidence_nats=hit["score"]["evidence_nats"],
            reference_begin_s=hit["reference"]["begin_s"],
            speed=hit["transform"]["speed"],
            told_s=None,
        )

    def later(self, seconds: float) -> "Account":
        """The same, in a stream in which the audio begins so much later."""
        told_s = None if self.told_s is None else round(self.told_s + seconds, 3)
        return replace(self, begin_s=round(self.begin_s + seconds, 3), end_s=round(self.end_s + seconds, 3), told_s=told_s)

    def overlap_s(self, other: "Account") -> float:
        """Common seconds; negative where there are none."""
        return min(self.end_s, other.end_s) - max(self.begin_s, other.begin_s)


@dataclass(frozen=True, kw_only=True)
class Difference:
    kind: Kind
    before: Account | None
    after: Account | None
    #: Which fields of an `Account` say something else.
    changed: tuple[str, ...] = ()

    @property
    def begin_s(self) -> float:
        return min(account.begin_s for account in (self.before, self.after) if account)

    @property
    def account(self) -> Account:
        """The newer one, if there is one."""
        account = self.after or self.before
        if account is None:
            raise ValueError("a difference is one of at least one play")
        return account


def compare(before: Sequence[Account], after: Sequence[Account]) -> list[Difference]:
    """Plays of one recording that overlap are the same play, those first that overlap most; in order of their beginnings."""
    pairs = [(b.overlap_s(a), i, k) for i, b in enumerate(before) for k, a in enumerate(after) if b.track_id == a.track_id and b.overlap_s(a) >= 0]
    matched: dict[int, int] = {}
    for _, i, k in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in matched and k not in matched.values():
            matched[i] = k
    found = [_difference(before[i], after[k]) for i, k in matched.items()]
    found += [Difference(kind="only_before", before=account, after=None) for i, account in enumerate(before) if i not in matched]
    found += [Difference(kind="only_after", before=None, after=account) for k, account in enumerate(after) if k not in matched.values()]
    return sorted(found, key=lambda one: (one.begin_s, one.account.track_id))


def _difference(before: Account, after: Account) -> Difference:
    changed = tuple(name for name, differs in _changes(before, after).items() if differs)
    return Difference(kind="changed" if changed else "same", before=before, after=after, changed=changed)


def _changes(before: Account, after: Account) -> dict[str, bool]:
    # Where in the recording both are at one time: a later beginning alone is no other place.
    place_s = after.reference_begin_s - after.speed * (after.begin_s - before.begin_s)
    least_nats = _EVIDENCE_SHARE * max(before.evidence_nats, after.evidence_nats)
    return {
        "begin_s": abs(after.begin_s - before.begin_s) >= _SECONDS,
        "end_s": abs(after.end_s - before.end_s) >= _SECONDS,
        "state": after.state != before.state,
        "evidence_nats": abs(after.evidence_nats - before.evidence_nats) > least_nats,
        "reference_begin_s": abs(place_s - before.reference_begin_s) >= 4 * _SECONDS,
        "told_s": before.told_s is not None and after.told_s is not None and abs(after.told_s - before.told_s) >= _SECONDS,
    }
