"""A hit that fits where there is little room: a message, an event; pure. The whole of it is in S3."""

from collections.abc import Mapping
from typing import Any

from earmark.hits.text import cleaned

_TEXT_MAX, _ITEMS_MAX = 200, 10


def shortened(hit: Mapping[str, Any]) -> dict[str, Any]:
    """At most 4 bytes a character, in some 50 strings of 200: well inside 256 KiB, even twice. It says that it is so (`truncated`)."""
    short: dict[str, Any] = cleaned(hit, text_max=_TEXT_MAX, items_max=_ITEMS_MAX)
    short["stream"]["tags"] = dict(list(short["stream"]["tags"].items())[:_ITEMS_MAX])
    return short | {"truncated": True}
