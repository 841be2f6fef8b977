"""What a measurement is asked for by variables: read, or refused in one sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.asked import number, one_of, some_of, whole, wholes

TESTS = Path(__file__).parents[1]


def test_what_is_not_set_or_empty_is_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMS", "")
    assert (number("MINUTES", 1.25), whole("STREAMS", 50), wholes("STREAMS", "100,50"), some_of("MUSIC", ["a", "b"])) == (1.25, 50, [50, 100], ["a", "b"])


def test_what_is_set_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, told in {"MINUTES": "0.5", "STREAMS": "300,50", "TRACKS": "1e4", "MUSIC": "generated"}.items():
        monkeypatch.setenv(name, told)
    assert (number("MINUTES", 1.25), whole("TRACKS", 5), wholes("STREAMS", "5")) == (0.5, 10_000, [50, 300])
    assert one_of("MUSIC", "real", ["generated", "real"]) == "generated"
    assert some_of("MUSIC", ["generated", "real"]) == ["generated"]


@pytest.mark.parametrize(
    "read, told, sentence",
    [
        (partial(wholes, usual="50", least=1), "abc", "ASKED='abc' is not a number from 1"),
        (partial(wholes, usual="50", least=1), "50,,100", "ASKED='' is not a number from 1"),
        (partial(wholes, usual="50", least=1), "-5", "ASKED='-5' is not a number from 1"),
        (partial(whole, usual=50), "1.5", "ASKED='1.5' is not a whole number"),
        (partial(number, usual=1.25, least=0.25), "inf", "ASKED='inf' is not a number from 0.25"),
        (partial(number, usual=1.25, least=0.25), "nan", "ASKED='nan' is not a number from 0.25"),
        (partial(some_of, known=["archive", "files"]), "files,tapes", "ASKED has 'tapes': there is archive, files"),
        (partial(one_of, usual="mixed", known=["mixed", "muxed720"]), "nope", "ASKED='nope': there is mixed, muxed720"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    read: Callable[[str], object], told: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASKED", told)
    with pytest.raises(SystemExit) as ended:
        read("ASKED")
    assert (ended.value.code, capsys.readouterr()) == (2, ("", sentence + "\n"))


def test_a_measurement_says_so_and_nothing_else() -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "STREAMS": "abc"}
    command = [sys.executable, "-m", "bench", "streams"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "STREAMS='abc' is not a number from 1\n")
