"""What a rehearsal leaves on the machine besides `build/`: processes, mounts, temporary files. It is to be nothing, and is counted."""

import atexit
import ctypes
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

#: prctl(2): who is left without a parent becomes our child, and is seen.
_SET_CHILD_SUBREAPER = 36
#: What is on its way out may take so long.
_PATIENCE_S = 10.0
#: The constructs of the CDK run in it for as long as we do; it ends with us, and its folders do.
_KERNEL, _KERNELS = "node", ("jsii-kernel-*", "*/bin/jsii-runtime.js")


@dataclass
class Left:
    processes: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.files)

    def __str__(self) -> str:
        return "; ".join(part for part in (*self.processes, *self.mounts, *self.files))


@contextmanager
def watched(left: Left) -> Iterator[None]:
    """Temporary files have a folder of their own meanwhile. Afterwards `left` has what was there, and it is ended and removed."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mounts = _mounts()
    folder = Path(tempfile.mkdtemp(prefix="earmark-rehearsal-"))
    folder.chmod(0o711)  # the database's own user has its folder in it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # after everybody else's, who came later
    usual, named = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = usual
        os.environ.pop("TMPDIR") if named is None else os.environ.update(TMPDIR=named)
        left.processes = _ended()
        left.mounts = sorted(_mounts() - mounts)
        kernels = {path.relative_to(folder).parts[0] for pattern in _KERNELS for path in folder.glob(pattern)}
        left.files = sorted({path.name for path in folder.iterdir()} - kernels)


def _ended() -> list[str]:
    until = time.monotonic() + _PATIENCE_S
    while (children := _children()) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return list(children.values())


def _children() -> dict[int, str]:
    """Ours that run, by what they are called; who has ended is let go."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, ChildProcessError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) != os.getpid() or name == _KERNEL:
                continue
            if state == "Z":
                os.waitpid(int(entry.name), os.WNOHANG)
            else:
                found[int(entry.name)] = f"{name} ({entry.name})"
    return found


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
