"""How soon the image's daemon is ready, on a database that is there; and that a read-only root and a /tmp are enough for each role."""

import http.client
import json
import operator
import resource
import statistics
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from earmark.api.tokens import Tokens
from earmark.local.aws import AwsStandIn
from earmark.local.database import temporary_server
from earmark.local.worker import _free_port
from earmark.postgres import migrate, open_pool
from earmark.settings import Database
from media_bucket import Media
from rehearsal import image
from rehearsal.figures import figure
from rehearsal.task import Image, Terms, workers_of
from service_daemon import catalogued, rows, until
from stack_synthesis import synthesised
from stocked_bucket import recording

STARTS: Final = 7
READY_S_MAX: Final = 5.0
RECORDINGS: Final = 6
#: All that is loaded before anything is done.
IMPORTS: Final = "import earmark.cli, earmark.commands.daemon, earmark.service"
EVERY_ROLE: Final = "streams,catalogue,api"


def run(out: Path) -> list[dict[str, Any]]:
    terms = Terms.of(synthesised(out / "cdk" / "start").to_json()["Resources"])
    with ExitStack() as stack:
        made = stack.enter_context(image.built(out, terms.environment))
        dsn = stack.enter_context(temporary_server())
        migrate(dsn)
        catalogued(dsn, RECORDINGS)
        aws = stack.enter_context(AwsStandIn())
        folder = out / "start"
        folder.mkdir(exist_ok=True)
        media = Media(aws, dsn, folder)
        with workers_of(made, terms.command):
            began_cpu_s = _children_cpu_s()
            ready = [_ready_s(media) for _ in range(STARTS)]
            life_cpu_s = (_children_cpu_s() - began_cpu_s) / STARTS
        began_cpu_s = _children_cpu_s()
        imports = [_imported_s(made) for _ in range(STARTS)]
        imports_cpu_s = (_children_cpu_s() - began_cpu_s) / STARTS
        with workers_of(made):
            _works_in_every_role(media, dsn)
    return [
        figure("start", "start to /readyz, median", statistics.median(ready), "s", bar=READY_S_MAX, against=f"{STARTS} starts, {RECORDINGS} recordings"),
        figure("start", "start to /readyz, longest", max(ready), "s"),
        figure("start", "of it imports, median", statistics.median(imports), "s", against=f"{statistics.median(imports) / statistics.median(ready):.0%}"),
        figure("start", "CPU of a start and a stop", life_cpu_s, "s", against="which does not mind what else this machine does"),
        figure("start", "CPU of the imports", imports_cpu_s, "s", against=f"{imports_cpu_s / life_cpu_s:.0%}"),
        figure("start", f"roles {EVERY_ROLE} at work, root read-only", 1, "", bar=1, met=operator.ge),
    ]


def _children_cpu_s() -> float:
    """Of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ready_s(media: Media) -> float:
    began = time.monotonic()
    with media.worker():
        return time.monotonic() - began


def _imported_s(made: Image) -> float:
    began = time.monotonic()
    subprocess.run(made.other(["python", "-c", IMPORTS]), check=True, timeout=60)
    return time.monotonic() - began


def _works_in_every_role(media: Media, dsn: str) -> None:
    """A recording comes by way of the bucket, and is recognised in a clip: both are files for a while."""
    port, clip = _free_port(), recording(1, 20.0)
    with open_pool(Database(dsn=dsn)) as pool:
        token = Tokens(pool=pool).add("rehearsal", ("identify",))

    def recognised() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/v1/identify", clip, {"Authorization": f"Bearer {token}", "Content-Type": "audio/flac"})
            answer = connection.getresponse()
            said = json.loads(answer.read())
        assert answer.status == 200, said
        return [match["track_id"] for match in said["matches"]] == ["key:one.flac"]

    with media.worker(EVERY_ROLE, EARMARK_API__HOST="127.0.0.1", EARMARK_API__PORT=str(port)) as worker:
        media.put("one.flac", clip)
        until(lambda: rows(dsn, "select from track where track_id = 'key:one.flac'"), "a recording from the bucket is in the catalogue", worker)
        until(recognised, "it is recognised in a clip", worker)
