"""TOML and environment in, frozen `Settings` out. An unknown key is an error; so is a wrong type.

Every field carries its default, its unit (in the name) and why it is there; `config/earmark.toml` and the table in
README are checked against them. Precedence: `EARMARK_SECTION__KEY` over the settings file over the default.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from earmark.errors import BadSettings
from earmark.settings.actions import NowPlaying, StopStream
from earmark.settings.alerts import Alerts
from earmark.settings.api import Api
from earmark.settings.auto_record import AutoRecord
from earmark.settings.canary import Canary
from earmark.settings.checking import Check
from earmark.settings.decoys import Decoys
from earmark.settings.deployment import Aws, Database, Ecs, Log, Metrics, Outbox, Prices, Queue, Results, Retention
from earmark.settings.errors import SHOWN_MAX, bad, one_line, shown
from earmark.settings.eventbridge import EventBridge
from earmark.settings.evidence import Evidence
from earmark.settings.formats import Formats, refuse_mixed_up
from earmark.settings.hunt import Hunt
from earmark.settings.listening import Hls, Leases, Matching, MediaLive, Reconcile, SessionSettings, Streams
from earmark.settings.playback import Ivs
from earmark.settings.policy import Policy
from earmark.settings.recordings import Catalogue
from earmark.settings.reporting import Cuts, Reporting
from earmark.settings.section import Section
from earmark.settings.webhook import Webhook

PREFIX = "EARMARK_"
#: Environment variables with the prefix that are not settings.
NOT_SETTINGS = {"EARMARK_CONFIG"}


class Settings(Section):
    """Everything."""

    database: Database = Database()
    aws: Aws = Aws()
    catalogue: Catalogue = Catalogue()
    formats: Formats = Formats()
    queue: Queue = Queue()
    results: Results = Results()
    alerts: Alerts = Alerts()
    policy: Policy = Policy()
    stop_stream: StopStream = StopStream()
    now_playing: NowPlaying = NowPlaying()
    webhook: Webhook = Webhook()
    eventbridge: EventBridge = EventBridge()
    leases: Leases = Leases()
    reconcile: Reconcile = Reconcile()
    session: SessionSettings = SessionSettings()
    hls: Hls = Hls()
    ivs: Ivs = Ivs()
    medialive: MediaLive = MediaLive()
    auto_record: AutoRecord = AutoRecord()
    check: Check = Check()
    streams: Streams = Streams()
    matching: Matching = Matching()
    decoys: Decoys = Decoys()
    hunt: Hunt = Hunt()
    canary: Canary = Canary()
    evidence: Evidence = Evidence()
    outbox: Outbox = Outbox()
    retention: Retention = Retention()
    ecs: Ecs = Ecs()
    prices: Prices = Prices()
    log: Log = Log()
    metrics: Metrics = Metrics()
    api: Api = Api()
    cuts: Cuts = Cuts()
    reporting: Reporting = Reporting()

    @model_validator(mode="after")
    def _results_are_not_checked(self) -> Self:
        results = f"s3://{self.results.bucket}/{self.results.prefix}"
        if self.check.place and self.results.bucket and results.startswith(self.check.place):
            lies = f"results.bucket and results.prefix ({results}) must not lie in check.place ({self.check.place})"
            raise ValueError(f"{lies}, or every result would be checked")
        return self

    @model_validator(mode="after")
    def _copies_are_no_recordings(self) -> Self:
        refuse_mixed_up(self.formats, self.catalogue, self.check.place)
        return self

    @model_validator(mode="after")
    def _poll_is_waited_for(self) -> Self:
        if self.aws.read_timeout_s <= self.queue.wait_s:
            waits = f"aws.read_timeout_s ({self.aws.read_timeout_s:g}) must be longer than queue.wait_s ({self.queue.wait_s})"
            raise ValueError(f"{waits}, or no long poll is ever answered")
        return self


@dataclass(frozen=True)
class Loaded:
    settings: Settings
    #: "section.key" -> where its value comes from: a file's path, or an environment variable's name.
    origins: Mapping[str, str]


def load(config: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read the settings file (if any) and the environment.

    Raises BadSettings naming the key, where it was set, what is wrong and what is allowed.
    """
    path = config or environ.get("EARMARK_CONFIG")
    tree, origins = _from_file(Path(path)) if path else ({}, {})
    _overlay(tree, origins, environ)
    try:
        return Loaded(Settings.model_validate(tree), origins)
    except ValidationError as error:
        raise bad(error, Settings, origins) from None


def tried(settings: Settings, section: str, changes: Sequence[str]) -> Settings:
    """The settings with changes of one section, each written as ``section.key=value``. Raises BadSettings as `load` does."""
    tree: dict[str, Any] = {name: getattr(settings, name) for name in Settings.model_fields}
    values = tree[section].model_dump()
    for change in changes:
        name, separator, text = change.partition("=")
        owner, _, key = name.strip().partition(".")
        if not separator or owner != section or not key:
            raise BadSettings(f"{shown(change)} cannot be tried: write {section}.KEY=VALUE; only settings of {section} can be")
        values[key] = _value(section, key, text.strip())
    try:
        return Settings.model_validate({**tree, section: values})
    except ValidationError as error:
        raise bad(error, Settings, {section: "--set"}) from None


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    name = one_line(str(path), 2 * SHOWN_MAX)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"the settings file {name} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise BadSettings(f"the settings file {name} is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, bytes that are no UTF-8, or a number of more digits than Python converts
        raise BadSettings(f"the settings file {name} is not TOML: {one_line(str(error), 4 * SHOWN_MAX)}") from None
    origins = {}
    for section, keys in tree.items():
        for key in keys if isinstance(keys, dict) else ():
            origins[f"{section}.{key}"] = str(path)
        origins.setdefault(section, str(path))
    return tree, origins


def _overlay(tree: dict[str, Any], origins: dict[str, str], environ: Mapping[str, str]) -> None:
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        section, separator, key = name.removeprefix(PREFIX).lower().partition("__")
        if not separator:
            raise BadSettings(f"the environment variable {one_line(name)} is no setting: write {PREFIX}SECTION__KEY, e.g. {PREFIX}DATABASE__DSN")
        here = tree.setdefault(section, {})
        if not isinstance(here, dict):
            raise BadSettings(f"{one_line(section)} in the settings file must be a table, as {one_line(name)} sets a key of it")
        here[key] = _value(section, key, text)
        origins[f"{section}.{key}"] = name
        origins.setdefault(section, name)


def _value(section: str, key: str, text: str) -> Any:
    """Lists and tables are written as JSON; a list of strings may be comma-separated."""
    owner = Settings.model_fields.get(section)
    field = owner.annotation.model_fields.get(key) if owner and isinstance(owner.annotation, type) and issubclass(owner.annotation, Section) else None
    if field is None or not isinstance(field.default if field.default_factory is None else {}, tuple | dict):
        return text
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except RecursionError:
            raise BadSettings(f"{PREFIX}{section.upper()}__{key.upper()} is nested too deeply") from None
        except ValueError as error:  # JSONDecodeError, or a number of more digits than Python converts
            raise BadSettings(f"{PREFIX}{section.upper()}__{key.upper()} is not JSON: {one_line(str(error))}") from None
    return [part.strip() for part in text.split(",") if part.strip()]
