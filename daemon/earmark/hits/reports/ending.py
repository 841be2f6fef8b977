"""What is made of a session when it is over, and made anew when its record changes later: cue sheet, cut list, report."""

from collections.abc import Iterator
from typing import Final

from earmark.hits.outgoing import s3_document
from earmark.hits.page import details
from earmark.hits.record import Outgoing, Place
from earmark.hits.reports import cuts, report
from earmark.hits.text import dumps
from earmark.postgres import Connection
from earmark.settings import Cuts

_CSV: Final = "text/csv; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"


def documents(connection: Connection, whole: report.StreamReport, place: Place, revision: int, settings: Cuts) -> Iterator[Outgoing]:
    """All of them but `stream.json`, as the rows are in this transaction; `revision`: greater than all before."""
    yield s3_document(place.stream_id, place.cue_sheet_key, report.cue_sheet_csv(whole), revision, _CSV)
    unwanted = cuts.load(connection, place.stream_id, settings.actions)
    cut_list = cuts.listed(whole, unwanted, actions=settings.actions, edge_s=settings.edge_s)
    yield s3_document(place.stream_id, place.cut_list_key, cuts.text(cut_list, place), revision)
    shown = report.html(whole, details.load(connection, place.stream_id), linked=True)
    yield s3_document(place.stream_id, place.report_key, shown, revision, _HTML)


def anew(connection: Connection, whole: report.StreamReport, place: Place, revision: int, settings: Cuts) -> Iterator[Outgoing]:
    """The same of a session that ended before, and `stream.json`."""
    yield from documents(connection, whole, place, revision, settings)
    yield s3_document(place.stream_id, place.stream_key, dumps(report.document(whole, place), indent=1), revision)
