"""Tokens: made, listed, revoked by the command line; known by their hash alone; good for their scopes and no longer than they hold."""

import hashlib
import json
import re
from collections.abc import Callable

import pytest

from control_rows import rows, run
from earmark.api import tokens
from earmark.api.tokens import SCOPES, Tokens
from earmark.cli import main
from earmark.commands import tokens as commands
from earmark.errors import BadSettings
from earmark.postgres import Pool

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dsn: str) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(["tokens", *argv])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_token_is_printed_once_and_only_its_hash_is_kept(typed: Run, pool: Pool):
    code, out, err = typed("add", "label ftp", "--scope", "uploads:write", "--scope", "catalogue:read", "--expires", "90")
    assert code == 0
    assert "only time" in err
    token = out.strip()
    assert re.fullmatch(r"earmark_[A-Za-z0-9]{12}_[A-Za-z0-9_-]{43}", token)
    assert token not in err
    (kept,) = rows(pool, "select * from api_token")
    assert kept["digest"] == hashlib.sha256(token[21:].encode()).digest()
    assert token[21:] not in json.dumps(kept, default=str)
    assert kept["scopes"] == ["uploads:write", "catalogue:read"]
    assert (kept["expires_at"] - kept["created_at"]).days == 90
    code, out, _ = typed("list")
    assert code == 0 and "label ftp" in out and "never used" in out
    assert token[21:] not in out


def test_the_secret_is_of_256_random_bits():
    assert tokens._SECRET_BYTES * 8 == 256
    assert len({tokens._random_id() for _ in range(200)}) == 200


def test_it_is_found_by_its_whole_text_and_by_nothing_less(pool: Pool):
    known = Tokens(pool=pool)
    text = known.add("one", ["identify"])
    found = known.find(text)
    assert found is not None and (found.name, found.scopes) == ("one", ("identify",))
    for other in (
        text[:-1],
        text + "x",
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        text.upper(),
        "earmark_aaaaaaaaaaaa_" + text[21:],
        "",
        "x" * 5_000,
        text + "\x00",
    ):
        assert known.find(other) is None


def test_its_last_use_is_known_to_the_minute(pool: Pool):
    known = Tokens(pool=pool)
    text = known.add("one", ["identify"])
    known.find(text)
    (first,) = rows(pool, "select last_used_at from api_token")
    known.find(text)
    assert rows(pool, "select last_used_at from api_token") == [first]
    run(pool, "update api_token set last_used_at = now() - interval '2 minutes'")
    known.find(text)
    (again,) = rows(pool, "select last_used_at from api_token")
    assert again["last_used_at"] > first["last_used_at"]


def test_a_revoked_one_is_known_as_that_and_its_name_is_free_again(typed: Run, pool: Pool):
    _, out, _ = typed("add", "one", "--scope", "identify")
    code, said, _ = typed("revoke", "one")
    assert code == 0 and "one" in said
    found = Tokens(pool=pool).find(out.strip())
    assert found is not None and found.revoked_at is not None
    assert typed("add", "one", "--scope", "identify")[0] == 0
    assert [json.loads(line)["state"] for line in typed("list", "--json")[1].splitlines()] == ["valid", "revoked"]
    assert typed("revoke", found.token_id)[0] == 2


@pytest.mark.parametrize(
    "argv,sentence",
    [
        (["add", "one"], "a token without a scope may do nothing: give it one or more of uploads:write, catalogue:read"),
        (["add", "one", "--scope", "admin"], "there is no scope 'admin'; there is uploads:write"),
        (["add", "", "--scope", "identify"], "'' is no name for a token"),
        (["add", "a\nb", "--scope", "identify"], "is no name for a token"),
        (["add", "x" * 101, "--scope", "identify"], "is no name for a token"),
        (["add", "one", "--scope", "identify", "--expires", "0"], "a token holds for 1 to 3650 days, not 0"),
        (["revoke", "nobody"], "there is no token 'nobody' that could be revoked"),
        (["revoke", "\udcff"], "that could be revoked"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(typed: Run, argv: list[str], sentence: str):
    code, out, err = typed(*argv)
    assert (code, out) == (2, "")
    assert sentence in err and err.count("\n") == 1


def test_a_name_is_taken_once(typed: Run):
    assert typed("add", "one", "--scope", "identify")[0] == 0
    code, _, err = typed("add", "one", "--scope", "identify")
    assert code == 2
    assert "there is a token 'one' already" in err


def test_without_any_it_says_how_to_make_one(typed: Run):
    assert typed("list") == (0, "no tokens: `earmark tokens add NAME --scope SCOPE` makes one\n", "")


def test_the_command_knows_the_scopes_without_loading_them():
    assert commands.SCOPES == SCOPES


def test_a_token_without_a_name_or_a_scope_cannot_even_be_written_by_a_caller(pool: Pool):
    with pytest.raises(BadSettings):
        Tokens(pool=pool).add("one", [])
    assert rows(pool, "select * from api_token") == []
