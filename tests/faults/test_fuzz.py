"""A few hundred foreign inputs for every parser, always the same ones; and that a run finds what it looks for, whatever that does to its process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz_parsers import Parser, parsers
from fuzz_run import FINDINGS, Finding, fuzz, shares

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("parser", parsers(), ids=lambda parser: parser.name)
def test_every_input_is_taken_or_refused_with_a_sentence(parser: Parser, tmp_path: Path) -> None:
    told = fuzz(parser, count=200, seed=20_261, folder=tmp_path)
    assert told.findings == []
    assert told.inputs == 200
    assert min(told.outcomes["accepted"], told.outcomes["refused"]) >= 3, "inputs that are all refused, or all taken, try little"


def test_an_input_is_the_same_whenever_it_is_made() -> None:
    for parser in parsers():
        assert parser.input(3, 4) == parser.input(3, 4)
        assert len({parser.input(3, number) for number in range(8)}) > 3


# ------------------------------------------------------------------------------------------------ what a run finds

#: A parser that takes one byte, and does something else for each.
PLANTED = """if True:
    import ctypes, os, sys, time
    import fuzz_child
    from fuzz_parsers import Parser

    fuzz_child.HANG_S = 0.3
    kept = []

    def run(data):
        match data:
            case b"a":
                raise KeyError("nobody catches this")
            case b"b":
                ctypes.string_at(0)
            case b"c":
                while True:
                    pass
            case b"d":
                kept.append(b"x" * 150_000_000)
            case b"e":
                kept.append(bytearray(1 << 40))
            case b"f":
                raise ValueError("two\\nlines")
            case b"g":
                os._exit(3)
            case b"h":
                raise ValueError("a sentence")
            case b"i":
                time.sleep(60)

    planted = Parser(name="planted", weight=1, make=None, run=run, refuses=(ValueError,))
    object.__setattr__(planted, "make", lambda rng: b"")
    Parser.input = lambda self, seed, number: "{inputs}".encode()[number : number + 1] if number else b"-"
    fuzz_child.main("planted", *map(int, sys.argv[1:4]), parser=planted)
"""


def planted(inputs: str) -> tuple[Parser, object]:
    parser = Parser(name="planted", weight=1, make=lambda _: b"input", run=len, refuses=())

    def start(_name: str, seed: int, first: int, end: int, folder: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", PLANTED.replace("{inputs}", "-" + inputs), str(seed), str(first), str(end)]
        # What a crash has to say of itself is nobody's failure here.
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": folder})

    return parser, start


@pytest.mark.parametrize(
    "inputs, kinds",
    [
        ("-a-b-c-d-e-f-g-h", ["crash", "crash", "hang", "growth", "growth", "crash", "crash"]),
        ("acbg", ["crash", "hang", "crash", "crash"]),
        ("hhhh", []),
    ],
)
def test_whatever_happens_to_the_process_is_found_and_the_others_go_on(inputs: str, kinds: list[str], tmp_path: Path) -> None:
    parser, start = planted(inputs)
    told = fuzz(parser, count=len(inputs), seed=1, start=start, folder=tmp_path)  # type: ignore[arg-type]
    assert [finding.kind for finding in told.findings] == kinds, told.findings
    assert [finding.number for finding in told.findings] == [number for number, letter in enumerate(inputs, 1) if letter not in "-h"]
    assert told.inputs == len(inputs)
    assert sum(told.outcomes[kind] for kind in FINDINGS) == len(kinds)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == len(kinds)
    for path in kept:
        _, command, data = path.read_text().splitlines()
        assert command.startswith("make fuzz ARGS=planted SEED=1 FROM=")
        assert bytes.fromhex(data) == b"input"


def test_a_process_that_says_nothing_for_too_long_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_run.SILENT_S", 15.0)  # it has to start within that, too
    parser, start = planted("-i")
    told = fuzz(parser, count=2, seed=1, start=start, folder=tmp_path)  # type: ignore[arg-type]
    assert [(finding.kind, finding.number) for finding in told.findings] == [("hang", 2)]


# ------------------------------------------------------------------------------------------------ the door


def test_a_whole_run_gives_every_parser_its_least() -> None:
    assert sum(shares(parsers(), 120_000)) >= 100_000
    assert min(shares(parsers(), 120_000)) >= 5_000
    assert shares(parsers()[:1], 7) == [7]


def test_a_finding_is_repeated_by_its_command() -> None:
    finding = Finding(parser="ts", seed=7, number=123, kind="crash", why="")
    assert finding.command == "make fuzz ARGS=ts SEED=7 FROM=123 N=1"


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz_run", *argv]
    kept = {**os.environ, "PYTHONPATH": str(TESTS), **environment}
    return subprocess.run(command, env=kept, capture_output=True, text=True, timeout=120, check=False, cwd=TESTS.parent)


def test_it_shows_a_table_and_writes_rows(tmp_path: Path) -> None:
    done = run("messages", "addresses", N="40", SEED="5", OUT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    header, *lines, last = done.stdout.splitlines()
    assert header.split() == ["parser", "inputs", "refused", "accepted", "crashes", "hangs", "growth", "seconds"]
    assert [line.split()[0] for line in lines] == ["messages", "addresses"]
    assert last == "40 inputs, 0 findings"
    rows = json.loads((tmp_path / "fuzz.json").read_text())
    assert {"figure", "value", "unit", "bar", "met", "against", "command", "revision", "processor", "time"} <= set(rows[0])
    assert {row["figure"]: row["value"] for row in rows}["inputs fuzzed"] == 40


def test_a_parser_that_is_none_is_named() -> None:
    done = run("playlist")
    assert done.returncode == 2
    assert "there is no parser playlist; there are messages, playlists, " in done.stderr
