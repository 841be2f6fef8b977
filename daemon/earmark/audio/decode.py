"""Encoded segments to float32 mono at 8 kHz, with a place in stream time.

What a live stream is made of is one long coded signal that somebody cut into files. So one decoder and one
resampler live as long as the signal does: a fresh decoder per segment spoils 50 ms at every join, a fresh
resampler shifts everything after it. They are renewed where the signal itself breaks: at a discontinuity that the
source announced, at another codec, after a gap, after an error.

    bytes -> frames of one codec      own readers for TS, fMP4 and packed audio, FFmpeg's demuxer for the unexpected
          -> decoded frames           one persistent CodecContext
          -> mono, RATE_HZ            one stateful filter, fed in pieces (see `Downsampler`, `audio.polyphase`)
          -> AudioChunks              the timeline says where they lie, and what is missing

Everything here computes and belongs on the compute thread.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Literal, TypeAlias

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from earmark.audio import polyphase
from earmark.audio.containers import BAD_BYTES, AudioPacket, Media, NoAudio, Run, reason_of, unwrap
from earmark.audio.frames import channels_of, mono_of, numbers_of
from earmark.audio.polarity import polarity_of
from earmark.audio.timeline import Joined, Stamps, Timeline
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ, AudioChunk, Float32, Missing, Piece, Segment

#: Why a segment was lost: nothing in it to hear; not what it should be; broken off at a frame that cannot be decoded.
Failure: TypeAlias = Literal["no_audio", "undecodable", "damaged"]

#: Frames are handed to the filter in pieces of about this many samples. A call costs as much as thousands of samples;
#: a whole segment at once leaves the cache, and leaves libswresample's buffers behind in every stream that it filters.
PIECE_SAMPLES = 12_288
#: Layouts of which mono is the plain mean; WAV files do not say which channels theirs are.
MEAN_LAYOUTS = frozenset({"mono", "stereo", "1 channels", "2 channels"})
#: Coded bytes that are cut into frames at once: four seconds of AAC at 128 kbit/s.
PARSED_BYTES = 65_536
#: Segments without any audio, before anything was heard, after which the stream is video alone.
SILENT_SEGMENTS_MAX = 3
#: Segments that cannot be decoded, before anything was heard, after which they never will be.
UNDECODABLE_SEGMENTS_MAX = 10
#: Changes of rate or layout inside one segment, beyond which it is noise that looks like frames.
FORMAT_CHANGES_MAX = 2
#: AV_CODEC_FLAG2_SKIP_MANUAL: an MP4 edit list asks for the encoder's 1,024 priming samples to be dropped, and as the
#: header comes before each segment, FFmpeg would drop 1,024 good samples of every one.
SKIP_MANUAL = 1 << 29


class Resampler:
    """float32 mono at any rate to RATE_HZ; however the samples are cut, the same ones come out."""

    #: libswresample gets whole blocks only: without a small ratio to RATE_HZ the last bit would depend on where the input was cut.
    BLOCK_SAMPLES = 1_024

    def __init__(self, *, rate_hz: int) -> None:
        if rate_hz <= 0:
            raise UnreadableAudio(f"audio at {rate_hz} Hz cannot be resampled: the rate must be positive")
        self._rate_hz = rate_hz
        self._decimator = polyphase.Decimator(rate_hz=rate_hz) if rate_hz in polyphase.RATES_HZ else None
        self._resampler = _resampler()
        self._held = np.zeros(0, np.float32)

    def push(self, samples: Float32) -> Float32:
        """float32 [n] at the input's rate -> float32 [m] at RATE_HZ, as far as it is certain."""
        if self._rate_hz == RATE_HZ:
            return samples
        if self._decimator:
            return self._decimator.push(samples.astype(np.float32, copy=False))
        held = np.concatenate([self._held, samples.astype(np.float32, copy=False)])
        whole = len(held) - len(held) % self.BLOCK_SAMPLES
        self._held = held[whole:]
        return _joined([part for begin in range(0, whole, self.BLOCK_SAMPLES) for part in self._resample(held[begin : begin + self.BLOCK_SAMPLES])])

    def flush(self) -> Float32:
        """What is left; afterwards the resampler starts anew."""
        if self._decimator:
            return self._decimator.flush()
        rest, self._held = self._held, np.zeros(0, np.float32)
        parts = self._resample(rest) if len(rest) else []
        parts += _arrays(self._resampler.resample(None))
        self._resampler = _resampler()
        return _joined(parts)

    def _resample(self, samples: Float32) -> list[Float32]:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="flt", layout="mono")
        frame.sample_rate = self._rate_hz
        return _arrays(self._resampler.resample(frame))


