"""What a hunt found becomes part of the record of the stream it was played in, which is over: hits like any other, told late."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from earmark.errors import BadSettings
from earmark.hits.ledger import Ledger, _Commit, _next_revision
from earmark.hits.mail.mailing import Mailing
from earmark.hits.reports import ending, report
from earmark.hits.reports.report import StreamReport
from earmark.model import Checkpoint, Lease, Play
from earmark.postgres import Connection

#: Who found them: `detection.worker` of the hits.
HUNTER = "earmark hunt"


class HuntedLedger(Ledger):
    """Puts plays of one stream on record; what it takes is what `Ledger` takes, with the stream's report in place of a lease."""

    def __init__(self, *, whole: StreamReport, **more: Any) -> None:
        super().__init__(lease=Lease(stream=whole.stream, owner=HUNTER, fencing=0, checkpoint=whole.checkpoint), **more)
        self._whole = whole

    def put(self, plays: Sequence[Play]) -> None:
        """All in one transaction; those that are on record stay as they are.

        Raises BadSettings if the stream is being heard: its session writes the same documents. DatabaseUnavailable.
        """
        self.commit(self._whole.checkpoint, plays)

    def _hold(self, connection: Connection, checkpoint: Checkpoint) -> None:  # noqa: ARG002 -- it stays as it is
        stream_id = self._stream.stream_id
        row = connection.execute("select state from stream where stream_id = %s for update", [stream_id]).fetchone()
        if row is None or row[0] != "ended":
            raise BadSettings(f"the stream {stream_id} is still on, and its session writes its record: publish when it has ended")

    def _alerting(self, play: Play) -> bool:
        """It has gone through all states at once."""
        return play.state == "closed" and bool(self._alerts.on)

    @property
    def _mailing(self) -> Mailing:
        return replace(super()._mailing, late=True)

    def _write_summary(self, work: _Commit, checkpoint: Checkpoint) -> None:  # noqa: ARG002 -- the whole record has it
        if not self._place.bucket or not work.queued:
            return
        revision, place = _next_revision(work.connection), self._place
        whole = replace(report.load(work.connection, place.stream_id), updated_at=work.now)
        for item in ending.anew(work.connection, whole, place, revision, self._cuts):
            work.queue(item)
