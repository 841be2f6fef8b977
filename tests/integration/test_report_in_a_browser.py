"""`report.html` in a real Chromium: people find, sort and read in it, whoever they are; it runs nothing else, and asks the network for nothing."""

import math
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

import report_browser as reports
from earmark.audio.encode import Encoding, encode_samples
from earmark.hits.page.details import Clip

PLAYS = 12
PHONE = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
HOSTILE = [
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\u202eevil \u0645\u0631\u062d\u0628\u0627",
    "👩‍👩‍👧 🇩🇪",
    "x" * 2_000,
    "two\nlines\r\n",
    '=HYPERLINK("http://example.com","click")',
    "' onmouseover='document.title=1",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if reports.chromium_path() is None:
        pytest.skip("chromium is not installed on this machine")
    with reports.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of some plays, with a clip beside it that the first of them has."""
    folder = tmp_path_factory.mktemp("stream")
    (folder / "evidence").mkdir()
    proofs = reports.long_proofs(PLAYS, 2.0, clip=True)
    (folder / "evidence" / f"{next(iter(proofs))}.flac").write_bytes(sound())
    (folder / "report.html").write_text(reports.html(reports.long_report(PLAYS, 2.0), proofs), encoding="utf-8")
    return folder / "report.html"


def sound() -> bytes:
    tone = 8_000 * np.sin(2 * math.pi * 440 * np.arange(8_000) / 8_000)
    return encode_samples(tone.astype(np.int16), rate_hz=8_000, how=Encoding(codec="flac"))


def titles(page: Page) -> list[str]:
    """Of the plays that are shown, in their order."""
    return page.eval_on_selector_all("#list tbody:not([hidden]) th bdi", "all => all.map(one => one.textContent)")


def column(page: Page, number: int) -> list[str]:
    return page.eval_on_selector_all(f"#list tbody tr:first-child > :nth-child({number})", "all => all.map(one => one.firstChild?.textContent ?? '')")


def test_it_shuts_nobody_out_and_keeps_to_itself(chromium: Browser, tmp_path: Path):
    """With a few plays, since each element is looked at: of every kind that there is."""
    proofs = reports.long_proofs(6, 0.5, clip=True)
    (tmp_path / "report.html").write_text(reports.html(reports.long_report(6, 0.5), proofs), encoding="utf-8")
    with reports.opened(chromium, tmp_path / "report.html") as (page, seen):
        assert {"block", "warn", "quotation"} <= set(page.locator(".tag").all_text_contents())
        page.evaluate("for (const one of document.querySelectorAll('#list tbody:nth-of-type(-n+2) details, .reading')) one.open = true")
        assert reports.broken(page) == []
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
        assert reports.broken(page, "color-contrast") == []
        page.set_viewport_size(PHONE["viewport"])
        assert reports.broken(page) == []
        assert (seen.requests, seen.console) == ([], [])


def test_without_its_script_it_is_whole(chromium: Browser, path: Path):
    with reports.opened(chromium, path, java_script_enabled=False) as (page, seen):
        assert page.locator("#list tbody").count() == PLAYS
        assert page.locator("#finder").is_hidden() and page.locator("#list thead button").count() == 0
        page.locator("#list summary").first.click()
        assert page.locator(".proofs svg").first.is_visible()
        assert (seen.requests, seen.console) == ([], [])


def test_plays_are_sorted_by_every_column_both_ways_and_said_to_be(chromium: Browser, path: Path):
    with reports.opened(chromium, path) as (page, _):
        began = column(page, 1)
        for number, key in ((2, reports.seconds_of), (3, str.casefold), (1, reports.seconds_of)):
            head = page.locator(f"#list thead th:nth-child({number})")
            for way in ("ascending", "descending"):
                head.locator("button").click()
                shown = column(page, number) if number != 3 else titles(page)
                assert [key(text) for text in shown] == sorted(map(key, shown), reverse=way == "descending")
                assert head.get_attribute("aria-sort") == way
                assert page.locator("#list [aria-sort=none]").count() == 5
                assert f"sorted by “{head.inner_text()}”" in page.locator("#found").inner_text()
        page.locator("#list thead th:nth-child(1) button").click()
        assert column(page, 1) == began
        # Whose owner nobody knows comes last, whichever way.
        for _ in range(2):
            page.locator("#list thead th:nth-child(4) button").click()
            assert column(page, 4)[-1] == "" != column(page, 4)[0]


def test_plays_are_found_by_words_and_by_what_the_policy_says(chromium: Browser, path: Path):
    with reports.opened(chromium, path) as (page, _):
        assert page.locator("#found").inner_text() == f"{PLAYS} plays"
        page.fill("#words", "HARBOÛR  nordlicht")
        found = page.locator("#list tbody:not([hidden])")
        assert 0 < found.count() < PLAYS
        for text in found.all_text_contents():
            assert "harbour" in text.lower() and "nordlicht" in text.lower()
        assert page.locator("#found").inner_text().startswith(f"{found.count()} of {PLAYS} plays, heard for ")
        assert page.locator(".bands a:not(.off)[href^='#play']").count() >= found.count()
        assert page.locator(".bands a.off").count() > 0

        page.fill("#words", "")
        page.select_option("#action", "block")
        assert {text.strip() for text in page.locator("#list tbody:not([hidden]) .tag:not(th .tag)").all_text_contents()} == {"block"}
        page.fill("#words", "\\ ( [ no such thing <b>")
        assert page.locator("#found").inner_text() == f"0 of {PLAYS} plays, heard for 0:00"

        # A bar of the timeline leads to its play, also to one that is not shown.
        page.locator(".bands a[href='#play2'] rect").first.click()
        assert page.locator("#play2 details").get_attribute("open") is not None
        assert page.locator("#list tbody:not([hidden])").count() == PLAYS


def test_everything_is_reached_by_the_keyboard_and_seen_to_be(chromium: Browser, path: Path):
    with reports.opened(chromium, path, reduced_motion="reduce") as (page, _):
        wanted = page.eval_on_selector_all(
            "a:not([tabindex]), button, input, select, summary", "all => all.filter(one => one.checkVisibility()).map((one, n) => (one.dataset.n = n))"
        )
        reached, hidden = set(), []
        for _ in range(len(wanted)):
            page.keyboard.press("Tab")
            number, outline = page.evaluate("[Number(document.activeElement.dataset.n), getComputedStyle(document.activeElement).outlineStyle]")
            reached.add(number)
            if outline == "none":
                hidden.append(number)
        assert (reached, hidden) == (set(wanted), [])
        page.focus("#list thead th:nth-child(2) button")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.textContent") == "For"
        page.focus("#play1 summary")
        page.keyboard.press("Space")
        assert page.locator("#play1 audio").is_visible()
        assert page.evaluate("document.getAnimations().length") == 0


def test_what_strangers_wrote_is_shown_and_does_nothing(chromium: Browser, tmp_path: Path):
    whole = reports.long_report(12, 1.0, hostile=HOSTILE)
    whole = replace(whole, stream=replace(whole.stream, channel_name=HOSTILE[2] + HOSTILE[0]))
    (tmp_path / "report.html").write_text(reports.html(whole, reports.long_proofs(12, 1.0, hostile=HOSTILE)), encoding="utf-8")
    with reports.opened(chromium, tmp_path / "report.html", **PHONE) as (page, seen):
        assert {HOSTILE[0], HOSTILE[3], HOSTILE[6], HOSTILE[7]} <= set(titles(page))
        page.locator("#unfold").click()
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 640})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.fill("#words", "<script>")
        assert page.locator("#list tbody:not([hidden])").count() == 1
        page.locator("#list thead th:nth-child(3) button").click()
        assert page.title().endswith("</script>: what was played")
        assert page.evaluate("document.scripts.length") == 1
        assert (seen.requests, seen.console) == ([], [])


def test_should_escaping_ever_fail_the_policy_still_runs_and_fetches_nothing(chromium: Browser, path: Path, tmp_path: Path):
    """The page as it would be if a title were put in as it came, in a browser that is online."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        attack = f"<script>document.title='owned'</script><img src='{address}' onerror=\"document.title='owned'\"><style>body{{display:none}}</style>"
        attack += f"<script src='{address}'></script><iframe src='{address}'></iframe><audio src='{address}' preload></audio><p style='color:red' id=p>x</p>"
        (tmp_path / "report.html").write_text(path.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}"), encoding="utf-8")
        with reports.opened(chromium, tmp_path / "report.html", offline=False) as (page, seen):
            assert page.title().endswith("what was played")
            assert page.evaluate("getComputedStyle(document.body).display") == "block"
            assert page.evaluate("getComputedStyle(p).color") != "rgb(255, 0, 0)"
            assert len([line for line in seen.console if "Content Security Policy" in line]) >= 7
        # It may connect, to lose no time should it be allowed to ask; it is not, and does not.
        with suppress(BlockingIOError):
            while True:
                called, _ = server.accept()
                with called:
                    assert called.recv(1) == b""


def test_a_clip_is_played_from_beside_the_page_and_from_within_it(chromium: Browser, path: Path, tmp_path: Path):
    proofs = reports.long_proofs(2, 0.1, clip=True)
    inside = Clip(address=f"data:audio/flac;base64,{reports.base64_of(sound())}", begin_s=10.0, end_s=11.0)
    proofs = {hit_id: replace(proof, clip=inside, preview=replace(inside, begin_s=3.0, end_s=4.0)) for hit_id, proof in proofs.items()}
    within = tmp_path / "within.html"
    within.write_text(reports.report.html(reports.long_report(2, 0.1), proofs), encoding="utf-8")
    for file, sounds in ((path, 1), (within, 2)):
        with reports.opened(chromium, file) as (page, seen):
            assert seen.requests == []  # not before somebody wants to hear it
            page.locator("#play1 summary").click()
            assert page.locator("#play1 audio").count() == sounds
            for number in range(sounds):
                page.locator("#play1 audio").nth(number).evaluate("one => one.play()")
            assert page.locator("#play1 audio").last.evaluate("one => !one.paused && one.duration") == pytest.approx(1.0, abs=0.1)
            assert page.eval_on_selector_all("audio", "all => all.filter(one => !one.paused).length") == 1
            assert seen.console == []


def test_on_paper_it_is_black_on_white_without_what_only_a_screen_can_do(chromium: Browser, path: Path):
    with reports.opened(chromium, path, color_scheme="dark") as (page, _):
        page.locator("#play3 summary").click()
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
        assert not [what for what in ("#finder", "nav", "#play1 .more", "audio", "summary") if page.locator(what).first.is_visible()]
        assert page.locator("#play3 .proofs svg").first.is_visible()
        assert page.pdf().startswith(b"%PDF")


def test_a_page_without_plays_or_without_anything_is_still_a_page(chromium: Browser, tmp_path: Path):
    for hours in (0.0, 1.0):
        (tmp_path / "report.html").write_text(reports.html(reports.long_report(0, hours), {}), encoding="utf-8")
        with reports.opened(chromium, tmp_path / "report.html") as (page, seen):
            assert page.locator(".lead").inner_text().startswith("No catalogued recording was heard in ")
            assert (seen.requests, seen.console) == ([], [])
