"""Where the daemon runs: its database, its queue, its buckets, and what they cost."""

from datetime import date
from typing import Literal

from pydantic import Field, SecretStr

from earmark.settings.section import Port, Positive, Price, Section


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
    iam: bool = Field(
        False, description="in place of a password, a token that the process's AWS role signs for each connection: for Aurora with IAM authentication, over TLS"
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
    s3_usd_per_million_gets: Price = Field(
        0.4, description="objects asked for in S3, where streams are heard from IVS's recordings (aws.amazon.com/s3/pricing)"
    )
    s3_usd_per_million_lists: Price = Field(5.0, description="pages of listings")
    ivs_audio_usd_per_hour: Price = Field(0.0075, description="an hour of an IVS stream viewed, sound alone (aws.amazon.com/ivs/pricing)")
    ivs_sd_usd_per_hour: Price = Field(0.0375, description="up to 480 lines; this and the others in North America, for the first 10,000 hours of a month")
    ivs_hd_usd_per_hour: Price = Field(0.075, description="up to 720 lines")
    ivs_full_hd_usd_per_hour: Price = Field(0.15, description="more lines")


class Log(Section):
    """structlog."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="lines below it are not made")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, JSON otherwise")
    repeats_max: int = Field(
        5, ge=0, le=1000, description="lines of one event about one stream in a minute; what is beyond is counted, and told in one line a minute; 0: no limit"
    )


class Metrics(Section):
    """The one HTTP port: /metrics, /healthz, /readyz."""

    host: str = Field("0.0.0.0", description="address to listen on")
    port: Port = Field(9100, description="0: none")
