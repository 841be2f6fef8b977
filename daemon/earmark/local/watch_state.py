"""What is known of a stream that is watched from the desk: gathered while it is heard, looked at by whoever draws it."""

import math
import re
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

from earmark.errors import DatabaseUnavailable
from earmark.hits.record import Document
from earmark.hits.text import called, one_line, shown
from earmark.local.watch_sound import SILENCE_DB
from earmark.local.watch_timeline import Timeline
from earmark.matching.confidence import threshold_nats
from earmark.matching.lines import Look
from earmark.model import CatalogueSize, Checkpoint, GapReason, Play, PlayState, SourceKind, Track

#: Plays that are remembered, the newest; looks of which the evidence is remembered; names of recordings that nobody was told of.
PLAYS_MAX, LOOKS_MAX, NAMES_MAX = 2_000, 200, 200
#: A line that has so much of the evidence that is asked for may become a play; chance comes so far twice an hour.
LIKELY: Final = 0.5
#: Candidates that are named.
CANDIDATES_MAX: Final = 3
#: Combining marks, of the usual blocks.
_MARK: Final = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED: Final = re.compile(f"({_MARK}{{2}}){_MARK}+")
#: So long is a message shown.
NOTE_S: Final = 30.0


def words(text: str, characters_max: int = 200) -> str:
    """What a stranger wrote, as it may stand on a terminal: one line without orders, of signs that each are as wide as they are by themselves.

    What joins signs, chooses between their shapes, or is invisible is left out: terminals differ in how wide that makes them. Of
    marks over a letter there are two at most: more are written across the lines above.
    """
    text = "".join(c for c in one_line(text, characters_max) if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    return shown(_STACKED.sub(r"\1", text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A play as it was told last: what a row of the history, and the summary, is made of."""

    hit_id: str
    track_id: str
    state: PlayState
    begin_s: float
    end_s: float
    title: str
    artists: str
    #: Album and label, as far as they are known.
    release: str
    speed: float
    false_alarms_per_hour: float | None
    quotation: bool
    action: str
    reason: str

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Entry":
        track, query, policy = hit["track"], hit["query"], hit["policy"]
        return cls(
            hit_id=hit["hit_id"],
            track_id=hit["reference"]["track_id"],
            state=hit["state"],
            begin_s=query["begin_s"],
            end_s=query["end_s"],
            title=words(track["title"]) or words(hit["reference"]["track_id"]),
            artists=words(", ".join(track["artists"])),
            release=" · ".join(part for part in (words(track["album"], 80), words(track["label"], 80)) if part),
            speed=hit["transform"]["speed"],
            false_alarms_per_hour=hit["score"]["false_alarms_per_hour"],
            quotation=hit["quotation"],
            action=words(policy["action"], 40),
            reason=words(policy["reason"]),
        )

    @property
    def name(self) -> str:
        return called((self.artists,) if self.artists else (), self.title, between=" – ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Playing:
    """A play that is told and not closed, as it is now."""

    told: Entry
    #: Of the recording: where it is by now, at which second of the stream it was so, and how long it is.
    reference_s: float
    at_s: float
    duration_s: float
    #: In nats, look by look.
    evidence: Sequence[float]

    def reference_at(self, stream_s: float) -> float:
        """Where in the recording it is at a second of the stream, if it goes on as it did."""
        return min(self.duration_s, max(0.0, self.reference_s + max(0.0, stream_s - self.at_s) * self.told.speed))


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A recording that may be sounding: less evidence than is asked for."""

    name: str
    nats: float


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """All that a screen shows, as of one moment."""

    source: str
    kind: SourceKind
    recordings: int
    checkpoint: Checkpoint
    #: Stream time: between two pieces of a live stream it goes on with the clock, as far as the next one will.
    position_s: float
    plays: Sequence[Entry]
    #: Plays that are not remembered any more.
    forgotten: int
    playing: Sequence[Playing]
    candidates: Sequence[Candidate]
    threshold_nats: float
    #: The one that goes on being written.
    timeline: Timeline
    level_db: float
    #: Seconds from its coming to its being heard; and behind the wall clock, where the stream tells that.
    lag_s: float | None
    clock_lag_s: float | None
    #: Seconds since there was something new, or since the beginning; and how much of the stream that was.
    quiet_s: float
    piece_s: float
    #: Seconds of the clock since the beginning.
    watched_s: float
    #: Of a file, by its header; 0: not known.
    length_s: float
    #: What the station says is on air.
    on_air: str
    stopping: bool
    #: A message, if there was one lately.
    note: str


class Judged(Protocol):
    """`hearing.Hearing`, as far as it is looked into."""

    @property
    def looks(self) -> Sequence[Look]: ...
    @property
    def music_odds(self) -> float: ...


class Described(Protocol):
    def get(self, track_ids: Sequence[str]) -> Mapping[str, Track]: ...


@dataclass(kw_only=True, eq=False)
class Watching:
    """Told by the session what it hears (`tell`, `show`, its meter's calls), by its ears what they make of that (`looked`, `sounded`); asked for a `view`.

    Args:
        source: as it is shown.
        size: of the catalogue, as of now.
        false_alarms_per_hour: how sure is sure.
        stopping: whether the session was asked to stop.
        on_air: what the station says; asked on the session's own thread.
    """

    source: str
    kind: SourceKind
    tracks: Described
    size: Callable[[], CatalogueSize]
    false_alarms_per_hour: float
    stopping: Callable[[], bool] = lambda: False
    on_air: Callable[[], str] = lambda: ""
    length_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    #: Set once it is there: it has to be told of us to be made.
    hearing: Judged | None = None
    #: Another one: what was seen before has changed.
    changes: int = 0

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checkpoint: Checkpoint = field(default_factory=Checkpoint)
    _told: dict[str, Entry] = field(default_factory=dict)
    _forgotten: int = 0
    _evidence: dict[str, deque[float]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _on_air: str = ""
    _note: str = ""
    _noted_at: float = -math.inf
    _timeline: Timeline = field(default_factory=Timeline)
    _judged_s: float = 0.0
    _level_db: float = -math.inf
    _lag_s: float | None = None
    _clock_lag_s: float | None = None
    _piece_s: float = 0.0

    def __post_init__(self) -> None:
        self._began = self._news_at = self.clock()
        self._catalogue = self.size()

    # -------------------------------------------------------------------------------------------- from the session

    def tell(self, document: Document) -> None:
        told = Entry.of(document)
        with self._lock:
            self._told[told.hit_id] = told
            if len(self._told) > PLAYS_MAX:
                del self._told[next(iter(self._told))]
                self._forgotten += 1
            self.changes += 1

    def show(self, checkpoint: Checkpoint) -> None:
        size = self.size()
        unknown = [track_id for track_id in self._likely(checkpoint) if track_id not in self._names]
        found: Mapping[str, Track] = {}
        if unknown:
            with suppress(DatabaseUnavailable):  # they are called by their ids, and the session finds out about the database by itself
                found = self.tracks.get(unknown)
        with self._lock:
            for track_id in unknown:
                track = found.get(track_id)
                self._names[track_id] = words(called(track.artists, track.title, between=" – ") if track else "") or words(track_id)
            for track_id in list(islice(self._names, max(0, len(self._names) - NAMES_MAX))):
                del self._names[track_id]
            self._catalogue, self._on_air = size, words(self.on_air())
            if checkpoint.position_s > self._checkpoint.position_s:
                self._news_at = self.clock()
            self._checkpoint = checkpoint
            self.changes += 1

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        self._lag_s, self._clock_lag_s, self._piece_s = lag_s, clock_lag_s, media_s or self._piece_s

    def missed(self, *, media_s: float, reason: GapReason) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...

    # -------------------------------------------------------------------------------------------- from its ears

    def looked(self, changed: Sequence[Play], *, heard_s: float) -> None:  # noqa: ARG002 -- what changed is told by the session
        """After each look: how much evidence there is for what, and whether it is music."""
        if self.hearing is None or math.isinf(heard_s):
            return
        best: dict[str, float] = {}
        for look in self.hearing.looks:
            track_id = look.line.track_id
            best[track_id] = max(best.get(track_id, 0.0), look.evidence.nats)
        with self._lock:
            for track_id in [track_id for track_id in self._evidence if track_id not in best]:
                del self._evidence[track_id]
            for track_id, nats in best.items():
                self._evidence.setdefault(track_id, deque(maxlen=LOOKS_MAX)).append(max(0.0, nats))
            self._timeline.musical(self._judged_s, heard_s, odds=self.hearing.music_odds)
            self._judged_s = heard_s

    def sounded(self, second: int, *, level_db: float, speech: bool) -> None:
        with self._lock:
            self._level_db = level_db
            self._timeline.sounded(second, silent=level_db < SILENCE_DB, speech=speech)

    def note(self, text: str) -> None:
        """A message for people; the newest is shown for a while."""
        with self._lock:
            self._note, self._noted_at = words(text), self.clock()
            self.changes += 1

    # -------------------------------------------------------------------------------------------- for whoever draws

    def view(self) -> View:
        with self._lock:
            at, now = self._checkpoint, self.clock()
            quiet_s = now - self._news_at
            ahead_s = min(quiet_s, self._piece_s) if self.kind != "file" and at.state != "ended" else 0.0
            named = [track_id for track_id in self._likely(at) if track_id in self._names]
            return View(
                source=self.source,
                kind=self.kind,
                recordings=self._catalogue.tracks,
                checkpoint=at,
                position_s=at.position_s + ahead_s,
                plays=tuple(self._told.values()),
                forgotten=self._forgotten,
                playing=[self._playing(play, self._told[play.hit_id]) for play in at.plays if play.hit_id in self._told],
                candidates=[Candidate(name=self._names[track_id], nats=self._evidence[track_id][-1]) for track_id in named],
                threshold_nats=threshold_nats(self.false_alarms_per_hour, self._catalogue),
                timeline=self._timeline,
                level_db=self._level_db,
                lag_s=self._lag_s,
                clock_lag_s=self._clock_lag_s,
                quiet_s=quiet_s,
                piece_s=self._piece_s,
                watched_s=now - self._began,
                length_s=self.length_s,
                on_air=self._on_air,
                stopping=self.stopping(),
                note=self._note if now - self._noted_at < NOTE_S else "",
            )

    def _playing(self, play: Play, told: Entry) -> Playing:
        return Playing(
            told=told,
            reference_s=play.reference_end_s,
            at_s=play.end_s,
            duration_s=play.reference_duration_s,
            evidence=tuple(self._evidence.get(play.track_id, ())),
        )

    def _likely(self, at: Checkpoint) -> list[str]:
        """Recordings that may be sounding and nobody was told of, the likeliest first."""
        playing = {play.track_id for play in at.plays}
        least = LIKELY * threshold_nats(self.false_alarms_per_hour, self._catalogue)
        likely = [(-evidence[-1], track_id) for track_id, evidence in list(self._evidence.items()) if track_id not in playing and evidence[-1] >= least]
        return [track_id for _, track_id in sorted(likely)[:CANDIDATES_MAX]]
