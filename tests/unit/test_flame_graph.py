"""The flame graph: what is drawn of folded stacks, and what the stacks are made from."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.live_profile import calls_in_c, folded
from flame_graph import fitting, read, svg

TESTS = Path(__file__).resolve().parents[1]
PICTURE = TESTS.parent / "docs" / "flame-graph.svg"
STACKS = {
    "earmark.compute.Compute._work;earmark.audio.decode.StreamDecoder.push;codec.decode()": 60,
    "earmark.compute.Compute._work;earmark.audio.decode.StreamDecoder.push": 15,
    "earmark.compute.Compute._work;earmark.hearing.Hearing.hear;numpy.sort": 20,
    "concurrent.futures.thread._worker;earmark.hits.outbox.Publisher._send": 5,
}


def _boxes(picture: str) -> dict[str, tuple[float, float, float, str]]:
    """Left, top, width and colour by what is said of a box."""
    found = {}
    for group in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}g"):
        title, box = group.find("{*}title"), group.find("{*}rect")
        assert title is not None and box is not None
        found[title.text or ""] = (float(box.get("x", "")), float(box.get("y", "")), float(box.get("width", "")), box.get("fill", ""))
    return found


def _drawn(stacks: dict[str, int]) -> dict[str, tuple[float, float, float, str]]:
    return {said.partition(":")[0]: box for said, box in _boxes(svg(stacks, title="t", subtitle="s")).items()}


def test_a_box_is_as_wide_as_its_share_and_stands_below_who_called_it() -> None:
    boxes = _drawn(STACKS)
    work, push, decode, hear = (boxes[name] for name in ("compute.Compute._work", "audio.decode.StreamDecoder.push", "codec.decode()", "hearing.Hearing.hear"))
    assert [round(box[2] / 912, 2) for box in (work, push, decode, hear)] == [0.95, 0.75, 0.6, 0.2]
    assert work[0] == push[0] == decode[0]
    assert work[1] < push[1] < decode[1]
    assert hear[1] == push[1]
    assert hear[0] == pytest.approx(push[0] + push[2] + 0.5, abs=0.11)  # beside it, after the larger one


def test_what_is_said_of_a_box_is_its_share_and_what_it_took_itself() -> None:
    said = _boxes(svg(STACKS, title="t", subtitle="s"))
    assert "audio.decode.StreamDecoder.push: 75.0%, 15.0% of it itself" in said
    assert "compute.Compute._work: 95.0%" in said
    assert "codec.decode(): 60.0%" in said


def test_colours_are_those_of_rooms_and_paler_for_what_they_call() -> None:
    boxes = _drawn(STACKS)
    colours = [boxes[name][3] for name in ("audio.decode.StreamDecoder.push", "codec.decode()", "hearing.Hearing.hear", "numpy.sort")]
    assert len(set(colours)) == 4
    same = _drawn({"earmark.audio.decode.StreamDecoder.push;earmark.matching.lines.look;numpy.sort": 1})
    assert same["numpy.sort"][3] == boxes["numpy.sort"][3]


def test_next_to_nothing_is_left_out_and_keeps_its_place() -> None:
    boxes = _drawn({"a": 5_000, "b": 1, "c": 4_999})
    assert set(boxes) == {"a", "c"}
    assert boxes["c"][0] == pytest.approx(24 + 912 * 0.5, abs=0.2)


@pytest.mark.parametrize("stacks", [{}, {"a;b": 0}])
def test_nothing_cannot_be_drawn(stacks: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no samples"):
        svg(stacks, title="t", subtitle="s")


def test_names_are_text_whatever_is_in_them() -> None:
    hostile = "a.<locals>.<lambda>&amp\"'</title><script>x</script>"
    picture = svg({f"{hostile};;": 1}, title="<b>", subtitle='"&')
    assert "<script" not in picture
    assert [said for said in _boxes(picture) if said.startswith(hostile)] == [f"{hostile}: 100.0%"]


@pytest.mark.parametrize(
    "chars, short",
    [(40, "audio.decode.StreamDecoder._decode"), (27, "StreamDecoder._decode"), (8, "_decode"), (7, "_decode"), (5, "_dec…"), (4, "_de…"), (3, ""), (-1, "")],
)
def test_a_name_is_shortened_from_its_beginning(chars: int, short: str) -> None:
    assert fitting("audio.decode.StreamDecoder._decode", chars) == short


def test_folded_stacks_are_read_and_what_is_none_is_refused() -> None:
    assert read("a;b <x> 3\na 1\na;b <x> 2\n") == {"a;b <x>": 5, "a": 1}
    assert read("") == {}
    for line in ("a;b", "a;b x", " 3", "a;b -1", "a;b 1.5"):
        with pytest.raises(ValueError, match="no folded stack"):
            read(line)


def test_the_picture_in_the_documents_is_one() -> None:
    picture = PICTURE.read_text(encoding="utf-8")
    assert len(picture) < 150_000
    assert re.findall(r"href|<image|<style|<script|/site-packages|\.py", picture) == []
    assert [float(size) for size in re.findall(r'font-size="([\d.]+)"', picture) if float(size) < 12] == []
    names = {said.partition(":")[0].partition(".")[0] for said in _boxes(picture)}
    assert {"compute", "audio", "fingerprint", "hearing", "index", "hits"} <= names


# ------------------------------------------------------------------------------------------------ stacks


def _sample(at: float, *stack: str, weight: int = 1, file: str = "<string>", line: int = 1) -> str:
    return json.dumps({"at": at, "stack": ["threading.Thread._bootstrap", *stack], "file": file, "line": line, "weight": weight}) + "\n"


def test_samples_are_counted_by_stack_within_two_moments(tmp_path: Path) -> None:
    lines = [_sample(9.9, "m.a"), _sample(10, "m.a", "m.b"), _sample(20, "m.a", "m.b", weight=3), _sample(20.1, "m.a")]
    (tmp_path / "samples-1").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "samples-2").write_text(_sample(15, "m.a", "m.b") + _sample(16, "m.a")[:-5], encoding="utf-8")  # is being written
    assert folded(tmp_path, 10, 20) == {"m.a;m.b": 5}


def test_comprehensions_are_their_functions_and_what_measures_is_nobodys(tmp_path: Path) -> None:
    stack = ("threading.Thread.run", "bench.live_observing.named", "m.a", "m.a.<locals>.<listcomp>", "m.a.<locals>.<lambda>")
    halved = json.dumps({"at": 1, "stack": ["m.a", "m.b"], "file": "<string>", "line": 1, "weight": 1})  # its beginning was gone by then
    (tmp_path / "samples-1").write_text(_sample(1, *stack) + halved + "\n", encoding="utf-8")
    assert folded(tmp_path, 0, 2) == {"m.a;m.a.<locals>.<lambda>": 1}


def test_calls_that_have_no_frames_are_named_by_the_line(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    source.write_text("frames = self.codec.decode(packet)\nself.push(np.maximum(a, len(b)))\nours(1)\na(1).b()\n", encoding="utf-8")
    assert {line: list(calls) for line, calls in calls_in_c(str(source)).items()} == {1: ["codec.decode"], 2: ["np.maximum", "len"], 4: ["b"]}
    (tmp_path / "samples-1").write_text(_sample(1, "m.a", file=str(source), line=2), encoding="utf-8")
    assert folded(tmp_path, 0, 2) == {"m.a;np.maximum, len()": 1}


_THREADS = """
import sys, threading, time, zlib
from pathlib import Path
from bench.live_observing import observe

observe(sys.argv[1], stages=False, profile=True)

def computes(until_s):
    data = bytes(1_000_000)
    while time.thread_time() < until_s:
        zlib.crc32(data)

def waits():
    stop.wait()

stop = threading.Event()
waiting = threading.Thread(target=waits)
computing = [threading.Thread(target=computes, args=(until_s,)) for until_s in (0.5, 0.5)]
for thread in (waiting, *computing):
    thread.start()
for thread in computing:
    thread.join()
stop.set()
waiting.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="timers of threads' processor time are Linux's")
def test_a_thread_is_sampled_as_often_as_it_computes_and_not_while_it_waits(tmp_path: Path) -> None:
    program = tmp_path / "threads.py"
    program.write_text(_THREADS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path({str(program)!r}, run_name='threads')", str(tmp_path)], env=environment, check=True, timeout=60
    )
    found = folded(tmp_path, 0, time.time())
    assert sum(weight for stack, weight in found.items() if "threads.computes" in stack) == pytest.approx(100, abs=40)
    assert sum(weight for stack, weight in found.items() if "threads.waits" in stack) <= 2
