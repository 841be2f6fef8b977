"""The nouns. Every value is frozen; bulk data is columns of NumPy arrays; units are in the names.

Three clocks meet here and are never mixed:

* *stream time*, seconds of media since the session's first sample (``begin_s``, ``end_s``);
* *reference time*, seconds of media since a recording's first sample (``reference_begin_s``);
* wall-clock time, an aware UTC ``datetime`` (``clock``, ``started_at``).

A *frame* is an STFT column, never a codec frame.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, InstanceOf, TypeAdapter

from earmark.alias import Alias, HeardAs
from earmark.track import Track as Track  # noqa: PLC0414 -- a noun like those below, in a module of its own

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Int32: TypeAlias = npt.NDArray[np.int32]
Bool: TypeAlias = npt.NDArray[np.bool_]

# ---------------------------------------------------------------------------------------------- fingerprint

RATE_HZ = 8_000
HOP_SAMPLES = 256
FRAMES_PER_S = RATE_HZ / HOP_SAMPLES
#: Peaks are kept in eighths of a frame (4 ms) and eighths of a hertz, rounded *before* they are hashed.
EIGHTHS = 8
#: Stored with the catalogue. Any change that gives other peaks or other hashes for the same samples raises it.
FINGERPRINT_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Peaks:
    """A constellation: spectral peaks in order of (time, frequency), columns of equal length n."""

    #: int32 [n], eighths of a frame since the first sample of the recording, or of the contiguous run of samples.
    eighth_frames: Int32
    #: int32 [n], eighths of a hertz, 1,440 to 30,400.
    eighth_hz: Int32
    #: bool [n]: belongs to the sparse set, of which triples are made. Pairs are made of all peaks, and all verify.
    hashed: Bool
    #: float32 [n], nepers by which the peak stands out of its box. Zeros where it was not kept (stored references): no
    #: landmarks can be made of those.
    salience: Float32

    def __len__(self) -> int:
        return len(self.eighth_frames)

    @property
    def frames(self) -> Float64:
        return self.eighth_frames / float(EIGHTHS)

    @property
    def hz(self) -> Float64:
        return self.eighth_hz / float(EIGHTHS)

    def between(self, begin_frame: float, end_frame: float) -> "Peaks":
        """The peaks with ``begin_frame <= frame < end_frame`` (views, not copies)."""
        return self.take(slice(self.before(begin_frame), self.before(end_frame)))

    def before(self, frame: float) -> int:
        """How many peaks lie before a frame."""
        return int(self.eighth_frames.searchsorted(frame * EIGHTHS))

    def take(self, which: "slice | npt.NDArray[np.integer] | Bool") -> "Peaks":
        return Peaks(
            eighth_frames=self.eighth_frames[which],
            eighth_hz=self.eighth_hz[which],
            hashed=self.hashed[which],
            salience=self.salience[which],
        )

    @classmethod
    def none(cls) -> "Peaks":
        return cls(
            eighth_frames=np.zeros(0, np.int32),
            eighth_hz=np.zeros(0, np.int32),
            hashed=np.zeros(0, np.bool_),
            salience=np.zeros(0, np.float32),
        )

    @classmethod
    def join(cls, *parts: "Peaks") -> "Peaks":
        """Parts that follow one another in time, as one."""
        some = [part for part in parts if len(part)]
        if len(some) < 2:
            return some[0] if some else cls.none()
        return cls(
            eighth_frames=np.concatenate([part.eighth_frames for part in some]),
            eighth_hz=np.concatenate([part.eighth_hz for part in some]),
            hashed=np.concatenate([part.hashed for part in some]),
            salience=np.concatenate([part.salience for part in some]),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Landmarks:
    """Hashed combinations of neighbouring peaks, columns of equal length n."""

    #: int32 [n], the packed triple or pair mixed down to 31 bits, never negative.
    hash: Int32
    #: float64 [n], the anchor's time in frames (a multiple of 1/8); for questions too, whatever the hypothesis.
    frame: Float64

    def __len__(self) -> int:
        return len(self.hash)


# ---------------------------------------------------------------------------------------------- catalogue


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Postings:
    """Where the asked hashes occur in the catalogue, columns of equal length n, in no order."""

    #: int32 [n], which of the asked hashes.
    query: Int32
    #: int32 [n], the recording's number inside this catalogue (`Reference.track_no`).
    track_no: Int32
    #: int32 [n], the anchor's frame since the recording's first sample.
    frame: Int32

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def none(cls) -> "Postings":
        return cls(query=np.zeros(0, np.int32), track_no=np.zeros(0, np.int32), frame=np.zeros(0, np.int32))


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """Some seconds of a recording whose constellation is wanted; frames, clipped to the recording."""

    track_no: int
    begin_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """A stretch of a recording whose sound is in another recording of the catalogue too; frames since the recording's first sample."""

    begin_frame: int
    end_frame: int
    #: Which of the recording's peaks there the other one has too: their times in eighths of a frame, ascending.
    eighth_frames: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """What two recordings of the catalogue share, as one of them sees it."""

    other_no: int
    #: Most of one is in the other: another issue or edit of it, not a sample in it.
    version: bool
    #: Evidence of the best stretch, in nats against chance.
    evidence_nats: float
    #: In order, apart from one another: of the one, and of the other.
    own: tuple[Shared, ...]
    others: tuple[Shared, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reference:
    """The whole constellation of a passage of a recording; frames since the recording's first sample."""

    track_no: int
    track_id: str
    duration_s: float
    peaks: Peaks
    #: What of it other recordings share, versions of it left out: in order, apart from one another, whole.
    shared: tuple[Shared, ...] = ()
    #: Other ids that the catalogue has of it.
    aliases: tuple[str, ...] = ()
    #: It is an alias, of the recording whose `track_id` that is; `duration_s`, `peaks` and `shared` are its own.
    alias: Alias | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueSize:
    tracks: int
    seconds: float
    postings: int


# What hearing asks of the catalogue, as values: hearing yields a question and is sent the answer, so that
# whoever drives it decides on which thread the waiting is done (see `earmark.hearing`).


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lookup:
    """-> Postings of these hashes; a hash with more than `postings_max` postings is answered with none."""

    hashes: Int32
    postings_max: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """-> list[Reference], one for each passage that still exists, in any order."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolve:
    """-> dict[str, int]: track_id -> track_no of those that (still) exist."""

    track_ids: tuple[str, ...]


Question: TypeAlias = Lookup | Fetch | Resolve
Answer: TypeAlias = Postings | list[Reference] | dict[str, int]


# ---------------------------------------------------------------------------------------------- audio

Container: TypeAlias = Literal["mpegts", "mp4", "aac", "mp3"]
ClockSource: TypeAlias = Literal["program_date_time", "arrival"]
#: Why media seconds were not heard. A closed list: it is a metric label and appears in `stream.json`.
GapReason: TypeAlias = Literal[
    "segment_missing",  # listed, but could not be fetched before it was gone
    "segment_undecodable",  # fetched, but not audio that can be decoded
    "segment_refused",  # forbidden address, too large, unknown encryption
    "skipped",  # the playlist moved on without us
    "late",  # we were more than a window behind and dropped to the live edge
    "origin_down",  # the origin did not answer
    "worker_lost",  # the worker that listened died or handed over
    "discontinuity",  # the encoder's clock jumped forward
    "database_away",  # taken in for longer than `session.buffer_s` while the database did not answer
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Encoded media as a source fetched it."""

    data: bytes
    container: Container
    #: Bytes that must precede `data` (fMP4's EXT-X-MAP); empty for other containers.
    init: bytes = b""
    #: What the playlist, or the file's name, claims; 0 when unknown. Only used for what cannot be decoded.
    duration_s: float
    #: Wall clock of the first sample, where the source gives it.
    clock: datetime | None = None
    #: The source says that timestamps or codec may change here.
    discontinuity: bool = False
    #: Where the source goes on after this segment: opaque, kept in the checkpoint, given back on resume.
    position: str = ""
    fetched_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Media that a source knows to exist and could not deliver."""

    duration_s: float
    reason: GapReason
    position: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioChunk:
    """Decoded samples with a place in stream time. An empty one only tells of a gap, or of time passing."""

    #: float32 [n], mono, RATE_HZ, in [-1, 1].
    samples: Float32
    #: Stream time of the first sample (the gap included).
    start_s: float
    #: Media seconds just before `start_s` that were not heard.
    gap_before_s: float = 0.0
    gap_reason: GapReason | None = None
    #: Wall clock of the first sample, and where it comes from.
    clock: datetime | None = None
    clock_source: ClockSource = "arrival"

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / RATE_HZ


Piece: TypeAlias = Segment | Missing | AudioChunk


# ---------------------------------------------------------------------------------------------- streams

SourceKind: TypeAlias = Literal["ivs", "medialive", "hls", "radio", "file", "recording"]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Something to listen to, from its start to its end: one session's worth."""

    stream_id: str
    source: SourceKind
    channel_arn: str | None = None
    channel_name: str = ""
    #: IVS: none (AWS's stream_id is the identity). MediaLive: the run's start. Static: the date.
    session_id: str | None = None
    #: Static HLS and files: where it is. IVS: none, resolved from GetChannel. MediaLive: s3://bucket/prefix.
    url: str | None = None
    #: MediaLive: where the channel's other pipeline writes the same.
    spare_url: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    #: The EventBridge event that told of it first, or an id of its row's own: what is logged, stored and sent of it has it.
    trace_id: str = ""

    @property
    def in_logs(self) -> Mapping[str, str]:
        """What every line about it says, wherever it is written."""
        return {"stream_id": self.stream_id, "trace_id": self.trace_id}


PlayState: TypeAlias = Literal["provisional", "open", "closed"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Explanation:
    """What proves a play: how heard and stored peaks coincide around its line, in a window with about the most evidence so far."""

    #: Stream time of the window.
    begin_s: float
    end_s: float
    #: The line: ``reference_s = speed * stream_s + offset_s``.
    speed: float
    offset_s: float
    pitch_cents: float
    #: As in `matching.verification.Evidence`; and what was asked for at that time, in that catalogue.
    evidence_nats: float
    second_nats: float
    share: float
    threshold_nats: float
    #: Peaks in the window, of the recording along the line, and on both: `stream_ms` holds an even choice of the last.
    heard_n: int
    stored_n: int
    matched_n: int
    #: Coincidences by distance from the line, int32 [2h+1], the main lobe in the middle; cells within `guard_frames` of it
    #: are not sidelobes.
    coincidences: Int32
    cell_frames: float
    guard_frames: float
    #: Whether frequencies had to agree within a third of the tolerance.
    narrow: bool
    #: The matched peaks in order of time, int32 [n <= matched_n]: where in the stream, what, and where in the recording.
    stream_ms: Int32
    eighth_hz: Int32
    reference_ms: Int32
    #: What else was heard in the window, int32 [heard_n - matched_n, 2]: where in the stream, and what. None, if there was too much.
    others: Int32 = field(default_factory=lambda: np.zeros((0, 2), np.int32))


@dataclass(frozen=True, kw_only=True)
class Play:
    """A run of matches of one recording on one line; each change of it is a new revision of the same `hit_id`."""

    hit_id: str
    revision: int
    state: PlayState
    track_id: str
    #: Stream time, from aligned evidence; `end_s` is the last second heard so far.
    begin_s: float
    end_s: float
    reference_begin_s: float
    reference_end_s: float
    reference_duration_s: float
    #: Reference seconds per stream second: 1.03 is played 3 % fast.
    speed: float
    #: Stream pitch over reference pitch, in cents, speed included.
    pitch_cents: float
    #: Best evidence so far, in nats against chance.
    evidence_nats: float
    #: False alarms per stream-hour at that evidence, for the catalogue of now.
    false_alarms_per_hour: float
    #: Distinct anchors that proposed it.
    votes: int
    #: Seconds of the play with aligned evidence; and seconds inside it that were not heard.
    matched_s: float
    gap_s: float = 0.0
    #: Stream time at which it was first told.
    first_heard_s: float
    #: Other recordings that explain the same seconds, less well.
    also_matching: tuple[str, ...] = ()
    #: It was heard by the sound of an alias of it.
    heard_as: HeardAs | None = None
    #: It ended before it lasted long enough to be more than a quoted sample.
    quotation: bool = False
    #: The stream's session was cut here (a static source at midnight): the play goes on under another id.
    continues: bool = False
    #: What proves it: some kilobytes that go on record with the hit, and are no part of the play nor of a checkpoint. None in
    #: a play that was taken up from another session, until it is proved better here.
    explanation: Annotated[InstanceOf[Explanation] | None, Field(exclude=True)] = field(default=None, compare=False, repr=False)


def hit_id(stream_id: str, track_id: str, reference_begin_s: float, begin_s: float, source: str) -> str:
    """26 base32 characters of SHA-256. Computed once, when a play opens, and stored with it."""
    text = "\n".join([stream_id, track_id, f"{reference_begin_s:.3f}", f"{begin_s:.3f}", source])
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:26].lower()


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Media seconds of a session that were not heard, in stream time."""

    begin_s: float
    end_s: float
    reason: GapReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Some seconds of a stream, in stream time."""

    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Music:
    """Where a session sounded like music, catalogued or not."""

    #: In order; those that almost touch are one. Of too many the shortest are dropped.
    stretches: tuple[Stretch, ...] = ()
    #: Seconds heard as music, those of dropped stretches included.
    heard_s: float = 0.0
    #: Stretches that were dropped.
    dropped: int = 0


SessionState: TypeAlias = Literal["starting", "listening", "ended", "quarantined"]
#: Why a session is over.
EndReason: TypeAlias = Literal[
    "stream_end",  # the event said so
    "endlist",  # the playlist said so
    "not_live",  # the channel is not broadcasting, or does not exist
    "silent_origin",  # nothing new for longer than the limit
    "cut",  # a source without an end, cut at midnight
    "failed",  # cannot be listened to; `last_error` says why
]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a session's next owner needs, and all that `stream.json` shows."""

    state: SessionState = "starting"
    #: Stream time up to which everything is either heard or a gap.
    position_s: float = 0.0
    heard_s: float = 0.0
    gaps: tuple[Gap, ...] = ()
    music: Music = Music()
    #: Where somebody spoke and there was no music; and where nothing was to be heard. In order.
    speech: tuple[Stretch, ...] = ()
    silence: tuple[Stretch, ...] = ()
    #: Plays not closed yet, as last told.
    plays: tuple[Play, ...] = ()
    #: The source's own place (`Segment.position`).
    source_position: str = ""
    #: Wall clock of stream time `position_s`, and where that comes from.
    clock: datetime | None = None
    clock_source: ClockSource = "arrival"
    #: Bytes fetched, and the chosen rendition, because IVS bills each pull as a view.
    fetched_bytes: int = 0
    rendition: str = ""
    end_reason: EndReason | None = None
    last_error: str = ""

    @property
    def gap_s(self) -> float:
        return sum(g.end_s - g.begin_s for g in self.gaps)

    @property
    def ends_in_a_gap(self) -> bool:
        return bool(self.gaps) and self.gaps[-1].end_s >= self.position_s

    def to_json(self) -> str:
        return _CHECKPOINT.dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> "Checkpoint":
        return _CHECKPOINT.validate_json(text)


_CHECKPOINT = TypeAdapter(Checkpoint)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to run one session, until the database's clock says otherwise."""

    stream: Stream
    owner: str
    #: Raised by every takeover; every later write carries it, so a worker that was only paused changes nothing.
    fencing: int
    checkpoint: Checkpoint
    #: The stop flag, as the row had it when claimed.
    stop_wanted: bool = False
    #: Runs in a row that failed before.
    failures: int = 0
    #: When the stream ended, as far as somebody has said so.
    over_at: datetime | None = None
    #: Its last owners died, and nobody knows of what: it is to be heard in a process of its own.
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class MatchParams:
    """How sure is sure; may change without fingerprinting anything again. Defaults: see `config/earmark.toml`."""

    window_s: float = 12.0
    false_alarms_per_hour: float = 1e-4
    #: A play is told (provisional) only if this much evidence is left without its best seconds.
    left_nats: float = 10.0
    #: Seconds a line has to last before it is more than a quotation: the play is then `open`.
    confirm_s: float = 10.0
    #: The last 6 s must hold this much evidence, or the play is on its way to closing.
    hold_nats: float = 12.0
    #: Seconds below `hold_nats` before the play is closed (dated back to its last aligned evidence).
    close_s: float = 12.0
    #: Seconds between two speed hypotheses while nothing is open; 0: never.
    transform_every_s: float = 6.0
    #: Candidates verified per second and hypothesis.
    candidates_max: int = 8
    #: Lines followed at once.
    lines_max: int = 4
