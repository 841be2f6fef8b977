"""`earmark hunt`: was this recording played in what was heard before it was known?"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from earmark.aws import Clients
from earmark.control import recordings
from earmark.errors import BadSettings
from earmark.hits import kept
from earmark.hits.filled import overlap_s
from earmark.hits.hunted import HuntedLedger
from earmark.hits.kept import Held, Period
from earmark.hits.mail.alert import sure_in_brief
from earmark.hits.record import Line, Timebase
from earmark.hits.reports import report as reports
from earmark.hits.reports.report import StreamReport
from earmark.hits.text import called, clock_time, counted, false_alarms, moment_text, one_line, shown, speed_change
from earmark.hunting import Hunt, Played, Proposal
from earmark.identification import Match
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.desk import complain, opened
from earmark.local.progress import Progress
from earmark.local.typed_times import moment
from earmark.model import FRAMES_PER_S, Fetch, Passage, Play, Reference, Resolve, SourceKind, Stream, Track, hit_id
from earmark.policies.file import deciding
from earmark.postgres import Pool, statement
from earmark.reference import fingerprint_file
from earmark.settings import Settings

#: A longer recording has so many landmarks that chance finds it everywhere, and fills the memory.
_LONGEST_S = 7_200.0
#: Before anything was kept.
_EVER = timedelta(days=36_500)
#: Proposals of one stream that are looked at together, at most, those with most landmarks first: hostile sound costs no more.
_PROPOSALS_MAX = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A play that a hunt found."""

    report: StreamReport
    played: Played
    started_at: datetime | None
    #: hit_id under which it is on record already.
    known_as: str | None
    #: `recording`, too, where a stream's own session heard nothing and its recording was heard instead.
    source: SourceKind

    @property
    def match(self) -> Match:
        return self.played.match

    @property
    def stream(self) -> Stream:
        return replace(self.report.stream, source=self.source)


def hunt(
    what: str,
    *,
    since: str | None,
    until: str | None,
    stream_id: str | None,
    channel: str | None,
    catalogue: str | None,
    publish: bool,
    as_json: bool,
    settings: Settings,
) -> int:
    """What was found, a line each; nothing found is no failure. 1 if something could not be published."""
    now = datetime.now(UTC)
    period = Period(
        since=moment(since, "--since", now=now) if since else now - _EVER,
        until=moment(until, "--until", now=now, last=True) if until else now,
        stream_id=stream_id,
        channel=channel,
    )
    if period.since > now:
        raise BadSettings(f"--since {one_line(since or '')} is in the future: what is kept is of the past")
    if period.until < period.since:
        raise BadSettings(f"--until {one_line(until or '')} is before --since {one_line(since or '')}: nothing lies between them")
    with opened(catalogue, settings) as pool:
        track, reference = _recording(what, pool)
        if reference.duration_s > _LONGEST_S:
            raise BadSettings(f"{one_line(what)} is longer than {_LONGEST_S / 3_600:.0f} hours, and is not hunted as a whole: cut it into recordings")
        holdings = _holdings(pool, period, settings)
        if publish and not reference.track_no:
            raise BadSettings(f"what is found of {one_line(what)} cannot be published: add it to the catalogue first (`earmark catalogue add`)")
        plays = list(_plays(pool, track, reference, holdings, period, settings))
        refused = _publish(pool, plays, track, settings) if publish else []
    kept_s = sum(held.kept_s - held.other_s for held in holdings)
    if as_json:
        for found in plays:
            print(json.dumps(_row(found, track), ensure_ascii=False))
    else:
        _tell(plays, track, kept_s, holdings)
    complain(refused)
    return 1 if refused else 0


# ------------------------------------------------------------------------------------------------ what is hunted, and where


def _recording(what: str, pool: Pool) -> tuple[Track, Reference]:
    """A recording of the catalogue, or a file. Raises BadSettings, UnreadableAudio."""
    track = Tracks(pool=pool).get([what]).get(what)
    if track is not None:
        return track, _catalogued(track, pool)
    path = Path(what)
    if not path.is_file():
        raise BadSettings(f"the catalogue has no recording {one_line(what)}, and there is no such file: `earmark catalogue list` shows what it has")
    made = fingerprint_file(path)
    track = Track(track_id=path.name, title=path.stem, duration_s=made.duration_s)
    return track, Reference(track_no=0, track_id=track.track_id, duration_s=made.duration_s, peaks=made.peaks)


def _catalogued(track: Track, pool: Pool) -> Reference:
    index = Index(pool=pool).open()
    numbers: Any = index.answer(Resolve(track_ids=(track.track_id,)))
    passages = tuple(Passage(track_no=number, begin_frame=0, end_frame=int(track.duration_s * FRAMES_PER_S) + 1) for number in numbers.values())
    references: Any = index.answer(Fetch(passages=passages))
    if not references:
        raise BadSettings(f"the recording {track.track_id} was taken out of the catalogue just now")
    reference: Reference = references[0]
    return reference


