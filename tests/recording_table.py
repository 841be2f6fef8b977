"""An IVS stream played, and heard from its recording in S3: how late a second is in hand, what that costs. `python tests/recording_table.py`

Both ways hear the same clock: the live origin and the S3 stand-in of this machine, for some segments of each length. What they
leave out is alike for both, or not ours: the encoder, IVS's ingest, and how long IVS takes to write a closed segment to S3
(UPLOAD_S is taken for it, and nobody says what it is).
"""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.audio.landing import LandingSource
from earmark.audio.recording import Recording, Request
from earmark.cost import requests, transfer, viewing
from earmark.local import music, origin
from earmark.local.aws import AwsStandIn
from earmark.model import Segment
from earmark.session import Signals, Stop
from earmark.settings import AutoRecord, Hls, Prices, SessionSettings
from earmark.telemetry import configure_logging
from ivs_recorder import BUCKET, Recorder, silence_encoded

LENGTHS_S = (2, 6, 10)
#: Segments of each length that are measured, behind those in which each way finds its pace.
SEGMENTS, PACE = 6, 4
UPLOAD_S = 0.5
#: Of a rendition of 360 lines, as IVS's own are.
BITS_PER_S = 700_000


@dataclass
class Measured:
    """Seconds from a segment's last sample to its being in hand."""

    late_s: list[float]
    gets: int = 0
    lists: int = 0
    #: GETs so far, when each segment was in hand.
    gets_at: list[int] = field(default_factory=list)

    def text(self, segment_s: float) -> str:
        settled = self.late_s[PACE:] or self.late_s
        return f"{float(np.mean(settled)) + segment_s / 2:.1f} (at most {max(settled) + segment_s:.1f})"


def played(url: str, address: str, signals: Signals) -> Iterator[tuple[Segment, datetime]]:
    settings = Hls(allow_private=(address,))
    http = Http(settings=settings, guard=Guard(settings=settings), streams_max=2, fetched=lambda *_: None)
    source = HlsSource(url_provider=lambda: url, http=http, signals=signals, settings=settings, session=SessionSettings(), operator_named=True)
    yield from ((piece, datetime.now(UTC)) for piece in source.pieces() if isinstance(piece, Segment))
    http.close()


def measure(aws: AwsStandIn, segment_s: int) -> tuple[Measured, Measured]:
    origin.SEGMENT_S = segment_s
    length_s = segment_s * (SEGMENTS + PACE + 1)
    view, record = Measured([]), Measured([])
    arn = aws.put_channel(f"every-{segment_s}")
    with origin.Origin() as on_air:
        broadcast = on_air.publish("live", np.zeros(length_s * music.RATE_HZ, np.float32), rate_hz=music.RATE_HZ)
        media, began = silence_encoded(length_s, segment_s), datetime.fromtimestamp(broadcast.begin, UTC)
        recorder = Recorder(s3=aws.client("s3"), channel_arn=arn, began=began, media=media).live(delay_s=UPLOAD_S)

        def asked(operation: Request) -> None:
            record.gets, record.lists = record.gets + (operation == "get"), record.lists + (operation == "list")

        def listen() -> None:
            recording = Recording(s3=aws.client("s3"), place=recorder.place, bytes_max=32_000_000, asked=asked)
            end_s = broadcast.begin
            source = LandingSource(recording=recording, signals=signals, settings=AutoRecord(), audio_kbps_min=64)
            for piece in source.pieces():
                end_s += media.durations_s[len(record.late_s)]
                record.late_s.append(time.time() - end_s)
                record.gets_at.append(record.gets)
                assert isinstance(piece, Segment)

        signals = Signals()
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        time.sleep(max(0.0, broadcast.on_air - time.time()) + 0.2)
        for piece, at in played(broadcast.url, on_air.address, Signals()):
            assert piece.clock is not None
            view.late_s.append((at - piece.clock).total_seconds() - piece.duration_s)
        recorder.join()
        thread.join(2 * segment_s + 10)
        signals.request(Stop.HANDOVER)
    return view, record


def table() -> str:
    prices = Prices()
    view_usd = viewing(prices, "640x360", media_s=3600) or 0.0
    nat_usd = transfer(prices, size_bytes=BITS_PER_S / 8 * 3600)
    lines = [
        "| segments | played: s late in the mean | US$ an hour | from its recording: s late in the mean | requests a segment | US$ an hour |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with AwsStandIn() as aws:
        aws.client("s3").create_bucket(Bucket=BUCKET)
        for segment_s in LENGTHS_S:
            view, record = measure(aws, segment_s)
            settled = record.gets_at[PACE:]
            each = (settled[-1] - settled[0]) / (len(settled) - 1)
            usd = requests(prices, gets=each * 3600 / segment_s + settled[0], lists=record.lists)
            lines.append(f"| {segment_s} s | {view.text(segment_s)} | {view_usd + nat_usd:.4f} | {record.text(segment_s)} | {each:.1f} GET | {usd:.5f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    configure_logging(level="error", style="console")
    print(table())
