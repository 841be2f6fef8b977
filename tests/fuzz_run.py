"""`make fuzz`: foreign bytes for every parser, each in a process of its own, until it has had its share.

    PYTHONPATH=tests python -m fuzz_run [PARSER...]        N= inputs in all, SEED=, FROM= the number of the first one, OUT= a folder

Without a name all of them; then every form of a forbidden address is tried, too (`security_addresses`).

A finding is a crash (of the process, or an error that the parser does not name), a hang, or growth; its input is kept in build/fuzz/ with the
command that repeats it, and the run goes on. Writes build/bench/fuzz.json; exit code 1 with a finding.
"""

import json
import operator
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.rows import ROOT, row, store
from earmark.telemetry import configure_logging
from fuzz_parsers import Parser, parsers
from security_addresses import forms, tried

INPUTS: Final = 120_000
#: Enough to have met every kind of accident with every kind of input.
LEAST_OF_EACH: Final = 5_000
IN_ALL: Final = 100_000
#: Without a word for so long, whatever it does, a process hangs; CPU time is limited in it by itself.
SILENT_S: Final = 60.0
#: Inputs of one process: what grows little by little shows, and what is kept for later is not mistaken for it.
OF_A_PROCESS: Final = 5_000
FINDINGS: Final = ("crash", "hang", "growth")
#: A parser with so many findings is not asked further.
FINDINGS_MAX: Final = 200


@dataclass(frozen=True, kw_only=True)
class Finding:
    parser: str
    seed: int
    number: int
    kind: str
    why: str

    @property
    def command(self) -> str:
        return f"make fuzz ARGS={self.parser} SEED={self.seed} FROM={self.number} N=1"

    def keep(self, folder: Path, data: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.parser}-{self.seed}-{self.number}.txt"
        path.write_text(f"{self.kind}: {self.why}\n{self.command}\n{data.hex()}\n", encoding="utf-8")


