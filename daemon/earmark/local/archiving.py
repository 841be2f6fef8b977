"""Sound as the files of a MediaLive archive output group."""

import tempfile
from pathlib import Path

import av

from earmark.local import music
from earmark.model import Float32

_RATE_HZ = 48_000


def archive_files(samples: Float32, *, file_s: float) -> list[bytes]:
    """TS files of `file_s` and a shorter last one, cut out of one continuous AAC encoding.

    Args:
        samples: float32 mono [n] at music.RATE_HZ.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = {"hls_time": str(file_s), "hls_list_size": "0", "hls_segment_filename": f"{folder}/%06d.ts"}
        with av.open(f"{folder}/list.m3u8", "w", format="hls", options=options) as out:
            stream = out.add_stream("aac", rate=_RATE_HZ, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
            frame.sample_rate = music.RATE_HZ
            for resampled in av.AudioResampler(format="fltp", layout="mono", rate=_RATE_HZ, frame_size=1024).resample(frame):
                out.mux(stream.encode(resampled))
            out.mux(stream.encode(None))
        return [path.read_bytes() for path in sorted(Path(folder).glob("*.ts"))]
