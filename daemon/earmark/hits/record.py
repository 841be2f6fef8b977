"""Plays and checkpoints become documents: the hit, the summary of a stream, and the keys they are stored under.

The documents are those of `config/schema/hit.v1.json` and `stream.v1.json`. Everything here is a pure function of its
arguments, and the same arguments give the same bytes. Text comes from catalogues and channels that strangers fill, so
every string is made writable (JSON, PostgreSQL and SNS each refuse some characters) and bounded in length.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from earmark.alias import HeardAs
from earmark.hits.outgoing import Outgoing as Outgoing  # noqa: PLC0414 -- what leaves, in a module of its own
from earmark.hits.outgoing import Target as Target  # noqa: PLC0414
from earmark.hits.rights import Policy, fraction_of_track
from earmark.hits.text import cleaned, false_alarms, moment_text, parsed_moment, rfc3339, rounded
from earmark.hits.unidentified import identified_s, unidentified
from earmark.model import Checkpoint, ClockSource, Gap, Play, PlayState, Stream, Stretch, Track
from earmark.reserved import CANARY, is_canary

SCHEMA_VERSION = 1

#: Gaps listed in `stream.json`, newest kept: it is rewritten every few seconds, and a day of an origin that fails every
#: other segment would make it megabytes. The sums cover all gaps, and the cue sheet lists all.
GAPS_LISTED_MAX = 1_000

Document: TypeAlias = dict[str, Any]


# ------------------------------------------------------------------------------------------------ where things lie


def safe_name(name: str) -> str:
    """`name` as one folder or file of an S3 key or URL: [A-Za-z0-9._-], not beginning with a dot, 128 at most.

    Names that are so already stay as they are (those of IVS are); any other is folded and gets `~` and ten
    characters of its SHA-256, so different names never meet, neither with each other nor with one that was fine.
    """
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name[:64]).strip("-") + "~" + digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the documents of one stream are kept."""

    bucket: str
    prefix: str
    stream_id: str

    @property
    def folder(self) -> str:
        if is_canary(self.stream_id):  # in one place, by which a role may be allowed to remove them
            return f"{self.prefix}canary/{safe_name(self.stream_id.removeprefix(CANARY))}/"
        return f"{self.prefix}{safe_name(self.stream_id)}/"

    @property
    def stream_key(self) -> str:
        return self.folder + "stream.json"

    @property
    def cue_sheet_key(self) -> str:
        return self.folder + "cue-sheet.csv"

    @property
    def cut_list_key(self) -> str:
        return self.folder + "cut-list.json"

    @property
    def report_key(self) -> str:
        return self.folder + "report.html"

    def hit_key(self, hit_id: str) -> str:
        return f"{self.folder}hits/{safe_name(hit_id)}.json"

    def evidence_key(self, hit_id: str) -> str:
        return self.beside_key(hit_id, "json")

    def beside_key(self, hit_id: str, suffix: str) -> str:
        """What proves a hit, by the kind that it is of."""
        return f"{self.folder}evidence/{safe_name(hit_id)}.{suffix}"

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timebase:
    """Wall-clock time of stream time, from one place where both are known."""

    position_s: float
    clock: datetime | None
    source: ClockSource

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Timebase":
        return cls(position_s=checkpoint.position_s, clock=checkpoint.clock, source=checkpoint.clock_source)

    def at(self, stream_s: float) -> datetime | None:
        return self.clock - timedelta(seconds=self.position_s - stream_s) if self.clock else None


# ------------------------------------------------------------------------------------------------ the hit


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """What is settled when a play is first told and repeated by each later revision, however clocks drift."""

    started_at: datetime | None
    first_heard_at: datetime | None
    #: Seconds from the play's start, by the stream's clock, to the moment it was first put on record.
    latency_s: float | None
    clock: ClockSource

    @classmethod
    def now(cls, play: Play, timebase: Timebase, now: datetime) -> "Opening":
        started_at = timebase.at(play.begin_s)
        return cls(
            started_at=started_at,
            first_heard_at=timebase.at(play.first_heard_s),
            latency_s=(now - started_at).total_seconds() if started_at else None,
            clock=timebase.source,
        )

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Opening":
        """As an earlier revision of the hit told it."""
        detection = hit["detection"]
        return cls(
            started_at=parsed_moment(hit["started_at"]),
            first_heard_at=parsed_moment(detection["first_heard_at"]),
            latency_s=detection["latency_s"],
            clock=detection["clock"],
        )


