"""The page of a stream that was heard: in its folder it points to what is there; from the command line it has its clips inside."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from psycopg.types.json import Json

import hits_samples as samples
from control_rows import run
from earmark.audio.encode import Encoding, encode_samples
from earmark.audio.file import length_s
from earmark.aws import Clients
from earmark.cli import main
from earmark.hits.page import details
from earmark.local.aws import AwsStandIn
from earmark.model import RATE_HZ
from earmark.postgres import Pool, transaction
from earmark.settings import Evidence
from evidence_world import Worker, stock, waiting_objects
from hearing_sounds import noise, tune

PIECE = tune(1, 60)
#: The piece from 8 s on, from its second 5.
ON_AIR = np.concatenate([noise(1, 8), PIECE[5 * RATE_HZ : 45 * RATE_HZ], noise(2, 16)])
ID = samples.STREAM.stream_id
HOSTILE = "<script>alert(1)</script>\n\u202e" + "🎵" * 2_000
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def heard(pool: Pool) -> dict[str, bytes]:
    """The stream, to its end: what goes to S3, by its key."""
    stock(pool, {"first": PIECE}, policy="block", rights_holder="Paper Boat", album=HOSTILE)
    Worker(pool, Evidence(clip=True)).hear(ON_AIR, 8 * RATE_HZ).end()
    return waiting_objects(pool)


@pytest.fixture
def s3(aws: AwsStandIn, heard: dict[str, bytes]) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="results")
    client.create_bucket(Bucket="catalogue")
    for key, content in heard.items():
        client.put_object(Bucket="results", Key=key, Body=content)
    return client


@pytest.fixture
def typed(dsn: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    if "s3" in request.fixturenames:
        monkeypatch.setattr(Clients, "s3", request.getfixturevalue("s3"))
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "results")

    def call(*options: str) -> tuple[int, str, str]:
        try:
            code = main(["report", ID, *options])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def addresses(page: str) -> set[str]:
    return {address for address in re.findall(r'(?:href|src)="([^"#][^"]*)"', page) if not address.startswith("data:")}


def test_the_page_in_a_streams_folder_explains_its_plays_and_points_to_nothing_that_is_not_there(heard: dict[str, bytes]):
    page = heard[f"{ID}/report.html"].decode()
    there = {key.removeprefix(f"{ID}/") for key in heard}
    assert addresses(page) <= there
    assert {address.partition("/")[0] for address in addresses(page)} == {"stream.json", "cue-sheet.csv", "cut-list.json", "hits", "evidence"}
    assert len([address for address in addresses(page) if address.startswith("evidence/")]) == 3  # peaks, picture and clip
    assert '<path class="dots"' in page and "block: Paper Boat says block" in page
    assert len(re.findall("<script", page)) == 1 and "\u202e" not in page


def test_where_there_is_no_room_for_all_those_with_consequences_are_explained_first(pool: Pool):
    with transaction(pool) as connection:
        samples.insert_stream(connection)
        for n, action in enumerate(("track", "allow", "block", "track", "warn")):
            hit = samples.hit(samples.play(begin_s=100.0 * n))
            hit["policy"]["action"] = action
            values = [hit["hit_id"], ID, "t", hit["query"]["begin_s"], hit["query"]["end_s"], Json(hit)]
            connection.execute(
                "insert into play (hit_id, stream_id, track_id, begin_s, end_s, body, revision, state, fencing)"
                " values (%s, %s, %s, %s, %s, %s, 1, 'closed', 1)",
                values,
            )
        found = details.load(connection, ID, 3)
    assert [dict(proof.facts)["Policy"].partition(":")[0] for proof in found.values()] == ["block", "warn", "track"]


def test_a_page_that_is_typed_stands_alone_and_one_with_clips_has_them_inside(typed: Run, heard: dict[str, bytes], s3: Any, pool: Pool):
    code, page, err = typed("--format", "html")
    assert (code, addresses(page), "<audio" in page, err) == (0, set(), False, "")

    # The copy that people may listen to lies in the catalogue's bucket.
    run(pool, "insert into catalogue_object (bucket, key, kind, track_id) values ('catalogue', 'one.flac', 'audio', 'first')")
    run(pool, "insert into fan_out (bucket, key) values ('catalogue', 'one.flac') on conflict do nothing")
    copy = encode_samples((PIECE * 20_000).astype(np.int16), rate_hz=RATE_HZ, how=Encoding(codec="aac"))
    run(
        pool,
        "insert into track_format (bucket, key, of_bucket, of_key, content_sha256, name, codec, state, duration_s, size_bytes)"
        " values ('catalogue', 'one-preview.m4a', 'catalogue', 'one.flac', '', 'preview', 'aac', 'made', 60, %s)",
        len(copy),
    )
    s3.put_object(Bucket="catalogue", Key="one-preview.m4a", Body=copy)
    code, page, err = typed("--format", "html", "--with-clips")
    assert (code, addresses(page), err) == (0, set(), "earmark: 1 clip in the page, 1 of them beside the recording's own sound\n")
    assert "media-src data:;" in page.replace("&#x27;", "'")
    clip, copied = (base64.b64decode(sound) for sound in re.findall(r'src="data:audio/[a-z0-9]+;base64,([^"]+)"', page))
    assert clip == heard[next(key for key in heard if key.endswith(".flac"))]
    # 30 s from 5 s before the play, of which 25 are the recording's, from its second 5.
    assert length_s(io.BytesIO(copied)) == pytest.approx(25, abs=0.3)
    assert "In the recording 0:05–0:30" in page and re.search("In the stream 0:0[23]–0:3[23]", page)


def test_a_clip_that_is_not_what_it_was_is_left_out_and_told_of(typed: Run, heard: dict[str, bytes], s3: Any, pool: Pool):
    key = next(key for key in heard if key.endswith(".flac"))

    def said() -> str:
        code, page, err = typed("--format", "html", "--with-clips")
        assert (code, "<audio" in page) == (0, False)
        return err.splitlines()[-1].removeprefix("earmark: ")

    s3.put_object(Bucket="results", Key=key, Body=heard[key][:-1] + b"x")
    assert said() == "1 sound left out: not what was put there: its SHA-256 is another one (`earmark hits verify` tells of it)"
    s3.delete_object(Bucket="results", Key=key)
    assert said() == "1 sound left out: not in the bucket any more"
    run(pool, "update play set body = body #- '{evidence,clip}'")
    assert said() == "no play of this stream has a clip: evidence.clip says whether they are kept"


@pytest.mark.parametrize(
    "options, bucket, says",
    [
        (("--format", "html", "--with-clips"), "", "--with-clips takes clips from the bucket of results, and there is none: set results.bucket"),
        (("--format", "csv", "--with-clips"), "results", "--with-clips is for --format html"),
    ],
)
def test_clips_that_cannot_be_had_are_refused_in_a_sentence(options: tuple[str, ...], bucket: str, says: str, typed: Run, monkeypatch):
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", bucket)
    code, out, err = typed(*options)
    assert (code, out, says in err) == (2, "", True)
