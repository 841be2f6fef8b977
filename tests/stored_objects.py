"""A bucket in memory, as far as stored files are read from it: ranges, conditions, listings; and sound written in any container."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from botocore.exceptions import ClientError

from earmark.model import Float32


class MemoryS3:
    """boto3's client over a dictionary; `asked` are the ranges that were read."""

    def __init__(self, objects: dict[str, bytes] | None = None, *, at: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self.objects = dict(objects or {})
        self.ats = dict.fromkeys(self.objects, at)
        self.asked: list[tuple[int, int]] = []
        #: Called before each range is read.
        self.before = lambda _: None

    def etag(self, key: str) -> str:
        return f"{hash(self.objects[key]) & 0xFFFF_FFFF:08x}"

    def head_object(self, **asked: Any) -> dict[str, Any]:
        key = asked["Key"]
        if key not in self.objects:
            raise refusal("404", 404, "HeadObject")
        return {"ContentLength": len(self.objects[key]), "ETag": f'"{self.etag(key)}"', "LastModified": self.ats[key]}

    def get_object(self, **asked: Any) -> dict[str, Any]:
        key, if_match = asked["Key"], asked.get("IfMatch", "")
        begin, end = map(int, asked["Range"].removeprefix("bytes=").split("-"))
        self.before(begin)
        if key not in self.objects:
            raise refusal("NoSuchKey", 404, "GetObject")
        if if_match and if_match.strip('"') != self.etag(key):
            raise refusal("PreconditionFailed", 412, "GetObject")
        self.asked.append((begin, end + 1))
        return {"Body": io.BytesIO(self.objects[key][begin : end + 1])}

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        most = asked["MaxKeys"]
        keys = sorted(key for key in self.objects if key.startswith(asked["Prefix"]) and key > asked.get("StartAfter", ""))
        contents = [{"Key": key, "Size": len(self.objects[key]), "ETag": f'"{self.etag(key)}"', "LastModified": self.ats[key]} for key in keys[:most]]
        return {"Contents": contents, "IsTruncated": len(keys) > most}


def refusal(code: str, status: int, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as the test has it"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


def written(path: Path, samples: Float32, *, rate_hz: int, container: str, codec: str, options: dict[str, str] | None = None) -> Path:
    """float32 mono samples as a file. `options`: of the container."""
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        context = stream.codec_context
        resampler = av.AudioResampler(format=context.format.name, layout="mono", rate=rate_hz, frame_size=context.frame_size or 1_024)
        for part in resampler.resample(frame):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path
