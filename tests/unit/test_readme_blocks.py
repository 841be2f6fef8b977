"""README's blocks are found, and what they print is compared with what is shown of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readme_blocks import README, WHY_NOT, blocks, missing

PAGE = """
# A page

A fence in `words`, and one that is no fence:

    ```sh
    no
    ```

## First

```
a picture
```

```sh
URL=https://example.com/live.m3u8    # yours: some stream
echo "$URL"
```

Some words.

```output
http://…
```

### Still first

```sh account docker
aws s3 ls
```

## Second

- in a list

  ```python
  DSN = "postgresql://…"    # yours
  print(DSN)
  ```

```toml
a = 1
```
"""


def test_blocks_are_found_with_their_chapter_and_what_they_print() -> None:
    first, second, third, fourth = blocks(PAGE)
    assert (first.line, first.chapter, first.language, first.words, first.shows) == (16, "First", "sh", (), "http://…\n")
    assert (second.chapter, second.words, second.shows) == ("First", ("account", "docker"), None)
    assert second.why_not == f"{WHY_NOT['account']}; {WHY_NOT['docker']}"
    assert (third.chapter, third.language, third.first_line) == ("Second", "python", 'DSN = "postgresql://…"    # yours')
    assert (fourth.language, fourth.text) == ("toml", "a = 1\n")


@pytest.mark.parametrize(
    "page, why",
    [
        ("```output\nx\n```\n", "README.md:1: this is the output of nothing"),
        ("```sh\nx\n```\n```output\n…\n```\n```output\n…\n```\n", "README.md:7: this is the output of nothing"),
        ("\n```sh acount\nx\n```\n", "README.md:2: a block is not run because of account, docker, .*; nobody knows 'acount'"),
        ("```bash\nx\n```\n", "README.md:1: .*; nobody knows 'bash'"),
    ],
)
def test_a_fence_that_nobody_would_run_or_excuse_is_a_mistake(page: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        blocks(page)


def test_only_what_is_the_readers_own_is_replaced() -> None:
    first, _, third, _ = blocks(PAGE)
    assert (first.own, third.own) == (("URL",), ("DSN",))
    assert first.typed_with({"URL": "http://127.0.0.1:8/a b"}) == "URL='http://127.0.0.1:8/a b'    # yours: some stream\necho \"$URL\"\n"
    assert third.typed_with({"DSN": 'a"b'}) == 'DSN = "a\\"b"    # yours\nprint(DSN)\n'
    with pytest.raises(KeyError):
        first.typed_with({})


@pytest.mark.parametrize(
    "shows, said, what",
    [
        ("one\ntwo", "one\ntwo\n", ""),
        ("one", "one\ntwo", "(the end, but 'two' followed)"),
        ("two", "one\ntwo", "two"),
        ("…\ntwo", "one\ntwo", ""),
        ("one\n…", "one\ntwo\nthree", ""),
        ("one\n…", "one", ""),
        ("…\nb\nc\n…", "a\nb\nb\nc\nd", ""),  # the first b is not the one
        ("…\nb\nc\n…", "a\nb\nd\nc", "c"),
        ("one\n…\nthree", "one\nthree", ""),
        ("one\n…\none", "one", "one"),
        ("12 added, 0:03", "3 added,   10:59", ""),
        ("fingerprinted in 4.0 s", "fingerprinted in 1,012 s", ""),
        ("12 added", "x added", "12 added"),
        ("a … c", "a b c", ""),
        ("a.c", "abc", "a.c"),
        ("a\n\nb", "a\nb", "(an empty line)"),
        ("…", "", ""),
        ("a", "", "a"),
    ],
)
def test_what_is_shown_is_looked_for_in_what_was_said(shows: str, said: str, what: str) -> None:
    assert missing(shows, said) == what


LINES = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).map(str.strip).filter(bool), min_size=1)


@given(LINES, st.data())
def test_what_was_said_is_shown_whatever_is_left_out_of_it(lines: list[str], data: st.DataObject) -> None:
    kept = [data.draw(st.booleans()) for _ in lines]
    assert missing("\n".join(line if keep else "…" for line, keep in zip(lines, kept, strict=True)), "\n".join(lines)) == ""
    more = "\n".join([*lines, "one more"])
    assert missing("\n".join(lines), more) != ""


@pytest.mark.parametrize(
    "word, needed",
    [("account", r"\b(aws|cdk|ivs|s3://|with-clips)|earmark (backfill|canary|catalogue formats|run)\b"), ("docker", r"\bdocker\b"), ("minutes", r"\bmake\b")],
)
def test_no_block_of_readme_is_excused_by_what_it_does_not_need(word: str, needed: str) -> None:
    excused = [block for block in blocks(README.read_text(encoding="utf-8")) if word in block.words]
    assert [block.line for block in excused if not re.search(needed, block.text)] == []


def test_what_is_never_over_shows_when_it_is_all_there() -> None:
    endless = [block for block in blocks(README.read_text(encoding="utf-8")) if block.is_endless and not block.words]
    assert [block.line for block in endless if block.shows is None] == []
