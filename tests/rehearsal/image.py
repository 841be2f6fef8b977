"""The Dockerfile without Docker: Debian's buildah, isolated by chroot, on a base that debootstrap makes in place of the one it names."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rehearsal.figures import NotHere, figure
from rehearsal.task import Image, scratch

ROOT = Path(__file__).resolve().parents[2]
BASE, TAG = "localhost/python:rehearsal", "localhost/earmark:rehearsal"
NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
#: What pip is told here, it is told in the build as well: the Dockerfile names no index, and takes the one that pip is set up for.
PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_CONFIG_FILE")
#: What the image is made of, as .dockerignore has it.
MADE_OF = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "config/rds-ca.pem",
    "daemon",
    "pyproject.toml",
    "requirements/build.lock",
    "requirements/run.lock",
)
#: Whose share is told, with the libraries that a wheel brings along beside itself.
PACKAGES = ("scipy", "av", "numpy", "botocore", "earmark")
#: Everything of the image but what the base has.
OWN = ("venv", "etc/earmark")


def run(out: Path) -> list[dict[str, Any]]:
    storage = Storage(out)
    if storage.is_current():
        print("  built before, of the same files")
    else:
        storage.base()
        storage.build()
    with storage.root() as folder:
        return _sizes(folder)


def _sizes(folder: Path) -> list[dict[str, Any]]:
    (packages,) = folder.glob("venv/lib/python3*/site-packages")
    whole, own = _bytes(folder), sum(_bytes(folder / name) for name in OWN)
    tests = [path for path in packages.rglob("tests") if path.is_dir()]
    return [
        figure("image", "image, unpacked", whole / 1e6, "MB", against="base made by debootstrap: the real one is another"),
        figure("image", "of it the base", (whole - own) / 1e6, "MB"),
        figure("image", "of it our own layers", own / 1e6, "MB"),
        *(figure("image", f"of these {name}", sum(map(_bytes, packages.glob(f"{name}*"))) / 1e6, "MB") for name in PACKAGES),
        figure("image", "folders of packages' own tests in it", len(tests), "", bar=0),
        figure("image", "setuid files in our own layers", _setuid(folder), "", bar=0),
    ]


@contextmanager
def built(out: Path, environment: Mapping[str, str]) -> Iterator[Image]:
    """The image's daemon, given this environment beside the image's own. Raises NotHere where it has not been built of these files."""
    storage = Storage(out)
    if not storage.is_current():
        raise NotHere("the image has not been built of this checkout's files: ONLY=image builds it")
    with storage.root() as root, scratch() as folder:
        yield Image(root, storage.configuration(), folder, environment)


class Storage:
    """buildah's, in a folder of our own, which keeps the base and the last image. Raises NotHere."""

    def __init__(self, out: Path) -> None:
        if os.geteuid() != 0:
            raise NotHere("only root may build an image without a container engine, and mount it")
        absent = [package for tool, package in NEEDED.items() if shutil.which(tool) is None]
        if absent:
            raise NotHere(f"it takes {', '.join(NEEDED.values())}: apt-get install {' '.join(absent)}")
        self._folder = out.resolve() / "image"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._options = ["--storage-driver", "vfs", "--root", str(self._folder / "store"), "--runroot", str(self._folder / "run")]

    def base(self) -> None:
        """Debian's own Python, at the paths of the real one. Made once."""
        if BASE in self._images():
            return
        print("  making a base by debootstrap: two minutes, once", flush=True)
        rootfs = self._folder / "rootfs"
        shutil.rmtree(rootfs, ignore_errors=True)  # of a run that was ended in the middle of it
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
        """In place of the last one, of which nothing is kept."""
        pip = [argument for name in PIP if os.environ.get(name) for argument in ("--env", f"{name}={os.environ[name]}")]
        mounts = [f"--volume={path}:{path}:ro" for path in ("/etc/ssl/certs", "/etc/pip.conf", *_local_indexes()) if Path(path).exists()]
        arguments = ["--build-arg", f"BASE={BASE}", "--build-arg", f"REVISION={made_of()}", "--target", "daemon", "--tag", TAG, str(ROOT)]
        self._ran("bud", "--pull-never", "--isolation", "chroot", "--format", "docker", *pip, *mounts, *arguments)
        self._ran("rmi", "--prune", "--force")

    def is_current(self) -> bool:
        return TAG in self._images() and self.configuration()["Labels"]["org.opencontainers.image.revision"] == made_of()

    @contextmanager
    def root(self) -> Iterator[Path]:
        """The image's root folder, of a container that is gone afterwards."""
        container = self._asked("from", "--pull-never", TAG)
        try:
            yield Path(self._asked("mount", container))
        finally:
            self._ran("umount", container)
            self._ran("rm", container)

    def configuration(self) -> dict[str, Any]:
        """Of the image, as Docker writes it: Entrypoint, User, Env, ..."""
        inspected = json.loads(self._asked("inspect", "--type", "image", TAG))
        configuration: dict[str, Any] = inspected["Docker"]["config"]
        return configuration

    def _images(self) -> str:
        return self._asked("images", "--format", "{{.Name}}:{{.Tag}}")

    def _asked(self, *arguments: str) -> str:
        return subprocess.run(["buildah", *self._options, *arguments], check=True, capture_output=True, text=True, timeout=600).stdout.strip()

    def _ran(self, *arguments: str) -> None:
        _run(["buildah", *self._options, *arguments])


def made_of() -> str:
    """A digest of the files that go into the image."""
    digest = hashlib.sha256()
    for name in MADE_OF:
        for path in sorted((ROOT / name).rglob("*")) or [ROOT / name]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _run(command: Sequence[str]) -> None:
    """Its words are shown only where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:1])} failed:\n{(done.stdout + done.stderr)[-4_000:]}")


def _local_indexes() -> list[str]:
    """Folders that pip is set up to take packages from."""
    said = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    return sorted({Path(path).parts[1] and f"/{'/'.join(Path(path).parts[1:3])}" for path in re.findall(r"file://(/[^\s'\"]+)", said)})


def _bytes(path: Path) -> int:
    """Of files as they are, hard links once."""
    return int(subprocess.run(["du", "--summarize", "--bytes", "--one-file-system", str(path)], check=True, capture_output=True, text=True).stdout.split()[0])


def _setuid(folder: Path) -> int:
    found = 0
    for name in OWN:
        for path in (folder / name).rglob("*"):
            with suppress(OSError):
                found += bool(path.lstat().st_mode & 0o6000) and path.is_file()
    return found
