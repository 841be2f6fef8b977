"""config/compose/compose.yaml, read as Docker Compose reads it: variables put in, merges made, services in the order of their dependencies."""

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "config" / "compose" / "compose.yaml"
Service = Mapping[str, Any]

#: $$, $NAME, ${NAME}, ${NAME:-otherwise} (Compose specification, "Interpolation"); the file needs no other form.
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<otherwise>[^${}]*))?\})")


def interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    """The document with what the environment says; a variable that nobody set is empty. Keys are left as they are."""
    match value:
        case str():
            return _VARIABLE.sub(lambda found: "$" if found["dollar"] else environ.get(found["plain"] or found["name"]) or found["otherwise"] or "", value)
        case dict():
            return {key: interpolated(part, environ) for key, part in value.items()}
        case list():
            return [interpolated(part, environ) for part in value]
    return value


def document(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole file."""
    read: dict[str, Any] = interpolated(yaml.safe_load(FILE.read_text(encoding="utf-8")), environ or {})
    return read


def services(environ: Mapping[str, str] | None = None) -> dict[str, Service]:
    """By name, each behind all that it depends on. Raises graphlib.CycleError."""
    said: dict[str, Service] = document(environ)["services"]
    return {name: said[name] for name in TopologicalSorter({name: service.get("depends_on", {}) for name, service in said.items()}).static_order()}


def built(environ: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Those that run an image of ours."""
    return {name: service for name, service in services(environ).items() if "build" in service}


def ports(service: Service) -> set[int]:
    """On which it listens, as others of its network see it."""
    return {int(port.split(":")[-1]) for port in [*service.get("ports", []), *service.get("expose", [])]}


def aliases(name: str, service: Service) -> set[str]:
    """By which other services may call it."""
    return {name, *service.get("networks", {}).get("default", {}).get("aliases", [])}


def mounts(service: Service) -> dict[str, Path | str]:
    """Where inside, and what from outside: a path of this checkout, or a volume's name."""
    pairs = [mount.split(":")[:2] for mount in service.get("volumes", [])]
    return {inside: (FILE.parent / outside).resolve() if outside.startswith(".") else outside for outside, inside in pairs}


def stages() -> dict[str, str]:
    """Of the Dockerfile, by name: each with its lines put together that were broken."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return {re.match(r"\S+ AS (\S+)", stage)[1]: stage for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]}  # type: ignore[index]
