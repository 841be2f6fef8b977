"""The table of "What it costs" in README.md, from the prices in the settings; `make config` writes it."""

from typing import Final

from earmark.cost import HOURS_PER_MONTH, KINDS, of_stream
from earmark.settings import Prices

#: One worker, full, alone on its database: as `make bench-streams` measured one core.
STREAMS: Final = 235
#: What is listened to, its source, and its rendition as a checkpoint has it.
ROWS: Final = (
    ("IVS, sound alone", "ivs", "audio only, 80 kbit/s"),
    ("IVS, 360 lines", "ivs", "640x360, 700 kbit/s"),
    ("IVS, 720 lines", "ivs", "1280x720, 2700 kbit/s"),
    ("IVS, 1080 lines", "ivs", "1920x1080, 6000 kbit/s"),
    ("IVS, 360 lines, from its recording in S3", "recording", "640x360, recorded as 360p30"),
    ("HLS from elsewhere, sound alone", "hls", "audio only, 80 kbit/s"),
    ("MediaLive's files in S3", "medialive", "archive"),
)


def as_markdown() -> str:
    lines = [f"| US$ a stream and month | {' | '.join(KINDS)} | together |", f"| --- |{' ---: |' * (len(KINDS) + 1)}"]
    for what, source, rendition in ROWS:
        cost = of_stream(Prices(), source=source, rendition=rendition, beside=STREAMS, streams=STREAMS)
        figures = [*(getattr(cost, kind) for kind in KINDS), cost.known]
        lines.append(f"| {what} | {' | '.join(f'{figure * HOURS_PER_MONTH:.2f}' for figure in figures)} |")
    return "\n".join(lines) + "\n"
