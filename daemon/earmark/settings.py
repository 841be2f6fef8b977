"""TOML and environment in, frozen `Settings` out. An unknown key is an error; so is a wrong type.

Every field carries its default, its unit (in the name) and why it is there; `config/earmark.toml` and the table in
README are checked against them. Precedence: `EARMARK_SECTION__KEY` over the settings file over the default.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer, model_validator

from earmark.errors import BadSettings
from earmark.model import MatchParams
from earmark.settings_errors import SHOWN_MAX, bad, one_line, shown

PREFIX = "EARMARK_"
#: Environment variables with the prefix that are not settings.
NOT_SETTINGS = {"EARMARK_CONFIG"}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


Positive = Annotated[float, Field(gt=0)]
#: In US$; whoever types more has forgotten the point.
Price = Annotated[float, Field(ge=0, le=100_000)]
Share = Annotated[float, Field(gt=0, le=1)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Database(Section):
    """PostgreSQL: the catalogue, the leases and the outbox."""

    dsn: SecretStr = Field(SecretStr(""), description="libpq connection string; `earmark run` needs one, the desk commands start a server of their own without")
    read_dsn: SecretStr = Field(SecretStr(""), description="where look-ups go, e.g. an Aurora reader; empty: the same as dsn")
    pool_max: int = Field(
        8,
        ge=2,
        le=100,
        description="connections of this process for checkpoints, leases and the outbox, and as many again for look-ups; one more listens for news",
    )
    connect_timeout_s: Positive = Field(10, description="a database that does not answer within this is down")
    statement_timeout_s: Positive = Field(15, description="a statement longer than this is cancelled and tried again")


class Aws(Section):
    """How AWS is reached; credentials come from the usual chain."""

    region: str = Field("", description="empty: the usual chain (AWS_REGION, profile)")
    endpoint_url: str = Field(
        "", description="another endpoint for every service, e.g. a stand-in on this machine; AWS_ENDPOINT_URL_IVS and its like go before it"
    )
    connect_timeout_s: Positive = Field(5, description="per attempt")
    read_timeout_s: Positive = Field(30, description="per attempt; longer than the queue's long poll")
    attempts_max: int = Field(4, ge=1, le=10, description="attempts per call, with exponential back-off and jitter, before it counts as failed")
    ivs_calls_per_s: Positive = Field(
        4,
        description="IVS allows 5 calls a second per account and region to each of GetChannel, GetStream and ListStreams, not adjustable: stay below, other tools call too",
    )
    medialive_calls_per_s: Positive = Field(2, description="calls to MediaLive's ListChannels and DescribeChannel together: other tools call too")


class Catalogue(Section):
    """The reference recordings."""

    shared_passages: bool = Field(True, description="compare what is added with what is there, so that a sample of both tells neither; 3 ms for a second of it")
    upkeep_share_max: Share = Field(0.2, description="share of one thread's time for packing and merging what was added; 1: as fast as it can")


class Queue(Section):
    """The SQS queue that EventBridge fills."""

    url: str = Field("", description="the queue's URL; empty: no events are read (static streams only)")
    wait_s: int = Field(20, ge=0, le=20, description="long poll; 20 is SQS's longest")
    visibility_s: int = Field(60, ge=5, le=43_200, description="how long a received message stays hidden while it is recorded")
    stale_event_s: Positive = Field(900, description="a start older than this is only a hint: GetStream is asked before listening")


class Results(Section):
    """Where hits are kept."""

    bucket: str = Field("", description="S3 bucket of hits and summaries; empty: nothing is published to S3")
    prefix: str = Field("", description="put before every key; end it with a slash")
    summary_every_s: Positive = Field(60, description="`stream.json` is rewritten at most this often while nothing but the position changes")


class Alerts(Section):
    """The SNS topic."""

    topic_arn: str = Field("", description="topic of the alerts; empty: none are sent")
    on: tuple[Literal["provisional", "open", "closed"], ...] = Field(("open",), description="which states of a play alert: one mail per state and play")
    per_stream_hour_max: int = Field(60, ge=0, description="alerts per stream and hour; further ones are counted, and named in the last that goes out")


class Leases(Section):
    """Who listens to what."""

    worker: str = Field("", description="this worker's name; empty: host name and a random suffix")
    ttl_s: Positive = Field(15, description="a lease not renewed for this long may be taken over; judged by the database's clock")
    renew_s: Positive = Field(4, description="one statement renews all leases of the worker and reads stop flags; at most a third of ttl_s")
    streams_max: int = Field(300, ge=1, description="most sessions in this process; admission also looks at how busy it is")
    busy_share_max: Share = Field(0.7, description="claim nothing while the compute thread is busier than this")
    attempts_max: int = Field(
        5,
        ge=3,
        description="deaths of a stream's process before it is quarantined: two of workers at most, which prove nothing, the others of child processes that heard it alone",
    )
    restart_initial_s: Positive = Field(1, description="back-off after a session failed; doubles, with jitter")
    restart_max_s: Positive = Field(60, description="longest back-off between restarts of a session")
    drain_s: Positive = Field(100, description="after SIGTERM everything is handed over within this; ECS kills after 120 s at the latest")

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Self:
        if 3 * self.renew_s > self.ttl_s:
            raise ValueError(
                f"leases.renew_s ({self.renew_s:g}) must be at most a third of leases.ttl_s ({self.ttl_s:g}), or leases expire between two renewals"
            )
        return self


class Reconcile(Section):
    """Events may be missing, late or out of order: a sweep puts that right."""

    every_s: Positive = Field(60, description="ListStreams, ListChannels and the places of archive files are swept this often")
    adopt: bool = Field(True, description="open live IVS streams and running MediaLive channels with an archive whose start event never came")
    medialive: bool = Field(True, description="sweep MediaLive too; false where there is none, or the role may not list its channels")


class SessionSettings(Section):
    """One run of listening to one stream."""

    max_s: Positive = Field(86_400, description="a source without an end is cut into sessions at multiples of this since midnight UTC")
    end_grace_s: Positive = Field(15, description="after a stream's end was announced, what is still listed is read for this long")
    silent_origin_s: Positive = Field(
        60, description="nothing new from the origin for this long ends the session (an IVS stream is asked for by GetStream first)"
    )
    buffer_s: Positive = Field(
        300, description="taken in while the database is away, and heard when it is back: 1 kB a second of each stream; what comes after that is a gap"
    )
    late_s: Positive = Field(20, description="further behind than this: drop to the live edge and record the gap")


class Hls(Section):
    """What a playlist may make us fetch."""

    allow_hosts: tuple[str, ...] = Field(
        (".live-video.net",),
        description="host names, or suffixes that begin with a dot, that streams from events and their playlists may use; a static stream's own host is allowed for that stream",
    )
    allow_private: tuple[str, ...] = Field(
        (), description="host:port pairs at private or loopback addresses that may be reached all the same; metadata services never"
    )
    allow_http: bool = Field(False, description="plain http for allowed hosts; hosts in allow_private may always use it")
    playlist_bytes_max: int = Field(1_000_000, gt=0, description="a longer playlist is refused")
    segment_bytes_max: int = Field(32_000_000, gt=0, description="a longer segment is refused and costs that segment")
    segment_s_max: Positive = Field(60, description="a segment that claims, or decodes to, more media than this is refused or cut")
    redirects_max: int = Field(5, ge=0, description="each hop is checked like the first address")
    connect_timeout_s: Positive = Field(5, description="per attempt")
    read_timeout_s: Positive = Field(5, description="between two reads")
    deadline_s: Positive = Field(15, description="for a whole request, however it dribbles")
    audio_kbps_min: Positive = Field(64, description="without an audio-only rendition: the lowest with at least this much audio")


class MediaLive(Section):
    """Archive segments in S3."""

    gap_wait_s: Positive = Field(30, description="how long a missing number is waited for before it is a gap")
    end_grace_s: Positive = Field(60, description="after IDLE: the last, short file may still arrive")
    idle_end_s: Positive = Field(600, description="no new file for this long ends a session that no channel event ends")
    file_bytes_max: int = Field(
        512_000_000, gt=0, description="a longer archive file is refused and costs that file; its video is dropped as soon as it is here"
    )
    pipeline: Literal["0", "1"] = Field("0", description="of a standard channel's two pipelines, the one that is heard")
    archives: dict[str, str] = Field(
        default_factory=dict,
        description="s3://bucket/prefix -> stream name, for archives whose channel cannot be described; an object under a prefix opens the session itself; the name * is the folder below the prefix",
    )


class StaticStream(Section):
    """A stream that is always wanted."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+@-]{0,95}$", description="stream_id is this and the date")
    url: str = Field(pattern=r"^https?://[^/]", description="any HLS URL")
    tags: dict[str, str] = Field(default_factory=dict, description="copied into every hit")

    @field_serializer("url", when_used="json")
    def _shown(self, url: str) -> str:
        """For people, as a DSN is shown: who may listen is in a URL's query, and in what stands before its host."""
        address, query, _ = url.partition("?")
        scheme, _, rest = address.partition("://")
        head, slash, path = rest.partition("/")
        return f"{scheme}://{'**********@' if '@' in head else ''}{head.rpartition('@')[2]}{slash}{path}{'?**********' if query else ''}"


