"""What is done about plays beyond telling of them: of each action its settings, and what the tasks may do for it. None unless it is said.

A dry run asks nobody for anything, so it is allowed nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from context import Context

#: What a grant is on: every channel or stream key of IVS in this account and region, or one thing that the context names.
On: TypeAlias = Literal["channels", "stream keys", "secret", "bus"]


class Grant(NamedTuple):
    on: On
    actions: tuple[str, ...]


def environment(context: Context) -> Mapping[str, str]:
    said = {
        "EARMARK_NOW_PLAYING__MODE": context.nowPlaying,
        "EARMARK_STOP_STREAM__MODE": context.stopStream,
        "EARMARK_WEBHOOK__MODE": context.webhook,
        "EARMARK_EVENTBRIDGE__MODE": context.eventBridge,
    }
    beside = {
        "EARMARK_STOP_STREAM__REVOKE_KEY": "true" if context.revokeStreamKeys else "",
        "EARMARK_WEBHOOK__URL": context.webhookUrl,
        "EARMARK_WEBHOOK__SECRET": context.webhookSecretArn,
        "EARMARK_EVENTBRIDGE__BUS": context.eventBus,
    }
    return {name: value for name, value in {**said, **beside}.items() if value not in ("", "off")}


def grants(context: Context) -> Iterator[Grant]:
    """What the actions that are on ask for, and no more."""
    if context.nowPlaying == "on":
        yield Grant("channels", ("ivs:PutMetadata",))
    if context.stopStream == "on":
        yield Grant("channels", ("ivs:StopStream",))
        if context.revokeStreamKeys:
            yield Grant("channels", ("ivs:ListStreamKeys",))
            yield Grant("stream keys", ("ivs:DeleteStreamKey",))
    if context.webhook == "on":
        yield Grant("secret", ("secretsmanager:GetSecretValue",))
    if context.eventBridge == "on":
        yield Grant("bus", ("events:PutEvents",))
