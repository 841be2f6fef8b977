"""The commands as a user types them: what they print, their exit codes, and one sentence for each wrong setting."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from earmark.cli import main
from earmark.local.aws import AwsStandIn, credentials
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.model import Checkpoint
from index_audio import notes, write_wav

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*argv: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(argv)
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def sentence(err: str) -> str:
    """The one line that a wrong invocation prints; how far a slow machine was by then is in others."""
    err = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("catalogue: "))
    assert err.startswith("earmark: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("earmark: ").strip()


class TestWrongSettings:
    def test_an_unknown_key(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "earmark.toml"
        file.write_text('[results]\nbuckett = "x"\n')
        code, _, err = run("--config", str(file), "config", "check")
        assert code == 2
        assert sentence(err) == f"there is no setting results.buckett (set by {file}); known here: bucket, prefix, summary_every_s"

    def test_a_wrong_type(self, run: Run) -> None:
        code, _, err = run("config", "check", EARMARK_LEASES__TTL_S="soon")
        assert code == 2
        assert sentence(err).startswith("the setting leases.ttl_s (set by EARMARK_LEASES__TTL_S) is wrong: ")

    def test_a_settings_file_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        code, _, err = run("--config", str(tmp_path / "none.toml"), "config", "check")
        assert code == 2
        assert "cannot be read: No such file" in sentence(err)

    def test_the_daemon_without_a_dsn(self, run: Run) -> None:
        code, _, err = run("run")
        assert code == 2
        assert "set database.dsn in the settings file, or EARMARK_DATABASE__DSN" in sentence(err)

    def test_a_database_that_is_down(self, run: Run) -> None:
        code, _, err = run("db", "check", EARMARK_DATABASE__DSN="postgresql://earmark:secret@127.0.0.1:1/earmark")
        assert code == 1
        assert "127.0.0.1 port 1" in sentence(err)
        assert "secret" not in err

    def test_a_database_with_a_newer_schema(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("insert into schema_migration (number, name, checksum, oldest_daemon) values (9000, 'later', 'x', 9000)")
        code, _, err = run("db", "check", EARMARK_DATABASE__DSN=dsn)
        assert code == 2
        assert "too new" in sentence(err)
        assert "upgrade Earmark" in err

    def test_a_database_that_was_never_migrated(self, run: Run, postgres_server: str) -> None:
        code, _, err = run("run", EARMARK_DATABASE__DSN=postgres_server)
        assert code == 2
        assert "is empty: run `earmark db migrate`" in sentence(err)


def daemon(**environment: str) -> subprocess.CompletedProcess[str]:
    """`earmark run` in a process of its own, because its signal handlers and its logging are the process's."""
    kept = {"PATH": "/usr/bin:/bin", "EARMARK_METRICS__PORT": "0", "EARMARK_AWS__ATTEMPTS_MAX": "1"}
    return subprocess.run([sys.executable, "-m", "earmark.cli", "run"], env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)


def test_a_daemon_without_aws_credentials_says_so_and_ends(dsn: str, aws: AwsStandIn) -> None:
    endpoint = {name: value for name, value in credentials(aws.endpoint_url).items() if "KEY" not in name}
    done = daemon(**endpoint, EARMARK_DATABASE__DSN=dsn, EARMARK_QUEUE__URL=f"{aws.endpoint_url}/123456789012/earmark-streams")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "credentials" in sentence(done.stderr.splitlines()[-1] + "\n")


def test_a_daemon_without_a_region_says_so_and_ends(dsn: str) -> None:
    done = daemon(EARMARK_DATABASE__DSN=dsn, EARMARK_QUEUE__URL="https://sqs.us-east-1.amazonaws.com/1/q", AWS_EC2_METADATA_DISABLED="true")
    assert done.returncode == 2
    assert "set aws.region, or AWS_REGION" in sentence(done.stderr.splitlines()[-1] + "\n")


