"""The subject of a mail. Sorted by subject, a mailbox has the mails of one stream together, and in the stream's order. Pure.

`late-night-radio 2026-11-21 12:00 +00:01:40 now [track] Blue Sky Morning - The Example Five`: the channel, when its stream
began, how far into it, what happens, what the policy says, what it is. SNS takes at most 100 characters of printable ASCII.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from earmark.hits.mail.letter import Manner
from earmark.hits.text import ascii_line, counted

SUBJECT_MAX: Final = 99
_NAME_MAX, _WHAT_MAX = 30, 60
#: In the order of what becomes of a play; the stream's end comes after all of them.
_STATES: Final = {"provisional": "maybe", "open": "now", "closed": "played"}
_END, _END_OF_FILE = "stream over", "whole file"
#: What somebody has to do something about; and all actions, the gravest first: of several plays, the subject and the attribute `action` tell that one.
_WANTED: Final = ("takedown", "block", "mute", "warn")
_GRAVITY: Final = (*_WANTED, "monetize", "track", "not_submitted", "no_claim", "allow")


def of_hit(hit: Mapping[str, Any], *, manner: Manner) -> str:
    return _cut(f"{_place(hit['stream'], hit['query']['begin_s'], manner)} {_STATES[hit['state']]} [{hit['policy']['action']}] {_what(hit)}")


def of_group(hits: Sequence[Mapping[str, Any]], *, manner: Manner) -> str:
    """`hits`: in order of time; the same recording is named once."""
    first, names = hits[0], dict.fromkeys(_what(hit) for hit in hits)
    state = min((hit["state"] for hit in hits), key=list(_STATES).index)
    where = _place(first["stream"], first["query"]["begin_s"], manner)
    return _cut(f"{where} {_STATES[state]} [{gravest_first(hit['policy']['action'] for hit in hits)[0]}] {counted(len(hits), 'play')}: {'; '.join(names)}")


def of_end(stream: Mapping[str, Any], actions: Mapping[str, int], *, ended_s: float, manner: Manner) -> str:
    """`actions`: of how many plays the policy says what."""
    shares = ", ".join(f"{actions[action]:,} [{ascii_line(action)}]" for action in gravest_first(actions))
    said = f": {shares}" if len(actions) > 1 else f" [{ascii_line(*actions)}]"
    end = _END_OF_FILE if stream["source"] == "file" else _END
    return _cut(f"{_place(stream, ended_s, manner)} {end}: {counted(sum(actions.values()), 'play')}{said}")


def graver(action: str, *, than: str) -> bool:
    """Whether more is wanted by now: whoever was told of a play that is on record hears of it once more when it is to be blocked."""
    return action in _WANTED and gravest_first([action, than])[0] == action != than


def gravest_first(actions: Iterable[str]) -> list[str]:
    """What the policy says of several plays; a word that is not known here is taken for grave."""
    return sorted(actions, key=lambda action: (_GRAVITY.index(action) if action in _GRAVITY else 0, action))


def _place(stream: Mapping[str, Any], at_s: float, manner: Manner) -> str:
    """Which stream, and how far into it: the same beginning for all mails of a stream."""
    stream_id = stream["id"]
    name = stream["channel_name"] if ascii_line(stream["channel_name"]) else stream_id
    began = manner.when(manner.began_at)[: len("2026-11-21 12:00")] if manner.began_at else "" if name is stream_id else _short(stream_id)
    minutes, second = divmod(max(0, int(at_s)), 60)
    return f"{_name(name, stream_id)}{f' {began}' if began else ''} +{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def _name(name: str, stream_id: str) -> str:
    """As much of it as ASCII has; with a mark of its own where something is missing, so that two streams do not become one."""
    kept = ascii_line(name)
    whole = len(kept) <= _NAME_MAX and all(ord(c) < 0x80 or unicodedata.combining(c) for c in unicodedata.normalize("NFKD", name))
    return kept if kept and whole else f"{kept[: _NAME_MAX - 5].strip() or 'stream'}~{_short(stream_id)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]


def _what(hit: Mapping[str, Any]) -> str:
    track = hit["track"]
    title = ascii_line(track["title"]) or ascii_line(hit["reference"]["track_id"]) or "a catalogued recording"
    artist = ascii_line(", ".join(track["artists"]))
    return _cut(f"{title} - {artist}" if artist else title, _WHAT_MAX)


def _cut(text: str, characters_max: int = SUBJECT_MAX) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 3].rstrip() + "..."
