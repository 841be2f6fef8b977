"""`make soak`: the run under faults, as a table for people and as build/bench/soak.json for machines; exit code 1 if a bar is broken.

    PYTHONPATH=tests python -m faults [run | takeover | handover | memory] [--poison]

MINUTES, SEED, WORKERS and LEASE_S in the environment say how. `takeover` kills workers at the default lease, `handover` asks
them to go, `memory` looks at one worker that fifty streams come to and leave.
"""

import pickle
import random
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from bench.asked import number, whole
from bench.rows import ROOT, show, store
from faults import memory, takeover
from faults.circumstances import Circumstances
from faults.soak import Soak
from faults.table import broken, figures

_APART = {"takeover": takeover.measure, "handover": takeover.handover, "memory": memory.measure}
_MODES = ("run", *_APART)
_SHOWN_MAX = 40


def main(arguments: Sequence[str]) -> int:
    unknown = set(arguments) - {*_MODES, "--poison"}
    if unknown:
        sys.stderr.write(f"make soak: there is no {', '.join(sorted(unknown))}; ARGS is one of {', '.join(_MODES)}, and --poison\n")
        return 2
    mode = next((argument for argument in arguments if argument in _MODES), "run")
    asked = Circumstances(
        seed=whole("SEED", random.randrange(1, 1_000_000)),
        minutes=number("MINUTES", 10.0, least=0.1),
        workers=whole("WORKERS", 8, least=1),
        lease_s=number("LEASE_S", 2.0, least=0.5),
        poison="--poison" in arguments,
    )
    more = f' ARGS="{" ".join(arguments)}"' if arguments else ""
    command = f"make soak SEED={asked.seed} MINUTES={asked.minutes:g} WORKERS={asked.workers} LEASE_S={asked.lease_s:g}{more}"
    folder = ROOT / "build" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _tell(f"{command}\nthe daemons' logs: {folder}")
    wrong: list[str] = []
    if mode == "run":
        with Soak(asked, folder=folder, tell=_tell) as soak:
            evidence = soak.run()
            faults = soak.injected.counts
        (folder / "evidence.pickle").write_bytes(pickle.dumps(evidence))
        rows, wrong = figures(evidence, asked, faults=sum(faults.values()), command=command)
        _tell("faults: " + ", ".join(f"{where} {kind} {count}" for (where, kind), count in sorted(faults.items())))
    else:
        rows = _APART[mode](asked, folder=folder, command=command, tell=_tell)
    store("soak" if mode == "run" else f"soak-{mode}", rows)
    show("soak", rows)
    return _verdict(rows, wrong, command)


def _verdict(rows: list[dict[str, Any]], wrong: Sequence[str], command: str) -> int:
    for line in wrong[:_SHOWN_MAX]:
        _tell(line)
    if len(wrong) > _SHOWN_MAX:
        _tell(f"... and {len(wrong) - _SHOWN_MAX} more")
    missed = broken(rows)
    for one in missed:
        _tell(f"missed: {one['figure']} is {one['value']:g} {one['unit']}, {one['bar']:g} is the bar ({one['against'] or 'see above'})")
    _tell(f"again: {command}")
    return 1 if missed else 0


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
