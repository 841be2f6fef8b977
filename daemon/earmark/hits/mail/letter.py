"""A hit as a rights person reads it in a mail: what, who, when, how sure, what the policy says, what was done, where the rest is. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from urllib.parse import quote

from earmark.hits.mail.lines import labelled, theirs, wrapped
from earmark.hits.record import Place
from earmark.hits.sure import sure_in_words
from earmark.hits.text import clock_time, parsed_moment

STATES: Final = {"provisional": "Possibly playing", "open": "Now playing", "closed": "Played"}
#: What may be done about a play, by its kind in `actions[]`; and how far that is.
_ACTIONS: Final = {
    "ivs_stop": "stop the stream",
    "ivs_metadata": "now playing",
    "webhook": "webhook",
    "eventbridge": "event bus",
}
_STAGES: Final = {
    "dry_run": "would be done (dry run)",
    "waiting": "waiting",
    "done": "done",
    "refused": "refused",
    "withdrawn": "not wanted any more",
    "failed": "failed",
}
#: As policies have it: from here on the recording is what one hears, and not what somebody talks over.
_FOREGROUND_SHARE: Final = 0.4
#: What nobody hears, or is but the estimate's own doubt, is not told.
_SPEED_LEAST, _CENTS_LEAST = 0.005, 10.0
_ACTIONS_MAX, _ALSO_MAX = 10, 3
_LINK_MAX: Final = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How mails are written, as the settings want it."""

    zone: tzinfo = UTC
    #: Where a play can be watched: an address with fields in braces; empty: nobody said.
    link: str = ""
    #: When the stream began, whose mails they are; None: nobody knows.
    began_at: datetime | None = None

    def when(self, moment: datetime | str | None) -> str:
        """Wall-clock time to the second, and how far its zone is from UTC; empty without one."""
        moment = parsed_moment(moment) if isinstance(moment, str) else moment
        if moment is None:
            return ""
        try:
            here = moment.astimezone(self.zone)
        except OverflowError:  # a source may claim the year 1, or 9999
            here = moment.astimezone(UTC)
        offset = f"{here:%z}"
        return f"{here:%Y-%m-%d %H:%M:%S} UTC" + (f"{offset[:3]}:{offset[3:5]}" if here.utcoffset() else "")

    def watch(self, *, stream_id: str, channel_name: str, hit_id: str, track_id: str, begin_s: float, end_s: float, started_at: str | None) -> str:
        """The address, made for a play; empty where there is none, or it would be absurdly long. Seconds are whole ones, the earlier where in doubt."""
        if not self.link:
            return ""
        since_s = begin_s  # what is heard of a stream may begin later than what is recorded of it
        if self.began_at and (at := parsed_moment(started_at)):
            since_s = max(0.0, (at - self.began_at).total_seconds())
        names = {"stream_id": stream_id, "channel_name": channel_name, "hit_id": hit_id, "track_id": track_id, "started_at": started_at or ""}
        seconds = {"begin_s": begin_s, "end_s": end_s, "broadcast_s": since_s}
        values = {**names, **{name: str(int(at_s)) for name, at_s in seconds.items()}, "begin_hms": _hms(begin_s), "broadcast_hms": _hms(since_s)}
        link = self.link.format_map({name: quote(value, safe="") for name, value in values.items()})
        return link if len(link) <= _LINK_MAX else ""


