"""config/compose without Docker: its services in their order, by their own commands, environments and health checks, as processes on the loopback.

Nothing of compose.yaml is typed again. What stands in for what Docker would give:

    a name and a port         the loopback, and a port that is free
    the image of PostgreSQL   the desk's embedded server, with the role and the database that the image would make
    the image of Prometheus   Debian's, with the very files of config/prometheus; instead of by a name it finds the worker by an address
    Grafana                   nothing: it is not run
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import boto3
import psutil
import psycopg
import yaml
from psycopg import sql

import compose_file
from compose_file import Service
from earmark.local.database import _installed_binaries, temporary_server
from earmark.local.worker import _free_port
from earmark.settings import load
from rehearsal.figures import NotHere, figure

LIMIT_S: Final = 180.0
NOT_RUN: Final = "grafana"
HERE: Final = "127.0.0.1"
METRICS_PORT: Final = load(environ={}).settings.metrics.port


def run(out: Path) -> Sequence[dict[str, Any]]:
    if absent := [tool for tool in ("prometheus", "wget") if shutil.which(tool) is None]:
        raise NotHere(f"needs {' and '.join(absent)}: apt-get install {' '.join(absent)}")
    folder = out.resolve() / "compose"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        return _Rehearsal(stack, folder).run()


class _Rehearsal:
    """The services, for as long as the context lasts that it is made in."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._services = compose_file.services()
        needed = [item for service in self._services.values() for item in service.get("depends_on", {}).items()]
        self._once = {name for name, how in needed if how["condition"] == "service_completed_successfully"}
        self._names = {alias for name, service in self._services.items() for alias in compose_file.aliases(name, service)} | {HERE, "0.0.0.0"}
        #: A port inside a container, each of one service alone, and the one in its place.
        self._ports = {port: _free_port() for service in self._services.values() for port in compose_file.ports(service)}
        self._socket = ""
        self._running: dict[str, psutil.Popen] = {}

    def run(self) -> Sequence[dict[str, Any]]:
        up = time.monotonic()
        for name, service in self._services.items():
            began = time.monotonic()
            self._start(name, service)
            what = "not run here" if name == NOT_RUN else "done" if name in self._once else "ready"
            print(f"  {name:14}{what} after {time.monotonic() - began:.1f} s", flush=True)
        print(f"  {'in S3':14}{self._until(self._hit, 'a hit in S3')}", flush=True)
        hit_s = time.monotonic() - up
        print(f"  {'in Prometheus':14}{self._until(self._scraped, 'what was heard, in Prometheus')}", flush=True)
        print(f"  {'streams list':14}{self._listed()}", flush=True)
        ended, errors = self._stopped()
        return [
            figure("compose", "from `up` to the first hit in S3", hit_s, "s"),
            figure("compose", "services that ended with another exit code than 0", ended, "", bar=0),
            figure("compose", "errors in the daemon's log", errors, "", bar=0),
        ]

    # -------------------------------------------------------------------------------------------- one of them

    def _start(self, name: str, service: Service) -> None:
        if name == NOT_RUN:
            return
        if name == "database":
            self._serve_database(service["environment"])
            return
        log = self._folder / f"{name}.log"
        with log.open("wb") as words:
            process = psutil.Popen(self._command(name, service), env=self._environment(service), stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        self._running[name] = process
        self._stack.callback(_killed, process)
        if name in self._once:
            del self._running[name]
            if code := process.wait(LIMIT_S):
                raise RuntimeError(f"{name} ended with exit code {code}: {_last_words(log)}")
        elif asks := self._health(service):
            self._until(lambda: subprocess.run(asks, capture_output=True, check=False, timeout=30).returncode == 0, f"{name} is healthy")

    def _serve_database(self, said: Mapping[str, str]) -> None:
        """A server, and what the image makes in it when it first starts: the owner, who may do everything, and the database."""
        dsn = self._stack.enter_context(temporary_server())
        user, database = sql.Identifier(said["POSTGRES_USER"]), sql.Identifier(said["POSTGRES_DB"])
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("create role {} login superuser password {}").format(user, sql.Literal(said["POSTGRES_PASSWORD"])))
            connection.execute(sql.SQL("create database {} owner {}").format(database, user))
        self._socket = str(psycopg.conninfo.conninfo_to_dict(dsn)["host"])

    def _command(self, name: str, service: Service) -> list[str]:
        words = [self._here(word) for word in service["command"]]
        if "build" in service:
            return [*_entrypoint(service), *words]
        inside = {place: str(outside) for place, outside in compose_file.mounts(service).items()}
        if name == "prometheus":
            inside |= {"/etc/prometheus": str(self._prometheus_files(Path(inside["/etc/prometheus"]))), "/prometheus": str(self._folder / "data")}
            words = ["prometheus", *words, f"--web.listen-address={HERE}:{self._ports[9090]}"]
        program, *arguments = [_outside(word, inside) for word in words]
        return [str(_installed_binaries() / program) if program == "psql" else program, *arguments]

    def _environment(self, service: Service) -> dict[str, str]:
        """The container's own, and nothing of this machine's but where programs are."""
        said = {key: self._socket if key == "PGHOST" else self._here(value) for key, value in service.get("environment", {}).items()}
        if METRICS_PORT in compose_file.ports(service):  # in a container of its own it may have the default
            said |= {"EARMARK_METRICS__HOST": HERE, "EARMARK_METRICS__PORT": str(self._ports[METRICS_PORT])}
        return {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", **said}

    def _health(self, service: Service) -> list[str]:
        """Its health check, or its image's; empty if there is none."""
        if "healthcheck" in service:
            kind, *words = service["healthcheck"]["test"]
            assert kind == "CMD"
        else:
            found = re.findall(r"^HEALTHCHECK .*?CMD (.*)$", compose_file.stages()[service["build"]["target"]], flags=re.MULTILINE)
            words = json.loads(found[0]) if found else []
        return [sys.executable if word == "python" else self._here(word) for word in words]

    def _here(self, word: str) -> str:
        """With the loopback in place of the network that the containers share."""
        word = word.replace("@database/earmark", f"@/earmark?host={quote(self._socket, safe='/')}")

        def there(found: re.Match[str]) -> str:
            port = self._ports.get(int(found[2]))
            return f"{HERE}:{port}" if found[1] in self._names and port else found[0]

        return re.sub(r"(?<![\w.-])([\w.-]+):(\d+)\b", there, word)

    def _prometheus_files(self, folder: Path) -> Path:
        copied = self._folder / "prometheus"
        shutil.copytree(folder, copied)
        config = yaml.safe_load((copied / "prometheus.yml").read_text(encoding="utf-8"))
        for job in config["scrape_configs"]:
            looked_up = [self._here(f"{name}:{found['port']}") for found in job.pop("dns_sd_configs") for name in found["names"]]
            job["static_configs"] = [{"targets": looked_up}]
        (copied / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return copied

    # -------------------------------------------------------------------------------------------- what comes of it

    def _hit(self) -> str:
        """The first, if there is one: asked as anybody would who has the daemon's environment."""
        said = self._environment(self._services["daemon"])
        access = {"aws_access_key_id": said["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": said["AWS_SECRET_ACCESS_KEY"], "region_name": said["AWS_REGION"]}
        s3, bucket = boto3.client("s3", endpoint_url=said["AWS_ENDPOINT_URL"], **access), said["EARMARK_RESULTS__BUCKET"]
        keys = [listed["Key"] for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", []) if "/hits/" in listed["Key"]]
        if not keys:
            return ""
        hit = json.loads(s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read())
        return f"s3://{bucket}/{keys[0]}: {hit['track']['title']}"

    def _scraped(self) -> str:
        heard = self._asked('sum(earmark_media_seconds_total{result="heard"})')
        recorded = self._asked("earmark:media_heard:ratio_rate5m")
        return f"{heard:.0f} s heard; recorded as {recorded:.1%} of what there was" if heard and recorded else ""

    def _asked(self, expression: str) -> float:
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{HERE}:{self._ports[9090]}/api/v1/query?{asked}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def _listed(self) -> str:
        """As `docker compose exec daemon earmark streams list`."""
        daemon = self._services["daemon"]
        command = [*_entrypoint(daemon), "streams", "list"]
        done = subprocess.run(command, env=self._environment(daemon), capture_output=True, text=True, timeout=60, check=True)
        (line, *_) = [line for line in done.stdout.splitlines() if "st-1" in line]
        return line.strip()

    def _until(self, there: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while not (found := there()):
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with exit code {process.returncode}: {_last_words(self._folder / f'{name}.log')}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {LIMIT_S:.0f} s: {what}; see {self._folder}")
            time.sleep(0.5)
        return found

    def _stopped(self) -> tuple[int, int]:
        """Asked to end, in turn: how many did so badly, and how many errors the daemon had told of by then."""
        badly = 0
        for name, process in reversed(self._running.items()):
            memory = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
            process.send_signal(signal.SIGTERM)
            code = process.wait(LIMIT_S)
            badly += code != 0
            print(f"  {name:14}held {memory / 1e6:.0f} MB of {self._services[name]['mem_limit']}; ended with exit code {code}", flush=True)
        said = [json.loads(line) for line in (self._folder / "daemon.log").read_text(encoding="utf-8").splitlines()]
        wrong = [line for line in said if line["level"] == "error"]
        if wrong:
            print(f"  {'daemon':14}{wrong[0]}")
        return badly, len(wrong)


def _entrypoint(service: Service) -> list[str]:
    """Of its image, by this Python."""
    (said,) = re.findall(r"^ENTRYPOINT (.*)$", compose_file.stages()[service["build"]["target"]], flags=re.MULTILINE)
    assert json.loads(said) == ["earmark"]
    return [sys.executable, "-m", "earmark.cli"]


def _outside(word: str, inside: Mapping[str, str]) -> str:
    """A path inside a container as what is mounted there."""
    option, equals, path = word.rpartition("=")
    for place in sorted(inside, key=len, reverse=True):
        if path == place or path.startswith(f"{place}/"):
            return f"{option}{equals}{inside[place]}{path.removeprefix(place)}"
    return word


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'it said nothing'} (all of it: {log})"


def _killed(process: psutil.Popen) -> None:
    """Where something failed on the way."""
    if process.poll() is None:
        process.kill()
        process.wait()
