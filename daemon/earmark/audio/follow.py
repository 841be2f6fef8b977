"""What to fetch next of a live playlist, and what is lost. Pure: playlists in, segments and holes out.

A live playlist is a window that slides. What goes wrong with it is decided here, by media sequence numbers first and
wall clocks (EXT-X-PROGRAM-DATE-TIME) where they help:

* the window slid past us: a hole, as long as the clocks say, else as so many segments usually are;
* we are behind by more than `late_s`: the oldest are given up, down to the live edge;
* a cache answered with an older playlist: nothing happens;
* the encoder restarted and counts from 0 again: its first segment is a discontinuity, and nothing is heard twice;
* another worker was here before (`Position`): we go on behind its last segment.
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from earmark.audio.playlist import Listed, Master, MediaPlaylist, parse
from earmark.errors import SourceUnsupported
from earmark.model import GapReason

#: Two stamps of one segment may differ by this much between two readings.
SAME_CLOCK_S = 1.5
#: A worker's last clock and the next segment's may differ by this much, or by three segments, before their numbers are not believed.
RESUME_CLOCK_S = 10.0
#: No hole is believed to be longer: such numbers were renumbered, such clocks were set.
HOLE_S_MAX = 86_400.0
#: Known segments that are kept to compare with; a playlist longer than LONG is only read from there on.
KEPT, LONG = 16, 32
#: Playlists that only grow (a whole broadcast to be rewound) list more than has to be remembered.
KNOWN_MAX = 512
#: Playlists without clocks that go back in numbers: so many different ones in a row are a restart, fewer a stale cache.
BACKWARD_PLAYLISTS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Hole:
    """Media that will not be fetched."""

    duration_s: float
    reason: GapReason
    #: The last media sequence number in it.
    sequence: int
    clock_end: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Behind which segment the next owner goes on; travels in the checkpoint as JSON."""

    sequence: int
    discontinuity_sequence: int = 0
    #: Wall clock at the segment's end.
    clock: datetime | None = None
    #: Numbers are only comparable within one rendition.
    rendition: str = ""

    def to_json(self) -> str:
        return json.dumps({
            "sequence": self.sequence,
            "discontinuity_sequence": self.discontinuity_sequence,
            "clock": self.clock.isoformat() if self.clock else None,
            "rendition": self.rendition,
        })  # fmt: skip

    @staticmethod
    def from_json(text: str) -> "Position | None":
        """None for an empty text, and for one of another source or version: then the stream is joined anew."""
        try:
            said = json.loads(text) if text else {}
            clock = datetime.fromisoformat(said["clock"]) if said.get("clock") else None
            return Position(
                sequence=int(said["sequence"]),
                discontinuity_sequence=int(said.get("discontinuity_sequence", 0)),
                clock=clock,
                rendition=str(said.get("rendition", "")),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class Follower:
    """`read` each playlist, then take `next` until it is None. `resume_reason`: why nothing was heard since `resume`."""

    def __init__(self, *, late_s: float, resume: Position | None = None, resume_reason: GapReason = "worker_lost", rendition: str = "") -> None:
        self._late_s = late_s
        #: How far behind we may be now: more than `late_s` only while an interrupted session catches up.
        self._allowed_s = late_s
        self._resume = resume
        self._resume_reason = resume_reason
        self._rendition = rendition
        self._pending: deque[Listed | Hole] = deque()
        #: What was still to be fetched when the encoder restarted: its numbers mean something else now.
        self._left_over: deque[Listed | Hole] = deque()
        self._run = 0
        self._taken_of_run = 0
        self._next_sequence: int | None = None
        self._clock_next: datetime | None = None
        self._known: dict[int, Listed] = {}
        self._backward: list[tuple[int, int]] = []
        self._list: MediaPlaylist | None = None
        self._cause: GapReason = "skipped"
        #: Seconds of all that was listed so far, and of holes in between.
        self.listed_s = 0.0

    @property
    def ended(self) -> bool:
        """The playlist says that nothing will be added."""
        return self._list is not None and self._list.ended

    @property
    def target_s(self) -> float | None:
        return self._list.target_s if self._list else None

    @property
    def segment_s(self) -> float:
        """Of those listed the one in the middle, since the last before an advertisement may be short; 0 if there are none."""
        lengths = sorted(s.duration_s for s in self._list.segments) if self._list else []
        return lengths[len(lengths) // 2] if lengths else 0.0

    def next(self) -> Listed | Hole | None:
        if self._left_over:
            self._taken_of_run = self._run - 1
            return self._left_over.popleft()
        self._taken_of_run = self._run
        return self._pending.popleft() if self._pending else None

    def still_listed(self, segment: Listed) -> Listed | None:
        """The segment last taken, as the last playlist has it (its address may be a newer one), if it still does."""
        if self._list is None or self._taken_of_run != self._run or segment.sequence < self._list.first_sequence:
            return None
        return self._known.get(segment.sequence)

    def behind(self, item: Listed | Hole, before: Position) -> Position:
        """The position after an item that `next` gave."""
        if isinstance(item, Hole):
            return replace(before, sequence=item.sequence, clock=item.clock_end, rendition=self._rendition)
        return Position(sequence=item.sequence, discontinuity_sequence=item.discontinuity_sequence, clock=_end(item), rendition=self._rendition)

    def read(self, text: str, url: str, *, moved: bool = False, rendition: str = "", cause: GapReason = "skipped") -> bool:
        """True if the playlist brought something new. `moved`: it comes from another address than the last one.

        `cause` is why the window may have slid past us.

        Raises SourceUnsupported when it is no media playlist.
        """
        if rendition != self._rendition:
            self._other_rendition(rendition)
        self._cause = cause
        long = self._list is not None and self._list.end_sequence - self._list.first_sequence > LONG
        from_sequence = max(0, (self._next_sequence or 0) - KEPT) if long else 0
        playlist = _parsed(text, url, from_sequence)
        if from_sequence and (playlist.end_sequence < (self._next_sequence or 0) or self._restarted(playlist, moved=moved)):
            playlist = _parsed(text, url, 0)
        before = len(self._pending)
        had = self._next_sequence
        self._take(playlist, moved=moved)
        return len(self._pending) > before or self._next_sequence != had

    def _other_rendition(self, rendition: str) -> None:
        """Numbers mean something else now: go on by the clock, as another worker would."""
        if self._next_sequence is not None:
            self._resume = Position(sequence=self._next_sequence - 1, clock=self._clock_next, rendition=self._rendition)
            self._resume_reason = "skipped"
            self._next_sequence = None
            self._known.clear()
        self._rendition = rendition

    def _take(self, playlist: MediaPlaylist, *, moved: bool) -> None:
        if self._next_sequence is None:
            self._list = playlist
            if playlist.segments:
                self._first(playlist)
        elif self._restarted(playlist, moved=moved):
            self._restart(playlist)
        elif playlist.end_sequence < self._next_sequence:
            # A stale cache, or the first sight of a restart; either way nothing to fetch, and nothing more is lost.
            return
        else:
            self._list = playlist
            self._go_on(playlist)
        self._backward.clear()
        self._remember(playlist)
        self._give_up_if_late()

    # ------------------------------------------------------------------------------------------ joining

    def _first(self, playlist: MediaPlaylist) -> None:
        position, self._resume = self._resume, None
        if position is None:
            # The oldest listed: of a stream that has just begun, its beginning. Of a long list, the live edge.
            segments = playlist.segments if playlist.ended else _last(playlist.segments, self._late_s)
            self._append(segments)
            return
        self._go_on_behind(position, playlist)
        if self._next_sequence is None:
            self._next_sequence = playlist.end_sequence
        # What is still listed is fetched, however much it is: catching up is a hundred times faster than live.
        self._allowed_s = max(self._late_s, self._pending_s())

    def _go_on_behind(self, position: Position, playlist: MediaPlaylist) -> None:
        segments = playlist.segments
        wanted = position.sequence + 1
        if self._believable(position, playlist):
            if wanted < playlist.first_sequence:
                lost_s = _between(position.clock, segments[0].clock) or (playlist.first_sequence - wanted) * _mean_s(segments)
                self._lose(lost_s, self._resume_reason, playlist.first_sequence - 1, segments[0].clock)
            self._append(_broken(s for s in segments if s.sequence >= wanted))
            return
        if position.clock is not None and all(s.clock for s in segments):
            segments = tuple(s for s in segments if s.clock and s.clock >= position.clock - timedelta(seconds=s.duration_s / 2))
            away_s = _between(position.clock, segments[0].clock) if segments else None
            if away_s:
                self._lose(away_s, self._resume_reason, segments[0].sequence - 1, segments[0].clock)
        self._append(_broken(segments))

    def _believable(self, position: Position, playlist: MediaPlaylist) -> bool:
        """Whether the playlist's numbers go on where the position's stopped."""
        wanted = position.sequence + 1
        if wanted > playlist.end_sequence:
            return False
        if position.rendition != self._rendition and position.clock is not None and playlist.segments[0].clock is not None:
            return False  # numbers of another rendition may be off by some; clocks are not
        there = next((s for s in playlist.segments if s.sequence == wanted), None)
        if there is None or position.clock is None or there.clock is None:
            return there is None or there.discontinuity_sequence >= position.discontinuity_sequence
        tolerance_s = max(RESUME_CLOCK_S, 3 * playlist.target_s)
        return abs((there.clock - position.clock).total_seconds()) <= tolerance_s

    # ------------------------------------------------------------------------------------------ going on

    def _restart(self, playlist: MediaPlaylist) -> None:
        self._list = playlist
        self._run += 1
        self._known.clear()
        self._left_over.extend(self._pending)
        self._pending.clear()
        self._append(_broken(playlist.segments))

    def _go_on(self, playlist: MediaPlaylist) -> None:
        expected = self._next_sequence or 0
        fresh = {s.sequence: s for s in playlist.segments}
        self._pending = deque(fresh.get(item.sequence, item) if isinstance(item, Listed) else item for item in self._pending)
        new = [s for s in playlist.segments if s.sequence >= expected]
        if new and new[0].sequence > expected:
            skipped_s = _between(self._clock_next, new[0].clock) or (new[0].sequence - expected) * _mean_s(playlist.segments)
            self._lose(skipped_s, self._cause, new[0].sequence - 1, new[0].clock)
        self._append(new)

    def _restarted(self, playlist: MediaPlaylist, *, moved: bool) -> bool:
        """Whether these numbers belong to another run of the encoder than the ones we know."""
        if self._next_sequence is None or not playlist.segments:
            return False
        common = [(s, self._known[s.sequence]) for s in playlist.segments if s.sequence in self._known]
        judged = [_same(new, known, moved=moved) for new, known in common]
        if any(judged) or (not judged and playlist.end_sequence >= self._next_sequence):
            return False
        if False in judged:
            return True
        if playlist.end_sequence >= self._next_sequence:
            return False
        last = playlist.segments[-1]
        if last.clock is not None and self._clock_next is not None:
            return last.clock + timedelta(seconds=last.duration_s) > self._clock_next + timedelta(seconds=SAME_CLOCK_S)
        seen = (playlist.first_sequence, playlist.end_sequence)
        if seen not in self._backward:
            self._backward.append(seen)
        return len(self._backward) >= BACKWARD_PLAYLISTS

    def _remember(self, playlist: MediaPlaylist) -> None:
        end = playlist.end_sequence
        to_fetch = self._pending[0].sequence if self._pending else end
        oldest = max(min(playlist.first_sequence, end - KEPT), min(to_fetch - 1, end - KNOWN_MAX))
        self._known = {n: s for n, s in self._known.items() if oldest <= n < end}
        self._known.update((s.sequence, s) for s in playlist.segments if s.sequence >= oldest)

    def _append(self, segments: Iterable[Listed]) -> None:
        for segment in segments:
            self._pending.append(segment)
            self._next_sequence = segment.sequence + 1
            self._clock_next = _end(segment)
            self.listed_s += segment.duration_s

    def _lose(self, duration_s: float, reason: GapReason, sequence: int, clock_end: datetime | None) -> None:
        believed_s = duration_s if 0 <= duration_s <= HOLE_S_MAX else 0.0
        self.listed_s += believed_s
        self._pending.append(Hole(duration_s=believed_s, reason=reason, sequence=sequence, clock_end=clock_end))

    # ------------------------------------------------------------------------------------------ lateness

    def _pending_s(self) -> float:
        return sum(item.duration_s for item in self._pending if isinstance(item, Listed))

    def _give_up_if_late(self) -> None:
        """A finished playlist does not run away; a live one does: down to its edge, and say what that cost."""
        if self.ended:
            return
        behind_s = self._pending_s()
        if behind_s <= self._allowed_s:
            self._allowed_s = max(self._late_s, behind_s)
            return
        self._allowed_s = self._late_s
        # Half of what is allowed, so that the next poll does not find us late again.
        kept = _last([item for item in self._pending if isinstance(item, Listed)], self._late_s / 2)
        first = kept[0]
        given_up: list[Listed | Hole] = []
        while self._pending and self._pending[0] is not first:
            given_up.append(self._pending.popleft())
        for reason, items in _by_reason(given_up):
            last = items[-1]
            end = _end(last) if isinstance(last, Listed) else last.clock_end
            hole = Hole(duration_s=min(sum(i.duration_s for i in items), HOLE_S_MAX), reason=reason, sequence=last.sequence, clock_end=end)
            self._pending.appendleft(hole)


def _by_reason(items: list[Listed | Hole]) -> list[tuple[GapReason, list[Listed | Hole]]]:
    """Neighbours that are lost for the same reason together; the last group first."""
    groups: list[tuple[GapReason, list[Listed | Hole]]] = []
    for item in items:
        reason: GapReason = item.reason if isinstance(item, Hole) else "late"
        if groups and groups[-1][0] == reason:
            groups[-1][1].append(item)
        else:
            groups.append((reason, [item]))
    return groups[::-1]


def _parsed(text: str, url: str, from_sequence: int) -> MediaPlaylist:
    playlist = parse(text, url, from_sequence=from_sequence)
    if isinstance(playlist, Master):
        raise SourceUnsupported("is a list of renditions where one of segments was expected")
    return playlist


def _broken(segments: Iterable[Listed]) -> list[Listed]:
    """The same, the first one marked: nothing before it belongs to it."""
    return [replace(segment, discontinuity=True) if not index else segment for index, segment in enumerate(segments)]


def _last(segments: Iterable[Listed], most_s: float) -> list[Listed]:
    """The newest segments that last no longer than this together; one at least, if there are any."""
    kept: list[Listed] = []
    total_s = 0.0
    for segment in reversed(list(segments)):
        total_s += segment.duration_s
        if kept and total_s > most_s:
            break
        kept.append(segment)
    return kept[::-1]


def _same(one: Listed, other: Listed, *, moved: bool) -> bool | None:
    """Whether two entries of one number are one segment; None when that cannot be told.

    Clocks and addresses have to contradict each other badly before one is believed alone: there are packagers that
    stamp each reading anew, and encoders that begin again with the same file names.
    """
    apart_s = abs((one.clock - other.clock).total_seconds()) if one.clock and other.clock else None
    # Behind another address of the playlist, a segment's may carry another token.
    address = None if moved else one.url.partition("?")[0] == other.url.partition("?")[0] and one.range == other.range
    if apart_s is None:
        return address
    if apart_s <= SAME_CLOCK_S:
        return True
    return bool(address) and apart_s <= RESUME_CLOCK_S


def _end(segment: Listed) -> datetime | None:
    return None if segment.clock is None else segment.clock + timedelta(seconds=segment.duration_s)


def _between(earlier: datetime | None, later: datetime | None) -> float | None:
    """Seconds, if both are known and in order."""
    if earlier is None or later is None or later <= earlier:
        return None
    return (later - earlier).total_seconds()


def _mean_s(segments: Iterable[Listed]) -> float:
    durations = [s.duration_s for s in segments if s.duration_s]
    return sum(durations) / len(durations) if durations else 0.0
