"""One round: a stream of our own is put on air, and followed until its hit lies in S3, or for as long as it may take.

    recording in the catalogue ─▶ segments and a live playlist in S3 ─▶ a row of `stream`
                        claimed ─▶ heard ─▶ a play ─▶ its hit in S3 ─▶ closed ─▶ judged ─▶ all of it removed

Between the row and the hit nothing is of the canary's own: whichever worker claims the stream fetches, decodes, looks up and
publishes it as any other. What comes before the row (EventBridge, the queue, GetChannel) needs a channel that is live, and
what comes behind the hit (SNS) people, so neither is in it.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from botocore.exceptions import ClientError

from earmark.aws import asking, code
from earmark.canary.broadcast import PLAYLIST, Broadcast, broadcast
from earmark.canary.judgement import Expected, wrong_with
from earmark.canary.leftovers import Leftovers
from earmark.canary.recording import CONTENT_SHA256, TRACK, made
from earmark.canary.rounds import CLEARING_S, Outcome, Result, Stage
from earmark.control import forgetting, wanted
from earmark.errors import AwsRefused, AwsUnavailable, EarmarkError, Transient
from earmark.hits.record import Place
from earmark.index.catalogue import Tracks
from earmark.model import Stream
from earmark.postgres import Pool, statement, transaction
from earmark.relating import Relating
from earmark.reserved import CANARY
from earmark.settings import Results

#: Between two looks at what is due, and at the database.
_TICK_S: Final = 0.25
_LOOK_S: Final = 0.5
#: What is new in the catalogue workers see within a second, or as soon as their replica has it.
_SEEN_S: Final = 3.0
_ABSENT: Final = "create the bucket or correct results.bucket"


class S3(forgetting.S3, Protocol):
    """boto3's `s3` client, as far as it is used."""

    def get_object(self, **arguments: Any) -> Any: ...
    def put_object(self, **arguments: Any) -> Any: ...


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What the database and the bucket say of the stream, as of the last look."""

    state: str = "wanted"
    error: str = ""
    #: Something of it still has to leave.
    owed: bool = False
    plays: int = 0
    #: By hit_id, as they lie in S3; provisional ones are none yet.
    hits: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.state in ("ended", "quarantined")

    @property
    def closed(self) -> bool:
        return bool(self.hits) and len(self.hits) == self.plays and all(hit["state"] == "closed" for hit in self.hits.values())


class Round:
    """`run` is all of it. Raises what is a bug, or a catalogue of another version; everything else is an outcome.

    Args:
        stop: ends it at once.
        pace: media seconds a second; streams have 1.
    """

    def __init__(
        self,
        *,
        round_id: str,
        pool: Pool,
        s3: S3,
        results: Results,
        deadline_s: float,
        stop: threading.Event,
        pace: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool, self._s3, self._results = pool, s3, results
        self._deadline_s, self._stop, self._pace = deadline_s, stop, pace
        self._clock, self._now = clock, now
        self._stream_id = f"{CANARY}{round_id}"
        self._place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=self._stream_id)
        self._leftovers = Leftovers(pool=pool, s3=s3, results=results)
        self._round_id = round_id
        self._began = clock()
        self._stages: dict[Stage, float] = {}
        self._latency_s: float | None = None
        self._began_writing = False
        self._trouble = ""
        self._log = structlog.get_logger().bind(stream_id=self._stream_id, trace_id=self._round_id)

    def run(self) -> Outcome:
        try:
            outcome = self._outcome()
        except BaseException:
            self._clear(at_once=True)
            raise
        self._clear(at_once=self._stop.is_set())
        return outcome

    # -------------------------------------------------------------------------------------------- on air

    def _outcome(self) -> Outcome:
        try:
            self._leftovers.clear(but_not=self._stream_id)
            self._know_the_recording()
            on_air = broadcast(self._round_id)
        except (AwsRefused, AwsUnavailable) as error:
            return self._ended("unwritten", str(error))
        except Transient as error:
            return self._ended("failed", str(error))
        began, began_at = self._clock(), self._now()
        written, looked, seen = 0, -_LOOK_S, _Seen()
        while self._age_s < self._deadline_s:
            try:
                written = self._write(on_air, written, on_air.due((self._clock() - began) * self._pace), began_at)
                if "written" in self._stages and self._clock() - looked >= _LOOK_S:
                    looked = self._clock()
                    self._look(seen)
                self._trouble = ""
            except AwsRefused as error:
                return self._ended("unpublished" if seen.plays else "unwritten", str(error))
            except Transient as error:
                self._trouble = str(error)
            if "hit" in self._stages and self._latency_s is None:
                self._latency_s = round(max(0.0, self._clock() - began - on_air.begin_s / self._pace), 3)
            if written == len(on_air.segments) and (seen.closed or seen.over) and not seen.owed:
                break
            if seen.over and "heard" not in self._stages:
                break
            if self._stop.wait(_TICK_S):
                return self._ended("abandoned", "it was asked to end before it was over")
        claimed_s = self._stages.get("claimed", 0.0) - (began - self._began)
        return self._judged(seen, Expected(broadcast=on_air, began_at=began_at, claimed_s=claimed_s))

    @property
    def _age_s(self) -> float:
        return self._clock() - self._began

    def _reached(self, stage: Stage) -> None:
        self._stages.setdefault(stage, round(self._age_s, 3))

    def _know_the_recording(self) -> None:
        """It is in the catalogue, or put there; and workers have had time to see it."""
        tracks = Tracks(pool=self._pool)
        if TRACK.track_id in tracks.same_content(CONTENT_SHA256):
            return
        recording = made()
        (added,) = tracks.add([recording])
        Relating(pool=self._pool).relate([recording])
        self._log.info("canary.recording_added", track_id=TRACK.track_id, outcome=added)
        self._stop.wait(_SEEN_S)

    def _write(self, on_air: Broadcast, written: int, due: int, began_at: datetime) -> int:
        """Segments that are due, then the playlist that lists them; with the first of them the stream is wanted. How many there are."""
        if due == written:
            return written
        self._began_writing = True
        for segment in on_air.segments[written:due]:
            self._put(segment.name, segment.data, "video/mp2t")
        self._put(PLAYLIST, on_air.playlist(due, began_at=began_at).encode(), "application/vnd.apple.mpegurl")
        if not written:
            self._reached("written")
            stream = Stream(stream_id=self._stream_id, source="hls", url=self._place.uri(self._place.folder + PLAYLIST), trace_id=self._round_id)
            with transaction(self._pool) as connection:
                wanted.open_stream(connection, stream)
        return due

    def _put(self, name: str, body: bytes, content_type: str) -> None:
        key = self._place.folder + name
        with asking("s3:PutObject", self._place.uri(key), absent=_ABSENT):
            self._s3.put_object(Bucket=self._place.bucket, Key=key, Body=body, ContentType=content_type, CacheControl="no-cache")

    # -------------------------------------------------------------------------------------------- what became of it

    def _look(self, seen: _Seen) -> None:
        with statement(self._pool) as connection:
            row = connection.execute(_LOOK, {"stream_id": self._stream_id}).fetchone()
        if row is None:  # whoever forgot it: there is nothing more to come
            seen.state, seen.error = "ended", "its row is gone"
            return
        seen.state, claimed, seen.error, heard, plays, seen.owed = row
        seen.plays = len(plays)
        if claimed:
            self._reached("claimed")
        if heard:
            self._reached("heard")
        for hit_id in plays:
            if seen.hits.get(hit_id, {}).get("state") != "closed" and (hit := self._hit(hit_id)) and hit["state"] != "provisional":
                seen.hits[hit_id] = hit
                self._reached("hit")
        if seen.closed:
            self._reached("ended")

    def _hit(self, hit_id: str) -> Mapping[str, Any] | None:
        """As it lies in S3; None: not yet."""
        key = self._place.hit_key(hit_id)
        with asking("s3:GetObject", self._place.uri(key), absent=_ABSENT):
            try:
                body = self._s3.get_object(Bucket=self._place.bucket, Key=key)["Body"].read()
            except ClientError as error:
                if code(error) == "NoSuchKey":
                    return None
                raise
        hit: Mapping[str, Any] = json.loads(body)
        return hit

    def _judged(self, seen: _Seen, expected: Expected) -> Outcome:
        within, because = f"within {self._age_s:.0f} s", f": {self._trouble or seen.error}" if self._trouble or seen.error else ""
        if "written" not in self._stages:
            return self._ended("unwritten", f"nothing could be written to {self._place.uri(self._place.folder)} {within}{because}")
        if "claimed" not in self._stages:
            return self._ended("unclaimed", f"no worker took its stream {within}: none runs, none has room, or none reads this database{because}")
        if "heard" not in self._stages:
            return self._ended("unheard", f"its stream was taken and nothing of it was heard {within}{because}")
        if not seen.plays:
            return self._ended("unrecognised", f"its stream was heard and its recording was not recognised {within}{because}")
        if "hit" not in self._stages:
            return self._ended("unpublished", f"its recording was recognised and no hit came to {self._place.uri(self._place.folder)}hits/ {within}{because}")
        if not seen.closed:
            return self._ended("unfinished", f"its hit is in S3 and was not closed {within}{because}")
        score = max(float(hit["score"]["evidence_nats"]) for hit in seen.hits.values())
        wrong = wrong_with(seen.hits, expected)
        return self._ended("wrong", wrong, score) if wrong else self._ended("heard", "its recording was heard as it was played", score)

    def _ended(self, result: Result, says: str, score_nats: float | None = None) -> Outcome:
        return Outcome(result=result, says=says, stages_s=dict(self._stages), latency_s=self._latency_s, score_nats=score_nats)

    # -------------------------------------------------------------------------------------------- afterwards

    def _clear(self, *, at_once: bool) -> None:
        """Its rows and objects go, as soon as its worker has given it back; what does not go now goes before the next round."""
        until = self._clock() + (0.0 if at_once else CLEARING_S / 2)
        while self._began_writing:
            hopeless = False
            try:
                if self._leftovers.clear_stream(self._stream_id):
                    return
                reason = "a worker still listens to its stream"
            except EarmarkError as error:
                reason, hopeless = str(error), not isinstance(error, Transient)
            if hopeless or self._clock() >= until or self._stop.wait(_LOOK_S):
                self._log.warning("canary.not_cleared", reason=reason)
                return


_LOOK = """
select state, claimed_at is not null, last_error, coalesce((checkpoint->>'heard_s')::float8, 0) > 0,
       array(select hit_id from play p where p.stream_id = s.stream_id order by hit_id), exists (select from outbox o where o.stream_id = s.stream_id)
  from stream s where stream_id = %(stream_id)s"""