class TestRightInvocations:
    def test_config_show_tells_where_a_value_comes_from(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "earmark.toml"
        file.write_text('[results]\nbucket = "hits"\n')
        code, out, _ = run("config", "show", EARMARK_CONFIG=str(file), EARMARK_LOG__LEVEL="debug")
        assert code == 0
        assert f'bucket = "hits"  # {file}' in out
        assert 'level = "debug"  # EARMARK_LOG__LEVEL' in out
        assert "ttl_s = 15.0  # default" in out

    def test_secrets_are_not_shown(self, run: Run) -> None:
        signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        hook = {"EARMARK_WEBHOOK__URL": "https://hooks.example.com/unguessable", "EARMARK_WEBHOOK__SECRET": signing}
        code, out, _ = run("config", "show", EARMARK_DATABASE__DSN="postgresql://earmark:pa55word@db/earmark", **hook)
        assert code == 0
        assert [word for word in ("pa55word", signing, "unguessable") if word in out] == []
        assert "hooks.example.com" in out

    def test_the_records_of_an_empty_database(self, run: Run, dsn: str) -> None:
        assert run("db", "migrate", EARMARK_DATABASE__DSN=dsn)[:2] == (0, "nothing to do: the schema is up to date\n")
        assert run("db", "check")[0] == 0
        assert "recordings    0" in run("db", "status")[1]
        assert run("streams", "list")[1] == "no streams now: --all shows those that have ended\n"
        assert run("outbox", "list")[1] == "nothing waits to leave, and nothing was given up\n"
        assert run("outbox", "retry")[1] == "0 rows will be tried again\n"
        code, _, err = run("report", "st-none")
        assert code == 2
        assert "'st-none' is not in the database" in sentence(err)

    def test_looking_at_an_empty_database_leaves_it_empty(self, run: Run, postgres_server: str) -> None:
        create_database(postgres_server, "looked_at")
        empty = database_dsn(postgres_server, "looked_at")
        for command in ("status", "check"):
            code, _, err = run("db", command, EARMARK_DATABASE__DSN=empty)
            assert code != 0
            assert "is empty: run `earmark db migrate`" in sentence(err)
        with psycopg.connect(empty) as connection:
            assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)
        drop_database(postgres_server, "looked_at")

    def test_a_stream_on_record(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("insert into stream (stream_id, source, wanted_at, last_error) values ('st-1', 'ivs', now(), 'no luck')")
        code, out, _ = run("streams", "list", "--json", EARMARK_DATABASE__DSN=dsn)
        assert code == 0
        assert json.loads(out)["last_error"] == "no luck"
        assert "st-1  wanted" in run("streams", "list")[1]
        for layout in ("text", "json", "csv", "html", "mail"):
            assert run("report", "st-1", "--format", layout)[0] == 0

    def test_streams_that_are_listened_to_say_what_they_cost(self, run: Run, dsn: str) -> None:
        """Two streams of one worker, one of another; one waits, which costs nothing; one does not know its rendition yet."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            for stream_id, source, owner, rendition in (
                ("st-a", "ivs", "one", "640x360, 800 kbit/s"),
                ("st-b", "ivs", "one", ""),
                ("st-c", "medialive", "two", "archive"),
                ("st-d", "ivs", None, ""),
            ):
                connection.execute(
                    """insert into stream (stream_id, source, wanted_at, state, owner, lease_until, checkpoint)
                       values (%s, %s, now(), %s, %s, case when %s then now() end, %s)""",
                    [stream_id, source, "running" if owner else "wanted", owner, bool(owner), Checkpoint(rendition=rendition).to_json()],
                )
        prices = {"WORKER_USD_PER_HOUR": 0.1, "DATABASE_USD_PER_HOUR_MIN": 0.3, "TRANSFER_USD_PER_GB": 0.1, "IVS_SD_USD_PER_HOUR": 2, "AS_OF": "2030-12-24"}
        environment = {f"EARMARK_PRICES__{name}": str(price) for name, price in prices.items()} | {"EARMARK_DATABASE__DSN": dsn}
        _, out, _ = run("streams", "list", "--json", **environment)
        listed = {row["stream_id"]: row["cost_usd_per_hour"] for row in map(json.loads, out.splitlines())}
        assert listed == {
            "st-a": pytest.approx({"compute": 0.05, "database": 0.1, "transfer": 0.036, "viewing": 2, "requests": 0}),
            "st-b": {"compute": 0.05, "database": pytest.approx(0.1), "transfer": None, "viewing": None, "requests": 0},
            "st-c": pytest.approx({"compute": 0.1, "database": 0.1, "transfer": 0, "viewing": 0, "requests": 0}),
            "st-d": None,
        }
        *each, total = run("streams", "list", **environment)[1].splitlines()
        lines = dict(line.split("  ", 1) for line in each)
        assert lines["st-a"].endswith("US$ 2.1860 an hour")
        assert lines["st-b"].endswith("US$ 0.1500 an hour without transfer and viewing")
        assert "US$" not in lines["st-d"]
        assert total == (
            "together US$ 2.5360 an hour (compute 0.2000, database 0.3000, transfer 0.0360, viewing 2.0000, requests 0.0000), "
            "617.09 a stream and month: an estimate, 3 streams of 2 workers at prices of 2030-12-24; not all of 1 stream is known yet"
        )

    def test_a_quarantined_stream_is_released(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """insert into stream (stream_id, source, wanted_at, state, last_error, checkpoint)
                   values ('st-1', 'ivs', now(), 'quarantined', 'it died', '{"state": "asleep"}')"""
            )
        assert "st-1  quarantined  nothing heard yet  it died" in run("streams", "list", EARMARK_DATABASE__DSN=dsn)[1]
        assert run("streams", "release", "st-1")[:2] == (0, "st-1 is no longer in quarantine\n")
        assert "st-1  wanted" in run("streams", "list")[1]
        code, _, err = run("streams", "release", "st-1")
        assert code == 2
        assert sentence(err) == "the stream 'st-1' is not in quarantine: `earmark streams list` shows those that are"

    def test_what_has_to_leave_is_listed(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """insert into outbox (stream_id, target, key, revision, body, attempts, last_error, dead_at)
                   values ('st-1', 's3', 'st-1/stream.json', 1, '{}', 3, 'slow down', null), ('st-1', 'sns', 'hit', 1, '{}', 9, 'denied', now())"""
            )
        lines = run("outbox", "list", EARMARK_DATABASE__DSN=dsn)[1].splitlines()
        assert lines == ["1  waits     s3  st-1/stream.json  3 attempts  slow down", "2  given up  sns  hit  9 attempts  denied"]
        assert run("outbox", "retry")[1] == "1 rows will be tried again\n"


# ------------------------------------------------------------------------------------------------ names and ids


#: Latin-1, as old discs have them.
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def desk(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_CATALOGUE__PROFILES", "false")  # what files are like is another test's matter, and takes seconds
    return dsn


def process(*argv: str | Path, stdout: int | io.IOBase = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # of a pipe it is Python's way, and finds more
    command = [sys.executable, "-m", "earmark.cli", *argv]
    return subprocess.run(command, env={**kept, "PYTHONUTF8": "1"}, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)


def test_a_name_that_is_not_utf8_is_refused_and_costs_no_other_file(desk: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "good.wav", notes(1, 4))
    write_wav(tmp_path / f"{NOT_UTF8}.wav", notes(2, 4))
    done = process("catalogue", "add", "--jobs", "1", tmp_path)
    assert done.returncode == 1
    assert done.stdout in {b"1 added, 1 refused\n", b"1 refused, 1 added\n"}
    assert sentence(done.stderr.decode()) == f"{tmp_path}/caf\\udce9.wav is not added: its name is not UTF-8; rename it"


def test_a_folder_whose_name_is_not_utf8_is_as_good_as_any(desk: str, tmp_path: Path) -> None:
    (tmp_path / NOT_UTF8).mkdir()
    write_wav(tmp_path / NOT_UTF8 / "good.wav", notes(1, 4))
    assert process("catalogue", "add", "--jobs", "1", tmp_path).stdout == b"1 added\n"


def test_what_identify_prints_is_utf8_whatever_the_file_is_called(desk: str, tmp_path: Path) -> None:
    known, clip = write_wav(tmp_path / "known.wav", notes(1, 20)), write_wav(tmp_path / f"{NOT_UTF8}.wav", notes(1, 20))
    assert main(["catalogue", "add", str(known), "--jobs", "1"]) == 0
    done = process("identify", "--json", clip)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.decode())
    assert document["file"] == str(clip)
    (match,) = document["matches"]
    assert match["false_alarms_per_hour"] == 1e-12  # what a hit would say: the model of chance knows no smaller number
    assert process("identify", clip).stdout.decode().startswith(f"{tmp_path}/caf\\udce9.wav\n")


@pytest.mark.parametrize(
    "argv",
    [
        ["hits", "explain"],
        ["hits", "show"],
        ["catalogue", "show"],
        ["catalogue", "remove"],
        ["report"],
        ["streams", "release"],
        ["replay", __file__, "--against"],
    ],
)
def test_an_id_that_is_none(run: Run, desk: str, argv: list[str]) -> None:
    """One exit code for all of them, and one sentence."""
    code, out, err = run(*argv, "none-such")
    assert (code, out) == (2, "")
    assert "none-such" in sentence(err)
    code, out, err = run(*argv, NOT_UTF8)
    assert (code, out) == (2, "")
    assert sentence(err) == "the id caf\\udce9 is not UTF-8, so nothing is called that: check how it is typed"


@pytest.mark.parametrize("argv", [["catalogue", "add"], ["identify"], ["watch"], ["replay", "--set", "matching.lines_max=5"]])
def test_a_file_that_is_not_there(run: Run, desk: str, tmp_path: Path, argv: list[str]) -> None:
    code, out, err = run(*argv, str(tmp_path / "none.wav"))
    assert (code, out) == (2, "")
    assert sentence(err).startswith("there is no ") and "none.wav" in err


def test_identify_says_what_takes_folders(run: Run, desk: str, tmp_path: Path) -> None:
    code, _, err = run("identify", str(tmp_path))
    assert code == 2
    assert sentence(err) == f"{tmp_path} is a folder, and `earmark identify` takes files: `earmark catalogue add` is what takes folders"


def test_a_demo_of_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, err = run("demo", "--music", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert sentence(err) == f"there is no folder {tmp_path}/none: name one with some music files"


# ------------------------------------------------------------------------------------------------ manifests


class TestManifest:
    @pytest.fixture
    def folder(self, desk: str, tmp_path: Path) -> Path:
        for seed, name in enumerate(["a.wav", "b.wav"]):
            write_wav(tmp_path / name, notes(seed, 4))
        return tmp_path

    def listed(self, run: Run) -> dict[str, dict[str, object]]:
        return {track["track_id"]: track for track in map(json.loads, run("catalogue", "list", "--json")[1].splitlines())}

    def add(self, run: Run, manifest: Path, *paths: Path) -> tuple[int, str, str]:
        return run("catalogue", "add", *map(str, paths), "--manifest", str(manifest), "--jobs", "1")

    def test_it_alone_names_what_is_added(self, run: Run, folder: Path) -> None:
        (folder / "lists").mkdir()
        manifest = folder / "lists" / "m.csv"
        manifest.write_text('path,track_id,title,artists\n../a.wav,one,"First,\nlong",A; B;\n')
        assert self.add(run, manifest)[:2] == (0, "1 added\n")
        (track,) = self.listed(run).values()
        assert (track["track_id"], track["title"], track["artists"]) == ("one", "First,\nlong", ["A", "B"])

    def test_it_describes_what_is_named_beside_it(self, run: Run, folder: Path) -> None:
        manifest = folder / "m.csv"
        manifest.write_text("path,track_id\na.wav,one\n")
        assert self.add(run, manifest, folder)[:2] == (0, "2 added\n")
        assert "one" in self.listed(run) and len(self.listed(run)) == 2

    def test_a_row_of_no_file_is_refused(self, run: Run, folder: Path) -> None:
        manifest = folder / "m.csv"
        manifest.write_text("path,title\na.wav,A\nmisspelt.wav,B\n")
        for paths in ([], [folder / "a.wav"]):
            code, out, err = self.add(run, manifest, *paths)
            assert code == 1
            assert out in {"1 added, 1 refused\n", "1 unchanged, 1 refused\n", "1 refused, 1 unchanged\n"}
            assert sentence(err) == f"{folder}/misspelt.wav cannot be read: no such file or directory"

    def test_a_row_of_a_file_that_is_not_named_is_told(self, run: Run, folder: Path) -> None:
        manifest = folder / "m.csv"
        manifest.write_text("path,title\na.wav,A\nb.wav,B\n")
        code, out, err = self.add(run, manifest, folder / "a.wav")
        assert (code, out) == (0, "1 added\n")
        assert sentence(err) == f"{folder}/b.wav is described in the manifest and not added: name it, too, or no path at all"

    def test_of_many_such_rows_their_number_is_told(self, run: Run, folder: Path) -> None:
        for number in range(12):
            (folder / f"{number}.wav").touch()
        manifest = folder / "m.csv"
        manifest.write_text("path\n" + "".join(f"{number}.wav\n" for number in range(12)))
        _, _, err = self.add(run, manifest, folder / "a.wav")
        assert err.count("\n") == 11 and err.endswith("earmark: and 2 more\n")

    @pytest.mark.parametrize(
        "field, value, says",
        [
            ("title", "N\0L", "its title has a character that is no text"),
            ("artists", ["A", "\ud800"], "its artists has a character that is no text"),
            ("rights_holder", {"name": "X"}, "its rights_holder must be text"),
            ("artists", [["A"]], "its artists must be text or a list of texts"),
            ("track_id", "x" * 3_000, "its track_id is longer than 500 characters"),
        ],
    )
    def test_a_row_that_cannot_be_stored_is_refused(self, run: Run, folder: Path, field: str, value: object, says: str) -> None:
        manifest = folder / "m.json"
        manifest.write_text(json.dumps([{"path": "a.wav", field: value}, {"path": "b.wav", "track_id": 7, "upc": 602445}]))
        code, out, err = self.add(run, manifest)
        assert (code, out) == (1, "1 refused, 1 added\n")
        assert sentence(err).startswith(f"{folder}/a.wav is not added: {says}")
        assert self.listed(run)["7"]["upc"] == ["602445"]

    @pytest.mark.parametrize(
        "name, text, says",
        [
            ("m.csv", None, "cannot be read: no such file or directory"),
            ("m.csv", b"", "is empty: write a row for each recording"),
            ("m.csv", b"path,title\n", "is empty: write a row for each recording"),
            ("m.json", b"[]", "is empty: write a row for each recording"),
            ("m.json", b"{", "cannot be read: it is not JSON, "),
            ("m.json", b'{"path": "a.wav"}', "must be a list of objects"),
            ("m.csv", b"path,title\na.wav,caf\xe9\n", "cannot be read: it is not UTF-8"),
            ("m.csv", b"path,title\na.wav,A,B\n", "has more cells than the first line has names"),
            ("m.csv", b"path,composer\na.wav,B\n", "row 1 of the manifest"),
            ("m.csv", b"path,composer\na.wav,B\n", "a recording has no composer; known are album"),
            ("m.csv", b"path\na.wav\n./a.wav\n", "a.wav in row 1 and in row 2: leave one of them out"),
            ("m.json", b'[{"path": "a\\u0000.wav"}]', "row 1 of the manifest"),
            ("m.json", b'[{"path": 5}]', "has no path"),
        ],
    )
    def test_one_that_is_wrong_is_one_sentence(self, run: Run, folder: Path, name: str, text: bytes | None, says: str) -> None:
        if text is not None:
            (folder / name).write_bytes(text)
        for paths in ([], [folder]):
            code, out, err = self.add(run, folder / name, *paths)
            assert (code, out) == (2, "")
            assert says in sentence(err)
            assert str(folder / name) in err

    def test_nothing_named_at_all(self, run: Run, desk: str) -> None:
        code, _, err = run("catalogue", "add")
        assert code == 2
        assert sentence(err) == "there is nothing to add: name files or folders, or a --manifest that names files"

    def test_an_export_is_one_as_soon_as_it_has_paths(self, run: Run, folder: Path) -> None:
        made = folder / "made.json"
        made.write_text(json.dumps([{"path": "a.wav", "track_id": "one", "title": "A", "artists": ["X", "Y"]}]))
        assert self.add(run, made)[0] == 0
        exported = {layout: run("catalogue", "export", "--format", layout)[1] for layout in ("json", "csv")}
        for layout, text in exported.items():
            manifest = folder / f"export.{layout}"
            manifest.write_text(text)
            code, _, err = self.add(run, manifest)
            assert code == 2
            assert "has no path: write where its file is" in sentence(err) and "`catalogue export` leaves it out" in err
        (row,) = json.loads(exported["json"])
        (folder / "export.json").write_text(json.dumps([{"path": "a.wav", **row}]))
        (cells,) = csv.DictReader(io.StringIO(exported["csv"]))
        with (folder / "export.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", *cells])
            writer.writeheader()
            writer.writerow({"path": "a.wav", **cells})
        for layout in exported:
            assert self.add(run, folder / f"export.{layout}")[:2] == (0, "1 unchanged\n")


# ------------------------------------------------------------------------------------------------ interrupted, and nowhere to write


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("argv", [["--help"], ["config", "show"], ["identify", "--json", "clip.wav"]])
def test_output_that_cannot_be_written_is_one_sentence(desk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "clip.wav", notes(1, 4))
    assert main(["catalogue", "add", "clip.wav", "--jobs", "1"]) == 0
    with Path("/dev/full").open("wb") as full:
        done = process(*argv, stdout=full)
    assert done.returncode == 1
    assert sentence(done.stderr.decode()) == "the output cannot be written: no space left on device; make room, or write to another place"


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = process("config", "check", stdout=pipe)
    assert (done.returncode, done.stderr) == (0, b"")


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from earmark.cli import main
sys.exit(main(["identify", sys.argv[2]]))
"""


@pytest.mark.parametrize("module, says", [("earmark.settings", b""), ("earmark.local.recordings", b"earmark: interrupted\n")])
def test_ctrl_c_while_it_starts(tmp_path: Path, module: str, says: bytes) -> None:
    """In the imports at the top, and in those of a command."""
    command = [sys.executable, "-c", INTERRUPTED, module, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", says)
