"""`earmark watch`: one stream or file from the desk, through the production session, with nothing durable behind it."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.file import FileSource
from earmark.audio.guard import Guard, host_of, opened_for
from earmark.audio.hls import HlsSource
from earmark.audio.radio import RadioSource
from earmark.audio.station import found_at, tune
from earmark.compute import Compute
from earmark.errors import BadSettings
from earmark.hearing import Hearing
from earmark.hits import record
from earmark.hits.rights import Circumstances, Decide, by_owner
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.desk import check_there, opened, recordings_in
from earmark.local.screen import Screen
from earmark.model import FINGERPRINT_VERSION, Checkpoint, GapReason, Play, Stream, Track
from earmark.policies.file import deciding
from earmark.session import Session, Signals, Source, Stop
from earmark.settings import Hls, Settings
from earmark.titles import Titles

WORKER = "desk"


def watch(source: str, *, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    """Until the stream ends, or Ctrl-C; JSON lines of hit documents, or a live table."""
    check_source(source)
    if not is_url(source):
        check_there(Path(source))
    signals = Signals()
    # Whoever typed the URL named its host: that one may be reached, at home too.
    limits = opened_for(settings.hls, source)
    with opened(catalogue, settings) as pool, stopped_by_ctrl_c(signals), closing(Http(settings=limits, guard=Guard(settings=limits), streams_max=2)) as http:
        index, kind = recordings_in(pool), kind_of(source, http, limits)
        stream = Stream(stream_id=_name(source), source=kind, url=source if is_url(source) else None, started_at=datetime.now(UTC))
        heard, titles = source_of(source, http, signals, settings), None
        if kind == "radio":
            heard = RadioSource(tune=lambda: tune(source, http, named_host=host_of(source)), signals=signals, session=settings.session)
            titles = heard.titles
        with Screen(source, silent=as_json) as screen:
            tell, decide = _print_line if as_json else screen.tell, deciding(settings.policy.file)
            told = Told(stream=stream, tracks=Tracks(pool=pool), tell=tell, show=screen.show, titles=titles, decide=decide)
            _listen(heard, stream, index, told, signals, settings)
    return 0


def _listen(heard: Source, stream: Stream, index: Index, told: "Told", signals: Signals, settings: Settings) -> None:
    compute = Compute().start()
    try:
        Session(
            checkpoint=Checkpoint(),
            source=heard,
            decoder=StreamDecoder(segment_s_max=settings.hls.segment_s_max),
            hearing=Hearing(
                params=settings.matching.params(), size=index.size(), stream_id=stream.stream_id, source=stream.source, hurry=stream.source != "file"
            ),
            catalogue=index,
            recorder=told,
            compute=compute,
            signals=signals,
            meter=Uncounted(),
            now=lambda: datetime.now(UTC),
            buffer_s=settings.session.buffer_s,
        ).run()
    finally:
        compute.close()


def kind_of(source: str, http: Http, limits: Hls) -> Literal["hls", "radio", "file"]:
    """A playlist is known by its name; of any other address the first bytes are looked at. Raises SourceUnsupported, SourceUnavailable."""
    if not is_url(source):
        return "file"
    if urlsplit(source).path.endswith(".m3u8"):
        return "hls"
    return found_at(source, http, settings=limits, named_host=host_of(source))


def source_of(source: str, http: Http, signals: Signals, settings: Settings) -> Source:
    if not is_url(source):
        return FileSource(path=Path(source), signals=signals)
    return HlsSource(url_provider=lambda: source, http=http, signals=signals, settings=settings.hls, session=settings.session, operator_named=True)


def is_url(source: str) -> bool:
    return "://" in source


def check_source(source: str) -> None:
    if not is_url(source):
        return
    if urlsplit(source).scheme not in ("http", "https"):
        raise BadSettings(f"{source} is neither a file nor an http(s) URL of an HLS playlist or a radio station")


def _name(source: str) -> str:
    return record.safe_name(Path(urlsplit(source).path).stem or "stream")


@contextmanager
def stopped_by_ctrl_c(signals: Signals) -> Iterator[None]:
    """The first Ctrl-C ends the session after the piece at hand; a second one is Python's own."""

    def ask(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        signals.request(Stop.HANDOVER)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _print_line(document: record.Document) -> None:
    print(json.dumps(document, ensure_ascii=False), flush=True)


class Described(Protocol):
    def get(self, track_ids: Sequence[str]) -> Mapping[str, Track]: ...


class Told:
    """A session's Recorder for people at their desk: each change is handed on as a hit document, and forgotten."""

    def __init__(
        self,
        *,
        stream: Stream,
        tracks: Described,
        tell: Callable[[record.Document], None],
        show: Callable[[Checkpoint], None],
        titles: Titles | None = None,
        decide: Decide = by_owner,
    ) -> None:
        self._stream, self._decide = stream, decide
        self._titles = titles
        self._tracks = tracks
        self._tell = tell
        self._show = show
        self._openings: dict[str, record.Opening] = {}
        self._place = record.Place(bucket="", prefix="", stream_id=stream.stream_id)

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        known = self._tracks.get([play.track_id for play in changed]) if changed else {}
        for play in changed:
            self._tell(self._document(play, known.get(play.track_id), checkpoint))
        self._show(checkpoint)

    def note(self, checkpoint: Checkpoint) -> float:
        self._show(checkpoint)
        return checkpoint.position_s

    def _document(self, play: Play, track: Track | None, checkpoint: Checkpoint) -> record.Document:
        now = datetime.now(UTC)
        opening = self._openings.setdefault(play.hit_id, record.Opening.now(play, record.Timebase.of(checkpoint), now))
        known = Circumstances.of(self._stream, play, opening.started_at or now)
        return record.hit_document(
            stream=self._stream,
            play=play,
            track=track,
            policy=self._decide(track, known),
            foreground_share=known.foreground_share,
            opening=opening,
            worker=WORKER,
            fingerprint_version=FINGERPRINT_VERSION,
            now=now,
            place=self._place,
            now_playing=self._titles.during(play.begin_s, play.end_s) if self._titles else None,
        )


class Uncounted:
    """A session's Meter where nobody scrapes."""

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None: ...
    def missed(self, *, media_s: float, reason: GapReason) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...
