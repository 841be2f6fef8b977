"""Archive files of MediaLive in memory: inbox and S3 in one, a source that listens to them, and what is heard of them."""

import numpy as np

from earmark.audio.archive import ArchiveSource
from earmark.audio.decode import StreamDecoder
from earmark.audio.objects import Part
from earmark.audio.order import ArchiveItem
from earmark.errors import AwsRefused
from earmark.settings import MediaLive


def item(counter, *, base="channel/show-20260304T050607", version="", sequencer="", ext="ts", size=1000, **more):
    return ArchiveItem(bucket="archive", key=f"{base}.{counter:06d}.{ext}", version=version, sequencer=sequencer or f"{counter:04X}", size=size, **more)


class Archive:
    """Inbox and S3 in one."""

    def __init__(self, files=()):
        self.objects = {}
        self.inbox = []
        self.done = []
        self.gets = 0
        self.fails = []
        for counter, data in enumerate(files):
            self.put(item(counter, size=len(data)), data)

    def put(self, named, data):
        self.objects[named.key] = data
        self.inbox.append(named)

    def waiting(self):
        return list(reversed(self.inbox))

    def heard(self, items):
        for named in items:
            self.inbox.remove(named)
            self.done.append(named)

    def read(self, *, bucket, key, version, begin, bytes_max, tag=""):
        self.gets += 1
        if self.fails:
            raise self.fails.pop(0)
        if key not in self.objects:
            raise AwsRefused(f"s3:GetObject of s3://{bucket}/{key} was refused: NoSuchKey")
        data = self.objects[key]
        return Part(data=data[begin : begin + bytes_max], size=len(data), tag="etag")


def listening(archive, hand, *, resume="", turns=None, **changes):
    settings = MediaLive.model_validate(changes)
    return ArchiveSource(inbox=archive, objects=archive, signals=hand, settings=settings, resume=resume, turns=turns, clock=hand.clock, now=hand.now)


def decoded(pieces):
    decoder = StreamDecoder(segment_s_max=900)
    chunks = [c for piece in pieces for c in decoder.push(piece)] + decoder.flush()
    return np.concatenate([c.samples for c in chunks]), [(round(c.gap_before_s, 1), c.gap_reason) for c in chunks if c.gap_before_s]


#: Of a programme's picture, in packets of the transport stream.
PICTURE_PID = 0x1FE0


class Long:
    """A file that is made as it is read: a sound, and behind each of its packets so many of a picture, gigabytes if need be."""

    def __init__(self, sound, *, pictures):
        self._rows = np.frombuffer(sound, np.uint8).reshape(-1, 188)
        self._group = 1 + pictures
        self._picture = np.full(188, 0xFF, np.uint8)
        self._picture[:4] = (0x47, PICTURE_PID >> 8, PICTURE_PID & 0xFF, 0x10)

    def __len__(self):
        return len(self._rows) * self._group * 188

    def __getitem__(self, asked):
        begin, end = asked.start or 0, min(asked.stop, len(self))
        first, last = begin // 188, -(-end // 188)
        rows = np.tile(self._picture, (max(0, last - first), 1))
        heads = np.arange(-(-first // self._group) * self._group, last, self._group)
        rows[heads - first] = self._rows[heads // self._group]
        return rows.tobytes()[begin - first * 188 :][: max(0, end - begin)]
