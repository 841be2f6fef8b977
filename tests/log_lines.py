"""The log calls of the package, as its source has them: which event, at which level, with which fields."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent.parent / "daemon" / "earmark"
_LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error", "log": "any", "tell": "any"}
#: What a logger is called where it is used.
_LOGGERS: Final = {"_log", "_told", "log"}
#: What stands for several fields: `**stream.in_logs` and the like, by the last name in the expression.
_SEVERAL: Final = {"in_logs": {"stream_id", "trace_id"}, "named": {"stream_id", "trace_id"}}


@dataclass(frozen=True, kw_only=True)
class LogCall:
    #: Relative to the package.
    module: str
    line: int
    #: None: it is worked out when it runs; then `expression` says how.
    event: str | None
    expression: str
    level: str
    fields: frozenset[str]
    #: Of what is handed over with two asterisks, and is none of the above.
    unknown: frozenset[str]
    #: With a traceback.
    crash: bool


@cache
def calls() -> tuple[tuple[str, ast.Call], ...]:
    """Every call in the package, by its module."""
    return tuple(
        (str(path.relative_to(PACKAGE)), node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )


@cache
def log_calls() -> tuple[LogCall, ...]:
    return tuple(_logged())


def _logged() -> Iterator[LogCall]:
    for module, node in calls():
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _LEVELS and _is_logger(value):
                yield _read(node, method, module)
            case ast.Call(func=ast.Name(id="tell"), args=[ast.Constant(value=str(event)), *_]) if "." in event:  # `info` or `error`, as it went
                yield _read(node, "tell", module)


def _is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _LOGGERS
        case ast.Call(func=ast.Attribute(attr="get_logger")):
            return True
    return False


def _read(call: ast.Call, method: str, module: str) -> LogCall:
    event = call.args[1 if method == "log" else 0]
    named = {keyword.arg for keyword in call.keywords if keyword.arg}
    several = {ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None}
    known = {text: fields for text in several for last, fields in _SEVERAL.items() if text.partition("[")[0].rpartition(".")[2] == last}
    return LogCall(
        module=module,
        line=call.lineno,
        event=event.value if isinstance(event, ast.Constant) and isinstance(event.value, str) else None,
        expression=ast.unparse(event),
        level=_LEVELS[method],
        fields=frozenset(named - {"exc_info"}).union(*known.values()),
        unknown=frozenset(several - known.keys()),
        crash=method == "exception" or "exc_info" in named,
    )
