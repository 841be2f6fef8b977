"""What a policy file says that can never come to anything: rules that no play reaches, licences that are over; pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from earmark.policies.document import Policies, Span, When, stands_for


def unreachable(policies: Policies) -> Iterator[str]:
    """A sentence for each rule before which another one decides whatever it would."""
    for number, rule in enumerate(policies.rule):
        for earlier in policies.rule[:number]:
            if covers(earlier.when, rule.when):
                what = "says the same" if earlier.action == rule.action else f"says {earlier.action} where this one says {rule.action}"
                yield f"the rule {rule.id} is never reached: all that it asks for is what {earlier.id} asks for, which stands before it and {what}"
                break


def lapsed(policies: Policies, now: datetime) -> Iterator[str]:
    """A sentence for each licence that holds no more."""
    moment = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for licence in policies.licence:
        if licence.valid_to and moment >= licence.valid_to:
            yield f"the licence {licence.id} has been over since {licence.valid_to}"


def covers(wide: When, narrow: When) -> bool:
    """Whether every play for which `narrow` holds is one for which `wide` does, as far as their words tell: what is found is so."""
    if wide.weekdays and wide.hours != narrow.hours:  # whose night is whose day, the hours decide
        return False
    for name in When.model_fields:
        of_wide, of_narrow = getattr(wide, name), getattr(narrow, name)
        if name == "hours":
            if of_wide is not None and of_wide != of_narrow:
                return False
        elif of_wide in (None, (), {}):
            continue
        elif of_narrow in (None, (), {}) or not _within(of_narrow, of_wide):
            return False
    return True


def _within(narrow: Any, wide: Any) -> bool:
    if isinstance(wide, Span):
        return (wide.min is None or (narrow.min is not None and narrow.min >= wide.min)) and (
            wide.max is None or (narrow.max is not None and narrow.max <= wide.max)
        )
    if isinstance(wide, Mapping):
        return all(key in narrow and _names(narrow[key], value) for key, value in wide.items())
    if isinstance(wide, tuple):
        return all(any(_names(one, other) for other in wide) for one in narrow)
    return bool(narrow == wide)


def _names(narrow: str, wide: str) -> bool:
    """Whether a name, perhaps with `*` and `?` in it, is one that the other stands for too."""
    return narrow == wide or (not set("*?") & set(narrow) and stands_for(wide, narrow))