class Streams(Section):
    """Sources that no event announces."""

    static: tuple[StaticStream, ...] = Field((), description="HLS URLs that are listened to all the time")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        names = [stream.name for stream in self.static]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"streams.static has more than one stream called {twice}: each name is one stream's")
        return self


class Matching(Section):
    """How sure is sure."""

    window_s: Positive = Field(12, description="evidence is gathered over this much of the stream")
    false_alarms_per_hour: Positive = Field(1e-4, description="per stream-hour, for the present catalogue: the decision threshold")
    left_nats: float = Field(
        10,
        ge=0,
        description="evidence that must be left without a play's best seconds (up to 4, the fewer the more of what is heard it explains) before it is told",
    )
    confirm_s: float = Field(10, ge=0, description="a line shorter than this is a quotation, not a play")
    hold_nats: Positive = Field(12, description="evidence in the last 6 s that keeps a play open")
    close_s: Positive = Field(12, description="a play below hold_nats for this long is closed, dated back to its last evidence")
    transform_every_s: float = Field(6, ge=0, description="seconds between two tries of another speed while nothing is open; 0: never")
    transform_busy_max: float = Field(
        0.7, ge=0, le=1, description="busy share of the compute thread from which other speeds are not tried: the first to be shed"
    )
    candidates_max: int = Field(8, ge=1, le=64, description="candidates verified per second and speed")
    lines_max: int = Field(4, ge=1, le=32, description="lines followed at once per stream")

    def params(self) -> MatchParams:
        return MatchParams(**self.model_dump(exclude={"transform_busy_max"}))


