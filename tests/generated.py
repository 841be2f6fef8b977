"""The files that are made from the code, and what should stand in them: `make config` writes it, a test compares.

config/earmark.toml, config/schema/openapi.v1.json, config/grafana/*.json and docs/log-lines.md are made as a whole. README.md and
docs/beyond-one-machine.md hold tables, between marks that name them:

    <!-- settings: make config -->
    <!-- end of settings -->
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import context  # infra/cdk's
import cost_table
import dashboards
import large_table
from earmark.api.routes import described
from earmark.settings import document
from earmark.telemetry import log_page, metrics

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SIZES = ROOT / "docs" / "beyond-one-machine.md"
TABLES: Mapping[str, Callable[[], str]] = {
    "costs": cost_table.as_markdown,
    "context": context.as_markdown,
    "settings": document.as_markdown,
    "logs": log_page.as_markdown,
    "metrics": metrics.as_markdown,
    "sizes": large_table.as_markdown,
}


def with_tables(page: str) -> str:
    """The text with what stands between the marks made anew. A mark that is missing leaves it as it is."""
    for name, made in TABLES.items():
        begin, end = f"<!-- {name}: make config -->\n", f"<!-- end of {name} -->"
        if begin in page and end in page:
            before, _, rest = page.partition(begin)
            page = f"{before}{begin}\n{made()}\n{end}{rest.partition(end)[2]}"
    return page


def expected() -> dict[Path, str]:
    return {
        ROOT / "config" / "earmark.toml": document.as_toml(),
        ROOT / "docs" / "log-lines.md": log_page.as_page(),
        ROOT / "config" / "schema" / "openapi.v1.json": json.dumps(described(), indent=1, ensure_ascii=False) + "\n",
        **dashboards.expected(),
        **{page: with_tables(page.read_text(encoding="utf-8")) for page in (README, SIZES)},
    }


if __name__ == "__main__":
    for path, text in expected().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
