"""One hit of the record to the webhook or the event bus, now: to see that it arrives, before anything is switched on."""

from typing import Literal, TypeAlias

from earmark import postgres
from earmark.actions.eventbridge import EventBridgeSink
from earmark.actions.webhook import WebhookSink
from earmark.aws import Clients
from earmark.errors import BadSettings
from earmark.hits.proof import evidence
from earmark.hits.record import Outgoing
from earmark.hits.sinks import Sink
from earmark.hits.text import dumps
from earmark.local.desk import opened
from earmark.settings import Settings
from earmark.web.addresses import host_of

Receiver: TypeAlias = Literal["webhook", "eventbridge"]


def send_hit(hit_id: str, *, to: Receiver, settings: Settings) -> int:
    """As it would be sent, whatever the mode is: by the same id, so a receiver that has had it takes it for a repeat.

    Raises BadSettings, StreamNotFound, and what the sink raises.
    """
    sink, where = _sink(to, settings)
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        hit = evidence.hit(connection, hit_id)
    sink.send(Outgoing(target=to, stream_id=hit["stream"]["id"], key=hit["hit_id"], revision=hit["revision"], content_type="application/json", body=dumps(hit)))
    print(f"revision {hit['revision']} of {hit['hit_id']} has gone to {where}")
    return 0


def _sink(to: Receiver, settings: Settings) -> tuple[Sink, str]:
    clients = Clients(settings.aws)
    if to == "eventbridge":
        return EventBridgeSink(client=clients.events, bus=settings.eventbridge.bus), f"the event bus {settings.eventbridge.bus}"
    for name in ("url", "secret"):
        if not (settings.webhook.url if name == "url" else settings.webhook.secret.get_secret_value()):
            raise BadSettings(f"webhook.{name} is empty: hits are posted signed, or not at all; set it")
    return WebhookSink(settings=settings.webhook, secrets=lambda: clients.secretsmanager), f"the webhook {host_of(settings.webhook.url)}"
