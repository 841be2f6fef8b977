"""From what is known of a play to what is to be done about it: licences, then rules, then its owner's wish; pure.

The first licence that holds allows it; else the first rule whose conditions all hold decides; else what the owner says.
The same play is decided about anew with each of its revisions, and what cannot be known yet does not hold yet.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from earmark.hits.rights import Action, Circumstances, Policy, by_owner
from earmark.model import Stream, Track
from earmark.policies.document import DAYS, Licence, Policies, Rule, Span, When, Which, stands_for

#: A channel's tag that says where it is watched: AT,DE.
TERRITORIES_TAG: Final = "earmark:territories"
#: At the begin of a clean play the share is .86 and more nine times in ten, of AAC at 32 kbit/s .41; under a talker as loud
#: .32 in the middle, under one 5 dB louder never above .36 (16 recordings each, windows of 12 s). A recorded room is .25.
FOREGROUND_SHARE: Final = 0.4


class Deciding:
    """`rights.Decide`, by a policy file."""

    def __init__(self, policies: Policies) -> None:
        self.policies = policies

    def __call__(self, track: Track | None, play: Circumstances) -> Policy:
        for licence in self.policies.licence:
            if not next(why_not_licensed(licence, track, play), None):
                return self._policy("allow", _licensed(licence), licence.id, notify=licence.notify)
        for rule in self.policies.rule:
            if not next(why_not(rule.when, self.policies, track, play), None):
                return self._policy(rule.action, said(rule), rule.id, notify=rule.notify, grace_s=rule.grace_s)
        return by_owner(track, play, watched_in(self.policies, play.stream))

    def _policy(self, action: Action, reason: str, rule_id: str, *, notify: bool, grace_s: float = 0.0) -> Policy:
        edition = f" ({self.policies.name})" if self.policies.name else ""
        return Policy(action=action, reason=reason + edition, dry_run=True, rule_id=rule_id, grace_s=grace_s, notify=notify)


def watched_in(policies: Policies, stream: Stream) -> Sequence[str]:
    """ISO 3166-1; empty: nobody knows."""
    tagged = [code.strip().upper() for code in stream.tags.get(TERRITORIES_TAG, "").replace(" ", ",").split(",")]
    return [code for code in tagged if code] or policies.territories


def said(rule: Rule) -> str:
    """Why, in one sentence."""
    after = f" after {rule.grace_s:g} s" if rule.grace_s and rule.action != "allow" else ""
    return f"the rule {rule.id} says {rule.action}{after}" + (f": {rule.reason}" if rule.reason else "")


def _licensed(licence: Licence) -> str:
    until = f" until {licence.valid_to}" if licence.valid_to else ""
    return f"the licence {licence.id} allows it{until}" + (f": {licence.note}" if licence.note else "")


# ------------------------------------------------------------------------------------------------ what does not hold


def why_not_licensed(licence: Licence, track: Track | None, play: Circumstances) -> Iterator[str]:
    """Each reason for which the licence does not hold for the play: a sentence each, for people."""
    moment = f"{play.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if licence.valid_from and moment < licence.valid_from:
        yield f"it holds from {licence.valid_from} on, and the play began at {moment}"
    if licence.valid_to and moment >= licence.valid_to:
        yield f"it held until {licence.valid_to}, and the play began at {moment}"
    yield from _other(licence, track, play.stream)


def why_not(when: When, policies: Policies, track: Track | None, play: Circumstances) -> Iterator[str]:
    """The same of a rule's conditions."""
    yield from _other(when, track, play.stream)
    wish = track.policy if track is not None and track.policy else "nothing"
    if when.owner_says and wish not in when.owner_says:
        yield f"its owner says {wish}"
    watched = watched_in(policies, play.stream)
    if when.territories and not set(watched) & set(when.territories):
        yield f"it is watched in {', '.join(watched)}" if watched else "nobody knows where it is watched"
    yield from _length("played_s", "s", when.played_s, play.played_s, over=play.over)
    yield from _length("matched_s", "s", when.matched_s, play.matched_s, over=play.over)
    yield from _length("played_share", "of the recording", when.played_share, play.played_share, over=play.over)
    if when.foreground is not None:
        share = play.foreground_share
        if share is None:
            yield "nobody knows whether it is in the foreground"
        elif (share >= FOREGROUND_SHARE) != when.foreground:
            yield f"it explains {share:.0%} of what is heard"
    if when.quotation is not None and (not play.over or play.quotation != when.quotation):
        yield "it is a quotation" if play.quotation else "it is no quotation" if play.over else "it has not ended, and may be a quotation or not"
    yield from _out_of_hours(when, policies, play.at)


def _other(which: Which, track: Track | None, stream: Stream) -> Iterator[str]:
    """What names another recording, or another channel."""
    if track is None and any(getattr(which, name) for name, _ in _RECORDING):
        yield "the recording is no longer in the catalogue"
    elif track is not None:
        for name, field in _RECORDING:
            value = getattr(track, field)
            if (patterns := getattr(which, name)) and not _fits(patterns, [value] if isinstance(value, str) else value):
                yield f"{field} is {_listed([value] if isinstance(value, str) else value)}"
    if which.channels and not _fits(which.channels, (stream.channel_name, stream.channel_arn or "", stream.stream_id)):
        yield f"the channel is {stream.channel_name or stream.channel_arn or stream.stream_id}"
    for key, pattern in which.tags.items():
        if not _fits((pattern,), (stream.tags.get(key, ""),)):
            yield f"the tag {key} is {stream.tags.get(key) or 'not there'}"
    if which.sources and stream.source not in which.sources:
        yield f"the source is {stream.source}"


#: A list of `Which`, and the field of a recording that it is about.
_RECORDING: Final = (
    ("track_ids", "track_id"),
    ("isrc", "isrc"),
    ("titles", "title"),
    ("artists", "artists"),
    ("albums", "album"),
    ("labels", "label"),
    ("rights_holders", "rights_holder"),
    ("recording_tags", "tags"),
)


def _fits(patterns: Sequence[str], values: Sequence[str]) -> bool:
    """Whether one of the values is what one of the patterns says; nothing is what no pattern says, not even `*`."""
    return any(stands_for(pattern, value) for pattern in patterns for value in values if value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(value for value in values if value) or "not said"


def _length(name: str, unit: str, span: Span | None, value: float | None, *, over: bool) -> Iterator[str]:
    if span is None:
        return
    if value is None:
        yield f"{name} is not known"
    elif span.min is not None and value < span.min:
        yield f"{name} is {value:.3g} {unit}{'' if over else ' so far'}"
    elif span.max is not None and (value > span.max or not over):
        yield f"{name} is {value:.3g} {unit}" + ("" if over else " so far, and it has not ended")


def _out_of_hours(when: When, policies: Policies, at: datetime) -> Iterator[str]:
    """A night belongs to the day on which it began: 22:00-06:00 on a Friday ends on Saturday."""
    there = at.astimezone(policies.zone)
    day, moment = there.weekday(), there.time()
    if (clock := when.clock) is not None:
        begin, end = clock
        late = begin > end and moment < end
        if not late and not (begin <= moment and (moment < end or begin > end)):
            yield f"it began at {moment:%H:%M}, {policies.time_zone}"
        day = (day - late) % 7
    if when.weekdays and DAYS[day] not in when.weekdays:
        yield f"it is of a {there:%A}" if DAYS[day] == DAYS[there.weekday()] else f"it is of the night before {there:%A}"
