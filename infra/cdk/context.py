"""What an operator may say about a deployment: `cdk deploy -c name=value`, each value checked in one sentence before anything is made.

Values from a command line are text; in cdk.json they may be numbers and booleans.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

#: What CDK's own context looks like: feature flags, lookups it remembers, its CLI's words.
_FOREIGN: Final = re.compile(r"^(@|cdk|load-balancer)|[:/]")

# RFC 5321 allows more; SNS takes what mail programs take.
_EMAIL: Final = re.compile(r"^[^@\s,;<>\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")
#: S3 user guide, "General purpose bucket naming rules".
_BUCKET: Final = re.compile(r"^(?!xn--|sthree-|\d+\.\d+\.\d+\.\d+$)(?!.*(\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_VPC: Final = re.compile(r"^vpc-[0-9a-f]{8}([0-9a-f]{9})?$")
_SECURITY_GROUP: Final = re.compile(r"^sg-[0-9a-f]{8}([0-9a-f]{9})?$")
_CLUSTER_ARN: Final = re.compile(r"^arn:aws[a-z-]*:rds:[a-z0-9-]+:\d{12}:cluster:[a-z][a-z0-9-]*$")
_BUS: Final = re.compile(r"^(arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus/)?[A-Za-z0-9._/-]{1,256}$")
#: As the daemon has it, which knows more: a host, and nothing before it that names a user.
_HTTPS: Final = re.compile(r"^https://[A-Za-z0-9.-]+(:\d{1,5})?(/[!-~]*)?$")
_SECRET_ARN: Final = re.compile(r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+$")


class BadContext(ValueError):
    """Which value, what it is, what it should be."""


def _email(text: str) -> str:
    if not _EMAIL.match(text):
        raise ValueError("is no e-mail address: write one like rights@example.com")
    return text


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def one(text: str) -> str:
        if not pattern.match(text):
            raise ValueError(f"is not {what}")
        return text

    return one


_bucket = _matching(_BUCKET, "a bucket's name: 3 to 63 of a-z, 0-9, - and ., without s3:// and without a path")


def _buckets(text: str) -> tuple[str, ...]:
    names = tuple(_bucket(name.strip()) for name in text.split(",") if name.strip())
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"names {', '.join(sorted(twice))} twice")
    return names


def _archive_buckets(text: str) -> tuple[str, ...]:
    names = _buckets(text)
    dotted = [name for name in names if "." in name]
    if dotted:
        # MediaLive user guide, "Fields for the output destination"
        raise ValueError(f"names {dotted[0]}, and MediaLive writes to no bucket with a dot in its name")
    return names


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


def _mode(text: str) -> str:
    if text not in ("off", "dry_run", "on"):
        raise ValueError("is none of off, dry_run and on")
    return text


def _policies(text: str) -> str:
    """As far as it can be looked through without the daemon: `earmark policy check` knows all of it."""
    try:
        tomllib.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror} (from {Path.cwd()})") from None
    except ValueError as error:
        raise ValueError(f"is no TOML: {error}") from None
    return str(Path(text).resolve())


def _whole(low: int, high: int) -> Callable[[str], int]:
    def one(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high:,}")
        return int(text)

    return one


def _minutes(text: str) -> int:
    if text != "0" and (not re.fullmatch(r"\d{1,4}", text) or not 2 <= int(text) <= 1_440):
        raise ValueError("is neither 0 nor a whole number of minutes from 2 to 1,440, a day")
    return int(text)


def _units(text: str) -> float:
    # Aurora user guide, "Aurora Serverless v2 capacity": half a unit to 256, in halves.
    if not re.fullmatch(r"\d{1,3}(\.[05])?", text) or not 0.5 <= float(text) <= 256:
        raise ValueError("is not a capacity of Aurora Serverless v2: 0.5 to 256, in steps of 0.5")
    return float(text)


def _said(default: T, takes: Callable[[str], T], says: str) -> T:
    return field(default=default, metadata={"takes": takes, "says": says})


@dataclass(frozen=True, kw_only=True)
class Context:
    """Each field is a context value of the same name; `says` is its line in README."""

    # fmt: off
    alertEmail: str = _said("", _email, "who gets the alerts; the address has to confirm the mail that SNS sends it")
    operatorEmail: str = _said("", _email, "who gets the alarms; without it, alertEmail")
    notificationQueue: bool = _said(True, _flag, "a queue of what alerts tell of plays, as JSON for programs")
    medialiveArchiveBucket: tuple[str, ...] = _said((), _archive_buckets, "buckets, separated by commas, to which MediaLive's archive groups write")
    recordingBuckets: tuple[str, ...] = _said((), _buckets, "buckets, separated by commas, to which Amazon IVS records")
    playlistBuckets: tuple[str, ...] = _said((), _buckets, "buckets, separated by commas, whose HLS playlists are listened to")
    catalogueBucket: str = _said("", _bucket, "bucket that is there, for catalogue/ and check/; without it, one is made")
    playbackKeyArn: str = _said("", _matching(_SECRET_ARN, "the ARN of a secret of Secrets Manager"), "secret with the playback key of private IVS channels")
    vpcId: str = _said("", _matching(_VPC, "a VPC's id: vpc- and 8 or 17 hexadecimal digits"), "VPC that is there; without it, one is made")
    natless: bool = _said(False, _flag, "tasks with public addresses, and nothing that reaches them, in place of a NAT gateway")
    databaseArn: str = _said("", _matching(_CLUSTER_ARN, "the ARN of an Aurora cluster"), "Aurora PostgreSQL that is there, with a database `earmark` in it; with databaseSecretArn, databaseSecurityGroup and vpcId")
    databaseSecretArn: str = _said("", _matching(_SECRET_ARN, "the ARN of a secret of Secrets Manager"), "its secret: host, port, username and password")
    databaseSecurityGroup: str = _said("", _matching(_SECURITY_GROUP, "a security group's id: sg- and 8 or 17 hexadecimal digits"), "its security group, which will let the tasks in")
    databaseUnitsMin: float = _said(0.5, _units, "the least capacity of the database that is made, in Aurora's units")
    databaseUnitsMax: float = _said(8.0, _units, "the most")
    capacityMin: int = _said(1, _whole(1, 1_000), "tasks, at least; 2 outlive a zone without a pause")
    capacityMax: int = _said(10, _whole(1, 1_000), "tasks, at most; each is one core")
    arm64: bool = _said(True, _flag, "Graviton; false: x86-64, a fifth dearer")
    protectTasks: bool = _said(False, _flag, "a task that listens is stopped neither by scaling in nor by a deployment, which then waits: for streams that all end within an hour or two")
    canaryMinutes: int = _said(10, _minutes, "minutes from one stream of the canary's to the next: is what plays heard? 0: none")
    retentionDays: int = _said(400, _whole(15, 3_650), "how long hits are kept, in the database and in S3")
    policyFile: str = _said("", _policies, "file of licences and rules on this machine (config/policy.toml shows all of it); each deployment takes it along as it is")
    nowPlaying: str = _said("off", _mode, "title and artist of what plays are put into IVS streams for their players: off, dry_run (hits say what would be done) or on")
    stopStream: str = _said("off", _mode, "an IVS stream is stopped while a play goes on that is blocked: off, dry_run or on")
    revokeStreamKeys: bool = _said(False, _flag, "with stopStream: the channel's stream key goes first, and its broadcaster cannot come back without a new one")
    webhook: str = _said("off", _mode, "hits are posted, signed: off, dry_run or on; with webhookUrl and webhookSecretArn")
    webhookUrl: str = _said("", _matching(_HTTPS, "an address that begins with https://"), "where to; what stands in its path can be read in the template")
    webhookSecretArn: str = _said("", _matching(_SECRET_ARN, "the ARN of a secret of Secrets Manager"), "secret with what they are signed with: whsec_ and base64, or two of them with a space between")
    eventBridge: str = _said("off", _mode, "hits are put on an event bus, for rules of yours: off, dry_run or on")
    eventBus: str = _said("", _matching(_BUS, "the name or the ARN of an event bus"), "with eventBridge: which one; without it, the account's default bus")
    # fmt: on

    def __post_init__(self) -> None:
        if self.capacityMin > self.capacityMax:
            raise BadContext(f"capacityMin ({self.capacityMin}) is above capacityMax ({self.capacityMax}): raise the one or lower the other")
        if self.databaseUnitsMin > self.databaseUnitsMax:
            raise BadContext(f"databaseUnitsMin ({self.databaseUnitsMin:g}) is above databaseUnitsMax ({self.databaseUnitsMax:g})")
        beside = {"databaseSecretArn": self.databaseSecretArn, "databaseSecurityGroup": self.databaseSecurityGroup, "vpcId": self.vpcId}
        absent = [name for name, value in beside.items() if not value]
        if self.databaseArn and absent:
            raise BadContext(f"databaseArn needs {_listed(absent)} as well: how the database is reached")
        units = [name for name in ("databaseUnitsMin", "databaseUnitsMax") if getattr(self, name) != getattr(Context, name)]
        if self.databaseArn and units:
            raise BadContext(f"{_listed(units)} with databaseArn: how much a database that is there may take is set where it was made")
        self._check_actions()
        alone = [name for name in ("databaseSecretArn", "databaseSecurityGroup") if beside[name]]
        if alone and not self.databaseArn:
            raise BadContext(f"{_listed(alone)} without databaseArn: name the cluster too, or none of them and one is made")

    def _check_actions(self) -> None:
        """Raises BadContext for half of an action, which would do nothing, or not what was meant."""
        of_webhook = {"webhookUrl": self.webhookUrl, "webhookSecretArn": self.webhookSecretArn}
        absent = [name for name, value in of_webhook.items() if not value]
        if self.webhook != "off" and absent:
            raise BadContext(f"webhook ({self.webhook}) needs {_listed(absent)} as well: where hits are posted to, and what they are signed with")
        said = {
            "webhook": [name for name, value in of_webhook.items() if value],
            "stopStream": ["revokeStreamKeys"] * self.revokeStreamKeys,
            "eventBridge": ["eventBus"] * bool(self.eventBus),
        }
        for action, beside in said.items():
            if beside and getattr(self, action) == "off":
                raise BadContext(f"{_listed(beside)} without {action}: say {action}=dry_run, or on")

    def check_place(self, *, account: str, region: str) -> None:
        """Where it is deployed, as the CLI has it of its credentials; empty: it has none. Raises BadContext."""
        if self.vpcId and not (account and region):
            raise BadContext(f"vpcId ({self.vpcId}) is looked up in your account: give the CLI credentials and a region, as for `aws sts get-caller-identity`")
        for name in ("databaseArn", "databaseSecretArn", "playbackKeyArn", "webhookSecretArn", "eventBus"):
            arn = getattr(self, name)
            there = arn.split(":")[3] if arn.startswith("arn:") else region
            if region and there != region:
                raise BadContext(f"{name} is in {there}, and this deployment is in {region}: it has to be where the tasks are")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Raises BadContext."""
        known = {one.name: one for one in fields(cls)}
        strangers = [name for name in given if name not in known and not _FOREIGN.search(name)]
        if strangers:
            raise BadContext(f"{strangers[0]} is no context value of this stack: it knows {', '.join(known)}")
        return cls(**{name: _taken(name, given[name], known[name].metadata["takes"]) for name in known if given.get(name) not in (None, "")})


def _taken(name: str, value: Any, takes: Callable[[str], Any]) -> Any:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value).strip()
    try:
        return takes(text)
    except ValueError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise BadContext(f"{name} ({shown}) {error}") from None


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def as_markdown() -> str:
    """The table in README."""
    rows = [f"| `{one.name}` | {_default(one.default)} | {one.metadata['says']} |" for one in fields(Context)]
    return "\n".join(["| Context value | Default | What it is |", "| --- | --- | --- |", *rows])


def _default(value: object) -> str:
    return "" if value in ("", ()) else f"`{str(value).lower()}`"
