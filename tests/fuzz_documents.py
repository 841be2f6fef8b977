"""Foreign documents: queue messages, manifests of the catalogue, settings files and environments; whole in form, wrong in content."""

import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any, Final

import control_events
from earmark.settings import Section, Settings
from fuzz_bytes import NUMBERS, foreign_text, spoilt


def _json(value: Any) -> bytes:
    """Half of a surrogate pair is written as an escape, as JSON allows."""
    return json.dumps(value, ensure_ascii=True).encode()


def foreign_value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, but for what only its text can be."""
    match rng.randrange(9 if depth < 3 else 6):
        case 0:
            return rng.choice((None, True, False))
        case 1:
            return rng.choice((*NUMBERS, -1, -(1 << 63), 1 << 64, 10**300))
        case 2:
            return rng.choice((0.5, -0.0, 1e308, 1e-300))
        case 3 | 4 | 5:
            return foreign_text(rng)
        case 6:
            return [foreign_value(rng, depth + 1) for _ in range(rng.randrange(3))]
        case _:
            return {foreign_text(rng)[:50]: foreign_value(rng, depth + 1) for _ in range(rng.randrange(3))}


def changed(rng: random.Random, document: Any) -> Any:
    """The document with one of its parts, however deep, replaced, left out, doubled or nested."""
    if isinstance(document, dict) and document and rng.random() < 0.85:
        key = rng.choice(list(document))
        if rng.random() < 0.1:
            return {name: value for name, value in document.items() if name != key}
        return {**document, key: changed(rng, document[key])}
    if isinstance(document, list) and document and rng.random() < 0.85:
        at = rng.randrange(len(document))
        return [*document[:at], changed(rng, document[at]), *document[at + rng.randrange(2) :]]
    return rng.choice((foreign_value(rng), foreign_value(rng), [document], {"Message": document}, json.dumps(document)))


def _nested(rng: random.Random) -> bytes:
    """Brackets without an end; numbers without one, too."""
    size = rng.choice((100, 2_000, 100_000))
    return rng.choice((b"[" * size, b'{"a":' * size, b"[" * size + b"]" * size, b'{"a":' + b"9" * size + b"}", b"[" + b"9" * size + b"]"))


# ------------------------------------------------------------------------------------------------ queue messages

_EVENTS: Final[tuple[Any, ...]] = (
    control_events.ivs("Stream Start"), control_events.ivs("Stream End"), control_events.ivs("Stream Failure"), control_events.medialive("RUNNING"),
    control_events.medialive("STOPPED"), control_events.s3_event("archive/late-20261120T184059.000007.ts"),
    control_events.s3_event("archive/a.000001.ts", **{"version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"}),
    control_events.s3_records("archive/a.000001.ts", "archive/b%2F.000002.ts"), control_events.sns(control_events.ivs("Stream Start")),
    control_events.sns(control_events.sns(control_events.s3_records("archive/a.000003.m2ts"))), {"Event": "s3:TestEvent", "Bucket": "archive"},
)  # fmt: skip


def message(rng: random.Random) -> bytes:
    document = rng.choice(_EVENTS)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        document = changed(rng, document)
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        document = control_events.sns(document)
    body = _json(document)
    return rng.choices((body, spoilt(rng, body), _nested(rng), _json(control_events.sns(_nested(rng).decode()))), (60, 30, 1, 1))[0]


# ------------------------------------------------------------------------------------------------ manifests

_FIELDS: Final = ("path", "track_id", "title", "artists", "album", "label", "isrc", "iswc", "upc", "rights_holder", "duration_s")
_ROW: Final = {
    "path": "a.flac", "track_id": "isrc:GBAYE0601498", "title": "Blue", "artists": ["A", "B"], "album": "L", "label": "P", "isrc": ["GBAYE0601498"],
    "iswc": [], "upc": "00602517484016", "rights_holder": "H",
}  # fmt: skip


def manifest(rng: random.Random) -> bytes:
    """The first byte says which kind it is: `j` or `c`."""
    rows: Any = [{**_ROW, "path": f"{n}.flac"} for n in range(rng.choice((1, 1, 2, 5)))]
    for _ in range(rng.choice((0, 1, 2, 4))):
        rows = changed(rng, rows)
    if rng.random() < 0.5:
        body = _json(rows)
        return b"j" + rng.choices((body, spoilt(rng, body), _nested(rng)), (60, 30, 2))[0]
    body = _as_csv(rng, rows).encode(errors="surrogatepass")
    return b"c" + rng.choices((body, spoilt(rng, body), body.decode(errors="replace").encode("utf-16")), (60, 30, 2))[0]


def _as_csv(rng: random.Random, rows: Any) -> str:
    out = io.StringIO(newline="")
    names = [*_FIELDS, *([foreign_text(rng)] if rng.random() < 0.1 else [])]
    rng.shuffle(names)
    writer = csv.writer(out, lineterminator=rng.choice(("\n", "\r\n", "\r")))
    writer.writerow(names)
    for row in rows if isinstance(rows, list) else [rows]:
        cells = [row.get(name, "") if isinstance(row, dict) else row for name in names]
        cells = [";".join(map(str, cell)) if isinstance(cell, list) else str(cell).replace("\0", "?") for cell in cells]
        writer.writerow(cells + [foreign_text(rng).replace("\0", "?")] * rng.choice((0, 0, 0, 1)))
    return out.getvalue()


# ------------------------------------------------------------------------------------------------ settings

_KEYS: Final = [
    (section, key)
    for section, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    for key in field.annotation.model_fields
]
_TOML: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda rng: rng.choice(("inf", "-inf", "nan", "+inf", "0x7fffffffffffffffffff", "1e308", "0", "-1", "1_000", "true", "1979-05-27T07:32:00Z", "07:32:00")),
    lambda rng: str(rng.choice(NUMBERS)),
    lambda rng: str(rng.uniform(0, 100)),
    lambda rng: json.dumps(foreign_text(rng), ensure_ascii=True),
    lambda rng: "[" + ", ".join(json.dumps(foreign_text(rng)) for _ in range(rng.randrange(3))) + "]",
    lambda rng: "{" + f"a = {json.dumps(foreign_text(rng))}" + "}",
    lambda rng: '"""' + foreign_text(rng) + '"""',
    lambda rng: rng.choice(("[" * 5_000, "{a=" * 3_000, "9" * 5_000, "[" * 500 + "]" * 500)),
)


def settings_file(rng: random.Random) -> bytes:
    lines = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        section, key = rng.choice(_KEYS)
        section = section if rng.random() < 0.95 else rng.choice(("streams.static", "", "x", '"\u0000"', "a" * 3_000, "a.b.c"))
        lines += [rng.choice((f"[{section}]", f"[{section}]", f"[[{section}]]")), f"{key} = {_toml(rng)}"]
        if rng.random() < 0.1:
            lines += ["[[streams.static]]", f"name = {json.dumps(rng.choice(('radio', foreign_text(rng))))}", f"url = {json.dumps(foreign_text(rng))}"]
    body = "\n".join(lines).encode(errors="surrogatepass")
    return spoilt(rng, body) if rng.random() < 0.3 else body


def _toml(rng: random.Random) -> str:
    return rng.choices(_TOML, (6, 6, 6, 4, 4, 2, 2, 1))[0](rng)


def environment(rng: random.Random) -> bytes:
    """As a JSON object: names to values."""
    said = {}
    for _ in range(rng.choice((1, 1, 2, 4))):
        section, key = rng.choice(_KEYS)
        name = f"EARMARK_{section}__{key}".upper()
        if rng.random() < 0.1:
            name = rng.choice((f"EARMARK_{section}", "EARMARK___", f"EARMARK_{foreign_text(rng)[:60]}__x", name.lower(), "EARMARK_CONFIG"))
        value = rng.choice((foreign_text(rng), str(rng.choice(NUMBERS)), _toml(rng), json.dumps(foreign_value(rng)), _nested(rng).decode()))
        # As the system would hand it over: no NUL, and half of a pair only for a byte that is no UTF-8.
        said[name.replace("\0", "").replace("=", "")] = "".join(c for c in value if c and not 0xD800 <= ord(c) < 0xDC80).replace("\0", "")[:100_000]
    return _json(said)
