"""What is wrong with the settings, in one sentence for each mistake: the key, where it was set, what is allowed."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from earmark.errors import BadSettings

#: What a file with thousands of mistakes is told: so many of them, and of each name and value so much.
SENTENCES_MAX, SHOWN_MAX = 10, 80


def bad(error: ValidationError, settings: type[BaseModel], origins: Mapping[str, str]) -> BadSettings:
    """All mistakes in one error; `origins` as in `settings.Loaded`."""
    wrong = error.errors()
    sentences = [_sentence(e, settings, origins) for e in wrong[:SENTENCES_MAX]]
    return BadSettings("; ".join([*sentences, *([f"and {len(wrong) - SENTENCES_MAX} more"] if len(wrong) > SENTENCES_MAX else [])]))


def one_line(text: str, characters_max: int = SHOWN_MAX) -> str:
    """A foreign text inside a sentence: in one line, and no longer than somebody reads."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def shown(value: Any) -> str:
    """A foreign value inside a sentence."""
    try:
        return one_line(repr(value))
    except ValueError:  # a number of more digits than Python converts
        return "a number of thousands of digits"


def _sentence(error: Any, settings: type[BaseModel], origins: Mapping[str, str]) -> str:
    if error["type"] == "value_error":
        return f"the settings contradict each other: {error['ctx']['error']}"
    path = [str(part) for part in error["loc"]]
    name = one_line(".".join(path))
    origin = next((origins[".".join(path[:n])] for n in (2, 1) if ".".join(path[:n]) in origins), None)
    where = f" (set by {one_line(origin, 2 * SHOWN_MAX)})" if origin else ""
    if error["type"] == "extra_forbidden":
        owner: Any = settings
        for part in path[:-1]:
            field = owner.model_fields.get(part) if hasattr(owner, "model_fields") else None
            owner = field.annotation if field else None
        known = ", ".join(sorted(owner.model_fields)) if hasattr(owner, "model_fields") else ""
        return f"there is no setting {name}{where}" + (f"; known here: {known}" if known else "")
    message = error["msg"][0].lower() + error["msg"][1:]
    # A DSN holds a password, also where a whole section was expected; a URL perhaps a token, or a password too.
    value = f", not {shown(error['input'])}"
    secret = (
        len(path) < 2
        or "dsn" in name
        or (path[:2] == ["streams", "static"] and (len(path) < 4 or not isinstance(error["input"], str) or "?" in value or "@" in value))
    )
    return f"the setting {name}{where} is wrong: {message}{'' if secret else value}"
