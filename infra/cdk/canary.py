"""The canary: how often a stream of our own goes through everything, and an alarm when none was heard.

It is a role of the daemon, by which the tasks take turns, and no scheduled task of its own: that would take a role that may
start tasks and pass roles on, cost an image's start and a minute of Fargate each time, and hear nothing else, for the stream is
claimed by the daemon's tasks either way. How it went is on record in the database, and every task says so.
"""

from collections.abc import Mapping

from alarms import Alarms
from metrics import Measured

#: Rounds in a row that were not heard, before somebody is told.
ROUNDS_MAX = 3


def roles(minutes: int) -> tuple[str, ...]:
    """Of a task."""
    return ("streams", "catalogue", *(("canary",) if minutes else ()))


def environment(minutes: int) -> Mapping[str, str]:
    return {"EARMARK_CANARY__INTERVAL_S": str(60 * minutes)} if minutes else {}


def watch(minutes: int, *, alarms: Alarms, measured: Measured) -> None:
    unheard = f"No stream of the canary was heard, found and written to S3 in {ROUNDS_MAX * minutes} minutes."
    # Tasks that do not report at all are another alarm's business.
    alarms.alarm("CanaryUnheard", unheard, measured.canary_age_s, above=60 * ROUNDS_MAX * minutes, minutes=2)
