"""What a session decided becomes durable: plays, checkpoint and everything that has to leave, in one transaction.

After `commit` returned, no death of a process, bucket or topic can lose it; before, nothing of it was visible. The
first statement of each transaction checks the fencing token and locks the stream's row, so that commits of one stream
follow one another and a worker that was only paused changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from psycopg.types.json import Json

from earmark.errors import LeaseLost
from earmark.hits import checked, record
from earmark.hits.audit import Act, make_room, nothing
from earmark.hits.kept import KeptRows
from earmark.hits.mail.alert import Budget
from earmark.hits.mail.mailing import Mailing, Posted
from earmark.hits.mail.subject import graver
from earmark.hits.outgoing import s3_document
from earmark.hits.positions import Positions
from earmark.hits.proof.beside import Proofs, proofs, room_for
from earmark.hits.proof.clips import Clip, Clips
from earmark.hits.queueing import enqueue
from earmark.hits.record import Line, Opening, Outgoing, Place, Timebase
from earmark.hits.reports import ending, report
from earmark.hits.rights import Circumstances, Decide, by_owner
from earmark.hits.text import dumps, writable
from earmark.model import FINGERPRINT_VERSION, Checkpoint, Lease, Play, Track
from earmark.postgres import Connection, Pool, transaction
from earmark.reserved import is_canary
from earmark.settings import Alerts, Cuts, Evidence, Results
from earmark.titles import Titles

_RANK = {"provisional": 0, "open": 1, "closed": 2}


class Tracks(Protocol):
    """Who is who in the catalogue."""

    def get(self, track_ids: Sequence[str]) -> Mapping[str, Track]:
        """Those that exist, by id. Raises DatabaseUnavailable."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    line: Line
    opening: Opening
    #: What proves it and is, or will be, in S3.
    evidence: Mapping[str, Any]
    #: Whether somebody was to be told.
    notify: bool
    foreground_share: float | None

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "_Told":
        return cls(
            line=Line.of(hit),
            opening=Opening.of(hit),
            evidence=hit["evidence"],
            notify=hit["policy"].get("notify", True),
            foreground_share=hit["coverage"].get("foreground_share"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Memory:
    """What the database knows of this stream, as of the last commit."""

    plays: Mapping[str, _Told]
    posted: Posted
    #: What `stream.json` showed, but for the position, and when it was written.
    shown: tuple[object, ...] = ()
    summary_at: datetime | None = None

    def is_stale(self, checkpoint: Checkpoint, now: datetime, every_s: float) -> bool:
        """Whether `stream.json` has to be written anew."""
        return self.summary_at is None or now - self.summary_at >= timedelta(seconds=every_s) or self.shown != _shown(checkpoint)


def _shown(checkpoint: Checkpoint) -> tuple[object, ...]:
    """What `stream.json` says of the session, but for the position."""
    return checkpoint.state, checkpoint.end_reason, checkpoint.last_error, checkpoint.rendition, len(checkpoint.gaps)


class Ledger:
    """`session.Recorder` for one lease. Used by one thread.

    `now` gives aware UTC wall-clock time; `nudge` wakes the publisher and is called after a commit that queued something.
    Without a bucket (or topic) in the settings nothing is queued for it. `positions` writes what is only noted, `kept` what
    hunts will search. `titles`: what the stream says is on air, if it is of a kind that does. `act`: what a play leads to. `besides`
    makes what else is to leave at the end: of that transaction, the time, and a revision greater than all before. `evidence`: what lies
    beside hits; None: their peaks alone. `clips`: those of this session.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        lease: Lease,
        tracks: Tracks,
        results: Results,
        alerts: Alerts,
        nudge: Callable[[], None],
        now: Callable[[], datetime],
        positions: Positions | None = None,
        kept: KeptRows | None = None,
        titles: Titles | None = None,
        besides: Callable[[Connection, datetime, int], Sequence[Outgoing]] = lambda _connection, _now, _revision: (),
        fingerprint_version: int = FINGERPRINT_VERSION,
        decide: Decide = by_owner,
        act: Act = nothing,
        cuts: Cuts | None = None,
        evidence: Evidence | None = None,
        clips: Clips | None = None,
    ) -> None:
        self._positions, self._besides = positions, besides
        self._evidence, self._clips = evidence or Evidence(picture=False), clips
        self._pool, self._lease, self._stream, self._kept = pool, lease, lease.stream, kept
        self._tracks, self._titles = tracks, titles
        self._results, self._alerts = results, alerts
        self._nudge, self._now, self._decide, self._cuts = nudge, now, decide, cuts or Cuts()
        self._fingerprint_version = fingerprint_version
        self._act = act
        self._place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=lease.stream.stream_id)
        self._memory: _Memory | None = None

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        """Plays, checkpoint, coverage and outbox rows in one transaction; may be repeated with the same arguments.

        Raises LeaseLost when the fencing token is not ours any more, DatabaseUnavailable when it cannot be written.
        """
        now = self._now()
        if self._positions:
            self._positions.forget(self._stream.stream_id)
        checkpoint = _writable(checkpoint)
        ready = self._clips.ready() if self._clips else ()
        clipped = self._clipped(checkpoint, changed, ready)
        tracks = self._tracks.get(sorted({play.track_id for play in (*changed, *clipped)})) if changed or clipped else {}
        # Whether a commit took place whose answer was lost, the database alone knows: after a failure it is asked again.
        memory, self._memory = self._memory, None
        with transaction(self._pool) as connection:
            self._hold(connection, checkpoint)
            work = _Commit(connection, memory or self._recall(connection, now), now)
            new = self._new_clips(work, ready)
            work.clips = new if room_for(connection, new, self._evidence.waiting_bytes_max) else {}
            for play in (*changed, *self._anew(work, clipped)):
                self._write_play(work, play, tracks.get(play.track_id), Timebase.of(checkpoint))
            kept = self._write_clips(work)
            self._write_summary(work, checkpoint)
            if self._kept:
                self._kept.write(connection, checkpoint.position_s, Timebase.of(checkpoint), first=memory is None)
            if checkpoint.state == "ended":
                for item in self._besides(connection, now, _next_revision(connection)):
                    work.queue(item)
                self._mailing.end(work, work.posted, _next_revision(connection))
        self._memory = work.memory()
        if self._clips:
            self._clips.settled(kept, left_out=() if work.clips else list(new.values()))
        if self._kept:
            self._kept.written(checkpoint.position_s)
        if work.queued:
            self._nudge()

    def note(self, checkpoint: Checkpoint) -> float:
        """Where the stream is, soon on record; at once if something has to be said of it besides. Up to where it is on record."""
        memory, now = self._memory, self._now()
        stale = memory is None or (self._place.bucket and memory.is_stale(checkpoint, now, self._results.summary_every_s))
        if self._positions is None or stale or (self._kept and self._kept.due) or (self._clips and self._clips.due):
            self.commit(checkpoint, ())
            return checkpoint.position_s
        groups = self._kept.groups(checkpoint.position_s) if self._kept else ()
        saved_s = self._positions.put(self._stream.stream_id, self._lease.fencing, _writable(checkpoint), groups)
        if self._kept:
            self._kept.recorded(saved_s)
        return saved_s

    def _hold(self, connection: Connection, checkpoint: Checkpoint) -> None:
        lease = self._lease
        held = connection.execute(
            "update stream set checkpoint = %s::jsonb, heard_at = now() where stream_id = %s and owner = %s and fencing = %s",
            [checkpoint.to_json(), lease.stream.stream_id, lease.owner, lease.fencing],
        )
        if held.rowcount == 0:
            raise LeaseLost(
                f"the stream {lease.stream.stream_id} is not {lease.owner}'s any more (fencing {lease.fencing}): this session stops and publishes nothing"
            )

    def _recall(self, connection: Connection, now: datetime) -> _Memory:
        """At first, and after a failure: what was told before, and about how many alerts were sent in this hour."""
        query = """
            select body, opened_at, opened_at >= %s and (state <> 'provisional' or %s) and body->'policy'->>'notify' is distinct from 'false'
              from play where stream_id = %s order by begin_s, hit_id"""
        rows = connection.execute(query, [Budget.at(now).hour, "provisional" in self._alerts.on, self._stream.stream_id]).fetchall()
        plays = {body["hit_id"]: _Told.of(body) for body, _, _ in rows}
        return _Memory(plays=plays, posted=Posted.recalled([at for _, at, counted in rows if counted], now, self._alerts))

    # -------------------------------------------------------------------------------------------- plays

    def _write_play(self, work: "_Commit", play: Play, track: Track | None, timebase: Timebase) -> None:
        before = work.plays.get(play.hit_id)
        opening = before.opening if before else Opening.now(play, timebase, work.now)
        known = Circumstances.of(self._stream, play, opening.started_at or work.now, foreground_share=before.foreground_share if before else None)
        policy = self._decide(track, known)
        hit = record.hit_document(
            stream=self._stream,
            play=play,
            track=track,
            policy=policy,
            foreground_share=known.foreground_share,
            opening=opening,
            worker=self._lease.owner,
            fingerprint_version=self._fingerprint_version,
            now=work.now,
            place=self._place,
            now_playing=self._titles.during(play.begin_s, play.end_s) if self._titles else None,
        )
        proof = self._proofs(work, hit, play, before)
        hit["evidence"] = proof.told
        written = _upsert(work.connection, self._stream.stream_id, play, hit, proof.text, self._lease.fencing)
        if written is None:
            return  # a repeat after a commit whose answer was lost, or an older revision: all of it is there
        hit, asked = self._act(work.connection, hit, *written, timebase.position_s)
        work.plays[play.hit_id] = replace(_Told.of(hit), opening=opening)
        after_id = None
        if self._place.bucket:
            key = self._place.hit_key(play.hit_id)
            after_id = work.queue(s3_document(self._stream.stream_id, key, dumps(hit, indent=2), hit["revision"]))
            for item in proof.items:  # behind the hit, which they must not hold up
                work.queue(item)
        if policy.notify and self._alerts.topic_arn and self._is_owed(play, before, policy.action):
            self._write_alert(work, hit, after_id)
        for item in asked:  # a stream is not stopped any later for a bucket that is away
            work.queue(item, None if item.target in ("ivs_stop", "ivs_metadata") else after_id)

    def _is_owed(self, play: Play, before: "_Told | None", action: str) -> bool:
        """Whether an alert of this revision is: of a state that it has just reached; or of one before, if nobody was to be told then, or of less."""
        if is_canary(self._stream.stream_id):  # it is looked for in S3
            return False
        if before is not None and not before.notify and any(_RANK[state] < _RANK[play.state] for state in self._alerts.on):
            return True
        if before is not None and graver(action, than=before.line.action) and any(_RANK[state] <= _RANK[before.line.state] for state in self._alerts.on):
            return True
        return (before is None or _RANK[before.line.state] < _RANK[play.state]) and self._alerting(play)

    def _alerting(self, play: Play) -> bool:
        """Whether people are told of plays in this state."""
        return play.state in self._alerts.on

    def _proofs(self, work: "_Commit", hit: record.Document, play: Play, before: "_Told | None") -> Proofs:
        return proofs(
            work.connection,
            hit,
            play,
            place=self._place,
            settings=self._evidence,
            before=before.evidence if before else {},
            clip=work.clips.get(play.hit_id),
            fingerprint_version=self._fingerprint_version,
        )

    def _new_clips(self, work: "_Commit", clips: Sequence[Clip]) -> dict[str, Clip]:
        """The first clip of each play, by `hit_id`."""
        known = {hit_id for hit_id, told in work.plays.items() if told.line.state == "closed" or "clip" in told.evidence}
        return {clip.hit_id: clip for clip in clips if clip.hit_id not in known and self._place.bucket}

    @staticmethod
    def _clipped(checkpoint: Checkpoint, changed: Sequence[Play], clips: Sequence[Clip]) -> list[Play]:
        """Plays that go on and have a clip now: what proves them otherwise is told by the session's own revisions."""
        told, cut = {play.hit_id for play in changed}, {clip.hit_id for clip in clips}
        return [replace(play, explanation=None) for play in checkpoint.plays if play.hit_id in cut - told]

    @staticmethod
    def _anew(work: "_Commit", clipped: Sequence[Play]) -> list[Play]:
        """Those on record whose clips are kept: their hits are told once more, as revisions besides the session's own."""
        anew = [play for play in clipped if play.hit_id in work.clips and play.hit_id in work.plays]
        if anew:
            make_room(work.connection, [play.hit_id for play in anew])
        return anew

    def _write_clips(self, work: "_Commit") -> list[Clip]:
        """Those that a hit on record tells of; they leave by themselves."""
        kept = [clip for clip in work.clips.values() if (told := work.plays.get(clip.hit_id)) and told.evidence.get("clip") == clip.told(self._place)]
        for clip in kept:
            work.queue(clip.outgoing(self._place))
        return kept

    def _write_alert(self, work: "_Commit", hit: Mapping[str, Any], after_id: int | None) -> None:
        work.posted = self._mailing.tell(work, work.posted, hit, after_id)

    @property
    def _mailing(self) -> Mailing:
        return Mailing(alerts=self._alerts, stream=self._stream, place=self._place)

    # -------------------------------------------------------------------------------------------- the stream's documents

    def _write_summary(self, work: "_Commit", checkpoint: Checkpoint) -> None:
        """`stream.json` when something but the position changed, or it is time; the cue sheet, the cut list and the report at the end."""
        if not self._place.bucket or not (work.queued or work.memory().is_stale(checkpoint, work.now, self._results.summary_every_s)):
            return
        work.shown, work.summary_at = _shown(checkpoint), work.now
        revision = _next_revision(work.connection)
        document = record.stream_document(
            stream=self._stream,
            checkpoint=checkpoint,
            plays=[told.line for told in work.plays.values()],
            worker=self._lease.owner,
            fingerprint_version=self._fingerprint_version,
            updated_at=work.now,
            place=self._place,
            now_playing=self._titles.now if self._titles else None,
        )
        if checkpoint.state == "ended":
            whole = report.load(work.connection, self._stream.stream_id)
            for item in ending.documents(work.connection, whole, self._place, revision, self._cuts):
                work.queue(item)
        work.queue(s3_document(self._stream.stream_id, self._place.stream_key, dumps(document, indent=1), revision))


def set_aside(connection: Connection, stream_id: str, *, results: Results, now: datetime) -> None:
    """Whoever reads `stream.json` learns that a stream was put into quarantine: in the transaction that does it."""
    if not results.bucket:
        return
    place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=stream_id)
    told = report.document(replace(report.load(connection, stream_id), updated_at=now), place)
    enqueue(connection, s3_document(stream_id, place.stream_key, dumps(told, indent=1), _next_revision(connection)))


def set_file_aside(connection: Connection, stream_id: str, *, results: Results, now: datetime) -> None:
    """The same, of a stored file: whoever waits for what is in it learns beside it that nobody will say."""
    file = checked.file_of(connection, stream_id)
    place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=stream_id)
    for item in checked.documents(connection, file, checked.Findings(), place=place, now=now, revision=_next_revision(connection)) if file else ():
        enqueue(connection, item)