class Fifos:
    """The FIFOs of one compute thread, one per sample format, shared by its streams: each is empty between two calls.

    A FIFO per stream would keep a quarter of a megabyte each; so would one of each format that a stream may think of.
    """

    FORMATS_MAX = 32

    def __init__(self) -> None:
        self._fifos: dict[tuple[str, str, int], AudioFifo] = {}

    def of(self, frame: AudioFrame) -> AudioFifo:
        name = _format(frame)
        if name not in self._fifos:
            while len(self._fifos) >= self.FORMATS_MAX:
                del self._fifos[next(iter(self._fifos))]  # whoever still has it, keeps it
            self._fifos[name] = AudioFifo()
        return self._fifos[name]


class Downsampler:
    """Decoded frames of one format to float32 mono at RATE_HZ; stateful across segments.

    Mono is the mean of the channels (front left and right in full, the others as ITU-R BS.775 has it, scaled to fit);
    of stereo with its channels in opposite phase it is half their difference (see `audio.polarity`).
    """

    #: What sound is recorded at. A frame of FLAC has up to 65,535 samples: at 1 Hz, those are two gigabytes of ours.
    RATES_HZ = range(4_000, 768_001)

    def __init__(self, *, like: AudioFrame, fifos: Fifos) -> None:
        """Raises ValueError for a rate at which no sound is recorded."""
        if like.sample_rate not in self.RATES_HZ:
            raise ValueError(f"its rate is {like.sample_rate:,} Hz")
        self.format = _format(like)
        self._time_base = Fraction(1, like.sample_rate)
        self._fifo = fifos.of(like)
        self._numbers = numbers_of(like)
        self._polarity = polarity_of(like)
        # Other layouts are mixed, and other rates filtered, by libswresample, which builds nothing before its first frame.
        ours = self._numbers and like.layout.name in MEAN_LAYOUTS and like.sample_rate in polyphase.RATES_HZ
        self._decimator = polyphase.Decimator(rate_hz=like.sample_rate) if ours else None
        self._resampler = _resampler()
        self._piece_samples = self._next_piece()

    def push(self, frame: AudioFrame) -> list[Float32]:
        # Time stamps that jump would be refused, and so would another time base than that of the first frame there ever was, which
        # may have been another stream's. Time is counted elsewhere.
        frame.pts, frame.time_base = None, self._time_base
        self._fifo.write(frame)
        return self._take(self._piece_samples) if self._fifo.samples >= self._piece_samples else []

    def drain(self) -> list[Float32]:
        """Everything pushed so far, but for the milliseconds that the filter holds back (see `Decimator.push`)."""
        return self._take(0) if self._fifo.samples else []

    def rest(self) -> list[Float32]:
        """`drain` of a filter that may have refused its input: then there is none."""
        try:
            return self.drain()
        except BAD_BYTES:
            return []

    def flush(self) -> list[Float32]:
        """The filter's last milliseconds too; the signal ends here. A filter that refused its input has none."""
        try:
            return self.drain() + ([self._decimator.flush()] if self._decimator else _arrays(self._resampler.resample(None)))
        except BAD_BYTES:
            return []  # it was told when the filter refused its input
        finally:
            self._resampler = _resampler()

    def drop(self) -> None:
        """Leave nothing in the shared FIFO for the next stream."""
        if self._fifo.samples:
            self._fifo.read()

    @np.errstate(invalid="ignore", over="ignore")  # samples that are no numbers are told from others later
    def _take(self, samples: int) -> list[Float32]:
        piece = self._fifo.read(samples)
        if piece is None:
            return []
        piece.pts = None
        channels = channels_of(piece, self._numbers) if self._numbers else []
        if self._polarity:
            self._polarity.mend(channels)
        if self._decimator is None or self._numbers is None:
            return _arrays(self._resampler.resample(piece))
        heard = self._decimator.push(mono_of(channels, self._numbers))
        self._piece_samples = self._next_piece()
        return [heard]

    def _next_piece(self) -> int:
        return self._decimator.lacking(PIECE_SAMPLES) if self._decimator else PIECE_SAMPLES


