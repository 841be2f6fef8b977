"""`earmark watch`: one stream or file from the desk, through the production session, with nothing durable behind it."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.file import FileSource, length_s
from earmark.audio.guard import Guard, opened_for
from earmark.audio.hls import HlsSource
from earmark.audio.radio import RadioSource
from earmark.audio.station import found_at, tune
from earmark.aws import Clients
from earmark.compute import Compute
from earmark.errors import BadSettings, EarmarkError
from earmark.hearing import Hearing
from earmark.hits import record
from earmark.hits.rights import Circumstances, Decide, by_owner
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.desk import SENTENCES_MAX, check_there, complain, opened, recordings_in
from earmark.local.terminal import can_draw
from earmark.local.watch_lines import Documents, Lines, summary
from earmark.local.watch_notes import noting
from earmark.local.watch_sound import Sounding
from earmark.local.watch_state import Described, Watching, words
from earmark.model import FINGERPRINT_VERSION, Checkpoint, GapReason, Play, Stream, Track
from earmark.policies.file import deciding
from earmark.session import Decoder, Session, Signals, Source, Stop
from earmark.settings import Hls, Settings
from earmark.titles import Titles
from earmark.web.addresses import host_of

WORKER = "desk"


def watch(source: str, *, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    """Until the stream ends, or Ctrl-C; JSON lines of hit documents, or a screen and then a summary, or lines where a terminal can do no more."""
    check_source(source)
    if not is_url(source):
        check_there(Path(source))
    signals = Signals()
    # Whoever typed the URL named its host: that one may be reached, at home too.
    limits = opened_for(settings.hls, source)
    with opened(catalogue, settings) as pool, asked_to_stop(signals), closing(Http(settings=limits, guard=Guard(settings=limits), streams_max=2)) as http:
        index, kind, tracks = recordings_in(pool), kind_of(source, http, limits), Tracks(pool=pool)
        stream = Stream(stream_id=_name(source), source=kind, url=source if is_url(source) else None, started_at=datetime.now(UTC))
        heard, titles = source_of(source, http, signals, settings), None
        if kind == "radio":
            heard = RadioSource(tune=lambda: tune(source, http, named_host=host_of(source)), signals=signals, session=settings.session)
            titles = heard.titles
        decide = deciding(settings.policy.file, s3=lambda: Clients(settings.aws).s3)
        if as_json:
            told = Told(stream=stream, tracks=tracks, audience=(Documents(),), titles=titles, decide=decide)
            _listen(heard, stream, index, told, signals, settings)
            return 0
        seen = Watching(
            source=_shown(source),
            kind=kind,
            tracks=tracks,
            size=index.size,
            false_alarms_per_hour=settings.matching.params().false_alarms_per_hour,
            stopping=lambda: signals.leaving,
            on_air=lambda: titles.now if titles else "",
            length_s=0.0 if is_url(source) else length_s(source),
        )
        drawn = can_draw()
        told = Told(stream=stream, tracks=tracks, audience=(seen,) if drawn else (seen, Lines()), titles=titles, decide=decide)
        with _followed(seen, signals, settings, drawn=drawn):
            _listen(heard, stream, index, told, signals, settings, seen=seen)
    return 0


@contextmanager
def _followed(seen: Watching, signals: Signals, settings: Settings, *, drawn: bool) -> Iterator[None]:
    """On a screen, or not; and what was heard and logged meanwhile is told when that is closed, however that comes."""
    noted = deque[str](maxlen=SENTENCES_MAX)  # the last ones: a stream may go on for weeks

    def note(text: str) -> None:
        seen.note(text)
        noted.append(text)

    try:
        with ExitStack() as stack:
            if drawn:
                from earmark.local.screen import Screen

                stack.enter_context(noting(note, settings.log))
                stack.enter_context(Screen(seen, leave=lambda: signals.request(Stop.HANDOVER)))
            yield
    except EarmarkError as error:  # which is told anyway
        noted = deque(text for text in noted if str(error) not in text)
        raise
    finally:
        print(end="".join(f"{line}\n" for line in summary(seen.view())), flush=True)
        complain(list(noted))


def _listen(heard: Source, stream: Stream, index: Index, told: "Told", signals: Signals, settings: Settings, *, seen: Watching | None = None) -> None:
    decoder: Decoder = StreamDecoder(segment_s_max=settings.hls.segment_s_max)
    hearing = Hearing(
        params=settings.matching.params(),
        size=index.size(),
        stream_id=stream.stream_id,
        source=stream.source,
        hurry=stream.source != "file",
        told=seen.looked if seen else None,
    )
    if seen:
        seen.hearing = hearing
        decoder = Sounding(decoder, told=seen.sounded)
    compute = Compute().start()
    try:
        Session(
            checkpoint=Checkpoint(),
            source=heard,
            decoder=decoder,
            hearing=hearing,
            catalogue=index,
            recorder=told,
            compute=compute,
            signals=signals,
            meter=seen or Uncounted(),
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


def _shown(source: str) -> str:
    """As it may stand on a screen that others see: without a password or a token that is in its address."""
    if not is_url(source):
        return words(Path(source).name)
    parts = urlsplit(source)
    return words(f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}")


@contextmanager
def asked_to_stop(signals: Signals) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM, or a terminal that is closed, ends the session after the piece at hand; a second one is Python's own."""

    def ask(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        signals.request(Stop.HANDOVER)

    # `nohup` has the last one ignored.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Audience(Protocol):
    def tell(self, document: record.Document, /) -> None: ...
    def show(self, checkpoint: Checkpoint) -> None: ...


class Told:
    """A session's Recorder for people at their desk: each change is handed on as a hit document, and forgotten."""

    def __init__(
        self,
        *,
        stream: Stream,
        tracks: Described,
        audience: Sequence[Audience],
        titles: Titles | None = None,
        decide: Decide = by_owner,
    ) -> None:
        self._stream, self._decide = stream, decide
        self._titles = titles
        self._tracks = tracks
        self._audience = audience
        self._openings: dict[str, record.Opening] = {}
        self._place = record.Place(bucket="", prefix="", stream_id=stream.stream_id)

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        known = self._tracks.get([play.track_id for play in changed]) if changed else {}
        for play in changed:
            document = self._document(play, known.get(play.track_id), checkpoint)
            for each in self._audience:
                each.tell(document)
        self.note(checkpoint)

    def note(self, checkpoint: Checkpoint) -> float:
        for each in self._audience:
            each.show(checkpoint)
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
