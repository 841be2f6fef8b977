"""What recordings share, found out when they are added and put on record: `earmark.relatives`, asked of the catalogue in PostgreSQL."""

from collections.abc import Sequence

from earmark.hearing import drive
from earmark.index.answers import Index
from earmark.index.catalogue import Recording
from earmark.index.stretches import SharedPassages
from earmark.postgres import Pool
from earmark.relatives import relatives


class Relating:
    """Finds out what recordings share with others in the catalogue."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool
        self._passages = SharedPassages(pool=pool)
        self._index: Index | None = None

    def owes(self, track_id: str) -> bool:
        return bool(self._passages.owed([track_id]))

    def relate(self, recordings: Sequence[Recording]) -> None:
        """Compare those that were not yet, now that they are in the catalogue."""
        owed = self._passages.owed([recording.track.track_id for recording in recordings])
        if owed:
            index = self._now()
            for recording in recordings:
                if recording.track.track_id in owed:
                    self._compare(recording, index)

    def _now(self) -> Index:
        if self._index is None:
            self._index = Index(pool=self._pool).open()
        else:
            self._index.refresh()
        return self._index

    def _compare(self, recording: Recording, index: Index) -> None:
        track = recording.track
        # Again, because the recordings before it may have been compared with it.
        owed = self._passages.owed([track.track_id]).get(track.track_id)
        if owed is not None:
            asking = relatives(recording.peaks, track.duration_s, track_no=owed.track_no, known=owed.known, size=index.size())
            self._passages.put(owed.track_no, drive(asking, index.answer))
