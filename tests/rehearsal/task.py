"""The daemon's container as the synthesised task definition has it, and as a process here: of the image, or of this checkout.

Command, environment, health check, port and time to stop are the template's; only where things are is another's.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from earmark.local.worker import Worker
from stack_synthesis import container, of_type

CONTAINED = Path(__file__).with_name("contained.py")
#: Its role wants one, and finds it empty.
PLACE: Final = "s3://earmark-media/catalogue/"
#: What a rehearsal has of its own, in place of what was deployed.
REPLACED: Final = (
    "EARMARK_DATABASE__",
    "EARMARK_QUEUE__",
    "EARMARK_RESULTS__",
    "EARMARK_ALERTS__",
    "EARMARK_METRICS__",
    "EARMARK_CATALOGUE__",
    "EARMARK_CHECK__",
    "PG",
)


@dataclass(frozen=True)
class Terms:
    """What the template says of the daemon's container, and of how many there are of it."""

    definition: Mapping[str, Any]
    tasks: int
    healthy_percent_min: int
    healthy_percent_max: int

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> "Terms":
        (service,) = of_type(resources, "AWS::ECS::Service")
        (target,) = of_type(resources, "AWS::ApplicationAutoScaling::ScalableTarget")
        deployment = service["Properties"]["DeploymentConfiguration"]
        return cls(container(resources, "Daemon"), target["Properties"]["MinCapacity"], deployment["MinimumHealthyPercent"], deployment["MaximumPercent"])

    @property
    def command(self) -> list[str]:
        words: list[str] = self.definition["Command"]
        return words

    @property
    def port(self) -> int:
        (mapping,) = self.definition["PortMappings"]
        port: int = mapping["ContainerPort"]
        return port

    @property
    def environment(self) -> dict[str, str]:
        """What the template says in full, and a rehearsal does not replace."""
        said = {one["Name"]: one["Value"] for one in self.definition["Environment"] if isinstance(one["Value"], str)}
        return {**{name: value for name, value in said.items() if not name.startswith(REPLACED)}, "EARMARK_CATALOGUE__PLACE": PLACE}

    def health_command(self, port: int) -> list[str]:
        """At another port than the template's: here there are several on one machine."""
        kind, *words = self.definition["HealthCheck"]["Command"]
        assert kind == "CMD", kind
        return [word.replace(f":{self.port}/", f":{port}/") for word in words]


class Checkout:
    """The daemon of this checkout, started by this Python."""

    name = "this checkout"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def command(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "earmark.cli", *words]

    def other(self, words: Sequence[str]) -> list[str]:
        """A command beside it, such as the health check's."""
        return [sys.executable if word == "python" else word for word in words]


class Image:
    """The image's, in its root folder, which is read-only, with a /tmp to write to."""

    name = "the image, its root read-only"
    #: It has it already.
    environment: Mapping[str, str] = {}

    def __init__(self, root: Path, configuration: Mapping[str, Any], scratch: Path, environment: Mapping[str, str]) -> None:
        self._configuration = {
            "root": str(root),
            "scratch": str(scratch),
            "user": configuration["User"],
            "environment": {**dict(entry.split("=", 1) for entry in configuration["Env"]), **environment},
        }
        self._entrypoint: list[str] = configuration["Entrypoint"]

    def command(self, words: Sequence[str]) -> list[str]:
        return self.other([*self._entrypoint, *words])

    def other(self, words: Sequence[str]) -> list[str]:
        return ["unshare", "--mount", sys.executable, str(CONTAINED), json.dumps(self._configuration), "--", *words]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is as a container's /tmp."""
    with tempfile.TemporaryDirectory(prefix="earmark-scratch-") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@contextmanager
def workers_of(image: Image, words: Sequence[str] = ()) -> Iterator[None]:
    """Every `Worker` that is started meanwhile is the image's; by these words, if any are given, whatever its roles."""
    usual = Worker.launch
    Worker.launch = staticmethod(lambda roles: image.command(words or ["run", "--role", roles]))  # type: ignore[method-assign]
    try:
        yield
    finally:
        Worker.launch = staticmethod(usual)  # type: ignore[method-assign]
