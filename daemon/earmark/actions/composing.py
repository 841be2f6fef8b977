"""From the settings to actions: what sessions may ask for, and who does it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from earmark.actions.audited import Audited, SwitchedOff
from earmark.actions.eventbridge import EventBridgeSink
from earmark.actions.now_playing import IvsMetadata
from earmark.actions.stopping import IvsStop
from earmark.actions.telling import Meter, Telling
from earmark.actions.wanted import ActionKind, Offer
from earmark.actions.webhook import WebhookSink
from earmark.hits.outgoing import Target
from earmark.hits.sinks import Sink
from earmark.model import PlayState
from earmark.postgres import Pool
from earmark.settings import Settings
from earmark.settings.actions import ActionSection


class Clients(Protocol):
    """boto3's clients, each made when it is first used: `earmark.aws`."""

    @property
    def ivs(self) -> Any: ...
    @property
    def events(self) -> Any: ...
    @property
    def secretsmanager(self) -> Any: ...


def offers(settings: Settings) -> tuple[Offer, ...]:
    """What hits may ask for; nothing while all is off."""
    stop, webhook, bus = settings.stop_stream, settings.webhook, settings.eventbridge
    sections: tuple[tuple[ActionKind, ActionSection, tuple[PlayState, ...], float], ...] = (
        ("ivs_stop", stop, ("open",), stop.grace_s),
        ("ivs_metadata", settings.now_playing, ("open", "closed"), 0.0),
        ("webhook", webhook, webhook.states, 0.0),
        ("eventbridge", bus, bus.states, 0.0),
    )
    return tuple(
        Offer(kind=kind, dry_run=section.mode == "dry_run", on=frozenset(section.on), states=states, grace_s=grace_s)
        for kind, section, states, grace_s in sections
        if section.mode != "off"
    )


def sinks(settings: Settings, *, pool: Pool, clients: Clients, live_stream_id: Callable[[str], str | None], meter: Meter) -> Mapping[Target, Sink]:
    """Who does what was asked for. What is not on (any more) is not done: what still waits for it is taken back."""
    telling = Telling(pool=pool, results=settings.results, meter=meter)
    made: dict[Target, Sink] = dict.fromkeys(("ivs_stop", "ivs_metadata", "webhook", "eventbridge"), SwitchedOff(telling))
    if settings.stop_stream.mode == "on":
        made["ivs_stop"] = IvsStop(pool=pool, ivs=lambda: clients.ivs, live_stream_id=live_stream_id, settings=settings.stop_stream, telling=telling)
    if settings.now_playing.mode == "on":
        made["ivs_metadata"] = IvsMetadata(pool=pool, ivs=lambda: clients.ivs, telling=telling)
    if settings.webhook.mode == "on":
        made["webhook"] = Audited(WebhookSink(settings=settings.webhook, secrets=lambda: clients.secretsmanager), telling)
    if settings.eventbridge.mode == "on":
        made["eventbridge"] = Audited(EventBridgeSink(client=clients.events, bus=settings.eventbridge.bus), telling)
    return made