def hit_document(
    *,
    stream: Stream,
    play: Play,
    track: Track | None,
    policy: Policy,
    foreground_share: float | None = None,
    opening: Opening,
    worker: str,
    fingerprint_version: int,
    now: datetime,
    place: Place,
    explained: bool = False,
    now_playing: str | None = None,
) -> Document:
    """Hit v1.

    Args:
        track: None when the recording left the catalogue meanwhile.
        foreground_share: as in `Circumstances`.
        now: when this revision is put on record.
        explained: its evidence is, or will be at once, in its place.
        now_playing: what the stream itself said was on air; None: it is of no kind that says so.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "hit_id": play.hit_id,
        "revision": play.revision,
        "state": play.state,
        **cleaned(
            {
                "stream": _stream(stream, now_playing),
                **_times(play, opening),
                "reference": {
                    "track_id": play.track_id,
                    "begin_s": rounded(play.reference_begin_s),
                    "end_s": rounded(play.reference_end_s),
                    "duration_s": rounded(play.reference_duration_s),
                    **({} if play.heard_as is None else {"heard_as": _heard_as(play.heard_as)}),
                },
                **_evidence(play, foreground_share),
                "track": _track(track),
                "policy": asdict(policy),
                "detection": _detection(opening, worker=worker, fingerprint_version=fingerprint_version, now=now),
                "evidence": {"key": place.evidence_key(play.hit_id)} if explained and place.bucket else {},
                "links": {"hit": place.uri(place.hit_key(play.hit_id)), "stream": place.uri(place.stream_key)} if place.bucket else {},
            }
        ),
    }


def _stream(stream: Stream, now_playing: str | None) -> Document:
    return {
        "id": stream.stream_id,
        "channel_arn": stream.channel_arn,
        "channel_name": stream.channel_name,
        "session_id": stream.session_id,
        **({"trace_id": stream.trace_id} if stream.trace_id else {}),
        "source": stream.source,
        "tags": dict(sorted(stream.tags.items())[:50]),  # AWS allows fifty on a resource
        **({} if now_playing is None else {"now_playing": now_playing or None}),
        **({"canary": True} if is_canary(stream.stream_id) else {}),
    }


def _heard_as(alias: HeardAs) -> Document:
    return {
        "track_id": alias.track_id,
        "begin_s": rounded(alias.begin_s),
        "end_s": rounded(alias.end_s),
        "duration_s": rounded(alias.duration_s),
        "placed": alias.placed,
    }


def _times(play: Play, opening: Opening) -> Document:
    length = timedelta(seconds=max(0.0, play.end_s - play.begin_s))
    return {
        "started_at": moment_text(opening.started_at),
        # From the same anchor as started_at, so that the difference is the play's length.
        "ended_at": moment_text(opening.started_at + length) if opening.started_at and play.state == "closed" else None,
        "query": {"begin_s": rounded(play.begin_s), "end_s": rounded(play.end_s)},
    }


def _evidence(play: Play, foreground_share: float | None) -> Document:
    share = fraction_of_track(play.matched_s, play.speed, play.reference_duration_s)
    return {
        "coverage": {
            "matched_s": rounded(play.matched_s),
            "gap_s": rounded(play.gap_s),
            "fraction_of_track": None if share is None else rounded(share, 4),
            "foreground_share": None if foreground_share is None else rounded(foreground_share, 2),
        },
        "score": {
            "evidence_nats": rounded(play.evidence_nats, 1),
            "matched_s": rounded(play.matched_s),
            "votes": play.votes,
            "false_alarms_per_hour": false_alarms(play.false_alarms_per_hour),
        },
        "transform": {"speed": rounded(play.speed, 5), "pitch_cents": rounded(play.pitch_cents, 1)},
        "also_matching": list(play.also_matching),
        "quotation": play.quotation,
        "continues": play.continues,
    }


def _track(track: Track | None) -> Document:
    track = track or Track(track_id="")
    return {
        "title": track.title,
        "artists": list(track.artists),
        "album": track.album,
        "label": track.label,
        "isrc": list(track.isrc),
        "iswc": list(track.iswc),
        "upc": list(track.upc),
        "rights_holder": track.rights_holder,
        "policy": track.policy,
        "territories": list(track.territories),
        "valid_from": track.valid_from,
        "valid_to": track.valid_to,
        "tags": list(track.tags),
    }


def _detection(opening: Opening, *, worker: str, fingerprint_version: int, now: datetime) -> Document:
    return {
        "first_heard_at": moment_text(opening.first_heard_at),
        "published_at": rfc3339(now),
        "latency_s": None if opening.latency_s is None else rounded(opening.latency_s),
        "clock": opening.clock,
        "worker": worker,
        "fingerprint_version": fingerprint_version,
    }


# ------------------------------------------------------------------------------------------------ the stream's summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A play as summaries, cue sheets and reports list it."""

    hit_id: str
    revision: int
    state: PlayState
    track_id: str
    title: str
    artists: tuple[str, ...]
    album: str
    label: str
    isrc: tuple[str, ...]
    iswc: tuple[str, ...]
    upc: tuple[str, ...]
    rights_holder: str
    action: str
    begin_s: float
    end_s: float
    started_at: str | None
    ended_at: str | None
    false_alarms_per_hour: float | None
    quotation: bool
    continues: bool
    #: What a radio station said was on air; empty: nothing, or it is no station.
    now_playing: str

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Line":
        track = hit["track"]
        fields: dict[str, Any] = {name: hit[name] for name in ("hit_id", "revision", "state", "started_at", "ended_at", "quotation", "continues")}
        fields |= {name: track[name] for name in ("title", "album", "label", "rights_holder")}
        fields |= {name: tuple(track[name]) for name in ("artists", "isrc", "iswc", "upc")}
        return cls(
            **fields,
            **hit["query"],
            track_id=hit["reference"]["track_id"],
            action=hit["policy"]["action"],
            false_alarms_per_hour=hit["score"]["false_alarms_per_hour"],
            now_playing=hit["stream"].get("now_playing") or "",
        )

    def told(self) -> Document:
        """As `stream.json` lists it; the hit itself holds the rest."""
        return {name: getattr(self, name) for name in _TOLD}


