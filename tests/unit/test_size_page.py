"""README's table of sizes is what docs/catalogue.json says."""

import json

import pytest

import size_table
from size_table import FIGURES, MILLION, PAGE, table, with_table


def figure(value: float) -> dict[str, object]:
    return {"value": value, "unit": "", "bar": None, "met": None, "against": ""}


def test_the_table_is_made_of_the_figures() -> None:
    figures = {int(size): found for size, found in json.loads(FIGURES.read_text(encoding="utf-8")).items()}
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, figures) == page, "run `python tests/size_table.py`"


def test_a_million_is_computed_by_what_grows_with_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        size_table,
        "ROWS",
        (("GB", "in all", 1, "recordings"), ("kB", "each", 0, "same"), ("ms", "CPU", 1, "postings"), ("s", "start", 1, "not said")),
    )
    figures = {
        10_000: {"in all": figure(2), "each": figure(140), "CPU": figure(1), "start": figure(1), "postings of one stream-second": figure(1_000)},
        100_000: {"in all": figure(19), "each": figure(141), "CPU": figure(2), "start": figure(1.5), "postings of one stream-second": figure(11_000)},
    }
    rows = [line.strip("| ").split(" | ") for line in table(figures).splitlines()]
    assert rows[0] == ["recordings", "10,000", "100,000", f"{MILLION:,}, computed"]
    assert rows[2] == ["GB", "2.0", "19.0", "190.0"]
    assert rows[3] == ["kB", "140", "141", "141"]
    assert rows[4] == ["ms", "1.0", "2.0", "11.9"]  # a tenth of a ms for a thousand postings, of which there are 110,000
    assert rows[5][:3] == ["s", "1.0", "1.5"]
