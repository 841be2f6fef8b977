"""Somebody new: a fresh home, a fresh checkout, one shell into which README's blocks are typed one after the other.

Nothing of the machine's own shows but its programs. What `make` would download is lent: the checkout's `.venv` sees the packages
of the environment that the tests run in, and its own code before them.
"""

import os
import pwd
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from readme_blocks import Block, missing

ROOT: Final = Path(__file__).resolve().parent.parent
#: A demo lasts two minutes; the machine may be busy.
LIMIT_S: Final = 300.0
_LOOK_S: Final = 0.1
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
#: Exists everywhere, and owns nothing.
ORDINARY: Final = "nobody"
_COMMAND: Final = """#!{python}
import sys

from earmark.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""
#: What the next block begins with: the folder and the variables that this one ended with.
_REMEMBER: Final = '{ export -p; printf "cd %q\\n" "$PWD"; } >"$SHELL_STATE"'


class Newcomer:
    """Types blocks. `own` has the values of what is the reader's to set (`# yours`); to it and to `environment` may be added."""

    def __init__(self, folder: Path, *, user: str = "", environment: Mapping[str, str]) -> None:
        """`folder`: an empty one, that everybody may enter. `user`: whom to be, for root; by default, whoever runs the tests."""
        self.own: dict[str, str] = {}
        self.home = folder / "home"
        self._account = pwd.getpwnam(user) if user else None
        self._state, self._script = folder / "state.sh", folder / "block.py"
        #: What a block printed; and what it said besides: how far it is, and why it failed.
        self._said, self._complained = folder / "said", folder / "complained"
        for made in (self.home, folder / "tmp"):
            made.mkdir()
        kept = {
            "HOME": str(self.home),
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "TMPDIR": str(folder / "tmp"),
            # What an ordinary user's home has by itself; root's data would lie in /var.
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "SHELL_STATE": str(self._state),
        }
        self.environment = {**kept, **environment}
        self.works_in(self.home)
        self.give(folder)

    def works_in(self, folder: Path, *paths: Path) -> None:
        """From the next block on: in this folder, with these before the others in PATH."""
        found = ":".join([*map(str, paths), _PATH])
        self._state.write_text(f"cd {folder}\nexport PATH={found}\n", encoding="utf-8")

    def give(self, folder: Path) -> None:
        """A folder and what is in it becomes theirs."""
        if self._account is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def types(self, block: Block) -> str:
        """What it printed. Raises AssertionError when it failed, took too long, or did not print what README shows."""
        code = self._run(block)
        told = f"by\n{block.text}which said\n{_text(self._said)}{_text(self._complained)}"
        assert code == 0, f"README.md:{block.line}: exit code {code} {told}"
        unsaid = missing(block.shows, _text(self._said)) if block.shows is not None else ""
        assert not unsaid, f"README.md:{block.line}: {unsaid!r} is shown and was not said {told}"
        return _text(self._said)

    def _run(self, block: Block) -> int:
        typed = block.typed_with(self.own)
        if block.language == "python":
            self._script.write_text(typed, encoding="utf-8")
            typed = f"python {self._script}\n"
        # Every variable that is set is kept for the next block; the first command that fails is the last.
        command = ["bash", "-c", f"set -a; . {self._state}; set -e -o pipefail\n{typed}\n{_REMEMBER}"]
        account = self._account
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        with self._said.open("wb") as said, self._complained.open("wb") as complained, _interruptible():
            outlets = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": complained}
            shell = psutil.Popen(command, env=self.environment, start_new_session=True, **outlets, **identity)
        try:
            self._wait(shell, block)
        finally:
            _end(shell)
        return int(shell.returncode)

    def _wait(self, shell: psutil.Popen, block: Block) -> None:
        """Until it ends; what is for ever is told to, by Ctrl-C, once it has said what README shows."""
        deadline, told = time.monotonic() + LIMIT_S, not block.is_endless
        while shell.poll() is None:
            assert time.monotonic() < deadline, f"README.md:{block.line}: not over after {LIMIT_S:.0f} s, having said\n{_text(self._said)}"
            if not told and block.shows and not missing(block.shows, _text(self._said)):
                os.killpg(shell.pid, signal.SIGINT)
                told = True
            time.sleep(_LOOK_S)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@contextmanager
def _interruptible() -> Iterator[None]:
    """What runs in a shell's background has SIGINT ignored, and so have all of its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(shell: psutil.Popen) -> None:
    """With all that it has started, where it did not end by itself."""
    if shell.poll() is None:
        for process in [*shell.children(recursive=True), shell]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shell.wait()


def repository(folder: Path) -> Path:
    """A repository to be cloned, whose one commit has this tree's files as they are now."""
    there = folder / "repository"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, there / name)
    _git(there, "init", "--quiet")
    _git(there, "add", "--all")
    _git(there, "-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "commit", "--quiet", "--message", "As it is")
    return there


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(folder), "-c", f"safe.directory={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def lend_packages(checkout: Path, *, user: str = "") -> None:
    """In place of what `make` would download and install into the checkout's `.venv`. `user`: who is to run it."""
    own = checkout / ".venv"
    subprocess.run([_python(user), "-m", "venv", "--without-pip", own], timeout=60, check=True)
    (packages,) = own.glob("lib/python3*/site-packages")
    # Read in the order of their names: the checkout's code goes before what is lent, in which the tests' own checkout is.
    (packages / "a_checkout.pth").write_text(f"{checkout / 'daemon'}\n", encoding="utf-8")
    lent = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    (packages / "b_lent.pth").write_text(lent, encoding="utf-8")
    earmark = own / "bin" / "earmark"
    earmark.write_text(_COMMAND.format(python=own / "bin" / "python"), encoding="utf-8")
    earmark.chmod(0o755)
    version = subprocess.run([own / "bin" / "python", "-V"], capture_output=True, text=True, timeout=30, check=True).stdout
    (own / ".python").write_text(f"{checkout} {version}", encoding="utf-8")
    for stamp in (".packages", ".earmark"):
        (own / stamp).touch()


def ordinary_user() -> str:
    """Whom root can be instead, to see what others see; empty where we are nobody special, or others cannot run our Python."""
    return ORDINARY if os.geteuid() == 0 and _python(ORDINARY) and all(map(_is_open, site.getsitepackages())) else ""


def _python(user: str) -> str:
    """Of our version, that they can run; empty if there is none. (Root's own is often in root's home.)"""
    ours = os.path.realpath(sys.executable)
    if not user or _is_open(ours):
        return ours
    return shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path=_PATH) or ""


def _is_open(path: str) -> bool:
    """Whether everybody gets there."""
    return all(folder.stat().st_mode & 0o001 for folder in Path(path).parents)
