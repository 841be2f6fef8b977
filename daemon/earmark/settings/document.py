"""The settings as documents for people: `config/earmark.toml`, and README's table. `make config` writes both."""

import json
from datetime import date
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from earmark.settings import PREFIX, Format, Section, Settings, StaticStream

#: What the end of a name says about the unit, longest first.
_UNITS = {
    "_ms_per_s": "ms per second",
    "_per_s": "per second",
    "_usd_per_hour_min": "US$ per hour",
    "_usd_per_hour": "US$ per hour",
    "_usd_per_gb": "US$ per GB",
    "_per_hour": "per hour",
    "_per_minute": "per minute",
    "_hour_max": "per hour",
    "_s_max": "seconds",
    "_s": "seconds",
    "_minutes": "minutes",
    "_days": "days",
    "_bytes_max": "bytes",
    "_kbps_min": "kbit/s",
    "_nats": "nats",
}

#: An example.
_FORMAT = {"name": "teaser", "codec": "opus", "kbps": 48, "channels_max": 1, "begin_s": 60, "length_s": 30}


def as_toml() -> str:
    """`config/earmark.toml`: every setting with its default, its unit and range, and why it is there."""
    lines = [
        "# Earmark's settings, each with its default and commented out: uncomment what you change.",
        f"# `--config FILE` or EARMARK_CONFIG names this file; {PREFIX}SECTION__KEY in the environment goes before it.",
        "# Written by `make config` from daemon/earmark/settings; edit that, not this.",
    ]
    for section, owner in _sections():
        lines += ["", f"# {owner.__doc__}", f"[{section}]"]
        for key, setting in owner.model_fields.items():
            lines += [f"# {_about(key, setting)}", f"# {key} = {_toml(setting.get_default(call_default_factory=True))}"]
    lines += ["", f"# {StaticStream.__doc__} One table for each.", "# [[streams.static]]"]
    for key, setting in StaticStream.model_fields.items():
        example = {"name": "radio-one", "url": "https://radio.example/live.m3u8", "kind": "hls"}.get(key, {"station": "one"})
        lines += [f"# {key} = {_toml(example)}  # {setting.description}"]
    lines += ["", f"# [[formats.targets]]  # {Format.__doc__} One table for each, in place of the default."]
    for key, setting in Format.model_fields.items():
        lines += [f"# {key} = {_toml(_FORMAT[key])}  # {_about(key, setting)}"]
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """README's table of the settings."""
    lines = ["| Setting | Default | What for |", "| --- | --- | --- |"]
    for section, owner in _sections():
        for key, setting in owner.model_fields.items():
            about = _about(key, setting).replace("|", "\\|")
            lines.append(f"| `{section}.{key}` | `{_toml(setting.get_default(call_default_factory=True))}` | {about} |")
    return "\n".join(lines) + "\n"


def _sections() -> list[tuple[str, type[Section]]]:
    fields = ((name, field.annotation) for name, field in Settings.model_fields.items())
    return [(name, owner) for name, owner in fields if isinstance(owner, type) and issubclass(owner, Section)]


def _about(key: str, setting: FieldInfo) -> str:
    """Why; and in brackets its unit and what is allowed."""
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")
    bounds = [f"{words} {getattr(bound, name):g}" for bound in setting.metadata for name, words in _BOUNDS.items() if hasattr(bound, name)]
    choices = get_args(setting.annotation) if get_origin(setting.annotation) is Literal else ()
    allowed = ", ".join(filter(None, [unit, *bounds, " or ".join(f'"{choice}"' for choice in choices)]))
    return f"{setting.description} ({allowed})" if allowed else f"{setting.description}"


_BOUNDS = {"gt": "more than", "ge": "at least", "le": "at most"}


def _toml(value: Any) -> str:
    """A default as TOML; JSON's strings, numbers, booleans and lists are TOML's."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, date):
        value = value.isoformat()
    if isinstance(value, Section):
        value = {key: getattr(value, key) for key in type(value).model_fields if key in value.model_fields_set}
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
