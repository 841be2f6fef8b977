"""The image's own daemon through a whole demo, started as the synthesised task definition says: its command, environment, port, read-only root."""

from pathlib import Path

from earmark.local.demo import run_demo
from rehearsal import image
from rehearsal.task import Terms, workers_of
from stack_synthesis import synthesised


def run(out: Path) -> bool:
    terms = Terms.of(synthesised(out / "cdk" / "demo", alertEmail="rights@example.com", canaryMinutes="0").to_json()["Resources"])
    with image.built(out, terms.environment) as made, workers_of(made, terms.command):
        print(f"  {' '.join(made.command(terms.command)[-4:])}, of {made.name}", flush=True)
        return run_demo(kill=True, out=out / "demo") == 0
