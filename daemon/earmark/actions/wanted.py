"""Which actions a hit asks for, when, and which are not wanted any more: from what is offered, the hit, and what was asked before; pure.

Every action is asked for once: of a play (`ivs_stop`), or of each state that it reaches. What a later revision decides
otherwise, or ends, takes back what has not been begun.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from earmark.hits.rights import Circumstances, Decide, Policy
from earmark.hits.text import clock_time
from earmark.model import PlayState, Track
from earmark.reserved import is_canary

ActionKind: TypeAlias = Literal["ivs_stop", "ivs_metadata", "webhook", "eventbridge"]
#: To be done, though nobody has: what can be taken back.
OPEN: Final = ("waiting", "dry_run")

_MESSAGES: Final = {"webhook": "to the webhook", "eventbridge": "to the event bus"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An action as the settings have it; those that are off are not offered."""

    kind: ActionKind
    #: Told only.
    dry_run: bool
    #: Of which policy actions it is done.
    on: frozenset[str]
    #: At which states of a play; each of them once.
    states: tuple[PlayState, ...] = ("open",)
    #: At least so long after the play's begin.
    grace_s: float = 0.0

    def fits(self, action: str) -> bool:
        return action in self.on


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One that was asked for before."""

    state: str
    begun: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A row of `action` that is to be, or to be otherwise."""

    kind: ActionKind
    occasion: str
    state: Literal["waiting", "dry_run", "refused", "withdrawn"]
    detail: str
    #: Where in the stream it falls due; None: at once.
    due_s: float | None = None


def carried_out(decide: Decide, offers: Sequence[Offer]) -> Decide:
    """The same decisions; `dry_run` is false where something is done about them. What is shown to viewers alone does nothing about it."""

    def decided(track: Track | None, play: Circumstances) -> Policy:
        policy, stream = decide(track, play), play.stream
        if is_canary(stream.stream_id):
            return policy
        acts = any(
            not offer.dry_run and offer.fits(policy.action) and (offer.kind in _MESSAGES or (offer.kind == "ivs_stop" and is_ivs(stream.channel_arn)))
            for offer in offers
        )
        return replace(policy, dry_run=False) if acts else policy

    return decided if offers else decide


def is_ivs(channel_arn: str | None) -> bool:
    """Whether it is a channel of Amazon IVS: arn:aws:ivs:region:account:channel/id."""
    return channel_arn is not None and channel_arn.split(":")[2:3] == ["ivs"]


def changes(offers: Sequence[Offer], hit: Mapping[str, Any], known: Mapping[tuple[str, str], Known]) -> Iterator[Change]:
    """What the hit in this revision asks for, and takes back; nothing of what was asked for and stays as it is.

    Args:
        known: by kind and occasion.
    """
    if is_canary(hit["stream"]["id"]):
        return
    for offer in offers:
        match offer.kind:
            case "ivs_stop":
                yield from _stop(offer, hit, known.get(("ivs_stop", "")))
            case "ivs_metadata":
                yield from _now_playing(offer, hit, known)
            case kind:
                yield from _message(offer, hit, known.get((kind, hit["state"])))
    stop = known.get(("ivs_stop", ""))
    if stop is not None and stop.state in OPEN and not stop.begun and not any(offer.kind == "ivs_stop" for offer in offers):
        yield _change("withdrawn", "it was switched off meanwhile: the stream was left alone")


# ------------------------------------------------------------------------------------------------ the broadcast is ended


def _stop(offer: Offer, hit: Mapping[str, Any], known: Known | None) -> Iterator[Change]:
    policy, begin_s, end_s = hit["policy"], hit["query"]["begin_s"], hit["query"]["end_s"]
    grace_s = max(offer.grace_s, policy["grace_s"])
    pending = known is not None and known.state in OPEN and not known.begun
    dry = "dry run: " if known is not None and known.state == "dry_run" else ""
    if hit["state"] == "closed":
        # A dry run that would have come to it stays as it is told: it would have been stopped.
        if pending and not (dry and end_s - begin_s >= grace_s):
            grace = f", within its grace of {grace_s:g} s" if end_s - begin_s < grace_s else ""
            yield _change("withdrawn", f"{dry}it ended after {clock_time(end_s - begin_s)}{grace}: the stream was left alone")
    elif not offer.fits(policy["action"]):
        if pending:
            yield _change("withdrawn", f"{dry}it is decided about otherwise by now ({policy['action']}): the stream was left alone")
    elif hit["state"] == "open" and (known is None or known.state == "withdrawn"):
        if not is_ivs(hit["stream"]["channel_arn"]):
            yield _change("refused", f"only streams of Amazon IVS can be stopped from here, and this one's source is {hit['stream']['source']}")
        else:
            due_s = begin_s + grace_s
            when = f"if it still plays at {clock_time(due_s)} of the stream, {grace_s:g} s after its begin" if grace_s else "at once"
            said = f"dry run: the stream would be stopped {when}" if offer.dry_run else f"the stream is stopped {when}"
            yield _change("dry_run" if offer.dry_run else "waiting", said, due_s=due_s)


def _change(state: Literal["waiting", "dry_run", "refused", "withdrawn"], detail: str, due_s: float | None = None) -> Change:
    return Change(kind="ivs_stop", occasion="", state=state, detail=detail, due_s=due_s)


# ------------------------------------------------------------------------------------------------ what is told


def _now_playing(offer: Offer, hit: Mapping[str, Any], known: Mapping[tuple[str, str], Known]) -> Iterator[Change]:
    """A play's begin; and the end of one whose begin was told."""
    state = hit["state"]
    if not is_ivs(hit["stream"]["channel_arn"]) or ("ivs_metadata", state) in known:
        return
    told = ("ivs_metadata", "open") in known
    if (state == "open" and offer.fits(hit["policy"]["action"])) or (state == "closed" and told):
        what = "what plays" if state == "open" else "that it is over"
        said = f"dry run: {what} would be put into the stream" if offer.dry_run else ""
        yield Change(kind="ivs_metadata", occasion=state, state="dry_run" if offer.dry_run else "waiting", detail=said)


def _message(offer: Offer, hit: Mapping[str, Any], known: Known | None) -> Iterator[Change]:
    if known is None and hit["state"] in offer.states and offer.fits(hit["policy"]["action"]):
        said = f"dry run: this would go {_MESSAGES[offer.kind]}" if offer.dry_run else ""
        yield Change(kind=offer.kind, occasion=hit["state"], state="dry_run" if offer.dry_run else "waiting", detail=said)