def _resampler() -> AudioResampler:
    # Without the limit FFmpeg adds stereo up at 0.71 each, beyond full scale, and 3 dB above the same sound in mono.
    return AudioResampler(format="flt", layout="mono", rate=RATE_HZ, options={"rematrix_maxval": "1.0"})


def _arrays(frames: list[AudioFrame]) -> list[Float32]:
    return [frame.to_ndarray()[0] for frame in frames]


def _joined(parts: list[Float32]) -> Float32:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _Signal:
    """Decoder and resampler of one unbroken coded signal."""

    def __init__(self, media: Media) -> None:
        self.key = media.key
        #: Samples at RATE_HZ that come first and were heard before.
        self.skip = 0
        self.downsampler: Downsampler | None = None
        codec = av.CodecContext.create(media.codec, "r")
        if not isinstance(codec, AudioCodecContext):
            raise UnreadableAudio(f"its codec {media.codec} is not one of audio")
        codec.thread_count = 1
        codec.flags2 |= SKIP_MANUAL
        if media.extradata:
            codec.extradata = media.extradata
        self.codec = codec

    def unheard(self, samples: list[Float32]) -> Float32:
        """Without those that were heard before."""
        left = _joined(samples)
        skipped = min(self.skip, len(left))
        self.skip -= skipped
        return left[skipped:]

    def packets(self, run: Run) -> Iterable[AudioPacket]:
        """In pieces, as they are decoded: what looks like millions of frames of seven bytes would be gigabytes of packets."""
        if not isinstance(run.coded, bytes):
            return run.coded
        cuts = range(0, max(1, len(run.coded)), PARSED_BYTES)
        return (packet for cut in cuts for packet in self.codec.parse(run.coded[cut : cut + PARSED_BYTES]))


