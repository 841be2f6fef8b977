"""What jobs of the catalogue's bucket have in common: the bell, the beat, the folder."""

import tempfile
import threading
from types import SimpleNamespace

import pytest

from earmark.errors import BadSettings
from earmark.stocking import job
from earmark.stocking.job import Beat, Leaving, News, temporary_folder

LONG_S = 600.0


def waits(news: News, told: int, due_s: float | None = None) -> threading.Thread:
    thread = threading.Thread(target=news.wait, args=(told, due_s), daemon=True)
    thread.start()
    return thread


def ends(thread: threading.Thread, within_s: float = 10.0) -> bool:
    thread.join(within_s)
    return not thread.is_alive()


def test_news_wakes_every_job_that_waits() -> None:
    news = News(stop=threading.Event(), look_s=LONG_S)
    waiting = [waits(news, news.told) for _ in range(3)]
    assert not ends(waiting[0], 0.05)
    news.wake("a payload")
    assert all(ends(one) for one in waiting)


def test_what_was_said_while_a_job_was_busy_is_not_waited_for() -> None:
    news = News(stop=threading.Event(), look_s=LONG_S)
    told = news.told
    news.wake()
    assert ends(waits(news, told))
    assert not ends(later := waits(news, news.told), 0.05)
    news.wake()
    assert ends(later)


def test_who_is_asked_to_stop_does_not_begin_to_wait() -> None:
    stop = threading.Event()
    news = News(stop=stop, look_s=LONG_S)
    stop.set()
    assert ends(waits(news, news.told))


@pytest.mark.parametrize("look_s, due_s", [(LONG_S, 0.0), (LONG_S, 0.06), (0.06, None), (0.06, LONG_S)])
def test_it_waits_until_something_is_due_and_no_longer_than_to_the_next_look(look_s: float, due_s: float | None) -> None:
    assert ends(waits(News(stop=threading.Event(), look_s=look_s), 0, due_s))


def test_a_beat_renews_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, renewed_at = [0.0], list[float]()
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    beat = Beat(lambda: renewed_at.append(clock[0]), every_s=15, stop=threading.Event())
    for clock[0] in (0.0, 14.0, 15.0, 16.0, 29.0, 31.0, 31.0):
        beat()
    assert renewed_at == [15, 31]


def test_a_beat_ends_what_is_under_way_when_the_worker_leaves_and_renews_it_no_more() -> None:
    renewed: list[int] = []
    stop = threading.Event()
    beat = Beat(lambda: renewed.append(1), every_s=0, stop=stop)
    beat()
    stop.set()
    with pytest.raises(Leaving):
        beat()
    assert len(renewed) == 1


def test_without_a_temporary_folder_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(BadSettings, match=r"^objects need a temporary folder \(.*\): set TMPDIR to one that can be written$"):
        temporary_folder("stock")
