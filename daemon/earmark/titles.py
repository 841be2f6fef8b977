"""What a station says is on air, and since when: words of strangers beside what was heard. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

#: So many are remembered: some hours of songs, of which plays that go on are to be told.
KEPT = 64


@dataclass(frozen=True, slots=True)
class Title:
    #: Stream time from which it holds, until the next one does.
    begin_s: float
    #: Empty: nothing is said.
    text: str


class Titles:
    """Of one stream, in order. `say` what is on air from some moment on, then ask."""

    def __init__(self, said: Iterable[Title] = ()) -> None:
        self._said = deque(said, KEPT)

    def say(self, begin_s: float, text: str) -> None:
        """Saying it again changes nothing; one that holds for no time never did."""
        while self._said and self._said[-1].begin_s >= begin_s:
            self._said.pop()
        if text != self.now:
            self._said.append(Title(begin_s, text))

    @property
    def now(self) -> str:
        return self._said[-1].text if self._said else ""

    def newest(self, count: int) -> list[Title]:
        return list(self._said)[-count:]

    def during(self, begin_s: float, end_s: float) -> str:
        """What was on air for most of that time; empty if nothing was said then."""
        held_s: dict[str, float] = {}
        until_s = end_s
        for title in reversed(self._said):
            if title.text and until_s > max(title.begin_s, begin_s):
                held_s[title.text] = held_s.get(title.text, 0.0) + until_s - max(title.begin_s, begin_s)
            until_s = min(until_s, title.begin_s)
            if until_s <= begin_s:
                break
        return max(held_s, key=lambda text: held_s[text], default="")
