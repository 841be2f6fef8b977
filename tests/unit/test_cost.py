"""What a stream costs, from the prices in the settings, where it comes from, and what was chosen to listen to."""

import math
import re
from pathlib import Path

import pytest

from cost_table import STREAMS
from earmark.audio.playlist import Rendition
from earmark.cost import HOURS_PER_MONTH, Cost, compute, database, of_stream, together, transfer, viewing
from earmark.settings import Prices

PRICES = Prices(
    worker_usd_per_hour=0.04,
    database_vcpu_usd_per_hour=0.5,
    database_usd_per_hour_min=0.06,
    database_cpu_ms_per_s=1,
    transfer_usd_per_gb=0.1,
    ivs_audio_usd_per_hour=1,
    ivs_sd_usd_per_hour=5,
    ivs_hd_usd_per_hour=10,
    ivs_full_hd_usd_per_hour=20,
)


def priced(rendition: str, *, source: str = "ivs", beside: int = 1, streams: int = 1, prices: Prices = PRICES) -> Cost:
    return of_stream(prices, source=source, rendition=rendition, beside=beside, streams=streams)


@pytest.mark.parametrize(
    "rendition,usd_per_hour",
    [
        (Rendition(url="u", audio_only=True, bandwidth=80_000, codecs=("mp4a.40.2",)), 1),
        (Rendition(url="u", audio_only=True, name="sound"), 1),
        (Rendition(url="u", width=284, height=160), 5),
        (Rendition(url="u", width=852, height=480, bandwidth=1_500_000, codecs=("avc1.4D401F", "mp4a.40.2")), 5),
        (Rendition(url="u", width=480, height=852), 5),
        (Rendition(url="u", width=854, height=481), 10),
        (Rendition(url="u", width=1280, height=720), 10),
        (Rendition(url="u", width=1920, height=1080, name="640x360, 5 kbit/s"), 20),
        (Rendition(url="u", width=3840, height=2160), 20),
        (Rendition(url="u", width=0, height=360), 5),
    ],
    ids=str,
)
def test_a_view_is_priced_by_the_lines_of_the_rendition(rendition: Rendition, usd_per_hour: float):
    assert viewing(PRICES, str(rendition), media_s=3600) == usd_per_hour
    assert viewing(PRICES, str(rendition), media_s=36) == pytest.approx(usd_per_hour / 100)


@pytest.mark.parametrize(
    "rendition",
    ["", "the only one", "file", "unnamed, 700 kbit/s", str(Rendition(url="u")), "640x", "9999999999x1", "x" * 5_000, "9" * 5_000 + "x1", "audio onlyx"],
)
def test_a_rendition_that_does_not_say_its_size_has_no_price(rendition: str):
    assert viewing(PRICES, rendition, media_s=3600) is None
    assert priced(rendition).viewing is None
    assert not priced(rendition).whole


def test_what_is_not_known_is_left_out_of_the_sum():
    cost = priced("")
    assert (cost.transfer, cost.viewing) == (None, None)
    assert cost.known == cost.compute + cost.database
    assert together([cost, priced("640x360, 800 kbit/s")]).viewing == 5


def test_a_worker_is_shared_by_its_streams_and_costs_the_same_with_one():
    assert priced("", beside=1).compute == 0.04
    assert sum(priced("", beside=8).compute for _ in range(8)) == pytest.approx(0.04)
    assert compute(PRICES, seconds=1800) == 0.02


def test_a_database_costs_its_least_until_it_is_asked_more():
    """A millisecond of a vCPU at 0.5 for each second is 0.0005 an hour: 120 streams take the least of it."""
    for streams, usd_per_hour in ((1, 0.06), (100, 0.06), (240, 0.12)):
        assert sum(priced("", streams=streams).database for _ in range(streams)) == pytest.approx(usd_per_hour)
    assert database(PRICES, media_s=7200) == pytest.approx(0.001)


def test_a_byte_has_its_price_unless_it_comes_from_s3():
    assert transfer(PRICES, size_bytes=2_000_000_000) == 0.2
    assert priced("640x360, 800 kbit/s, avc1").transfer == pytest.approx(0.036)  # 0.36 GB an hour
    assert priced("unnamed, 800 kbit/s", source="hls").transfer == pytest.approx(0.036)
    assert priced("archive", source="medialive").transfer == 0
    assert priced("", prices=PRICES.model_copy(update={"transfer_usd_per_gb": 0.0})).transfer == 0


@pytest.mark.parametrize("source", ["hls", "medialive"])
def test_only_ivs_bills_a_view(source: str):
    assert priced("1920x1080, 800 kbit/s", source=source).viewing == 0
    assert priced("1920x1080, 800 kbit/s", source=source).whole


def test_costs_together_are_the_workers_the_database_and_what_each_stream_brings():
    streams = [priced("640x360, 800 kbit/s", beside=3, streams=4) for _ in range(3)] + [priced("audio only, 80 kbit/s", beside=1, streams=4)]
    total = together(streams)
    assert [total.compute, total.database, total.viewing, total.transfer] == pytest.approx([0.08, 0.06, 16, 0.1116])
    assert total.known == pytest.approx(sum(stream.known for stream in streams))


def test_prices_of_nothing_cost_nothing_and_the_dearest_are_still_numbers():
    names = [name for name in Prices.model_fields if name != "as_of"]
    assert priced("640x360, 800 kbit/s", prices=Prices(**dict.fromkeys(names, 0.0))).known == 0
    dearest = Prices(**dict.fromkeys(names, 100_000.0) | {"database_cpu_ms_per_s": 1_000.0})
    assert math.isfinite(priced("999999x999999, 9999999 kbit/s", prices=dearest).known)


def test_the_worked_example_of_the_readme_is_right():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    sentence = re.search(r"`\(([\d.]+) \+ ([\d.]+)\) / (\d+) \+ ([\d.]+) \+ ([\d.]+) = ([\d.]+)` US\$ an hour, times (\d+)", readme)
    assert sentence
    worker, least, streams, transferred, viewed, together_usd, hours = map(float, sentence.groups())
    cost = priced("640x360, 700 kbit/s", beside=STREAMS, streams=STREAMS, prices=Prices())
    assert (streams, hours) == (STREAMS, HOURS_PER_MONTH)
    assert [worker / streams, least / streams, transferred, viewed] == pytest.approx([cost.compute, cost.database, cost.transfer, cost.viewing], abs=5e-5)
    assert together_usd == pytest.approx(cost.known, abs=5e-5)
