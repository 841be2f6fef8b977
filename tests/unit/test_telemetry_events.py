"""What is documented of the log is what the code writes: every event, its levels, its fields; and nothing else."""

import ast
import re
from pathlib import Path

from earmark.telemetry import log_page, metrics
from earmark.telemetry.events import BY_NAME, EACH, EVENTS
from log_lines import calls, log_calls

#: Where the name is worked out: by the module and the expression, all that it may be.
WORKED_OUT = {
    ("control/queue.py", "'recording.' + message.status"): {"recording.started", "recording.ended"},
    ("control/reconcile.py", "event"): {"stream.adopted", "stream.reopened", "stream.missed"},
    ("control/patience.py", "self._event"): {
        *(
            "sweep.failed",
            "retention.failed",
            "catalogue.not_profiled",
            "catalogue.not_watched",
            "formats.not_made",
            "catalogue.not_taken_up",
            "canary.not_run",
        ),
    },
    ("audio/radio.py", "event"): {"radio.failed", "radio.rejoined"},
    ("keeping.py", "f'catalogue.{done.did}'"): {"catalogue.packed", "catalogue.merged"},
    ("stocking/stock.py", "_TOLD[outcome]"): {"catalogue.added", "catalogue.replaced", "catalogue.described", "catalogue.removed"},
}
ROOT = Path(__file__).resolve().parents[2]
#: "the log line database.failed", "look for retention.failed in the logs", "the log lines `api.request` and `api.failed`"
LOOK_FOR = re.compile(r"(?:log lines?|look for) (`?[a-z]+\.[a-z_]+`?(?:(?:,| and| or) `?[a-z]+\.[a-z_]+`?)*)")
#: What a session's thread has bound, for all its lines.
BOUND = {"stream_id", "trace_id", "fencing"}


def _names(call):
    return {call.event} if call.event else WORKED_OUT.get((call.module, call.expression), set())


def test_every_line_that_the_code_writes_is_documented():
    """A new one is declared in telemetry/events.py, a new name that is worked out in WORKED_OUT."""
    missing = [f"{call.module}:{call.line} {call.event or call.expression}" for call in log_calls() if not _names(call) or _names(call) - BY_NAME.keys()]
    assert missing == []


def test_who_names_a_stream_names_its_trace():
    """What a session writes has both from its thread; so has the API, whose requests are no streams'."""
    assert [f"{call.module}:{call.line} {call.event}" for call in log_calls() if "stream_id" in call.fields and "trace_id" not in call.fields] == []


def test_every_line_that_is_documented_is_written_somewhere():
    assert {event.name for event in EVENTS} - set().union(*map(_names, log_calls())) == set()
    assert len(BY_NAME) == len(EVENTS)


def test_names_that_are_handed_over_are_those_that_are_expected():
    """`Patience(event=…)` and the station's `_tell(…)` name their events elsewhere."""
    handed: dict[str, set[str]] = {"control/patience.py": set(), "audio/radio.py": set()}
    for module, node in calls():
        match node:
            case ast.Call(func=ast.Name(id="Patience"), keywords=keywords):
                handed["control/patience.py"] |= {k.value.value for k in keywords if k.arg == "event" and isinstance(k.value, ast.Constant)}
            case ast.Call(func=ast.Attribute(attr="_tell"), args=[ast.Constant(value=str(event)), *_]) if module == "audio/radio.py":
                handed[module].add(event)
    assert {(module, names) for (module, _), names in ((key, frozenset(of)) for key, of in WORKED_OUT.items()) if module in handed} == {
        (module, frozenset(names)) for module, names in handed.items()
    }


def test_a_line_has_the_level_that_is_documented():
    wrong = {
        f"{call.module}:{call.line} {name}": call.level
        for call in log_calls()
        for name in _names(call)
        if call.level != "any" and call.level not in BY_NAME[name].levels.split()
    }
    assert wrong == {}


def test_a_line_has_no_field_that_is_not_documented():
    wrong = {
        f"{call.module}:{call.line} {name}": found
        for call in log_calls()
        for name in _names(call)
        if (found := call.fields - BOUND - {"place"} - set(BY_NAME[name].fields.split()) - {"alone"})
    }
    assert {line: found for line, found in wrong.items() if found} == {}


def test_a_field_that_is_documented_is_written():
    written: dict[str, set[str]] = {}
    open_ended = set()
    for call in log_calls():
        for name in _names(call):
            written.setdefault(name, set()).update(call.fields)
            if call.unknown:
                open_ended.add(name)
    for event in EVENTS:
        if event.name not in open_ended and event.fields != "*":
            assert set(event.fields.split()) <= written[event.name], event.name


def test_an_event_is_a_noun_and_what_happened_to_it():
    assert [event.name for event in EVENTS if not re.fullmatch(r"[a-z]+\.[a-z_]+", event.name)] == []
    assert [event.name for event in EVENTS if set(event.levels.split()) - log_page.LEVELS.keys()] == []


def test_every_field_is_explained_and_none_besides():
    used = {field for event in EVENTS for field in event.fields.split()} - {"*"}
    assert used == set(log_page.FIELDS)
    assert set(log_page.FIELDS) & {"event", "level", "timestamp", "stream_id", "trace_id"} == set()


def test_twenty_lines_matter():
    assert sum(event.matters for event in EVENTS) == 20
    table = log_page.as_markdown()
    assert table.count("\n") == 22 and all(f"`{event.name}`" in table for event in EVENTS if event.matters)


def test_what_is_written_each_time_is_work_and_no_failure_and_what_has_a_traceback_is_an_error():
    """A refused recording is a finding about the recording, and a round of the canary one about all of it."""
    assert {name for name in EACH if BY_NAME[name].levels != "info"} == {"catalogue.rejected", "canary.round"}
    crashes = {name for call in log_calls() if call.crash for name in _names(call)} - {"telemetry.request_failed"}
    assert {name for name in crashes if "error" not in BY_NAME[name].levels.split()} == set()


def test_lines_that_people_are_told_to_look_for_are_written():
    """In what to do about a metric, in README, in the alert rules."""
    said = [declared.remedy for _, _, declared in metrics.catalogue()]
    readme = re.sub(r"<!-- \w+: make config -->.*?<!-- end of", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    said += [readme, *(path.read_text(encoding="utf-8") for path in (ROOT / "config" / "prometheus").glob("*.y*ml"))]
    named = {name for text in said for found in LOOK_FOR.findall(text) for name in re.findall(r"[a-z]+\.[a-z_]+", found)}
    assert "database.failed" in named
    assert named - BY_NAME.keys() == set()
