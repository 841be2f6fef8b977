"""`earmark policy`: a policy file is looked through, and tried on a hit."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from earmark import postgres
from earmark.actions.composing import offers
from earmark.actions.wanted import Offer, carried_out, changes
from earmark.aws import Clients
from earmark.errors import BadSettings
from earmark.hits.proof import evidence
from earmark.hits.rights import Circumstances, Policy
from earmark.hits.text import counted, shown
from earmark.local.desk import opened
from earmark.model import Stream, Track
from earmark.policies.contradictions import lapsed, unreachable
from earmark.policies.deciding import Deciding, why_not, why_not_licensed
from earmark.policies.document import Policies
from earmark.policies.file import load
from earmark.settings import Settings

_HIT_BYTES_MAX: Final = 1_000_000


def check(file: str, *, settings: Settings) -> int:
    """Exit code 1 if something in it is never reached. Raises BadSettings if it cannot be read or understood."""
    policies = load(_named(file), s3=lambda: Clients(settings.aws).s3)
    never, over = list(unreachable(policies)), list(lapsed(policies, datetime.now(UTC)))
    for sentence in (*never, *over):
        print(shown(sentence))
    rest = "" if never else "; every rule can be reached"
    print(f"{shown(file)}: {counted(len(policies.licence), 'licence')}, {counted(len(policies.rule), 'rule')}{rest}")
    return 1 if never else 0


def test(hit: str, *, file: str, as_json: bool, settings: Settings) -> int:
    """Raises BadSettings: there is no such hit, or it is none, or the file cannot be understood."""
    policies = load(_named(file), s3=lambda: Clients(settings.aws).s3)
    found = _found(hit, settings)
    track, play = of_hit(found)
    offered = offers(settings)
    decided = carried_out(Deciding(policies), offered)(track, play)
    misses, asked = _misses(policies, track, play), list(_asked(offered, found, decided))
    if as_json:
        print(json.dumps({"policy": asdict(decided), "actions": asked, "considered": misses}, ensure_ascii=False, indent=2))
        return 0
    print(shown(f"{decided.action}: {decided.reason}"))
    if decided.grace_s:
        print(f"whoever acts on it waits {decided.grace_s:g} s from the play's begin")
    print("an alert tells of it" if decided.notify else "no alert tells of it")
    for action in asked:
        print(shown(f"{action['kind']}: {action['detail'] or 'at once'}"))
    for one in misses:
        held = "holds" if not one["why_not"] else "; ".join(one["why_not"])
        print(shown(f"  {one['kind']} {one['id']}: {held}"))
    return 0


def _asked(offered: Sequence[Offer], hit: Mapping[str, Any], decided: Policy) -> Iterator[Mapping[str, str]]:
    """What the hit would ask for while it is open, as the settings are."""
    query = {name: float(hit["query"][name]) for name in ("begin_s", "end_s")}
    for change in changes(offered, {**hit, "state": "open", "query": query, "policy": asdict(decided)}, {}):
        yield {"kind": change.kind, "state": change.state, "detail": change.detail}


def _misses(policies: Policies, track: Track, play: Circumstances) -> list[dict[str, Any]]:
    licences = [{"kind": "licence", "id": of.id, "why_not": list(why_not_licensed(of, track, play))} for of in policies.licence]
    return [*licences, *({"kind": "rule", "id": of.id, "why_not": list(why_not(of.when, policies, track, play))} for of in policies.rule)]


def _named(file: str) -> str:
    if not file:
        raise BadSettings("no policy file is named: give one, or set policy.file; config/policy.toml shows what may be in it")
    return file


# ------------------------------------------------------------------------------------------------ the hit


def _found(hit: str, settings: Settings) -> Mapping[str, Any]:
    if hit == "-":
        return _parsed(sys.stdin.read(_HIT_BYTES_MAX + 1), "standard input")
    path = Path(hit)
    if path.suffix == ".json" or path.is_file():
        try:
            with path.open(encoding="utf-8") as file:
                return _parsed(file.read(_HIT_BYTES_MAX + 1), hit)
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"the hit {shown(hit)} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        return evidence.hit(connection, hit)


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    if len(text) > _HIT_BYTES_MAX:
        raise BadSettings(f"{shown(name)} is no hit: it has more than {_HIT_BYTES_MAX:,} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{shown(name)} is not JSON: {error}") from None
    if not isinstance(found, dict) or not {"stream", "track", "query", "coverage", "reference", "state"} <= set(found):
        raise BadSettings(f"{shown(name)} is no hit: one has stream, track, query, coverage, reference and state (config/schema/hit.v1.json)")
    return found


def of_hit(hit: Mapping[str, Any]) -> tuple[Track, Circumstances]:
    """What is known of a play, as its hit tells it. Raises BadSettings if it is no hit."""
    try:
        said, stream = hit["track"], hit["stream"]
        named = {f.name: tuple(value) if isinstance(value := said[f.name], list) else value for f in fields(Track) if f.name in said}
        track = Track(**{**named, "track_id": hit["reference"]["track_id"]})
        of = Stream(
            stream_id=stream["id"], source=stream["source"], channel_arn=stream["channel_arn"], channel_name=stream["channel_name"], tags=dict(stream["tags"])
        )
        return track, Circumstances.told(of, hit)
    except (KeyError, TypeError, ValueError) as error:
        raise BadSettings(f"it is no hit as config/schema/hit.v1.json has it: {type(error).__name__} {error}") from None
