"""Starts daemons as processes quickly: everything is imported once, and each daemon is a fork of that.

A daemon's own import takes a second of CPU, which at a kill every two seconds would leave nothing to hear with. A fork
is a process of its own all the same, runs `earmark run` from its first line to its last, and is killed as any other.

Reads one JSON object a line: a `Start`; says `{"started": number, "pid": pid}` and, as soon as one has ended,
`{"ended": pid, "status": wait status}`. Stops, with all that it has started, when its standard input ends.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

import earmark.cli
import earmark.service
from faults.crash_points import NEVER_RAN, VARIABLE, Plan, arm

_LOOK_S = 0.05


def main() -> None:
    children: set[int] = set()
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], _LOOK_S)
        if ready:
            read = os.read(0, 65_536)
            if not read:
                break
            pending += read
            *lines, pending = pending.split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(asked)
                children.add(pid)
                _say(started=asked["number"], pid=pid)
        _reap(children)
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            with suppress(ProcessLookupError):  # what it has started goes with it, as in a container
                os.killpg(pid, signal.SIGKILL)
            _say(ended=pid, status=status)


def _say(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _become(asked: dict[str, Any]) -> NoReturn:
    """The daemon, in this process."""
    code = NEVER_RAN
    try:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        os.environ.update(asked["environment"])
        plan = Plan.from_json(asked["environment"][VARIABLE])
        arm(plan)
        code = 1
        code = earmark.cli.main(["run"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # as the interpreter does: it is told, and ends the process
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