def _hms(seconds: float) -> str:
    """As players take it in an address: 1h2m3s."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}h{minutes % 60}m{second}s"


PLAINLY: Final = Manner()


# ------------------------------------------------------------------------------------------------ one play


def email(hit: Mapping[str, Any], *, place: Place, manner: Manner, note: str = "") -> str:
    """The mail of one play; no line is wider than 60 columns but addresses, which must stay whole to be followed.

    `note`: a sentence about the hourly limit.
    """
    lines = [*heading(hit), "", *labelled(_times(hit, manner))]
    if watch := watched(hit, manner):
        lines += ["", "Watch it:", watch]
    for facts in (_sureness(hit), _policy(hit, manner), _recording(hit), _identity(hit)):
        lines += ["", *labelled(facts)]
    for sentence in (note, "Texts are cut in this message; the hit on record has them whole." if hit.get("truncated") else ""):
        lines += ["", *wrapped(sentence)] if sentence else []
    return "\n".join([*lines, *_where(hit, place)]) + "\n"


def watched(hit: Mapping[str, Any], manner: Manner) -> str:
    """Where this play can be watched; empty where nobody said."""
    return manner.watch(
        stream_id=hit["stream"]["id"],
        channel_name=hit["stream"]["channel_name"],
        hit_id=hit["hit_id"],
        track_id=hit["reference"]["track_id"],
        **hit["query"],
        started_at=hit["started_at"],
    )


def heading(hit: Mapping[str, Any]) -> list[str]:
    """What, and who."""
    track = hit["track"]
    lines = wrapped(f"{STATES[hit['state']]}: {theirs(track['title'], 120) or 'a recording without a title'}", "", "  ")
    return lines + (wrapped("by " + theirs(", ".join(track["artists"]), 120), "", "   ") if track["artists"] else [])


def _times(hit: Mapping[str, Any], manner: Manner) -> Iterator[tuple[str, str]]:
    query, started_at = hit["query"], parsed_moment(hit["started_at"])
    length_s = query["end_s"] - query["begin_s"]
    yield "On", theirs(hit["stream"]["channel_name"], 100) or theirs(hit["stream"]["id"], 100)
    yield "From", f"{clock_time(query['begin_s'])} into the {kind(hit['stream']['source'])}"
    yield "", manner.when(started_at) or "time of day not known"
    if hit["state"] == "closed":
        yield "To", f"{clock_time(query['end_s'])}, after {clock_time(length_s)}"
        yield "", manner.when(started_at and started_at + timedelta(seconds=length_s))
    else:
        yield "To", f"still playing, {clock_time(length_s)} so far"
    yield "Clock", "when it arrived here, which is some seconds late" if started_at and hit["detection"]["clock"] == "arrival" else ""
    yield "Goes on", "in the next session, as a play of its own" if hit.get("continues") else ""


def kind(source: str) -> str:
    return "file" if source == "file" else "stream"


def _sureness(hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    coverage, alias = hit["coverage"], hit["reference"].get("heard_as")
    share, foreground = coverage["fraction_of_track"], coverage.get("foreground_share")
    heard = [f"{coverage['matched_s']:.0f} s"]
    heard += [] if share is None else [f"{share:.0%} of the recording"]
    heard += [] if foreground is None else ["in the foreground" if foreground >= _FOREGROUND_SHARE else "under something else"]
    yield "How sure", sure_in_words(hit["score"]["false_alarms_per_hour"])
    yield "Heard", ", ".join(heard)
    yield "Not heard", f"{coverage['gap_s']:.0f} s of it" if coverage["gap_s"] >= 1 else ""
    yield "Changed", _changed(hit["transform"])
    yield "Note", "a short quotation: it ended before it was more" if hit["quotation"] else ""
    yield "Heard as", f"its alias {theirs(alias['track_id'], 100)}" if alias else ""
    yield "Also fits", _others(hit["also_matching"])
    yield "On air", f"the station said: {said}" if (said := theirs(hit["stream"].get("now_playing") or "", 150)) else ""
    yield "Recorded", "some of it was heard in the stream's recording alone" if hit.get("recovered") else ""


def _changed(transform: Mapping[str, Any]) -> str:
    """How the sound differs from the recording's; empty where nobody would hear it."""
    speed, cents = transform["speed"] - 1, transform["pitch_cents"]
    parts = []
    if abs(speed) >= _SPEED_LEAST:
        parts.append(f"{abs(speed):.1%} {'faster' if speed > 0 else 'slower'}")
    if abs(cents) >= _CENTS_LEAST:
        parts.append(f"{abs(cents) / 100:.1f} semitones {'higher' if cents > 0 else 'lower'}")
    return f"{', '.join(parts)} than the recording" if parts else ""


