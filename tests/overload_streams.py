"""Streams that are too much: made of real coded audio, served over real HTTP, heard by a whole session whose time is moved by hand."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from audio_media import FRAME_SAMPLES, Coded, adts_frames
from audio_origin import Answer, Asked, Hand, Live, Origin, session_settings, settings
from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.hearing import Hearing
from earmark.model import RATE_HZ, Checkpoint, Float32, GapReason, MatchParams, Play, Question
from earmark.session import Session, Stop
from fakes import MemoryIndex

STREAM_RATE_HZ = 48_000


class Clocked(Hand):
    """The hand that moves a session's clock, with the session's own words for a stop; what anything costs may be put on it."""

    def end(self) -> None:
        self.stop = Stop.END

    def hand_over(self) -> None:
        self.stop, self.leaving = Stop.HANDOVER, True

    def spend(self, seconds: float) -> None:
        """As `wait`, of somebody who does not wait for news."""
        self.waits -= 1
        self.wait(seconds)


class Running(Live):
    """A live stream that airs `speed` seconds of media in a second, listed in a window of so many segments."""

    def __init__(self, origin: Origin, coded: Coded, hand: Hand, *, speed: float = 1.0, target: str = "2", **live: Any) -> None:
        super().__init__(origin, coded, hand, **live)
        self._speed, self._target = speed, target
        self._ends_s = np.cumsum(coded.durations_s)
        #: At each reading of the playlist another comment in it, whether or not anything is new.
        self.restless = False
        self.polls_at: list[float] = []

    def on_air(self) -> int:
        """Segments that are complete."""
        on_air_s = self.head_s + self._speed * (self.hand.time_s - self.began_s)
        return int(np.searchsorted(self._ends_s, on_air_s + 1e-6, "right"))

    def listed(self) -> range:
        return range(max(0, self.on_air() - self.window), self.on_air())

    @property
    def on_air_s(self) -> float:
        return float(self._ends_s[self.on_air() - 1]) if self.on_air() else 0.0

    def answer(self, asked: Asked) -> Answer:
        self.polls_at.append(self.hand.time_s)
        return super().answer(asked)

    def text(self) -> str:
        text = super().text().replace("#EXT-X-TARGETDURATION:2", f"#EXT-X-TARGETDURATION:{self._target}")
        return text + (f"# {len(self.polls_at)}\n" if self.restless else "")


def packed(samples: Float32, *, frames: int, repeated: int = 1, rate_hz: int = STREAM_RATE_HZ) -> Coded:
    """AAC (mono) in segments of so many frames, packed and without time stamps; again and again if `repeated`."""
    coded = adts_frames(samples[None, :], rate_hz)
    segments = [b"".join(coded[begin : begin + frames]) for begin in range(0, len(coded) - frames + 1, frames)] * repeated
    return Coded("aac", b"", tuple(segments), (frames * FRAME_SAMPLES / rate_hz,) * len(segments), rate_hz)


def seven_one(samples: Float32, *, codec: str, rate_hz: int, segment_s: float = 2.0) -> Coded:
    """float32 [n] at `rate_hz` in each of eight channels, in fMP4."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"hls_time": str(segment_s), "hls_segment_type": "fmp4", "hls_list_size": "0"}
        with av.open(f"{folder}/list.m3u8", "w", format="hls", options=options) as out:
            sound = out.add_stream(codec, rate=rate_hz, layout="7.1")
            resampler = av.AudioResampler(
                format=sound.codec_context.format.name, layout="7.1", rate=rate_hz, frame_size=sound.codec_context.frame_size or 4_608
            )
            for begin in range(0, len(samples), rate_hz):
                block = np.ascontiguousarray(np.repeat(samples[begin : begin + rate_hz, None], 8, axis=1).reshape(1, -1))
                frame = av.AudioFrame.from_ndarray(block, format="flt", layout="7.1")
                frame.sample_rate, frame.pts = rate_hz, begin
                for part in resampler.resample(frame):
                    out.mux(sound.encode(part))
            for part in [*resampler.resample(None), None]:
                out.mux(sound.encode(part))
        lines = Path(folder, "list.m3u8").read_text().splitlines()
        durations = [float(line.split(":")[1].rstrip(",")) for line in lines if line.startswith("#EXTINF")]
        segments = [Path(folder, line).read_bytes() for line in lines if line and not line.startswith("#")]
        # FFmpeg's packager ends with one that holds less than a frame.
        kept = [(data, duration_s) for data, duration_s in zip(segments, durations, strict=True) if duration_s > segment_s / 2]
        return Coded("mp4", Path(folder, "init.mp4").read_bytes(), *zip(*kept, strict=True), rate_hz)


