"""What is known after a run: what was on air, what the database, the bucket and the topic have, and what was done to whom."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from faults.diary_of_rows import OutboxSeen, PlaySeen, StreamSeen
from faults.fleet import Entry
from faults.programme import Aired


@dataclass(frozen=True, kw_only=True, slots=True)
class GapSeen:
    begin_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRow:
    """A stream as PostgreSQL has it after the run."""

    stream_id: str
    state: str
    position_s: float = 0.0
    heard_s: float = 0.0
    gaps: tuple[GapSeen, ...] = ()
    end_reason: str | None = None
    last_error: str = ""
    attempts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayRow:
    hit_id: str
    stream_id: str
    track_id: str
    revision: int
    state: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Put:
    """A write that S3 accepted, in their order."""

    at: float
    worker: str
    key: str
    revision: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """An alert that the topic's subscriber has received."""

    hit_id: str
    revision: int
    state: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish:
    """A call to SNS that was carried out."""

    at: float
    worker: str
    digest: str
    #: The worker was told so.
    told: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A playlist that reached whoever asked: where its oldest segment begins, in seconds since the broadcast's first sample."""

    at: float
    stream_id: str
    from_s: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known after a run."""

    aired: Sequence[Aired] = ()
    streams: Mapping[str, StreamRow] = field(default_factory=dict)
    plays: Sequence[PlayRow] = ()
    stream_seen: Sequence[StreamSeen] = ()
    play_seen: Sequence[PlaySeen] = ()
    outbox_seen: Sequence[OutboxSeen] = ()
    puts: Sequence[Put] = ()
    #: key -> revision and digest.
    objects: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    messages: Sequence[Message] = ()
    #: Streams whose digest came by mail.
    digests: Sequence[str] = ()
    publishes: Sequence[Publish] = ()
    listings: Sequence[Listing] = ()
    diary: Sequence[Entry] = ()


def head_s(evidence: Evidence, aired: Aired) -> float | None:
    """Where stream time begins, in seconds since the broadcast's first sample, by the first commit that had a clock."""
    return next((offset for _, offset in offsets(evidence, aired)), None)


def offsets(evidence: Evidence, aired: Aired) -> Iterator[tuple[StreamSeen, float]]:
    """Broadcast time less stream time, at each commit."""
    for seen in evidence.stream_seen:
        if seen.stream_id == aired.stream_id and seen.what == "commit" and seen.clock is not None:
            yield seen, seen.clock.timestamp() - aired.begin - seen.position_s


def at(seen: StreamSeen | PlaySeen) -> float:
    """Unix time."""
    return seen.at.timestamp()


def before_first_s(evidence: Evidence) -> float:
    """Seconds on air before the first sample that a session heard: streams that were taken up late. Told, and without a bar."""
    heads = [head_s(evidence, aired) for aired in evidence.aired]
    return sum(head for head in heads if head is not None)