def _others(also_matching: Sequence[str]) -> str:
    """Recordings that explain the same seconds, less well."""
    named, more = ", ".join(theirs(track_id, 60) for track_id in also_matching[:_ALSO_MAX]), len(also_matching) - _ALSO_MAX
    return f"less well: {named}{f' and {more} more' if more > 0 else ''}" if named else ""


def _policy(hit: Mapping[str, Any], manner: Manner) -> Iterator[tuple[str, str]]:
    policy = hit["policy"]
    yield "Policy", f"{policy['action']}: {theirs(policy['reason'])}"
    yield "Rule", theirs(policy.get("rule_id") or "", 64)
    first, *more = list(_deeds(hit, manner)) or [undone(hit)]
    yield "Done", first
    for deed in more:
        yield "", deed


def undone(hit: Mapping[str, Any]) -> str:
    """What is said where nothing was asked for."""
    return "nothing was done (dry run)" if hit["policy"]["dry_run"] else "nothing was asked for"


def _deeds(hit: Mapping[str, Any], manner: Manner) -> Iterator[str]:
    """What was done about it, or not, each in a sentence; of many the last ones."""
    actions: Sequence[Mapping[str, Any]] = hit.get("actions") or ()
    for action in actions[-_ACTIONS_MAX:]:
        at = f"until {manner.when(action.get('due_at'))}" if action["state"] == "waiting" else manner.when(action["at"])
        detail = theirs(action["detail"])
        yield f"{deed(action)}, {at}" + (f": {detail}" if detail else "")


def done_briefly(actions: Sequence[Mapping[str, Any]]) -> str:
    """The same for a line of a list: without when and why."""
    return "; ".join(dict.fromkeys(deed(action) for action in actions[-_ACTIONS_MAX:]))


def deed(action: Mapping[str, Any]) -> str:
    """What was to be done, and how far that is."""
    return f"{_ACTIONS.get(action['kind']) or theirs(action['kind'], 40)}: {_STAGES.get(action['state']) or theirs(action['state'], 40)}"


def _recording(hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    track = hit["track"]
    yield "Owner", theirs(track["rights_holder"], 100)
    yield "Album", theirs(track["album"], 100)
    yield "Label", theirs(track["label"], 100)
    yield "ISRC", theirs(", ".join(track["isrc"]), 100)
    yield "ISWC", theirs(", ".join(track["iswc"]), 100)
    yield "Track", theirs(hit["reference"]["track_id"], 150)


def _identity(hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Stream", f"{theirs(hit['stream']['id'], 150)} ({hit['stream']['source']})"
    yield "Hit", f"{theirs(hit['hit_id'])} revision {hit['revision']}"


# ------------------------------------------------------------------------------------------------ where the rest is


def _where(hit: Mapping[str, Any], place: Place) -> Iterator[str]:
    """The JSON, what proves it and the report; nothing without a bucket."""
    if not place.bucket:
        return
    key = place.hit_key(hit["hit_id"])
    yield from ("", "The hit as JSON:", place.uri(key), opened(place, key))
    proofs = hit["evidence"]
    kept = {"drawing": proofs.get("picture", {}).get("key"), "sound": proofs.get("clip", {}).get("key"), "peaks": proofs.get("key")}
    if any(kept.values()):
        yield from ("", f"What proves it ({', '.join(name for name, key in kept.items() if key)}):")
        yield from (opened(place, key) for key in kept.values() if key)
    yield from ("", f"The report, at the {kind(hit['stream']['source'])}'s end:", opened(place, place.report_key))


def opened(place: Place, key: str) -> str:
    """An address that a browser opens for whoever is signed in to AWS."""
    return f"https://s3.console.aws.amazon.com/s3/object/{quote(place.bucket)}?prefix={quote(key, safe='')}"
