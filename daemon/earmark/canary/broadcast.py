"""What is on air in a round: a part of the canary's recording between other music, as segments of a live HLS playlist.

Coded and cut as Amazon IVS does it: AAC in MPEG-TS, segments of about two seconds out of one continuous encoding.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import accumulate
from typing import Any, Final

import av
import numpy as np
from av.packet import Packet

from earmark.canary.recording import DURATION_S, RATE_HZ, other_samples, recording_samples
from earmark.model import Float32

#: Before the recording, of it, and behind it.
LEAD_S: Final = 4.0
HEARD_S: Final = 16.0
TAIL_S: Final = 4.0
PLAYLIST: Final = "live.m3u8"
SEGMENT_S: Final = 2.0

_FRAME_SAMPLES: Final = 1_024
_BITS_PER_S: Final = 96_000
_TIME_BASE: Final = Fraction(1, RATE_HZ)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """One segment."""

    name: str
    data: bytes
    #: Media seconds.
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Broadcast:
    """From where to where the recording plays, in seconds of the stream and of the recording; and how it is sent."""

    begin_s: float
    end_s: float
    reference_begin_s: float
    segments: tuple[Coded, ...]

    @property
    def duration_s(self) -> float:
        return self.segments[-1].end_s

    def due(self, elapsed_s: float) -> int:
        """How many segments are there so long after the first sample: each once its last sample would have been recorded."""
        return sum(segment.end_s <= elapsed_s for segment in self.segments)

    def playlist(self, count: int, *, began_at: datetime) -> str:
        """With the first so many segments (RFC 8216); with all of them it says that there will be no more."""
        target_s = max(round(segment.end_s - segment.begin_s) for segment in self.segments)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{target_s}", "#EXT-X-MEDIA-SEQUENCE:0"]
        for segment in self.segments[:count]:
            clock = (began_at + timedelta(seconds=segment.begin_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{clock}", f"#EXTINF:{segment.end_s - segment.begin_s:.6f},", segment.name]
        if count >= len(self.segments):
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


def broadcast(round_id: str) -> Broadcast:
    """Each round plays another part of the recording, so that what one round left behind cannot pass for the next one's."""
    latest_s = DURATION_S - HEARD_S
    reference_begin_s = hashlib.sha256(round_id.encode()).digest()[0] / 255 * latest_s
    begin = round(reference_begin_s * RATE_HZ)
    part = recording_samples()[begin : begin + round(HEARD_S * RATE_HZ)]
    other = other_samples(LEAD_S + TAIL_S)
    lead = round(LEAD_S * RATE_HZ)
    return Broadcast(
        begin_s=LEAD_S,
        end_s=LEAD_S + HEARD_S,
        reference_begin_s=begin / RATE_HZ,
        segments=_segments(np.concatenate([other[:lead], part, other[lead:]])),
    )


def _segments(samples: Float32) -> tuple[Coded, ...]:
    packets = _packets(samples)
    each = round(SEGMENT_S * RATE_HZ / _FRAME_SAMPLES)
    parts = [packets[begin : begin + each] for begin in range(0, len(packets), each)]
    ends_s = list(accumulate((len(part) * _FRAME_SAMPLES / RATE_HZ for part in parts), initial=0.0))
    return tuple(
        Coded(name=f"{number:05d}.ts", data=_transport_stream(part), begin_s=ends_s[number], end_s=ends_s[number + 1]) for number, part in enumerate(parts)
    )


def _packets(samples: Float32) -> list["Packet[Any]"]:
    """AAC, a packet each 1,024 samples. The encoder's own delay, one packet, comes first: 21 ms."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.time_base = RATE_HZ, "mono", "fltp", _TIME_BASE
    encoder.bit_rate, encoder.thread_count = _BITS_PER_S, 1
    packets: list[Packet[Any]] = []
    for begin in range(0, len(samples), _FRAME_SAMPLES):
        block = np.ascontiguousarray(samples[begin : begin + _FRAME_SAMPLES])
        frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, _TIME_BASE, begin
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    for number, packet in enumerate(packets):
        packet.pts = packet.dts = number * _FRAME_SAMPLES
    return packets


def _transport_stream(packets: Sequence["Packet[Any]"]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as out:
        stream = out.add_stream("aac", rate=RATE_HZ, layout="mono")
        stream.bit_rate = _BITS_PER_S
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
    return file.getvalue()
