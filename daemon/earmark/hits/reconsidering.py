"""A play is decided about anew while it goes on, when it comes to a length that a rule asks for.

A session tells of a play when it begins, is certain, and ends. A rule like "block what is played for 30 s" would be met by
its end alone, and nothing could be done about it any more. So at each length that some rule names the hit is written once
more, as the play is then, as a revision besides the session's own (`hits.audit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earmark.hits.audit import make_room
from earmark.hits.ledger import Ledger
from earmark.hits.rights import fraction_of_track
from earmark.model import Checkpoint, Play
from earmark.postgres import Pool, statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """What rules ask of a play that goes on, each ascending: so many seconds of it; of those, matched; such a share of the recording."""

    played_s: tuple[float, ...] = ()
    matched_s: tuple[float, ...] = ()
    played_share: tuple[float, ...] = ()

    def passed(self, play: Play) -> int:
        """How many of them the play has come to."""
        share = fraction_of_track(play.matched_s, play.speed, play.reference_duration_s) or 0.0
        measured = ((self.played_s, play.end_s - play.begin_s), (self.matched_s, play.matched_s), (self.played_share, share))
        return sum(value >= least for named, value in measured for least in named)


def reconsidering(ledger: Ledger, moments: Moments, *, pool: Pool) -> "Ledger | Reconsidering":
    """The ledger, if no rule asks for a length."""
    return ledger if moments == Moments() else Reconsidering(ledger, moments, pool=pool)


class Reconsidering:
    """Implements `session.Recorder`; used by one thread."""

    def __init__(self, ledger: Ledger, moments: Moments, *, pool: Pool) -> None:
        self._ledger, self._moments, self._pool = ledger, moments, pool
        #: Of plays that go on, how many moments they had come to when they were last told.
        self._passed: dict[str, int] = {}

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        """As `Ledger.commit`."""
        self._commit(checkpoint, changed, self._due(checkpoint, changed))

    def note(self, checkpoint: Checkpoint) -> float:
        """As `Ledger.note`."""
        due = self._due(checkpoint, ())
        if not due:
            return self._ledger.note(checkpoint)
        self._commit(checkpoint, (), due)
        return checkpoint.position_s

    def _due(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> list[Play]:
        """Plays that have come to a moment since they were told; after another owner's death all that may have."""
        told = {play.hit_id for play in changed}
        return [
            play
            for play in checkpoint.plays
            if play.state == "open" and play.hit_id not in told and self._moments.passed(play) > self._passed.get(play.hit_id, 0)
        ]

    def _commit(self, checkpoint: Checkpoint, changed: Sequence[Play], due: Sequence[Play]) -> None:
        if due:
            with statement(self._pool) as connection:
                make_room(connection, [play.hit_id for play in due])
        # What proves it is told by the session's own revisions.
        again = [replace(play, explanation=None) for play in due]
        self._ledger.commit(checkpoint, [*changed, *again])
        going_on = {play.hit_id for play in checkpoint.plays}
        self._passed = {hit_id: passed for hit_id, passed in self._passed.items() if hit_id in going_on}
        self._passed |= {play.hit_id: self._moments.passed(play) for play in (*changed, *due) if play.hit_id in going_on}
