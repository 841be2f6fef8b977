"""What is written about the settings and metrics is made from the code, complete, and up to date."""

import re
import tomllib
from pathlib import Path

import pytest

import generated
from earmark.settings import Section, Settings, StaticStream, load
from earmark.settings.document import as_markdown, as_toml


def _every_setting():
    sections = Settings.model_fields.items()
    return [(f"{section}.{key}", setting) for section, field in sections for key, setting in field.annotation.model_fields.items()]


@pytest.mark.parametrize("path", generated.expected(), ids=lambda path: path.name)
def test_a_file_made_from_the_code_is_up_to_date(path: Path):
    assert path.read_text(encoding="utf-8") == generated.expected()[path], "run `make config`"


@pytest.mark.parametrize("name,setting", _every_setting(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_setting_says_what_it_is_for(name: str, setting):
    assert setting.description
    assert f"| `{name}` |" in as_markdown()


def test_every_section_says_what_it_is():
    assert [owner for owner in (*(field.annotation for field in Settings.model_fields.values()), StaticStream) if owner.__doc__ == Section.__doc__] == []


def test_the_file_as_it_is_changes_nothing(tmp_path: Path):
    path = tmp_path / "earmark.toml"
    path.write_text(as_toml(), encoding="utf-8")
    assert load(path, {}).settings == Settings()


def test_the_file_with_every_comment_taken_off_holds_every_default(tmp_path: Path):
    """All but the example of a static stream, which follows the sections."""
    text = as_toml().partition("\n# [[")[0]
    bare = re.sub(r"^# (?=[a-z0-9_]+ = )", "", text, flags=re.MULTILINE)
    tree = tomllib.loads(bare)
    assert {f"{section}.{key}" for section, keys in tree.items() for key in keys} == {name for name, _ in _every_setting()}
    path = tmp_path / "earmark.toml"
    path.write_text(bare, encoding="utf-8")
    assert load(path, {}).settings == Settings()


def test_the_example_of_a_static_stream_can_be_used(tmp_path: Path):
    example = "[[" + as_toml().partition("\n# [[")[2]
    path = tmp_path / "earmark.toml"
    path.write_text(example.replace("\n# ", "\n"), encoding="utf-8")
    (stream,) = load(path, {}).settings.streams.static
    assert set(stream.model_fields_set) == set(StaticStream.model_fields)


def test_a_table_between_marks_is_made_anew_and_nothing_else_is_touched():
    before = "# Title\n<!-- settings: make config -->\n| as it was |\n<!-- end of settings -->\nafter\n"
    after = generated.with_tables(before)
    assert after.startswith("# Title\n<!-- settings: make config -->\n\n| Setting |")
    assert after.endswith("|\n\n<!-- end of settings -->\nafter\n")
    assert "as it was" not in after
    assert generated.with_tables(after) == after
    assert generated.with_tables("no marks") == "no marks"


@pytest.mark.parametrize("name", generated.TABLES)
def test_a_readme_with_a_chapter_on_it_has_the_table(name: str):
    readme = generated.README.read_text(encoding="utf-8")
    if re.search(rf"^##+ {name}\b", readme, flags=re.MULTILINE | re.IGNORECASE):
        assert f"<!-- {name}: make config -->" in readme
        assert generated.TABLES[name]() in readme
