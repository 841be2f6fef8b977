"""The Dockerfile without Docker: Debian's buildah, isolated by chroot, on a base that debootstrap makes in place of the one it names."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE, TAG = "localhost/python:rehearsal", "localhost/earmark:rehearsal"
NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
#: What pip is told here, it is told in the build as well: the Dockerfile names no index, and takes the one that pip is set up for.
PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_CONFIG_FILE")


def run(out: Path) -> bool:
    absent = [package for tool, package in NEEDED.items() if shutil.which(tool) is None]
    if os.geteuid() != 0 or absent:
        print(f"  needs root and {', '.join(NEEDED.values())}: not done here{'; apt-get install ' + ' '.join(absent) if absent else ''}")
        return False
    storage = Storage(out.resolve() / "image")
    storage.base()
    storage.build()
    folder = storage.mounted()
    print(f"  size: {_bytes(folder) / 1e6:.0f} MB, of it {_by_package(folder)}")
    return True


class Storage:
    """buildah's, in a folder of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._options = ["--storage-driver", "vfs", "--root", str(folder / "store"), "--runroot", str(folder / "run")]

    def base(self) -> None:
        """Debian's own Python, at the paths of the real one. Made once."""
        if BASE in self._asked("images", "--format", "{{.Name}}:{{.Tag}}"):
            return
        print("  making a base by debootstrap: two minutes, once", flush=True)
        rootfs = self._folder / "rootfs"
        packages = "python3-minimal,python3-venv,python3-pip,ca-certificates,libpython3-stdlib"
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(rootfs)])
        for link in ("python", "python3"):
            (rootfs / "usr/local/bin" / link).symlink_to("/usr/bin/python3")
        container = self._asked("from", "scratch")
        self._ran("add", "--quiet", container, str(rootfs), "/")
        self._ran("commit", "--quiet", container, BASE)
        self._ran("rm", container)
        shutil.rmtree(rootfs)

    def build(self) -> None:
        pip = [argument for name in PIP if os.environ.get(name) for argument in ("--env", f"{name}={os.environ[name]}")]
        mounts = [f"--volume={path}:{path}:ro" for path in ("/etc/ssl/certs", "/etc/pip.conf", *_local_indexes()) if Path(path).exists()]
        self._ran("bud", "--pull-never", "--isolation", "chroot", "--format", "docker", *pip, *mounts, "--build-arg", f"BASE={BASE}", "--tag", TAG, str(ROOT))

    def mounted(self) -> Path:
        """The image's root folder; the container that it is of, is made anew."""
        for container in self._asked("containers", "--quiet").split():
            self._ran("rm", container)
        return Path(self._asked("mount", self._asked("from", "--pull-never", TAG)))

    def configuration(self) -> dict[str, object]:
        """Of the image, as Docker writes it: Entrypoint, User, Env, ..."""
        inspected = json.loads(self._asked("inspect", "--type", "image", TAG))
        configuration: dict[str, object] = inspected["Docker"]["config"]
        return configuration

    def _asked(self, *arguments: str) -> str:
        return subprocess.run(["buildah", *self._options, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def _ran(self, *arguments: str) -> None:
        _run(["buildah", *self._options, *arguments])


def _run(command: Sequence[str]) -> None:
    """Its words are shown only where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False)
    if done.returncode:
        raise SystemExit(f"rehearse: {command[0]} failed:\n{(done.stdout + done.stderr)[-4_000:]}")


def _local_indexes() -> list[str]:
    """Folders that pip is set up to take packages from."""
    said = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    return sorted({Path(path).parts[1] and f"/{'/'.join(Path(path).parts[1:3])}" for path in re.findall(r"file://(/[^\s'\"]+)", said)})


def _bytes(folder: Path) -> int:
    return int(subprocess.run(["du", "--summarize", "--bytes", "--one-file-system", str(folder)], check=True, capture_output=True, text=True).stdout.split()[0])


def _by_package(folder: Path) -> str:
    (packages,) = folder.glob("venv/lib/python3*/site-packages")
    sizes = sorted(((_bytes(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True)[:6]
    return ", ".join(f"{name} {size / 1e6:.0f}" for size, name in sizes)
