"""To which event bus hits go."""

from typing import Literal

from pydantic import Field

from earmark.settings.actions import ActionSection


class EventBridge(ActionSection):
    """Hits are put on an Amazon EventBridge bus, for rules of yours: source `earmark`, detail-type `Earmark Play`."""

    bus: str = Field(
        "default", min_length=1, max_length=1_600, description="name or ARN of the event bus; default is the account's own, to which AWS's services write"
    )
    states: tuple[Literal["provisional", "open", "closed"], ...] = Field(
        ("open", "closed"), description="at which states of a play: one event per state and play"
    )
