"""Settings: where a value comes from, and what is said about a wrong one."""

import re
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from earmark.errors import BadSettings
from earmark.settings import Settings, StaticStream, load


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "earmark.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_without_a_file_and_an_environment_the_defaults_hold():
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert loaded.origins == {}


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(toml):
    path = toml("[queue]\nwait_s = 5\nvisibility_s = 90\n")
    loaded = load(path, {"EARMARK_QUEUE__WAIT_S": "7"})
    assert loaded.settings.queue.wait_s == 7
    assert loaded.settings.queue.visibility_s == 90
    assert loaded.settings.queue.stale_event_s == 900
    assert loaded.origins["queue.wait_s"] == "EARMARK_QUEUE__WAIT_S"
    assert loaded.origins["queue.visibility_s"] == str(path)
    assert "queue.stale_event_s" not in loaded.origins


def test_the_file_may_be_named_by_the_environment(toml):
    assert load(environ={"EARMARK_CONFIG": str(toml("[metrics]\nport = 9200\n"))}).settings.metrics.port == 9200


def test_what_was_named_on_the_command_line_goes_before_the_environment(toml, tmp_path: Path):
    chosen = toml("[metrics]\nport = 9200\n")
    other = tmp_path / "other.toml"
    other.write_text("[metrics]\nport = 9300\n", encoding="utf-8")
    assert load(chosen, {"EARMARK_CONFIG": str(other)}).settings.metrics.port == 9200


@pytest.mark.parametrize("text", ["provisional,closed", " provisional , closed ", '["provisional", "closed"]'])
def test_a_list_in_the_environment_is_json_or_has_commas(text: str):
    assert load(environ={"EARMARK_ALERTS__ON": text}).settings.alerts.on == ("provisional", "closed")


def test_a_table_in_the_environment_is_json():
    settings = load(environ={"EARMARK_MEDIALIVE__ARCHIVES": '{"s3://a/b": "one"}'}).settings
    assert settings.medialive.archives == {"s3://a/b": "one"}


def test_static_streams_are_a_list_of_tables(toml):
    settings = load(toml('[[streams.static]]\nname = "one"\nurl = "https://a.example/x.m3u8"\n'), {}).settings
    assert [(stream.name, stream.url, stream.tags) for stream in settings.streams.static] == [("one", "https://a.example/x.m3u8", {})]


@pytest.mark.parametrize("url", ["ftp://a.example/x.m3u8", "a.example/x.m3u8", "https:///x.m3u8", "s3://bucket", "s3:///x.m3u8"])
def test_a_static_stream_that_could_not_be_fetched_is_refused(toml, url: str):
    with pytest.raises(BadSettings, match=r"streams\.static\.0\.url .*https\?://.* not '" + re.escape(url)):
        load(toml(f'[[streams.static]]\nname = "one"\nurl = "{url}"\n'), {})


@pytest.mark.parametrize(
    "environ,parts",
    [
        ({"EARMARK_QUEUE__URI": "x"}, ["queue.uri", "EARMARK_QUEUE__URI", "visibility_s"]),
        ({"EARMARK_QUEU__URL": "x"}, ["queu", "EARMARK_QUEU__URL", "database"]),
        ({"EARMARK_DSN": "x"}, ["EARMARK_DSN", "EARMARK_SECTION__KEY"]),
        ({"EARMARK_QUEUE__WAIT_S": "21"}, ["queue.wait_s", "EARMARK_QUEUE__WAIT_S", "20", "'21'"]),
        ({"EARMARK_QUEUE__WAIT_S": "soon"}, ["queue.wait_s", "integer", "'soon'"]),
        ({"EARMARK_ALERTS__ON": "opened"}, ["alerts.on", "provisional", "'opened'"]),
        ({"EARMARK_ALERTS__ON": "[open"}, ["EARMARK_ALERTS__ON", "JSON"]),
        ({"EARMARK_PRICES__WORKER_USD_PER_HOUR": "-0.1"}, ["prices.worker_usd_per_hour", "EARMARK_PRICES__WORKER_USD_PER_HOUR", "greater", "0", "'-0.1'"]),
        ({"EARMARK_PRICES__IVS_SD_USD_PER_HOUR": "nan"}, ["prices.ivs_sd_usd_per_hour", "finite", "'nan'"]),
        ({"EARMARK_PRICES__TRANSFER_USD_PER_GB": "4 cents"}, ["prices.transfer_usd_per_gb", "number", "'4 cents'"]),
        ({"EARMARK_PRICES__AS_OF": "2026-02-30"}, ["prices.as_of", "date", "'2026-02-30'"]),
    ],
    ids=["key", "section", "no-section", "range", "type", "choice", "json", "negative-price", "nan-price", "no-price", "no-date"],
)
def test_a_wrong_value_is_named_with_its_origin_and_what_is_allowed(environ: dict[str, str], parts: list[str]):
    with pytest.raises(BadSettings) as caught:
        load(environ=environ)
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text,says",
    [
        ("[leases]\nttl_s = 10\n", "leases.renew_s (4) must be at most a third of leases.ttl_s (10), or leases expire between two renewals"),
        (
            "[evidence]\nclip_before_s = 20\n",
            "evidence.clip_s_max (30) must exceed evidence.clip_before_s (20) by 12 s, or a clip ends before its play is proved",
        ),
        ("[aws]\nread_timeout_s = 20\n", "aws.read_timeout_s (20) must be longer than queue.wait_s (20), or no long poll is ever answered"),
        (
            "".join(f'[[streams.static]]\nname = "radio"\nurl = "https://radio.example/{n}.m3u8"\n' for n in range(2)),
            "streams.static has more than one stream called radio: each name is one stream's",
        ),
    ],
    ids=["leases", "evidence", "queue", "static"],
)
def test_settings_that_contradict_each_other(toml, text: str, says: str):
    path = toml(text)
    with pytest.raises(BadSettings) as caught:
        load(path, {})
    assert str(caught.value) == f"the settings contradict each other: {says}"


