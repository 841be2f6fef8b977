"""The HTTP API on a thread, with a real database and the stand-in behind it; every answer is held to the OpenAPI document."""

import http.client
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
import urllib3
from pydantic import SecretStr

from earmark.api.routes import described
from earmark.api.serving import Serving
from earmark.api.tokens import SCOPES, Tokens
from earmark.aws import Clients
from earmark.index.answers import Index
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from earmark.settings import Api, Aws, Database, Settings
from earmark.settings.recordings import Catalogue
from earmark.telemetry import Metrics

BUCKET = "earmark-catalogue"
PLACE = f"s3://{BUCKET}/catalogue/"
PROBLEM = "application/problem+json"
_serial = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """Of a problem."""
        assert self.headers["content-type"] == PROBLEM
        return self.document["type"].removeprefix("urn:earmark:problem:")


class Served:
    def __init__(self, serving: Serving, pool: Pool, metrics: Metrics) -> None:
        self.serving, self.pool, self.metrics = serving, pool, metrics
        self.address = ("127.0.0.1", serving.port)
        #: Requests of somebody else are under way.
        self.others = False

    def token(self, *scopes: str, days: int | None = None, name: str = "") -> str:
        return Tokens(pool=self.pool).add(name or f"token {next(_serial)}", scopes or SCOPES, days=days)

    def ask(self, method: str, path: str, *, token: str = "", json_body: Any = None, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **({"Content-Type": "application/json"} if json_body is not None else {})}
        data = json.dumps(json_body).encode() if json_body is not None else body
        with closing(http.client.HTTPConnection(*self.address, timeout=30)) as connection:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        held_to_the_document(method, path, answer)
        # It is told and counted after it was answered.
        deadline = time.monotonic() + 0.5
        while self.value("earmark_api_requests_running") and time.monotonic() < deadline and not self.others:
            time.sleep(0.001)
        return answer

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@cache
def s3_of(aws: AwsStandIn) -> Any:
    return aws.client("s3")


@contextmanager
def served(pool: Pool, *, aws: AwsStandIn | None = None, healthy: Any = lambda: "", catalogue: Mapping[str, Any] | None = None, **api: Any) -> Iterator[Served]:
    """`api`: changes of that section of the settings. With `aws`: uploads go to BUCKET."""
    settings = Settings(
        database=Database(dsn=SecretStr("")),
        aws=Aws(endpoint_url=aws.endpoint_url if aws else "http://127.0.0.1:9", region="us-east-1", attempts_max=1, connect_timeout_s=1),
        catalogue=Catalogue(place=PLACE if aws else "", **(catalogue or {})),
        api=Api(host="127.0.0.1", port=0, **{"drain_s": 2, **api}),
    )
    if aws:
        s3_of(aws).create_bucket(Bucket=BUCKET)
    metrics, stop = Metrics.build(), threading.Event()
    serving = Serving(
        settings=settings,
        pool=pool,
        catalogue=Index(pool=pool, follow_every_s=0).open(),
        clients=Clients(settings.aws),
        metrics=metrics,
        stop=stop,
        healthy=healthy,
        preload="earmark.api.apart",
    )
    thread = threading.Thread(target=serving.run, daemon=True)
    thread.start()
    try:
        yield Served(serving, pool, metrics)
    finally:
        stop.set()
        serving.close()
        thread.join(10)
        assert not thread.is_alive()


# ------------------------------------------------------------------------------------------------ the OpenAPI document


@cache
def document() -> Mapping[str, Any]:
    return json.loads(json.dumps(described()))


@cache
def _templates() -> Sequence[tuple[re.Pattern[str], str]]:
    """Longest first; an id may hold slashes, as those of some recordings do."""
    return [(re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(template))), template) for template in sorted(document()["paths"], key=len, reverse=True)]


def held_to_the_document(method: str, path: str, answer: Answer) -> None:
    """What is answered is what the document says: the status, the type, the form."""
    template = next((template for pattern, template in _templates() if pattern.fullmatch(path.partition("?")[0])), None)
    operation = document()["paths"].get(template, {}).get(method.lower())
    if operation is None or answer.status == 405:
        assert answer.status in (200, 400, 401, 404, 405, 413, 429, 503), answer
        schema = {"$ref": "#/components/schemas/ProblemDocument"} if answer.status >= 400 else None
    else:
        assert str(answer.status) in operation["responses"], (method, template, answer.status)
        content = operation["responses"][str(answer.status)].get("content")
        if content is None:
            assert answer.body == b""
            schema = None
        else:
            assert answer.headers["content-type"] in content, (answer.headers["content-type"], list(content))
            schema = content[answer.headers["content-type"]]["schema"]
    if answer.status >= 400 and template != "/healthz":
        assert answer.headers["content-type"] == PROBLEM
        assert answer.document["status"] == answer.status
        assert "Traceback" not in answer.body.decode()
        assert "\n" not in answer.document["detail"]
    if schema is not None:
        jsonschema.Draft202012Validator({**schema, "components": document()["components"]}).validate(answer.document)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def sent_to_s3(form: Mapping[str, Any], data: bytes, **changed: str | None) -> tuple[int, str]:
    """The form as a browser sends it; fields may be changed, or (None) left out. The status, and S3's code if it is no success."""
    fields = {name: value for name, value in {**form["fields"], **changed}.items() if value is not None}
    response = urllib3.PoolManager(retries=False, timeout=10).request(
        "POST", form["url"], fields=[*fields.items(), ("file", ("song.flac", data, "application/octet-stream"))]
    )
    code = re.search(r"<Code>(\w+)</Code>", response.data.decode())
    return response.status, code.group(1) if code else ""
