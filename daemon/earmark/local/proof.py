"""`earmark hits verify` and `hits explain`: one hit, its match computed again, its evidence drawn."""

import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from earmark import postgres, verifying
from earmark.aws import Clients, asking, code, status
from earmark.errors import BadSettings
from earmark.hits.proof import evidence
from earmark.hits.proof.picture import picture
from earmark.hits.text import called, dumps, one_line, shown
from earmark.index.catalogue import Tracks
from earmark.index.constellations import Constellations
from earmark.local.desk import opened
from earmark.model import Passage, Reference
from earmark.settings import Settings


def verify_hit(hit_id: str, *, as_json: bool, settings: Settings) -> int:
    """0: it holds, 1: it does not."""
    with opened(None, settings) as pool:
        with postgres.transaction(pool) as connection:
            record = verifying.on_record(connection, hit_id)
        if record is None:
            raise BadSettings(f"there is no hit {one_line(hit_id)!r} in the database: `earmark report STREAM --format json` lists those of a stream")
        bucket = settings.results.bucket
        read = Reading(Clients(settings.aws), bucket) if bucket else None
        Tracks(pool=pool).check_version()
        verdict = verifying.verify(record, Passages(pool), settings.matching.params(), read=read)
    if as_json:
        print(dumps(verdict.document(), indent=2))
    else:
        track = record.hit["track"]
        said = one_line(called(track["artists"], track["title"]), 80)
        name = f"{said} ({one_line(verdict.track_id, 80)})" if said else one_line(verdict.track_id, 80)
        sys.stdout.write("".join(f"{shown(line)}\n" for line in verifying.text(verdict, record.hit, name).splitlines()))
    return 0 if verdict.holds else 1


def explain_hit(hit_id: str, *, as_json: bool, svg: Path | None, settings: Settings) -> int:
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        hit, proof = evidence.load(connection, hit_id)
    if svg is not None:
        try:
            svg.write_text(picture(hit, proof), encoding="utf-8")
        except OSError as error:
            raise BadSettings(f"the picture cannot be written to {svg}: {(error.strerror or str(error)).lower()}") from None
        print(f"{svg} shows why", file=sys.stderr)
    if as_json or svg is None:
        sys.stdout.write(dumps(proof) + "\n" if as_json else evidence.text(hit, proof))
    return 0


class Passages:
    """What a verification asks of the catalogue, and no more: the whole index of a large one takes seconds to open."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool, self._constellations = pool, Constellations(pool=pool, cache_bytes=0)

    def track_no(self, track_id: str) -> int | None:
        with postgres.statement(self._pool) as connection:
            row = connection.execute("select track_no from track where track_id = %s", [track_id]).fetchone()
        return row[0] if row else None

    def fetch(self, passages: tuple[Passage, ...]) -> list[Reference]:
        return self._constellations.fetch(passages)


class Reading:
    """Objects of the bucket of results, by their keys. The client is made when the first is asked for."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self._clients, self._bucket = clients, bucket

    def __call__(self, key: str) -> bytes | None:
        """As `verifying.verify` wants it."""
        with asking("s3:GetObject", f"s3://{self._bucket}/{key}", absent="correct results.bucket"):
            try:
                answer: dict[str, Any] = self._clients.s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if status(error) == 404 and code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            with answer["Body"] as body:
                content: bytes = body.read(verifying.BYTES_MAX)
        return content
