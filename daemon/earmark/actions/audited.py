"""Around the sinks of messages: what became of one stands in the hit."""

from typing import Final

from earmark.actions.telling import Telling
from earmark.errors import Permanent, Postponed, Transient
from earmark.hits.outgoing import Outgoing
from earmark.hits.sinks import Sent, Sink

#: What has not left by then is told of as well, though it is tried for days.
OVERDUE_S: Final = 3_600.0


class Audited:
    """A sink whose messages are told of when they have left, were refused, or have failed for an hour; until then the hit says that they wait."""

    def __init__(self, sink: Sink, telling: Telling) -> None:
        self._sink, self._telling = sink, telling

    def send(self, item: Outgoing) -> Sent:
        """Raises what the sink raises; after a refusal the row stays where it is, and may leave later all the same."""
        try:
            sent = self._sink.send(item)
        except Permanent as refusal:
            self._telling.tell(item, "failed", str(refusal))
            raise
        except Postponed:
            raise
        except Transient as trouble:
            self._telling.tell(item, "failed", f"not yet: {trouble}", overdue_s=OVERDUE_S)
            raise
        self._telling.tell(item, "done")
        return sent


class SwitchedOff:
    """In place of the sink of an action that is off by now: what was asked for before does not wait for ever."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    def send(self, item: Outgoing) -> Sent:
        """Raises DatabaseUnavailable."""
        self._telling.tell(item, "withdrawn", "it was switched off meanwhile")
        return "superseded"
