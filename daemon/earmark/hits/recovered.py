"""What is found in a recording where the stream's own session heard nothing becomes part of that session's record.

The session that hears the recording has a row, a lease and a checkpoint of its own; what it finds is filed under its
*parent*, in the same transaction that moves its own checkpoint: plays under ids of their own, plays on record that go on
into a gap as their next revision, fewer gaps and more seconds heard in the parent's checkpoint, and the parent's documents
anew. What gaps lose is worked out from what was heard, so that doing it twice changes nothing.

Plays are told once, when they are closed: the recording is over, and nobody waits for their beginning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import structlog
from psycopg.types.json import Json

from earmark.errors import LeaseLost
from earmark.hits import filled
from earmark.hits.ledger import Ledger, _Commit, _next_revision
from earmark.hits.outgoing import s3_document
from earmark.hits.record import Line, Timebase
from earmark.hits.reports import ending, report
from earmark.hits.rights import Circumstances
from earmark.hits.text import dumps
from earmark.model import Checkpoint, Gap, Play, Stream, Stretch, Track
from earmark.postgres import Connection

#: The place of the session that hears the recording is put on record at least so often; what is beyond is heard again after a kill.
WRITTEN_EVERY = timedelta(seconds=2)
#: How exactly a second of the session is found in the recording: by the clocks of both; and where one has none.
BY_CLOCK_S, BY_ARRIVAL_S = 3.0, 20.0


class RecoveredLedger(Ledger):
    """`session.Recorder` of a session that hears what another one missed.

    Args:
        parent: the session whose gaps these are, as its hits are to name it.
        gaps: the parent's, as they were when this session was opened.
        earlier_s: the parent's stream time is this session's without so many seconds.
        confirm_s: `matching.confirm_s`.
        leaving: whether the session is about to be handed over: then it is put on record where it is.
        more: what `Ledger` takes; its lease is this session's.
    """

    def __init__(self, *, parent: Stream, gaps: Sequence[Gap], earlier_s: float, confirm_s: float, leaving: Callable[[], bool], **more: Any) -> None:
        super().__init__(**more)
        self._stream, self._place = parent, replace(self._place, stream_id=parent.stream_id)
        self._gaps, self._earlier_s, self._confirm_s, self._leaving = gaps, earlier_s, confirm_s, leaving
        self._parent = Checkpoint()
        self._written_at = self._now() - 2 * WRITTEN_EVERY
        self._begun = False
        #: This was on record before: the answer of its commit was lost.
        self._repeat = False
        self._told = structlog.get_logger()

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        """Raises LeaseLost, too, when the parent is being heard again."""
        closed = [play for play in changed if play.state == "closed"]
        urgent = closed or checkpoint.state == "ended" or not self._begun or checkpoint.last_error or self._leaving()
        if urgent or self._now() - self._written_at >= WRITTEN_EVERY:
            super().commit(checkpoint, closed)
            self._begun, self._written_at = True, self._now()

    def _hold(self, connection: Connection, checkpoint: Checkpoint) -> None:
        mine = connection.execute("select checkpoint->>'state' from stream where stream_id = %s for update", [self._lease.stream.stream_id]).fetchone()
        self._repeat = mine is not None and mine[0] == "ended"
        super()._hold(connection, checkpoint)
        row = connection.execute("select state, checkpoint::text from stream where stream_id = %s for update", [self._stream.stream_id]).fetchone()
        if row is None or row[0] != "ended":
            raise LeaseLost(f"the stream {self._stream.stream_id} is being heard again: what its session missed is looked for when that has ended")
        self._parent = Checkpoint.from_json(row[1]) if row[1] else Checkpoint()

    # -------------------------------------------------------------------------------------------- plays

    def _write_play(self, work: _Commit, play: Play, track: Track | None, timebase: Timebase) -> None:
        timebase = Timebase.of(self._parent)
        play = filled.earlier(play, self._earlier_s)
        inexact_s = BY_CLOCK_S if timebase.source == "program_date_time" else BY_ARRIVAL_S
        bodies = work.connection.execute(
            "select body from play where stream_id = %s and track_id = %s order by begin_s, hit_id", [self._stream.stream_id, play.track_id]
        ).fetchall()
        others = [body for (body,) in bodies if body["hit_id"] != play.hit_id]
        parts = filled.same(others, play, inexact_s=inexact_s)
        if parts:
            self._write_longer(work, parts, play, track)
        elif filled.overlap_s(play.begin_s, play.end_s, self._gaps) >= filled.NEW_S:
            super()._write_play(work, play, track, timebase)
        else:
            self._told.info("play.heard_before", hit_id=play.hit_id, track_id=play.track_id)

    def _alerting(self, play: Play) -> bool:
        """It has gone through all states at once; what was but quoted was never open."""
        passed = {"provisional", "closed"} if play.quotation else {"provisional", "open", "closed"}
        return not passed.isdisjoint(self._alerts.on)

    def _write_longer(self, work: _Commit, parts: Sequence[Mapping[str, Any]], play: Play, track: Track | None) -> None:
        """The plays on record that this one joins: each is its own hit, ends where the next one begins, and is decided about anew."""
        for place, hit in enumerate(parts):
            longer = filled.longer(
                hit,
                play,
                before_s=parts[place - 1]["query"]["end_s"] if place else 0.0,
                until_s=parts[place + 1]["query"]["begin_s"] if place + 1 < len(parts) else float("inf"),
                gaps=self._gaps,
                now=work.now,
                worker=self._lease.owner,
                confirm_s=self._confirm_s,
            )
            if longer is None:
                continue
            longer["policy"] = asdict(self._decide(track, Circumstances.told(self._stream, longer)))
            work.connection.execute(
                "update play set revision = %s, begin_s = %s, end_s = %s, body = %s, updated_at = now() where hit_id = %s",
                [longer["revision"], *longer["query"].values(), Json(longer, dumps=dumps), longer["hit_id"]],
            )
            work.plays[longer["hit_id"]] = replace(work.plays[longer["hit_id"]], line=Line.of(longer))
            if self._place.bucket:
                after_id = work.queue(s3_document(self._stream.stream_id, self._place.hit_key(longer["hit_id"]), dumps(longer, indent=2), longer["revision"]))
                if hit["quotation"] and not longer["quotation"] and self._alerts.topic_arn and "open" in self._alerts.on:
                    self._write_alert(work, longer, after_id)
            # The next one ends where this one begins by now.
            parts = [longer if one is hit else one for one in parts]
            self._told.info("play.longer", hit_id=longer["hit_id"], track_id=play.track_id, revision=longer["revision"])

    # -------------------------------------------------------------------------------------------- the parent

    def _write_summary(self, work: _Commit, checkpoint: Checkpoint) -> None:
        """The parent's coverage, and when there is news of its plays, or this is the end, its documents."""
        over = checkpoint.state == "ended" and not self._repeat
        parent = filled.filled(self._parent, filled.heard(checkpoint, earlier_s=self._earlier_s))
        if over:
            music, speech, silence = map(self._on_parents_time, (checkpoint.music.stretches, checkpoint.speech, checkpoint.silence))
            parent = replace(
                parent,
                music=filled.with_music(parent.music, music, self._gaps),
                speech=filled.with_stretches(parent.speech, speech, self._gaps),
                silence=filled.with_stretches(parent.silence, silence, self._gaps),
            )
            self._told.info("gaps.heard", **self._stream.in_logs, gap_s=round(parent.gap_s, 3), heard_s=round(parent.heard_s, 3))
        if parent != self._parent:
            work.connection.execute("update stream set checkpoint = %s::jsonb where stream_id = %s", [parent.to_json(), self._stream.stream_id])
        if not self._place.bucket or not (work.queued or over):
            return
        revision, place = _next_revision(work.connection), self._place
        whole = replace(report.load(work.connection, self._stream.stream_id), updated_at=work.now, worker=self._lease.owner)
        for item in ending.anew(work.connection, whole, place, revision, self._cuts):
            work.queue(item)

    def _on_parents_time(self, stretches: Sequence[Stretch]) -> list[Stretch]:
        return [replace(stretch, begin_s=stretch.begin_s - self._earlier_s, end_s=stretch.end_s - self._earlier_s) for stretch in stretches]
