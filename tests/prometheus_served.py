"""A real Prometheus of a test's own: started with a configuration, asked through its HTTP API, and gone afterwards."""

import json
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Prometheus:
    """What it says at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """An instant vector, of now or of `at` (Unix time). Raises AssertionError with Prometheus's own words."""
        asked = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        found: list[dict[str, Any]] = self._get("query", asked)["result"]
        return found

    def value(self, expression: str, *, at: float | None = None) -> float | None:
        """Of an expression with one series at most; None: it has none."""
        found = self.query(expression, at=at)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> list[dict[str, Any]]:
        """Those that are pending or firing."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Each with its health, and its last error."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, asked: Mapping[str, str] | None = None) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(asked or {})}", timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked}: {json.load(error)['error']}") from None


@contextmanager
def prometheus(binary: str, folder: Path, config: Mapping[str, Any], *options: str) -> Iterator[Prometheus]:
    """On a free port of the loopback; its data are in `folder`/data, which may be there before."""
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML, too
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        # What it says once it is ready is of no interest, but a full pipe would stop it.
        rest = threading.Thread(target=deque, args=(process.stderr,), kwargs={"maxlen": 0})
        try:
            url = _listening(process.stderr)
            rest.start()
            yield Prometheus(url)
        finally:
            process.terminate()
            if rest.ident:
                rest.join()


def _listening(log: IO[str]) -> str:
    """Read until it is ready, and has said where it listens: in either order."""
    said = ""
    for line in log:
        said += line
        if "Server is ready" in said and (found := re.search(r"Listening on\"? address=(127\.0\.0\.1:[1-9]\d*)", said)):
            return f"http://{found[1]}"
    raise AssertionError(f"Prometheus ended before it was ready: {said}")
