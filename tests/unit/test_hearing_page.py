"""docs/how-it-hears.md: its pictures are what the code draws, its table is what was measured, its links lead somewhere."""

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import hearing_table
import pictures
from bench import bench_calibration
from earmark.matching.confidence import CHANCE, threshold_nats
from earmark.model import CatalogueSize
from hearing_table import EARMARK, measured, table, with_table

PAGE = hearing_table.PAGE.read_text(encoding="utf-8")


def _parts(picture: str) -> tuple[Counter[str], list[str]]:
    """How many elements of each kind, and what is written, without its numbers."""
    elements = list(ET.fromstring(picture).iter())
    said = [re.sub(r"[\d.,]+", "0", element.text or "") for element in elements if element.tag.endswith("text")]
    return Counter(element.tag.rpartition("}")[2] for element in elements), sorted(said)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_what_the_code_draws(name: str) -> None:
    """About: on another processor, and after a change that hardly matters, a few peaks may be others."""
    kept, drawn = (pictures.FOLDER / name).read_text(encoding="utf-8"), pictures.PICTURES[name]()
    assert len(kept) < 300_000
    (kept_elements, kept_words), (drawn_elements, drawn_words) = _parts(kept), _parts(drawn)
    assert set(kept_words) == set(drawn_words), "run `make pictures`"
    assert dict(kept_elements) == {tag: pytest.approx(count, rel=0.15, abs=2) for tag, count in drawn_elements.items()}, "run `make pictures`"


def test_the_pictures_can_be_read_on_any_page_and_load_nothing() -> None:
    for name in (*pictures.PICTURES, *pictures.LIVE):
        picture = (pictures.FOLDER / name).read_text(encoding="utf-8")
        terminal = 'class="rich-terminal"' in picture  # a card of its own, styled in itself
        assert terminal or 'fill="#ffffff" stroke="#d0d0d0"' in picture  # a white card: dark pages too
        assert re.findall(r"href|<image|<script|@font-face|@import|url\((?!#)" + ("" if terminal else "|<style"), picture) == []
        assert [float(size) for size in re.findall(r'font-size="([\d.]+)"', picture) if float(size) < 12] == []


def test_the_table_is_made_from_what_was_measured() -> None:
    assert with_table(PAGE, json.loads(hearing_table.FIGURES.read_text(encoding="utf-8"))) == PAGE, "run `python tests/hearing_table.py`"


@pytest.mark.parametrize("page", ["docs/how-it-hears.md", "README.md"])
def test_links_to_files_lead_to_them(page: str) -> None:
    path = pictures.FOLDER.parent / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_modules_that_the_page_names_are_there() -> None:
    package = Path(hearing_table.__file__).parents[1] / "daemon" / "earmark"
    names = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)?\.py)`", PAGE))
    assert {name for name in names if not (package / name).exists() and not list(package.glob(f"*/{name}"))} == set()


def _query(n: int, *, role: str = "catalogue", condition: str = "clean", top: str, score: float, accepted: bool = True) -> dict:
    return {"n": n, "role": role, "condition": condition, "length_s": 12, "track": "d1", "top": top, "score": score, "accepted": accepted}


STREAM = {
    "hours": 0.5,
    "truth": [{"role": "catalogue", "track": "d1", "start_s": 10, "end_s": 60}, {"role": "catalogue", "track": "d2", "start_s": 70, "end_s": 99}],
    "plays": [{"track": "d1", "first_s": 14.0}, {"track": "d1", "first_s": 40.0}, {"track": "d3", "first_s": 41.0}],
}
RESULT = {
    "queries": [
        _query(0, top="d1", score=50),
        _query(1, top="d2", score=60),
        _query(2, top="d1", score=19),
        _query(3, top="d1", score=21),
        _query(4, top="d1", score=99),
        _query(0, role="negative", top="d7", score=20),
        _query(1, role="negative", top="d7", score=3, accepted=False),
        _query(4, role="negative", top="d7", score=90),
    ],
    "streams": [STREAM],
}


def test_a_column_counts_what_is_right_above_every_negative() -> None:
    column = measured(RESULT, 4)
    assert column["recall_percent"] == {"clean 12": 50}
    assert column["false_positives_percent"] == 50
    assert (column["plays_found"], column["plays"], column["detection_s"], column["false_detections_per_hour"]) == (1, 2, 4, 2)


def test_a_part_of_the_bench_is_no_column() -> None:
    with pytest.raises(ValueError, match="run the whole bench"):
        measured(RESULT, 6)


def test_a_new_system_is_a_new_column() -> None:
    figures = json.loads(hearing_table.FIGURES.read_text(encoding="utf-8"))
    figures["systems"] = {"olaf": figures["systems"]["olaf"], EARMARK: figures["systems"]["baseline"]}
    head, _, first, *_ = table(figures).splitlines()
    assert head == "| % right without a false positive | olaf | Earmark |"
    assert first == "| clean / −20 dB | 100 / 95 | 100 / 100 |"


def test_the_page_about_calibration_says_what_was_measured_and_the_code_does_what_it_says() -> None:
    page, told = bench_calibration.PAGE.read_text(encoding="utf-8"), json.loads((bench_calibration.DOCS / "calibration.json").read_text(encoding="utf-8"))
    assert page.partition(bench_calibration.BEGIN)[2].startswith(bench_calibration.table(told) + bench_calibration.END)
    assert told["model"] == asdict(CHANCE)
    assert f"rate(x) = {CHANCE.lines_per_hour} · (catalogue / {CHANCE.catalogue_s / 3_600:g} h)^{CHANCE.growth} · exp(−{CHANCE.per_nat} · (x − 13))" in page
    for hours, nats in ((4, "27.1"), (100, "28.2"), (6_000, "29.7")):
        assert f"{threshold_nats(1e-4, CatalogueSize(tracks=0, seconds=hours * 3_600, postings=0)):.1f}" == nats
        assert nats in page
    decided = [checked["ratio"] for checked in told["checked"] if checked["decided"]]
    assert len(decided) >= 10
    assert 1 / 3 < min(decided) < max(decided) < 3