_TOLD = tuple(f.name for f in fields(Line) if f.name not in ("album", "label", "isrc", "iswc", "upc", "false_alarms_per_hour", "now_playing"))


def stream_document(
    *,
    stream: Stream,
    checkpoint: Checkpoint,
    plays: Sequence[Line],
    worker: str,
    fingerprint_version: int,
    updated_at: datetime,
    place: Place,
    now_playing: str | None = None,
) -> Document:
    """`stream.json` v1: how far a session is, what it heard, what it did not hear and why. `now_playing`: as in a hit."""
    timebase = Timebase.of(checkpoint)
    ended = checkpoint.state == "ended"
    head = {
        "schema_version": SCHEMA_VERSION,
        "stream": _stream(stream, now_playing),
        "state": checkpoint.state,
        "source": stream.source,
        "started_at": moment_text(stream.started_at or timebase.at(0.0)),
        "heard_from_at": moment_text(timebase.at(0.0)),
        "ended_at": moment_text(timebase.at(checkpoint.position_s)) if ended else None,
        "position": {"stream_s": rounded(checkpoint.position_s), "at": moment_text(checkpoint.clock), "clock": checkpoint.clock_source},
        "rendition": checkpoint.rendition,
        "fetched_bytes": checkpoint.fetched_bytes,
        "end_reason": checkpoint.end_reason,
        "last_error": checkpoint.last_error,
        "worker": worker,
        "fingerprint_version": fingerprint_version,
        "updated_at": rfc3339(updated_at),
        "links": _links(place, ended=ended),
    }
    return {
        **cleaned(head),
        # Made of our own words, numbers, and lines of hits that are clean already: a day's plays every few seconds are many.
        "coverage": _coverage(checkpoint),
        "gaps": [_stretch(gap, timebase) | {"reason": gap.reason} for gap in checkpoint.gaps[-GAPS_LISTED_MAX:]],
        "music": _music(checkpoint, plays, timebase),
        "speech": [_stretch(stretch, timebase) for stretch in checkpoint.speech],
        "silence": [_stretch(stretch, timebase) for stretch in checkpoint.silence],
        "playing": [line.hit_id for line in plays if line.state != "closed"],
        "plays": [line.told() for line in sorted(plays, key=lambda line: (line.begin_s, line.hit_id))],
    }


def _coverage(checkpoint: Checkpoint) -> Document:
    by_reason: dict[str, float] = {}
    for gap in checkpoint.gaps:
        by_reason[gap.reason] = by_reason.get(gap.reason, 0.0) + gap.end_s - gap.begin_s
    total_s = checkpoint.position_s
    return {
        "heard_s": rounded(checkpoint.heard_s),
        "gap_s": rounded(checkpoint.gap_s),
        "total_s": rounded(total_s),
        "unaccounted_s": rounded(total_s - checkpoint.heard_s - checkpoint.gap_s),
        "fraction": rounded(min(1.0, checkpoint.heard_s / total_s), 5) if total_s > 0 else None,
        "gaps": len(checkpoint.gaps),
        "gap_s_by_reason": {reason: rounded(seconds) for reason, seconds in sorted(by_reason.items())},
    }


def _music(checkpoint: Checkpoint, plays: Sequence[Line], timebase: Timebase) -> Document:
    rest = unidentified(checkpoint.music, plays)
    return {
        "heard_s": rounded(checkpoint.music.heard_s),
        "identified_s": rounded(identified_s(checkpoint.music, plays)),
        "unidentified": [_stretch(stretch, timebase) for stretch in rest.stretches],
        "left_out": rest.left_out,
    }


def _stretch(stretch: Gap | Stretch, timebase: Timebase) -> Document:
    return {
        "begin_s": rounded(stretch.begin_s),
        "end_s": rounded(stretch.end_s),
        "duration_s": rounded(stretch.end_s - stretch.begin_s),
        "started_at": moment_text(timebase.at(stretch.begin_s)),
    }


def _links(place: Place, *, ended: bool) -> Document:
    if not place.bucket:
        return {}
    links = {"stream": place.uri(place.stream_key), "hits": place.uri(place.folder + "hits/")}
    made = {"cue_sheet": place.cue_sheet_key, "cut_list": place.cut_list_key, "report": place.report_key}
    return links | ({name: place.uri(key) for name, key in made.items()} if ended else {})
