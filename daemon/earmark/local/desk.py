"""Which database the desk's commands use: a DSN, a folder's own, the settings', or the desk's."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr

from earmark import ingest, postgres
from earmark.errors import BadSettings
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local import database
from earmark.local.progress import Progress
from earmark.model import FINGERPRINT_VERSION
from earmark.settings import Settings

#: On the desk's own server.
DESK_DATABASE = "desk"
#: So many sentences about what was left out are read; of more, their number.
SENTENCES_MAX = 10


@contextmanager
def opened(catalogue: str | None, settings: Settings, *, fill: bool = True) -> Iterator[postgres.Pool]:
    """A pool on the database that holds this catalogue.

    A folder's recordings live in a database of their own on the desk's server: each is fingerprinted once, by content,
    and what has left the folder leaves the database. The desk's own databases are migrated; a named one must be (or be
    empty), so that looking at a production database cannot change its schema.
    """
    with ExitStack() as stack:
        folder = Path(catalogue) if catalogue and not _is_dsn(catalogue) else None
        if folder is not None and not folder.is_dir():
            raise BadSettings(f"the catalogue {catalogue} is neither a folder nor a PostgreSQL DSN (postgresql://…)")
        named = catalogue if folder is None and catalogue else settings.database.dsn.get_secret_value()
        dsn = named if named and folder is None else _own(stack, folder)
        pool = stack.enter_context(
            postgres.open_pool(settings.database.model_copy(update={"dsn": SecretStr(dsn), "read_dsn": SecretStr("")}), application_name="earmark-desk")
        )
        if fill and not postgres.status(pool).applied:
            postgres.migrate(dsn)
        postgres.check(pool)
        if folder is not None:
            _follow(folder, pool, settings)
        yield pool


def recordings_in(pool: postgres.Pool) -> Index:
    """The catalogue, to be heard against. Raises BadSettings when there is nothing in it."""
    index = Index(pool=pool).open()
    if index.size().tracks == 0:
        raise BadSettings("the catalogue is empty, so nothing can be recognised: `earmark catalogue add PATH`, or --catalogue DIR")
    return index


def check_there(path: Path, *, why_not: str = "") -> None:
    """Raises BadSettings when there is no such file or folder, with `why_not` if something more is to be said about that."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise BadSettings(why_not or f"there is no {path}") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def complain(sentences: Sequence[str]) -> None:
    """To standard error, a line each, and of many the first ones."""
    for sentence in sentences[:SENTENCES_MAX]:
        print(f"earmark: {sentence}", file=sys.stderr)
    if len(sentences) > SENTENCES_MAX:
        print(f"earmark: and {len(sentences) - SENTENCES_MAX} more", file=sys.stderr)


def _is_dsn(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://")) or ("=" in text and not Path(text).exists())


def _own(stack: ExitStack, folder: Path | None) -> str:
    # Another version of the fingerprint is another catalogue: a folder's is made anew.
    name = DESK_DATABASE if folder is None else f"folder_{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}_v{FINGERPRINT_VERSION}"
    dsn = database.ensure_database(stack.enter_context(database.desk_server()), name)
    postgres.migrate(dsn)
    return dsn


def _follow(folder: Path, pool: postgres.Pool, settings: Settings) -> None:
    if not ingest.files([folder]):
        raise BadSettings(f"the folder {folder} holds no audio files, so nothing could be recognised: name one that does")
    with Progress(f"catalogue {folder}") as progress:
        known = settings.catalogue
        added = ingest.ingest([folder], pool=pool, shared_passages=known.shared_passages, duplicates=known.duplicates, progress=progress.advance)
        results = list(added)
    for result in results:
        if result.outcome == "refused":
            print(f"earmark: {result.sentence}", file=sys.stderr)
    kept = {result.track_id for result in results}
    tracks = Tracks(pool=pool)
    for gone in [track.track_id for track in tracks.all() if track.track_id not in kept]:
        tracks.remove(gone)