def _holdings(pool: Pool, period: Period, settings: Settings) -> list[Held]:
    """Raises BadSettings where there is nothing to search, and says why."""
    with statement(pool) as connection:
        holdings = kept.held(connection, period)
    other_s = sum(held.other_s for held in holdings)
    if other_s and other_s >= sum(held.kept_s for held in holdings) - 1:
        raise BadSettings(f"what is kept of those streams ({_hours(other_s)}) is of another version of the fingerprint, and cannot be searched by this Earmark")
    if not holdings:
        off = "; hunt.keep_days is 0, so nothing is kept" if not settings.hunt.keep_days else _left_out(settings)
        raise BadSettings(f"nothing is kept of any such stream in that time{off}: what a worker hears is kept for hunt.keep_days, {settings.hunt.keep_days}")
    if other_s:
        print(f"earmark: {_hours(other_s)} were kept by another version of the fingerprint, and are left out", file=sys.stderr)
    return holdings


def _left_out(settings: Settings) -> str:
    kinds = [(settings.hunt.keep_files, "of stored files (hunt.keep_files)"), (settings.hunt.keep_archives, "of whole recordings (hunt.keep_archives)")]
    return "".join(f"; nothing {what}" for kept_too, what in kinds if not kept_too)


# ------------------------------------------------------------------------------------------------ searching


def _plays(pool: Pool, track: Track, reference: Reference, holdings: Sequence[Held], period: Period, settings: Settings) -> Iterator[Found]:
    search = Hunt(reference, params=settings.matching.params())
    seconds = max(1, round(sum(held.kept_s for held in holdings)))
    done_s = 0.0
    with Progress(f"hunting {one_line(track.title or track.track_id, 40)}") as progress:
        for held in holdings:
            proposals: list[Proposal] = []
            for block in kept.drawn(pool, held.stream_id, period):
                proposals += _searched(search, held.stream_id, block)
                done_s += block.frames / FRAMES_PER_S
                progress.at(held.stream_id, min(round(done_s), seconds), seconds)
            for played in _followed(pool, search, held.stream_id, proposals):
                yield _found(pool, held.stream_id, played, track)


def _searched(search: Hunt, stream_id: str, block: kept.Drawn) -> list[Proposal]:
    try:
        return search.search(block.sketch, block.frames, block.begin_s)
    except ValueError as error:
        print(f"earmark: {shown(stream_id)} from {clock_time(block.begin_s)}: {error}; it is left out", file=sys.stderr)
        return []


def _followed(pool: Pool, search: Hunt, stream_id: str, proposals: Sequence[Proposal]) -> list[Played]:
    """What a stream's proposals come to; those near one another are looked at together, so that each play comes once."""
    found: list[Played] = []
    for together in _together(proposals, search.size.seconds):
        begin_s, end_s = min(p.span_s(search.size.seconds)[0] for p in together), max(p.span_s(search.size.seconds)[1] for p in together)
        with statement(pool) as connection:
            heard = kept.heard(connection, stream_id, begin_s, end_s)
        found += search.follow(together, heard)
    return sorted(found, key=lambda played: played.match.begin_s)


def _together(proposals: Sequence[Proposal], duration_s: float) -> Iterator[list[Proposal]]:
    chosen = sorted(sorted(proposals, key=lambda p: -p.votes)[:_PROPOSALS_MAX], key=lambda p: p.span_s(duration_s)[0])
    some: list[Proposal] = []
    end_s = 0.0
    for proposal in chosen:
        begin_s, upto_s = proposal.span_s(duration_s)
        if some and begin_s > end_s:
            yield some
            some = []
        end_s = max(end_s, upto_s) if some else upto_s
        some.append(proposal)
    if some:
        yield some


# ------------------------------------------------------------------------------------------------ publishing


def _publish(pool: Pool, plays: Sequence[Found], track: Track, settings: Settings) -> list[str]:
    """Put what is new on record, stream by stream; why that was refused, where it was."""
    refused = []
    new: dict[tuple[str, SourceKind], list[Found]] = {}
    for found in plays:
        if found.known_as is None and found.source == "file":  # what is beside it is written by its session
            refused.append(shown(f"{found.stream.url} is a stored file: put it there once more, and what is written beside it has the play"))
        elif found.known_as is None:
            new.setdefault((found.stream.stream_id, found.source), []).append(found)
    for some in new.values():
        ledger = HuntedLedger(
            whole=replace(some[0].report, stream=some[0].stream),
            pool=pool,
            tracks=Tracks(pool=pool),
            results=settings.results,
            alerts=settings.alerts,
            nudge=lambda: None,  # a worker's publisher looks every second
            now=lambda: datetime.now(UTC),
            decide=deciding(settings.policy.file, s3=lambda: Clients(settings.aws).s3),
            cuts=settings.cuts,
            evidence=settings.evidence,
        )
        try:
            ledger.put([_play(found, track) for found in some])
        except BadSettings as error:
            refused.append(shown(str(error)))
    return refused