@dataclass(kw_only=True)
class Told:
    """What became of one parser's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return self.outcomes.total()


Start = Callable[[str, int, int, int, str], "subprocess.Popen[bytes]"]


def start(name: str, seed: int, first: int, end: int, folder: str) -> "subprocess.Popen[bytes]":
    """`folder` is where its temporary files are."""
    command = [sys.executable, "-m", "fuzz_child", name, str(seed), str(first), str(end)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": folder}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def fuzz(parser: Parser, *, count: int, seed: int, first: int = 1, start: Start = start, folder: Path = ROOT / "build" / "fuzz") -> Told:
    """Every input of the range is judged, whatever becomes of the processes that judge them."""
    told, number, end, began = Told(), first, first + count, time.monotonic()
    while number < end and len(told.findings) < FINDINGS_MAX:
        with tempfile.TemporaryDirectory() as temporary, start(parser.name, seed, number, min(end, number + OF_A_PROCESS), temporary) as process:
            try:
                for done, outcome, why in _lines(process):
                    number = done + 1
                    told.outcomes[outcome] += 1
                    if outcome in FINDINGS:
                        told.findings.append(Finding(parser=parser.name, seed=seed, number=done, kind=outcome, why=why))
            except subprocess.TimeoutExpired:
                death: tuple[str, str] | None = ("hang", f"not a word for {SILENT_S:.0f} s")
            else:
                death = _death(process.wait())
            finally:
                process.kill()
        if death:
            told.outcomes[death[0]] += 1
            told.findings.append(Finding(parser=parser.name, seed=seed, number=number, kind=death[0], why=death[1]))
            number += 1
    for finding in told.findings:
        finding.keep(folder, parser.input(seed, finding.number))
    told.seconds = time.monotonic() - began
    return told


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[tuple[int, str, str]]:
    """What it says, until it ends. Raises TimeoutExpired when it says nothing for too long."""
    assert process.stdout
    handle, held = process.stdout.fileno(), b""
    while True:
        if not select.select([handle], [], [], SILENT_S)[0]:
            raise subprocess.TimeoutExpired(process.args, SILENT_S)
        piece = os.read(handle, 65_536)
        if not piece:
            return
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            number, outcome, why = json.loads(line)
            yield number, outcome, why


def _death(code: int) -> tuple[str, str] | None:
    """Why a process ended, if not by itself."""
    if code == -signal.SIGPROF:
        return "hang", "it took more CPU time than an input may"
    return ("crash", f"the process ended with {code}") if code else None


# ------------------------------------------------------------------------------------------------ what is shown


def main(chosen: Sequence[str]) -> int:
    all_of_them = parsers()
    names = [parser.name for parser in all_of_them]
    if unknown := set(chosen) - set(names):
        sys.stderr.write(f"make fuzz: there is no parser {', '.join(sorted(unknown))}; there are {', '.join(names)}\n")
        return 2
    asked = [parser for parser in all_of_them if not chosen or parser.name in chosen]
    count, seed, first = (int(os.environ.get(name) or default) for name, default in (("N", INPUTS), ("SEED", 1), ("FROM", 1)))
    sys.stdout.write(f"{'parser':<12}{'inputs':>9}{'refused':>9}{'accepted':>10}{'crashes':>9}{'hangs':>7}{'growth':>8}{'seconds':>9}\n")
    told: dict[str, Told] = {}
    for parser, share in zip(asked, shares(asked, count), strict=True):
        told[parser.name] = fuzz(parser, count=share, seed=seed, first=first)
        _show(parser.name, told[parser.name])
    reached = None if chosen else asked_addresses()
    _write(told, seed, reached)
    return 1 if any(of.findings for of in told.values()) or (reached and reached[0]) else 0


def asked_addresses() -> tuple[int, int]:
    """Of all forms of forbidden addresses, tried in every way: how many were asked, and how many tries there were."""
    configure_logging(level="error")
    reached, tries = tried()
    sys.stdout.write(f"requests that reached a forbidden address: {len(reached)} of {tries:,} tries of {len(forms())} forms\n")
    for form in reached:
        sys.stdout.write(f"  {form}\n")
    return len(reached), tries


def shares(asked: Sequence[Parser], count: int) -> list[int]:
    """By weight, and of a whole run never less than each has to have."""
    weights = sum(parser.weight for parser in asked)
    least = LEAST_OF_EACH if count >= IN_ALL else 1
    return [max(least, round(count * parser.weight / weights)) for parser in asked]


def _show(name: str, told: Told) -> None:
    numbers = [told.inputs, *(told.outcomes[outcome] for outcome in ("refused", "accepted", *FINDINGS))]
    widths = (9, 9, 10, 9, 7, 8)
    sys.stdout.write(f"{name:<12}" + "".join(f"{number:>{width},}" for number, width in zip(numbers, widths, strict=True)) + f"{told.seconds:>9.0f}\n")
    shown: set[str] = set()
    for finding in told.findings:
        reason = finding.why.partition("(")[2] or finding.why
        if reason not in shown and len(shown) < 20:
            shown.add(reason)
            sys.stdout.write(f"  {finding.kind} of input {finding.number}: {finding.why}\n    {finding.command}\n")
    sys.stdout.flush()


def _write(told: dict[str, Told], seed: int, reached: tuple[int, int] | None) -> None:
    command = f"make fuzz SEED={seed}"
    inputs = {name: of.inputs for name, of in told.items()}
    rows = [
        row("inputs fuzzed", sum(inputs.values()), "inputs", command=command, bar=IN_ALL, met=operator.ge, digits=0),
        row("inputs of the parser with the fewest", min(inputs.values()), "inputs", command=command, bar=LEAST_OF_EACH, met=operator.ge, digits=0),
        *(
            row(f"inputs with a {kind}", sum(of.outcomes[kind] for of in told.values()), "inputs", command=command, bar=0, digits=0)
            for kind in FINDINGS
        ),
        *(row(f"inputs refused with a sentence, {name}", of.outcomes["refused"], "inputs", command=command, against=f"{of.inputs:,} in all", digits=0)
          for name, of in told.items()),
    ]  # fmt: skip
    if reached:
        figure, against = "requests that reached a forbidden address", f"{reached[1]:,} tries of {len(forms())} forms"
        rows.append(row(figure, reached[0], "requests", command=command, bar=0, against=against, digits=0))
    store("fuzz", rows, Path(os.environ.get("OUT") or ROOT / "build" / "bench"))
    findings = sum(len(of.findings) for of in told.values())
    sys.stdout.write(f"{sum(inputs.values()):,} inputs, {findings:,} findings{', kept in build/fuzz' if findings else ''}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