class Outbox(Section):
    """What still has to leave."""

    batch: int = Field(20, ge=1, le=500, description="rows taken at once")
    threads: int = Field(8, ge=1, le=64, description="sends under way at once; an S3 or SNS call waits some 50 ms for its answer")
    alert_wait_s: Positive = Field(300, description="an alert waits this long for its hit to be in S3; then it goes out all the same")
    poll_s: Positive = Field(1, description="how often it is looked for work when nobody said there is some")
    retry_initial_s: Positive = Field(1, description="first back-off of a row; doubles, with jitter")
    retry_max_s: Positive = Field(300, description="longest back-off of a row")
    dead_after_s: Positive = Field(259_200, description="a row that has failed for this long is set aside as dead, visible and re-drivable")


class Retention(Section):
    """How long things are kept in PostgreSQL; what is wanted, heard, owed or in quarantine stays however old it is."""

    every_s: Positive = Field(600, description="what is too old is removed this often, by one worker of all")
    batch: int = Field(500, ge=1, le=10_000, description="rows removed in one transaction; between two of them others have their turn")
    evidence_days: int = Field(
        30, ge=1, description="what proves a play is a likeness of what people said and sang: gone after this, here and in S3; the hit stays"
    )
    sessions_days: int = Field(400, ge=15, description="sessions that have ended, with their plays: a year of royalty statements, and a month to dispute them")
    inbox_days: int = Field(15, ge=15, description="archive segments' arrivals and channels' events: SQS repeats a message for up to 14 days")
    dead_days: int = Field(14, ge=1, description="outbox rows that were given up; until then `earmark outbox retry` brings them back")