class StreamDecoder:
    """Implements `session.Decoder`: push what a source yields, get samples and gaps in stream time.

    `start_s` is where the stream's position stood when an earlier owner left it. `failed` is told of each segment that
    was lost, whole or in part, and why, on the thread that decodes.
    """

    def __init__(self, *, segment_s_max: float, start_s: float = 0.0, fifos: Fifos | None = None,
                 failed: Callable[[Failure, str], None] = lambda _failure, _why: None) -> None:  # fmt: skip
        self._failed = failed
        self._segment_s_max = segment_s_max
        self._timeline = Timeline(start_s=start_s)
        self._fifos = fifos or Fifos()
        self._signal: _Signal | None = None
        self._heard = False
        self._silent_segments = 0
        self._undecodable_segments = 0
        #: Segments that were not as our own readers expect, and were read by FFmpeg's.
        self.fallbacks = 0

    @property
    def position_s(self) -> float:
        return self._timeline.position_s

    def push(self, piece: Piece) -> list[AudioChunk]:
        """Raises SourceUnsupported when the first segments hold no audio, or none that can be decoded."""
        match piece:
            case AudioChunk():
                return [piece]
            case Missing():
                return self._end_signal() + self._timeline.lose(piece.duration_s, piece.reason)
            case Segment():
                return self._segment(piece)

    def flush(self) -> list[AudioChunk]:
        return self._end_signal() + self._timeline.settle()

    def _segment(self, segment: Segment) -> list[AudioChunk]:
        claimed_s = min(segment.duration_s, self._segment_s_max)
        try:
            media = unwrap(segment)
        except NoAudio as silence:
            return self._silent(claimed_s, str(silence))
        except UnreadableAudio as unreadable:
            return self._undecodable(claimed_s, str(unreadable))
        self.fallbacks += media.fallback
        joined = segment if isinstance(segment, Joined) else None
        chunks: list[AudioChunk] = self._end_signal() if joined else []
        if joined:
            self._timeline.expect(joined.at_pts)
        media_s = 0.0
        trouble = ""
        for index, run in enumerate(media.runs):
            # Inside a segment no more can be missing than it claims to hold, if it claims anything.
            gap_s_max = claimed_s - media_s if index and claimed_s else math.inf
            stamps = self._stamps(segment, run, claimed_s - media_s, first=index == 0)
            heard_s = joined.heard_s(run.pts) if joined else 0.0
            if joined and heard_s:
                stamps = replace(stamps, pts=joined.at_pts)
            chunks += self._before(media, stamps, max(0.0, gap_s_max))
            run_s, samples, trouble = self._decode(run, self._segment_s_max - media_s, heard_s=heard_s)
            media_s += run_s
            chunks += self._timeline.hear(samples)
            self._timeline.passed(max(0.0, run_s - heard_s))
            if trouble or media_s >= self._segment_s_max:
                chunks += self._end_signal()
                break
        if not media_s:
            return chunks + self._undecodable(claimed_s, trouble or "it holds no whole frame")
        if trouble:
            self._failed("damaged", trouble)
            self._timeline.owe(claimed_s - media_s, "segment_undecodable")
        self._heard = True
        return chunks

    def _stamps(self, segment: Segment, run: Run, duration_s: float, *, first: bool) -> Stamps:
        return Stamps(
            pts=run.pts,
            clock=segment.clock if first else None,
            fetched_at=segment.fetched_at,
            duration_s=max(0.0, duration_s),
            discontinuity=segment.discontinuity and first,
        )

    def _before(self, media: Media, stamps: Stamps, gap_s_max: float) -> list[AudioChunk]:
        """The gap before some media, if its time stamps tell of one; renews the signal where it breaks."""
        gap_s, reason = self._timeline.gap_before(stamps)
        gap_s = min(gap_s, gap_s_max)
        chunks: list[AudioChunk] = []
        if gap_s or stamps.discontinuity or self._signal is None or self._signal.key != media.key:
            chunks += self._end_signal()
            self._signal = _Signal(media)
        chunks += self._timeline.lose(gap_s, reason)
        self._timeline.begin(stamps)
        return chunks

    def _decode(self, run: Run, media_s_max: float, *, heard_s: float) -> tuple[float, Float32, str]:
        """-> seconds decoded, samples at RATE_HZ without those that were heard before, and what went wrong ("": nothing). Cut at the longest allowed."""
        signal = self._signal
        if signal is None:
            return 0.0, _joined([]), "there is no decoder for it"
        signal.skip += round(heard_s * RATE_HZ)
        media_s, samples, trouble = self._decoded(signal, run, media_s_max)
        return media_s, signal.unheard(samples), trouble

    def _decoded(self, signal: _Signal, run: Run, media_s_max: float) -> tuple[float, list[Float32], str]:
        media_s, samples, changes = 0.0, list[Float32](), 0
        try:
            for packet in signal.packets(run):
                for frame in signal.codec.decode(packet):
                    if signal.downsampler is None or signal.downsampler.format != _format(frame):
                        samples += signal.downsampler.flush() if signal.downsampler else []
                        changes += signal.downsampler is not None
                        signal.downsampler = Downsampler(like=frame, fifos=self._fifos)
                    media_s += frame.samples / frame.sample_rate
                    samples += signal.downsampler.push(frame)
                if changes > FORMAT_CHANGES_MAX:
                    return media_s, samples, "its frames do not belong together"
                if media_s >= media_s_max:
                    break
            samples += signal.downsampler.drain() if signal.downsampler else []
        except BAD_BYTES as error:
            samples += signal.downsampler.rest() if signal.downsampler else []
            return media_s, samples, f"a frame of it cannot be decoded ({reason_of(error)})"
        finally:
            if signal.downsampler:
                signal.downsampler.drop()
        return media_s, samples, ""

    def _silent(self, claimed_s: float, reason: str) -> list[AudioChunk]:
        self._failed("no_audio", reason)
        self._silent_segments += 1
        if not self._heard and self._silent_segments >= SILENT_SEGMENTS_MAX:
            raise SourceUnsupported(f"the stream has nothing to hear: none of its first {self._silent_segments} segments is audible; of the last one: {reason}")
        return self._end_signal() + self._timeline.lose(claimed_s, "segment_undecodable")

    def _undecodable(self, claimed_s: float, reason: str) -> list[AudioChunk]:
        self._failed("undecodable", reason)
        self._undecodable_segments += 1
        if not self._heard and self._undecodable_segments >= UNDECODABLE_SEGMENTS_MAX:
            raise SourceUnsupported(f"none of the stream's first {self._undecodable_segments} segments could be decoded; of the last one: {reason}")
        return self._end_signal() + self._timeline.lose(claimed_s, "segment_undecodable")

    def _end_signal(self) -> list[AudioChunk]:
        """The coded signal breaks off: what the filter holds back was heard before whatever comes next."""
        signal, self._signal = self._signal, None
        if signal is None or signal.downsampler is None:
            return []
        return self._timeline.hear(signal.unheard(signal.downsampler.flush()))
