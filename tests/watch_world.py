"""A stream that is watched, without a session: told by hand what it hears, for tests of what is made of that."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import hits_samples as samples
from earmark.local.watch_layout import laid_out
from earmark.local.watch_state import Watching
from earmark.model import CatalogueSize, Checkpoint, Track

SIZE = CatalogueSize(tracks=12, seconds=4 * 3_600.0, postings=1)


class Tracks:
    """Those that there are."""

    def __init__(self, tracks: Iterable[Track] = ()) -> None:
        self._tracks = {track.track_id: track for track in tracks}

    def get(self, track_ids: Sequence[str]) -> Mapping[str, Track]:
        return {track_id: self._tracks[track_id] for track_id in track_ids if track_id in self._tracks}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """`seen`, and the clock that it goes by."""

    def __init__(self, *, tracks: Iterable[Track] = (), **of: Any) -> None:
        self.clock = Clock()
        of = {"source": "origin.example/live.m3u8", "kind": "hls", **of}
        self.seen = Watching(tracks=Tracks(tracks), size=lambda: SIZE, false_alarms_per_hour=1e-4, clock=self.clock, **of)

    def sounds(self, until_s: int, *, level_db: float = -18.0, speech: bool = False) -> None:
        for second in range(until_s):
            self.seen.sounded(second, level_db=level_db, speech=speech)

    def evidence(self, track_id: str, *nats: float) -> None:
        self.seen._evidence[track_id] = deque(nats)

    def plays(self, **of: Any) -> None:
        """A play is told, and goes on."""
        play = samples.play(**of)
        self.seen.tell(samples.hit(play, track=self.track))
        self.evidence(play.track_id, *(8.0 * n for n in range(1, 12)))
        self.seen.show(samples.checkpoint(play.end_s + 1, plays=(play,)))

    track: Track | None = samples.TRACK

    def shows(self, **of: Any) -> None:
        self.seen.show(samples.checkpoint(**of) if of else Checkpoint())

    def lines(self, width: int = 79, height: int = 24, **of: Any) -> list[str]:
        return [line.plain.rstrip() for line in laid_out(self.seen.view(), width, height, **of).lines]