def _play(found: Found, track: Track) -> Play:
    match, stream = found.match, found.stream
    return Play(
        hit_id=hit_id(stream.stream_id, track.track_id, match.reference_begin_s, match.begin_s, stream.source),
        revision=1,
        state="closed",
        track_id=track.track_id,
        begin_s=match.begin_s,
        end_s=match.end_s,
        reference_begin_s=match.reference_begin_s,
        reference_end_s=match.reference_begin_s + (match.end_s - match.begin_s) * match.speed,
        reference_duration_s=track.duration_s,
        speed=match.speed,
        pitch_cents=1_200 * math.log2(found.played.pitch),
        evidence_nats=match.score,
        false_alarms_per_hour=match.false_alarms_per_hour,
        votes=found.played.votes,
        matched_s=match.matched_s,
        first_heard_s=match.begin_s,
        explanation=found.played.explanation,
    )


# ------------------------------------------------------------------------------------------------ telling


def _found(pool: Pool, stream_id: str, played: Played, track: Track) -> Found:
    match = played.match
    with statement(pool) as connection:
        report = reports.load(connection, stream_id)
        filled_s = overlap_s(match.begin_s, match.end_s, recordings.filled_in(connection, stream_id))
    known = next((line.hit_id for line in report.plays if line.track_id == track.track_id and _same(line, match)), None)
    source: SourceKind = "recording" if filled_s > (match.end_s - match.begin_s) / 2 else report.stream.source
    return Found(report=report, played=played, started_at=Timebase.of(report.checkpoint).at(match.begin_s), known_as=known, source=source)


def _same(line: Line, match: Match) -> bool:
    """Whether a hit on record is of those very seconds."""
    shared_s = min(line.end_s, match.end_s) - max(line.begin_s, match.begin_s)
    return shared_s > min(line.end_s - line.begin_s, match.end_s - match.begin_s) / 2


def _tell(plays: Sequence[Found], track: Track, kept_s: float, holdings: Sequence[Held]) -> None:
    name = called(track.artists, track.title, between=" – ") or track.track_id
    new = sum(found.known_as is None for found in plays)
    known = f", {len(plays) - new} of them on record already" if new < len(plays) else ""
    kinds = [_KINDS.get(held.source, "stream") for held in holdings]
    searched = f"{_hours(kept_s)} of {', '.join(counted(kinds.count(kind), kind) for kind in ('stream', *_KINDS.values()) if kind in kinds)}"
    print(shown(f"{name} was heard {counted(len(plays), 'time')}{known}, in {searched}" if plays else f"{name} was not heard in {searched}"))
    lines = [_HEADINGS, *map(_cells, plays)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEADINGS))]
    for line in lines if plays else ():
        print(shown("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()))


#: What is none of the streams that were heard as they were on.
_KINDS: Final[Mapping[SourceKind, str]] = {"file": "file", "recording": "recording"}
_HEADINGS = ("kind", "where", "from", "to", "at", "in the recording", "speed", "false alarms", "on record")


def _cells(found: Found) -> tuple[str, ...]:
    match = found.match
    until_s = match.reference_begin_s + (match.end_s - match.begin_s) * match.speed
    stream = found.stream
    return (
        _KINDS.get(found.source, "stream"),
        one_line((found.source == "file" and stream.url) or f"{stream.channel_name} {stream.stream_id}".strip(), 60),
        clock_time(match.begin_s),
        clock_time(match.end_s),
        f"{found.started_at:%Y-%m-%d %H:%M:%S}Z" if found.started_at else "-",
        f"{clock_time(match.reference_begin_s)}–{clock_time(until_s)}",
        speed_change(match.speed),
        sure_in_brief(false_alarms(match.false_alarms_per_hour)),
        found.known_as or "new",
    )


def _row(found: Found, track: Track) -> dict[str, Any]:
    return {
        "stream": {
            "id": found.stream.stream_id,
            "source": found.source,
            "url": found.stream.url,
            "channel_name": found.stream.channel_name,
            "channel_arn": found.stream.channel_arn,
        },
        "started_at": moment_text(found.started_at),
        **asdict(found.match),
        "false_alarms_per_hour": false_alarms(found.match.false_alarms_per_hour),
        "track": asdict(track),
        "on_record_as": found.known_as,
    }


def _hours(seconds: float) -> str:
    return f"{seconds / 3_600:,.1f} h"
