"""A deployment whose bucket is the catalogue: objects into it, a daemon that keeps it, the command line beside it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.local.aws import AwsStandIn
from earmark.local.worker import Worker


class Media:
    """The bucket, and how to get at it."""

    def __init__(self, aws: AwsStandIn, dsn: str, folder: Path) -> None:
        self.aws, self.deployed, self.log = aws, aws.deploy(), folder / "daemon.log"
        self.bucket = self.deployed.media_bucket
        self.place = f"s3://{self.bucket}/catalogue/"
        #: Measuring what recordings are like takes longer than all else that becomes of them.
        quick = {"EARMARK_CATALOGUE__PROFILES": "false"}
        self.environment = {**self.deployed.environment(), "EARMARK_DATABASE__DSN": dsn, "EARMARK_CATALOGUE__PLACE": self.place, **quick}
        self._s3: Any = aws.client("s3")

    def listed(self, prefix: str = "") -> list[str]:
        return [entry["Key"] for entry in self._s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())]

    def get(self, key: str) -> bytes:
        data: bytes = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def put(self, name: str, data: bytes | Mapping[str, Any]) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=f"catalogue/{name}", Body=data if isinstance(data, bytes) else json.dumps(data).encode())

    def delete(self, name: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=f"catalogue/{name}")

    def earmark(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "earmark.cli", *arguments]
        return subprocess.run(command, env={**self.environment, **changed}, capture_output=True, text=True, timeout=120, check=False)

    def worker(self, roles: str = "catalogue", **more: str) -> Worker:
        return Worker(environment={**self.environment, **more}, log=self.log, roles=roles)
