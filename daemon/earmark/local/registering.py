"""`earmark streams add` and `stop`: which streams are listened to although no event announces them."""

import sys
from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from earmark import postgres
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard, opened_for
from earmark.audio.station import found_at
from earmark.control import registry
from earmark.errors import BadSettings, SourceUnavailable, SourceUnsupported
from earmark.hits.text import is_storable, one_line
from earmark.local.desk import opened
from earmark.settings import Settings, StaticStream, without_secrets
from earmark.web.addresses import host_of, port_of


def add_stream(url: str, *, name: str, kind: str, tags: Sequence[str], settings: Settings) -> int:
    """Raises BadSettings for what no daemon would listen to, and for a name that another stream has."""
    stream = _stream(url, name, kind, _tags(tags))
    if name in {static.name for static in settings.streams.static}:
        raise BadSettings(f"{name} is in streams.static of the settings already: choose another name, or take it out there")
    if stream.known_kind != "s3":
        _check_address(stream.url, settings)
        if not kind:
            stream = stream.model_copy(update={"kind": _looked_at(stream.url, settings)})
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        new = registry.add(connection, stream)
    where = without_secrets(stream.url)
    print(f"{name} is added: {stream.known_kind} at {where}, heard from now on" if new else f"{name} is there already: {stream.known_kind} at {where}")
    return 0


def _stream(url: str, name: str, kind: str, tags: dict[str, str]) -> StaticStream:
    if not is_storable(url):
        raise BadSettings("the address is no text: check how it is typed")
    try:
        return StaticStream.model_validate({"name": name, "url": url, "kind": kind, "tags": tags})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        wrong = str(first["loc"][0]) if first["loc"] else ""
        raise BadSettings({"name": _NO_NAME.format(one_line(name)), "url": _NO_ADDRESS}.get(wrong, first["msg"].removeprefix("Value error, "))) from None


_NO_NAME = "a stream cannot be called {!r}: up to 96 letters, digits and . _ = + @ -, of which the first is a letter or a digit"
_NO_ADDRESS = "the address is not one that is listened to: https://HOST/PATH, http://HOST/PATH or s3://BUCKET/PATH"


def _tags(tags: Sequence[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    for tag in tags:
        key, separator, value = tag.partition("=")
        if not separator or not key or not is_storable(tag):
            raise BadSettings(f"{one_line(tag)!r} is no tag: write --tag KEY=VALUE")
        said[key] = value
    return said


def _check_address(url: str, settings: Settings) -> None:
    """Refuses what no settings allow; says what these do not, since a daemon's may be others."""
    host = host_of(url)
    try:
        Guard(settings=opened_for(settings.hls, url)).checked(url, named_host=host)
    except SourceUnsupported as error:
        raise BadSettings(str(error)) from None
    guard = Guard(settings=settings.hls)
    try:
        checked = guard.checked(url, named_host=host)
        guard.addresses(host, port_of(checked))
    except SourceUnsupported as error:
        print(f"earmark: a daemon with the settings that are here would not listen to it: {error}", file=sys.stderr)
    except SourceUnavailable:
        pass  # a host that is not found from here may be found from there; whether it is looked at is another matter


def _looked_at(url: str, settings: Settings) -> Literal["hls", "radio"]:
    limits = opened_for(settings.hls, url)
    http = Http(settings=limits, guard=Guard(settings=limits), streams_max=1)
    try:
        return found_at(url, http, settings=limits, named_host=host_of(url))
    except (SourceUnavailable, SourceUnsupported) as error:
        raise BadSettings(f"what is at the address cannot be found out: {error}; say --kind hls or --kind radio") from None
    finally:
        http.close()


def stop_stream(which: str, *, settings: Settings) -> int:
    """Raises StreamNotFound when nothing is called so, BadSettings when the settings have it."""
    of_settings = {static.name for static in settings.streams.static}
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        name = which
        ended = registry.stop(connection, name, sessions=name not in of_settings)
        if ended is None:
            name = registry.name_of(connection, which)
            ended = registry.stop(connection, name) if name and name not in of_settings else None
        if ended is not None:
            print(f"{name} is stopped: {', '.join(ended) + ' ends' if ended else 'no session of it was on'}")
            return 0
        if which in of_settings:
            raise BadSettings(f"{which} is in streams.static of the settings: take it out there; the id of a session would end that session alone")
        new = registry.stop_session(connection, which)
    again = f"; {name} is in streams.static of the settings, and is heard again from the next session on" if name in of_settings else ""
    print(f"{which} {'ends' if new else 'has ended, or was stopped already'}{again}")
    return 0