class Ecs(Section):
    """Task scale-in protection, where the ECS agent is there (ECS_AGENT_URI)."""

    protect: bool = Field(True, description="ask that neither scale-in nor a deployment stops the task while sessions run")
    protection_minutes: int = Field(60, ge=2, le=2880, description="it ends by itself after this, if the task hangs; renewed after half of it")
    timeout_s: Positive = Field(3, description="the agent is on the same machine: a call that takes longer has failed")


class Prices(Section):
    """What AWS asks for, in US$, before discounts and free tiers: for estimates in `earmark streams list` and the metrics."""

    as_of: date = Field(
        date(2026, 11, 22), description="when the prices were gathered: us-east-1, on demand, as others quote the pages named here; put your own in their place"
    )
    worker_usd_per_hour: Price = Field(
        0.0395, description="one worker, busy or idle: a task with a vCPU at 0.03238 and 2 GB at 0.00356, Linux/ARM (aws.amazon.com/fargate/pricing)"
    )
    database_vcpu_usd_per_hour: Price = Field(
        0.48, description="Aurora Serverless v2: 0.12 for a capacity unit, some four of which are one vCPU (aws.amazon.com/rds/aurora/pricing)"
    )
    database_usd_per_hour_min: Price = Field(0.06, description="the database, however little it is asked: half a capacity unit; its storage is not in it")
    database_cpu_ms_per_s: float = Field(
        0.7, ge=0, le=1000, description="CPU of the database for a second of a stream: measured with 235 streams and 10,000 recordings, .7 to 1.1 with fewer"
    )
    transfer_usd_per_gb: Price = Field(
        0.045, description="what origins send, through a NAT gateway (aws.amazon.com/vpc/pricing); 0 for tasks with public addresses. S3's files come without"
    )
    ivs_audio_usd_per_hour: Price = Field(0.0075, description="an hour of an IVS stream viewed, sound alone (aws.amazon.com/ivs/pricing)")
    ivs_sd_usd_per_hour: Price = Field(0.0375, description="up to 480 lines; this and the others in North America, for the first 10,000 hours of a month")
    ivs_hd_usd_per_hour: Price = Field(0.075, description="up to 720 lines")
    ivs_full_hd_usd_per_hour: Price = Field(0.15, description="more lines")


class Log(Section):
    """structlog."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="lines below it are not made")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, JSON otherwise")


class Metrics(Section):
    """The one HTTP port: /metrics, /healthz, /readyz."""

    host: str = Field("0.0.0.0", description="address to listen on")
    port: Port = Field(9100, description="0: none")


class Settings(Section):
    """Everything."""

    database: Database = Database()
    aws: Aws = Aws()
    catalogue: Catalogue = Catalogue()
    queue: Queue = Queue()
    results: Results = Results()
    alerts: Alerts = Alerts()
    leases: Leases = Leases()
    reconcile: Reconcile = Reconcile()
    session: SessionSettings = SessionSettings()
    hls: Hls = Hls()
    medialive: MediaLive = MediaLive()
    streams: Streams = Streams()
    matching: Matching = Matching()
    outbox: Outbox = Outbox()
    retention: Retention = Retention()
    ecs: Ecs = Ecs()
    prices: Prices = Prices()
    log: Log = Log()
    metrics: Metrics = Metrics()

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
