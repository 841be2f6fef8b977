"""A command in an image's root folder, as a container engine would run it; started inside `unshare --mount`.

    python contained.py CONFIGURATION -- COMMAND...

The root file system is read-only, /tmp is a folder of the host, the user is a number, privileges cannot be had again, and the
environment is the image's, the task's, and what this process was given with the prefixes that a task is told by.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path

#: prctl(2): PR_SET_NO_NEW_PRIVS.
NO_NEW_PRIVILEGES = 38
GIVEN = ("EARMARK_", "AWS_", "ECS_", "PG")


def main() -> None:
    configuration, command = json.loads(sys.argv[1]), sys.argv[3:]
    root = Path(configuration["root"])
    _mount("--bind", str(root), str(root))
    _mount("--bind", configuration["scratch"], str(root / "tmp"))
    for device in ("null", "urandom", "random", "zero"):
        inside = root / "dev" / device
        inside.touch()
        _mount("--bind", f"/dev/{device}", str(inside))
    _mount("-t", "proc", "proc", str(root / "proc"))
    socket = re.search(r"host=(/[^\s&]+)", os.environ.get("EARMARK_DATABASE__DSN", ""))
    if socket:
        folder = socket[1].rstrip("'")
        Path(folder).chmod(0o711)  # the server's own user alone may enter it, and use its socket
        for file in Path(folder).glob(".s.PGSQL.*"):
            file.chmod(0o777)
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        _mount("--bind", folder, str(root / folder.lstrip("/")))
    _mount("-o", "remount,bind,ro", str(root), str(root))
    environment = {**configuration["environment"], **{name: value for name, value in os.environ.items() if name.startswith(GIVEN)}}
    os.chroot(root)
    os.chdir("/")
    user, _, group = configuration["user"].partition(":")
    os.setgroups([])
    os.setgid(int(group or user))
    os.setuid(int(user))
    if ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        sys.exit("contained: privileges cannot be given up")
    os.execvpe(command[0], command, environment)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()