@dataclass
class Record:
    """Recorder, meter and catalogue of one session: what was committed, told and asked."""

    hand: Hand
    index: MemoryIndex
    #: Seconds that an answer takes now.
    answer_s: Callable[[], float] = lambda: 0.0
    checkpoint: Checkpoint = Checkpoint()
    plays: dict[str, Play] = field(default_factory=dict)
    missed_s: Counter[GapReason] = field(default_factory=Counter)
    #: Of each piece that was taken in: when, and how far behind its stream's clock its end was.
    lags: list[tuple[float, float]] = field(default_factory=list)

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        self.checkpoint = checkpoint
        self.plays |= {play.hit_id: play for play in changed}

    def note(self, checkpoint: Checkpoint) -> float:
        self.checkpoint = checkpoint
        return checkpoint.position_s

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        assert media_s >= 0
        if lag_s is not None and clock_lag_s is not None:
            self.lags.append((self.hand.time_s, clock_lag_s))

    def missed(self, *, media_s: float, reason: GapReason) -> None:
        self.missed_s[reason] += media_s

    def told(self, play: Play, *, latency_s: float) -> None: ...

    def music(self, *, media_s: float, identified: bool) -> None: ...

    def answer(self, question: Question) -> Any:
        if seconds := self.answer_s():
            self.hand.wait(seconds)
        return self.index.answer(question)

    def size(self) -> Any:
        return self.index.size()


@dataclass(frozen=True)
class Charged:
    """Computes at once, and puts what that is said to cost on the hand: so many seconds a piece of media."""

    hand: Clocked
    piece_s: Callable[[], float] = lambda: 0.0

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        if function.__name__ == "_take_in" and (seconds := self.piece_s()):
            self.hand.spend(seconds)
        return function(*args)

    go_on = run


def listen(
    origin: Origin,
    hand: Clocked,
    url: str,
    *,
    index: MemoryIndex | None = None,
    answer_s: Callable[[], float] = lambda: 0.0,
    piece_s: Callable[[], float] = lambda: 0.0,
    buffer_s: float = 300,
    **session: Any,
) -> tuple[Record, HlsSource]:
    """Hear a stream to its end, or until the hand hands it over."""
    record = Record(hand, index or MemoryIndex(), answer_s)
    configured = settings(origin)
    http = Http(settings=configured, guard=Guard(settings=configured))
    source = HlsSource(
        url_provider=lambda: url,
        http=http,
        signals=hand,
        settings=configured,
        session=session_settings(**session),
        clock=hand.clock,
        now=hand.now,
    )
    Session(
        checkpoint=Checkpoint(),
        source=source,
        decoder=StreamDecoder(segment_s_max=configured.segment_s_max),
        hearing=Hearing(params=MatchParams(), size=record.size(), stream_id="stream", source="hls"),
        catalogue=record,
        recorder=record,
        compute=Charged(hand, piece_s),
        signals=hand,  # type: ignore[arg-type]
        meter=record,
        now=hand.now,
        buffer_s=buffer_s,
        clock=hand.clock,
    ).run()
    http.close()
    return record, source


def accounted(checkpoint: Checkpoint) -> bool:
    """Every second of the session is heard or a gap, in order, and no gap overlaps another."""
    gaps = checkpoint.gaps
    apart = all(earlier.end_s <= later.begin_s + 1e-6 for earlier, later in pairwise(gaps))
    whole = abs(checkpoint.heard_s + sum(gap.end_s - gap.begin_s for gap in gaps) - checkpoint.position_s) < 1e-3
    return apart and whole


def upsampled(samples: Float32, rate_hz: int) -> Float32:
    """From RATE_HZ, by a whole factor."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
    frame.sample_rate = RATE_HZ
    return np.concatenate([part.to_ndarray()[0] for part in [*resampler.resample(frame), *resampler.resample(None)]])
