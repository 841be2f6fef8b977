"""README as somebody new reads it: what needs no account is typed as it stands, and does what README says.

`make demo` is typed with KILL=1 in its environment: the daemon is killed half-way, and nothing may be missing or there twice for that.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import av
import pytest

from first_hour import FIRST, Reader, page
from newcomer import ordinary_user
from readme_blocks import Block

TYPED = [block for block in page() if not block.words]
OTHERS = [block for block in TYPED if block.chapter != FIRST]


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """An ordinary user, even where the tests are root's: what root sees, other tests see."""
    with ExitStack() as stack:
        yield Reader(stack, user=ordinary_user(), environment={"KILL": "1"})


@pytest.fixture(scope="module")
def said(reader: Reader) -> list[str]:
    """By the blocks of the first hour."""
    return [reader.types(block) for block in TYPED if block.chapter == FIRST]


@pytest.fixture(scope="module")
def settled(reader: Reader) -> Iterator[Reader]:
    """After it."""
    with ExitStack() as stack:
        reader.has_a_database(stack)
        yield reader


def test_the_first_hour_goes_as_it_is_written(reader: Reader, said: list[str]) -> None:
    assert len(said) >= 4
    assert list((reader.folder / "tmp").iterdir()) == []


def test_each_play_is_on_record_once_though_the_daemon_is_killed_half_way(reader: Reader, said: list[str]) -> None:
    assert any("was killed (SIGKILL)" in text and "WRONG" not in text for text in said)
    demo = reader.checkout / "build" / "demo"
    hits = [json.loads(path.read_text()) for path in demo.glob("s3/*/hits/*.json")]
    assert len(hits) == 3
    assert len({hit["hit_id"] for hit in hits}) == 3
    assert {hit["state"] for hit in hits} == {"closed"}
    (summary,) = [json.loads(path.read_text()) for path in demo.glob("s3/*/stream.json")]
    assert summary["state"] == "ended"
    assert summary["coverage"]["unaccounted_s"] == 0
    (report,) = demo.glob("s3/*/report.html")
    assert all(hit["track"]["title"] in report.read_text() for hit in hits)
    with av.open(str(demo / "stream.m4a")) as container:
        assert container.duration / 1e6 == pytest.approx(79, abs=1)
    assert (demo / "mails.txt").read_text().count("To: ") == 4  # one for each play, and one when the stream was over


@pytest.mark.parametrize("block", OTHERS, ids=lambda block: f"line-{block.line}")
def test_every_other_block_can_be_typed_as_it_stands(settled: Reader, block: Block, skip_unless: Callable[[str], str]) -> None:
    if block.text.startswith("promtool "):
        skip_unless("promtool")
    settled.types(block)
