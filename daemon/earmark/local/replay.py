"""`earmark replay`: what would other settings have made of this audio?

Stored audio is decoded and fingerprinted once and heard twice, under the present settings and under the changed ones; or heard
once and compared with what is on record of the stream that it is of.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from earmark import postgres
from earmark.audio.decode import Failure, StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard, opened_for
from earmark.coverage import Coverage
from earmark.errors import BadSettings, StreamNotFound
from earmark.fingerprint.window import Window
from earmark.hearing import FrontEnd, Hearing, drive
from earmark.hits.text import called, clock_time, columns, one_line
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.desk import check_there, complain, opened, recordings_in
from earmark.local.difference import KINDS, Account, Difference, compare
from earmark.local.stored import FolderSource, others
from earmark.local.watch import check_source, is_url, source_of
from earmark.model import Answer, AudioChunk, CatalogueSize, Checkpoint, Fetch, Float32, Lookup, MatchParams, Peaks, Play, Question, Resolve, Segment, Track
from earmark.session import Signals, Source
from earmark.settings import Settings, tried

#: An archive file's longest rollover; segments of a playlist are shorter.
_SEGMENT_S_MAX = 3_600.0
#: A folder's files are read whole.
_FILE_BYTES_MAX = 512_000_000
_WORDS = {"same": "the same", "changed": "changed", "only_before": "only before", "only_after": "only after"}
_FIELDS = {"begin_s": "begins", "end_s": "ends", "state": "is", "evidence_nats": "evidence", "reference_begin_s": "from second", "told_s": "told at"}

Asked: TypeAlias = Callable[[Question], Answer]


@dataclass(frozen=True, kw_only=True)
class _Result:
    source: str
    before: str
    after: str
    heard_s: float
    gap_s: float
    differences: list[Difference]


def replay(source: str, *, changes: Sequence[str], against: str | None, at_s: float, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    """0, whatever differs. Raises what is wrong with the invocation (BadSettings) or the audio.

    Ctrl-C is Python's own: a comparison of a part would pass for one of the whole.
    """
    after = tried(settings, "matching", changes)
    _check(source, changes, against)
    told = _on_record(against, settings) if against else []
    with opened(catalogue, settings) as pool:
        index = recordings_in(pool)
        sides = [after] if against else [settings, after]
        accounts, coverage, left_out = _hear(source, [side.matching.params() for side in sides], index, settings)
        if against:
            heard = [account.later(at_s) for account in accounts[0]]
            # What is on record of other hours of the stream is no difference.
            accounts = [[account for account in told if account.begin_s < at_s + coverage.position_s and account.end_s > at_s], heard]
        result = _Result(
            source=source,
            before=f"what is on record of {one_line(against)}" if against else "the present settings",
            after=", ".join(changes) or "the present settings",
            heard_s=coverage.heard_s,
            gap_s=coverage.position_s - coverage.heard_s,
            differences=compare(*accounts),
        )
        known = Tracks(pool=pool).get(sorted({one.account.track_id for one in result.differences}))
    complain(left_out)
    print(_as_json(result, known) if as_json else _as_text(result, known))
    return 0


def _check(source: str, changes: Sequence[str], against: str | None) -> None:
    check_source(source)
    if not is_url(source):
        why_not = (
            f"there is no file or folder {one_line(source)}; and if that is a stream: Earmark keeps what it heard of one, not its audio, "
            f"so give a recording of it: `earmark replay FILE --against {one_line(source)}`"
        )
        check_there(Path(source), why_not=why_not)
    if not changes and not against:
        raise BadSettings("there is nothing to compare: name settings to try (--set matching.KEY=VALUE), or a stream on record (--against STREAM)")


def _on_record(stream_id: str, settings: Settings) -> list[Account]:
    """The plays of a stream in the database. Raises StreamNotFound."""
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        if connection.execute("select 1 from stream where stream_id = %s", [stream_id]).fetchone() is None:
            raise StreamNotFound(f"the stream {one_line(stream_id)!r} is not in the database: `earmark streams list --all` shows those that are")
        rows = connection.execute("select body from play where stream_id = %s order by begin_s, hit_id", [stream_id]).fetchall()
    return [Account.of_hit(body) for (body,) in rows]


# ------------------------------------------------------------------------------------------------ hearing


def _hear(source: str, sides: Sequence[MatchParams], index: Index, settings: Settings) -> tuple[list[list[Account]], Coverage, list[str]]:
    """The plays that each side tells, what there was to hear, and a sentence for each piece that could not be."""
    listeners = Listeners(sides=sides, size=index.size(), answer=index.answer)
    coverage, left_out = Coverage(Checkpoint()), [f"{path} is not heard: {_not_a_segment(path)}" for path in _beside(source)]
    for chunk in _chunks(source, left_out, settings):
        coverage.add(chunk)
        listeners.push(chunk)
    listeners.flush()
    return [[Account.of_play(play) for play in plays] for plays in listeners.plays], coverage, left_out


def _beside(source: str) -> list[Path]:
    return others(Path(source)) if not is_url(source) and Path(source).is_dir() else []


def _not_a_segment(path: Path) -> str:
    return "it is a folder, and folders in folders are not searched" if path.is_dir() else "by its name it is not a segment"


def _chunks(source: str, left_out: list[str], settings: Settings) -> Iterator[AudioChunk]:
    """`left_out` grows by a sentence for each segment that is lost, whole or in part."""
    at_hand = ""

    def failed(failure: Failure, why: str) -> None:
        left_out.append(f"{at_hand} {'cannot be heard to its end' if failure == 'damaged' else 'is not heard'}: {why}")

    limits = opened_for(settings.hls, source) if is_url(source) else settings.hls
    with closing(Http(settings=limits, guard=Guard(settings=limits), streams_max=1)) as http:
        decoder = StreamDecoder(segment_s_max=_SEGMENT_S_MAX, failed=failed)
        for piece in _stored(source, http, Signals(), settings).pieces():
            at_hand = f"the segment {one_line(piece.position)}" if isinstance(piece, Segment) else source
            yield from decoder.push(piece)
        yield from decoder.flush()


def _stored(source: str, http: Http, signals: Signals, settings: Settings) -> Source:
    if not is_url(source) and Path(source).is_dir():
        return FolderSource(folder=Path(source), signals=signals, bytes_max=_FILE_BYTES_MAX)
    return source_of(source, http, signals, settings)


class Listeners:
    """One hearing for each side, fed the same chunks: the first has them fingerprinted and looked up, the others share that."""

    def __init__(self, *, sides: Sequence[MatchParams], size: CatalogueSize, answer: Asked) -> None:
        self._answer = _AskedOnce(answer)
        fronts = _Fronts(len(sides))
        self._hearings = [Hearing(params=params, size=size, stream_id="replay", source="file", window=fronts.of(number)) for number, params in enumerate(sides)]
        self._plays: list[dict[str, Play]] = [{} for _ in sides]

    @property
    def plays(self) -> list[list[Play]]:
        """For each side, the last revision of each play."""
        return [list(plays.values()) for plays in self._plays]

    def push(self, chunk: AudioChunk) -> None:
        for hearing, plays in zip(self._hearings, self._plays, strict=True):
            plays.update({play.hit_id: play for play in drive(hearing.push(chunk), self._answer)})
        self._answer.forget()

    def flush(self) -> None:
        for hearing, plays in zip(self._hearings, self._plays, strict=True):
            plays.update({play.hit_id: play for play in drive(hearing.flush(), self._answer)})
        self._answer.forget()


class _Fronts:
    """Front ends of hearings that are fed the same chunks, one hearing after the other: the first one's work is the others' too."""

    def __init__(self, hearings_n: int) -> None:
        #: For each hearing but the first, the runs it has not begun yet.
        self._waiting: list[deque[_Heard]] = [deque() for _ in range(hearings_n - 1)]

    def of(self, number: int) -> Callable[[], FrontEnd]:
        return self._first if number == 0 else self._waiting[number - 1].popleft

    def _first(self) -> FrontEnd:
        heirs = [_Heard() for _ in self._waiting]
        for waiting, heir in zip(self._waiting, heirs, strict=True):
            waiting.append(heir)
        return _Hearer(heirs)


class _Hearer:
    """Fingerprints a run of samples, and leaves the peaks to its heirs."""

    def __init__(self, heirs: "Sequence[_Heard]") -> None:
        self._window = Window()
        self._heirs = heirs

    @property
    def final_frame(self) -> float:
        return self._window.final_frame

    def push(self, samples: Float32) -> Peaks:
        return self._leave(self._window.push(samples))

    def flush(self) -> Peaks:
        return self._leave(self._window.flush())

    def _leave(self, peaks: Peaks) -> Peaks:
        for heir in self._heirs:
            heir.left.append((peaks, self._window.final_frame))
        return peaks


class _Heard:
    """What a `_Hearer` leaves, call by call."""

    def __init__(self) -> None:
        self.left: deque[tuple[Peaks, float]] = deque()
        self.final_frame = 0.0

    def push(self, _samples: Float32) -> Peaks:
        return self.flush()

    def flush(self) -> Peaks:
        peaks, self.final_frame = self.left.popleft()
        return peaks


class _AskedOnce:
    """Answers of the catalogue, kept while the hearings of one chunk may want them again."""

    def __init__(self, ask: Asked) -> None:
        self._ask = ask
        self._answers: dict[object, Answer] = {}

    def __call__(self, question: Question) -> Answer:
        key = _key(question)
        if key not in self._answers:
            self._answers[key] = self._ask(question)
        return self._answers[key]

    def forget(self) -> None:
        self._answers.clear()


def _key(question: Question) -> object:
    match question:
        case Lookup():
            return question.hashes.tobytes(), question.postings_max
        case Fetch() | Resolve():
            return question


# ------------------------------------------------------------------------------------------------ telling


def _as_json(result: _Result, known: Mapping[str, Track]) -> str:
    document = {
        "source": result.source,
        "before": result.before,
        "after": result.after,
        "heard_s": round(result.heard_s, 3),
        "gap_s": round(result.gap_s, 3),
        "counts": _counts(result),
        "plays": [
            {
                "kind": one.kind,
                "track_id": one.account.track_id,
                "title": _called(one.account.track_id, known),
                "before": asdict(one.before) if one.before else None,
                "after": asdict(one.after) if one.after else None,
                "changed": list(one.changed),
            }
            for one in result.differences
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _counts(result: _Result) -> dict[str, int]:
    return {kind: sum(one.kind == kind for one in result.differences) for kind in KINDS}


def _as_text(result: _Result, known: Mapping[str, Track]) -> str:
    missed = f", {clock_time(result.gap_s)} missing" if result.gap_s > 0 else ""
    lines = [f"Heard   {clock_time(result.heard_s)} of {one_line(result.source)}{missed}", f"Before  {result.before}", f"After   {result.after}", ""]
    rows = [_row(one, known) for one in result.differences if one.kind != "same"]
    if rows:
        widths = [max(columns(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines += ["  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows] + [""]
    return "\n".join([*lines, ", ".join(f"{count} {_WORDS[kind]}" for kind, count in _counts(result).items())])


def _row(one: Difference, known: Mapping[str, Track]) -> tuple[str, str, str, str]:
    account = one.account
    return _WORDS[one.kind], f"{clock_time(account.begin_s)}-{clock_time(account.end_s)}", one_line(_called(account.track_id, known), 48), _what(one)


def _what(one: Difference) -> str:
    if one.before is None or one.after is None:
        return f"{one.account.state}, {one.account.evidence_nats:.1f} nats"
    before, after = asdict(one.before), asdict(one.after)
    return ", ".join(f"{_FIELDS[name]} {_shown(before[name])} -> {_shown(after[name])}{_unit(name)}" for name in one.changed)


def _shown(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _unit(name: str) -> str:
    return " s" if name.endswith("_s") else " nats" if name.endswith("_nats") else ""


def _called(track_id: str, known: Mapping[str, Track]) -> str:
    track = known.get(track_id, Track(track_id=track_id))
    return called(track.artists, track.title) or track_id
