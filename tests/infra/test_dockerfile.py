"""The image's recipe: clean by hadolint's rules, without root, told to stop the way the daemon understands."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
STAGES = ["FROM " + stage for stage in re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]]


def instruction(name: str) -> str:
    """The only one of that name in the last stage."""
    (found,) = re.findall(rf"^{name} (.*)$", STAGES[-1], flags=re.MULTILINE)
    return found


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_signals_reach_the_daemon_itself():
    """In exec form there is no shell in between that would swallow SIGTERM."""
    assert json.loads(instruction("ENTRYPOINT")) == ["earmark"]
    assert json.loads(instruction("CMD")) == ["run"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_it_does_not_run_as_root():
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", instruction("USER"))


def test_its_health_is_asked_without_tools_that_are_not_there():
    command = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/healthz" in command[2]


def test_only_hashed_packages_of_the_runtime_lock_get_in():
    copied = re.findall(r"^COPY (?!--from)(.*)$", TEXT, flags=re.MULTILINE)
    assert not [line for line in copied if "dev.lock" in line or "cdk.lock" in line or line.split()[0] == "."]
    assert [stage.split()[3] for stage in STAGES if "desk.lock" in stage] == ["desk-builder"]
    installs = re.findall(r"pip\S*(?: --python \S+)? install [^&\n]*", TEXT)
    assert len(installs) == 5
    assert [line for line in installs if "--require-hashes" not in line and "--no-index" not in line] == []


def test_nothing_of_the_builder_but_the_environment_is_kept():
    assert re.findall(r"^COPY (.*)$", STAGES[-1], flags=re.MULTILINE) == ["--from=builder /venv /venv", "config/rds-ca.pem /etc/earmark/rds-ca.pem"]
    assert not re.search(r"^RUN ", STAGES[-1], flags=re.MULTILINE)


def test_packages_come_without_their_own_tests():
    assert "find /venv/lib -type d -name tests -prune -exec rm -rf {} +" in STAGES[0]


@pytest.mark.parametrize("name", ["title", "description", "licenses", "version", "revision"])
def test_it_says_what_it_is(name: str):
    assert f"org.opencontainers.image.{name}=" in STAGES[-1]


def test_the_version_is_the_packages():
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert f"ARG VERSION={version}\n" in STAGES[-1]


def test_certificates_of_the_database_are_roots_that_last():
    """A year before the first of those of Aurora's default kind ends, this fails."""
    bundle = x509.load_pem_x509_certificates((ROOT / "config" / "rds-ca.pem").read_bytes())
    names = [one.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value for one in bundle]
    assert len(set(names)) == len(names) == 81
    for one, name in zip(bundle, names, strict=True):
        assert re.fullmatch(r"Amazon RDS [a-z]+-[a-z]+-\d Root CA (RSA2048|RSA4096|ECC384) G1", str(name))
        assert one.issuer == one.subject
        one.verify_directly_issued_by(one)
        assert one.not_valid_after_utc - datetime.now(UTC) > timedelta(days=365)
