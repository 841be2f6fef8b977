"""The image's own daemon through a whole demo, started as the synthesised task definition says: its command, environment, port, read-only root."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from earmark.local.demo import run_demo
from earmark.local.worker import Worker
from rehearsal import image
from stack_synthesis import synthesised

CONTAINED = Path(__file__).with_name("contained.py")
#: Its role wants one, and finds it empty.
PLACE: Final = "s3://earmark-media/catalogue/"
#: What the demo has of its own, in place of what was deployed.
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


def run(out: Path) -> bool:
    resources = synthesised(out / "cdk" / "demo", alertEmail="rights@example.com").to_json()["Resources"]
    daemon = container(resources, "Daemon")
    storage = image.Storage(out.resolve() / "image")
    root, made = storage.mounted(), storage.configuration()
    command = [*made["Entrypoint"], *daemon["Command"]]
    print(f"  command: {' '.join(command)}; user {made['User']}; stop signal {made['StopSignal']}; root file system read-only", flush=True)
    with tempfile.TemporaryDirectory(prefix="earmark-rehearsal-") as scratch:
        Path(scratch).chmod(0o1777)  # as a container's /tmp
        configuration = {
            "root": str(root),
            "scratch": scratch,
            "user": made["User"],
            "environment": {**dict(entry.split("=", 1) for entry in made["Env"]), **_environment(daemon), "EARMARK_CATALOGUE__PLACE": PLACE},
        }
        Worker.launch = staticmethod(lambda _roles: ["unshare", "--mount", sys.executable, str(CONTAINED), json.dumps(configuration), "--", *command])  # type: ignore[method-assign]
        return run_demo(kill=True, out=out / "demo") == 0


def _environment(daemon: dict[str, Any]) -> dict[str, str]:
    """What the template says and the demo does not replace."""
    return {one["Name"]: one["Value"] for one in daemon["Environment"] if isinstance(one["Value"], str) and not one["Name"].startswith(REPLACED)}


def container(resources: dict[str, Any], name: str) -> dict[str, Any]:
    tasks = (resource for resource in resources.values() if resource["Type"] == "AWS::ECS::TaskDefinition")
    (found,) = (one for task in tasks for one in task["Properties"]["ContainerDefinitions"] if one["Name"] == name)
    assert isinstance(found, dict)
    return found