def test_the_date_of_prices_is_a_date_of_toml_or_a_string(toml):
    for written in ("2027-01-31", '"2027-01-31"'):
        assert load(toml(f"[prices]\nas_of = {written}\n"), {}).settings.prices.as_of == date(2027, 1, 31)


def test_every_wrong_value_is_told_at_once():
    with pytest.raises(BadSettings, match=r"queue\.wait_s.*; .*metrics\.port"):
        load(environ={"EARMARK_QUEUE__WAIT_S": "-1", "EARMARK_METRICS__PORT": "70000"})


def test_a_key_that_is_not_known_in_the_file_is_named_with_the_file(toml):
    path = toml("[queue]\nurll = 'x'\n")
    with pytest.raises(BadSettings, match=r"queue\.urll") as caught:
        load(path, {})
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_not_toml_is_one_sentence(tmp_path: Path, toml):
    with pytest.raises(BadSettings, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.toml", {})
    with pytest.raises(BadSettings, match="is not TOML"):
        load(toml("[queue\n"), {})


def test_a_password_is_never_shown():
    secret = "postgresql://u:hunter2@db/earmark"
    settings = load(environ={"EARMARK_DATABASE__DSN": secret}).settings
    assert settings.database.dsn.get_secret_value() == secret
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    with pytest.raises(BadSettings) as caught:
        load(environ={"EARMARK_DATABASE__DSN": secret, "EARMARK_DATABASE__POOL_MAX": "1"})
    assert "hunter2" not in str(caught.value)


def test_a_password_in_the_wrong_place_is_not_shown_either(toml):
    with pytest.raises(BadSettings, match="^the setting database ") as caught:
        load(toml('database = "postgresql://u:hunter2@db/earmark"\n'), {})
    assert "hunter2" not in str(caught.value)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().queue.wait_s = 3


@pytest.mark.parametrize(
    "url, kind, known",
    [
        ("https://radio.example/live", "radio", "radio"),
        ("https://radio.example/a.m3u8", "", "hls"),
        ("s3://bucket/show/a.m3u8", "", "s3"),
        ("s3://bucket/show/a.m3u8", "s3", "s3"),
    ],
)
def test_a_static_stream_is_of_the_kind_that_is_said_or_that_its_address_says(url: str, kind: str, known: str) -> None:
    assert StaticStream.model_validate({"name": "x", "url": url, "kind": kind}).known_kind == known


@pytest.mark.parametrize("url, kind", [("https://radio.example/live", "s3"), ("s3://bucket/a.m3u8", "hls"), ("s3://bucket/a.m3u8", "radio")])
def test_a_kind_that_its_address_contradicts_is_refused(toml, url: str, kind: str) -> None:
    with pytest.raises(BadSettings, match="stream x (is of kind s3, so|begins with s3://, so its kind is s3 and not)"):
        load(toml(f'[[streams.static]]\nname = "x"\nurl = "{url}"\nkind = "{kind}"\n'), {})
