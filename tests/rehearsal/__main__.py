"""`make rehearse`: what can be proved of a deployment without an account, and a list of what cannot.

    contexts        every context in the table below synthesises, every wrong one is one sentence
    cloudformation  the template, deployed to the stand-in's CloudFormation as far as that knows its resources
    image           the Dockerfile, built by buildah on a base made by debootstrap; its size
    demo            the image's own daemon, as the task definition starts it, through a whole demo, killed in the middle

ONLY=contexts,image runs some of it.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rehearsal import cloudformation, contexts, demo, image

OUT = Path("build/rehearsal")
PARTS: Mapping[str, Callable[[Path], bool]] = {"contexts": contexts.run, "cloudformation": cloudformation.run, "image": image.run, "demo": demo.run}


def main() -> int:
    asked = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(PARTS)
    strangers = [name for name in asked if name not in PARTS]
    if strangers:
        print(f"rehearse: ONLY={strangers[0]} is no part of it: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in asked:
        print(f"\n{name}", flush=True)
        if not PARTS[name](OUT):
            failed.append(name)
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all of it: done'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