def _writable(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, last_error=writable(checkpoint.last_error), rendition=writable(checkpoint.rendition))


class _Commit:
    """One transaction under way: what memory will be if it succeeds."""

    def __init__(self, connection: Connection, memory: _Memory, now: datetime) -> None:
        self.connection, self.now = connection, now
        self.plays = dict(memory.plays)
        self.posted, self.shown, self.summary_at = memory.posted, memory.shown, memory.summary_at
        self.queued = 0
        #: That go on record, by `hit_id`.
        self.clips: Mapping[str, Clip] = {}

    def memory(self) -> _Memory:
        return _Memory(plays=self.plays, posted=self.posted, shown=self.shown, summary_at=self.summary_at)

    def queue(self, item: Outgoing, after_id: int | None = None) -> int:
        self.queued += 1
        return enqueue(self.connection, item, after_id)


def _upsert(connection: Connection, stream_id: str, play: Play, hit: Mapping[str, Any], proof: str | None, fencing: int) -> tuple[int | None] | None:
    """Write the play unless this revision, or a newer one, is there (None). No proof leaves the one that is there.

    What is returned: how many revisions there were besides the session's, whose number goes on behind them; None if it has no actions.
    """
    written: tuple[int | None] | None = connection.execute(
        """
        insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, evidence, fencing)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s::json, %s)
        on conflict (hit_id) do update set revision = excluded.revision + coalesce(play.told_besides, 0), state = excluded.state,
                                           begin_s = excluded.begin_s, end_s = excluded.end_s, body = excluded.body,
                                           evidence = coalesce(excluded.evidence, play.evidence), fencing = excluded.fencing, updated_at = now()
         where play.revision - coalesce(play.told_besides, 0) < excluded.revision
        returning told_besides
        """,
        [play.hit_id, stream_id, play.track_id, play.revision, play.state, play.begin_s, play.end_s, Json(hit, dumps=dumps), proof, fencing],
    ).fetchone()
    return written


def _next_revision(connection: Connection) -> int:
    """A number greater than any this stream's documents had: drawn while its row is locked, from the outbox's own sequence."""
    rows = connection.execute("select nextval(pg_get_serial_sequence('outbox', 'outbox_id'))").fetchall()
    return int(rows[0][0])
