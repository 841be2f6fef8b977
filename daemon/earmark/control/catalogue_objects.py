"""What events say about the catalogue's bucket, on record: there is news of a key. What is so, whoever takes it up asks the bucket.

An object a row, whatever comes in whatever order: S3's sequencer says which of two events of one key is the newer, and
what is not newer than what was heard changes nothing. NOTIFY on CHANNEL tells who waits for something to do.
"""

from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from earmark.control.messages import ObjectArrived, ObjectRemoved
from earmark.postgres import Connection

CHANNEL: Final = "earmark_catalogue"
#: What an object is by its name: a recording, or what somebody says about one, or about many.
Kind: TypeAlias = Literal["audio", "sidecar", "manifest"]

_MANIFESTS: Final = frozenset({"manifest.csv", "manifest.json"})
#: What lies beside recordings everywhere and is none: pictures, texts, lists of files. Anything else is tried, whatever it is called.
_BESIDE: Final = frozenset(
    ".jpg .jpeg .png .gif .webp .bmp .tif .tiff .pdf .txt .md .rtf .doc .docx .htm .html .xml .yml .yaml .csv .log .cue .nfo .md5 .sha1 .sha256 .sfv".split()  # noqa: SIM905 - a line of words
) | {".m3u", ".m3u8", ".pls", ".db", ".ini", ".lnk", ".url", ".tmp", ".part", ".crdownload"}
#: S3 brings sequencers to no length of their own: the shorter one is padded on its right before two are compared (S3 user guide,
#: "Event message structure"). They are hexadecimal, in capitals or not.
_SEQUENCER_CHARS: Final = 64


def kind_of(name: str) -> Kind | None:
    """What an object of that name is, its key from the catalogue's place on; None: nothing to the catalogue.

    Hidden things, folders (S3's console makes objects of them) and all below a folder whose name begins with `_` are left alone.
    """
    *folders, last = name.split("/")
    if not last or last.startswith(".") or any(folder.startswith("_") or (folder.startswith(".") and folder.strip(".")) for folder in folders):
        return None
    if last in _MANIFESTS:
        return "manifest"
    suffix = PurePosixPath(last).suffix
    if suffix == ".json":
        return "sidecar"
    return None if suffix.lower() in _BESIDE else "audio"


def heard(connection: Connection, message: ObjectArrived | ObjectRemoved, *, place: str) -> Literal["stock", "foreign", "repeat"]:
    """Put on record that there is news of an object below `place` (`catalogue.place`)."""
    kind = kind_of(f"s3://{message.bucket}/{message.key}".removeprefix(place))
    if kind is None:
        return "foreign"
    news = connection.execute(
        """
        insert into catalogue_object (bucket, key, kind, sequencer, version, happened_at)
        values (%(bucket)s, %(key)s, %(kind)s, %(sequencer)s, %(version)s, %(at)s)
        on conflict (bucket, key) do update
           set sequencer = greatest(catalogue_object.sequencer, excluded.sequencer), version = excluded.version, happened_at = excluded.happened_at,
               news = catalogue_object.news + 1, due_at = now(), look = true, attempts = 0
         where excluded.sequencer = '' or excluded.sequencer > catalogue_object.sequencer
        returning key""",
        {
            "bucket": message.bucket,
            "key": message.key,
            "kind": kind,
            "sequencer": message.sequencer.lower().ljust(_SEQUENCER_CHARS, "0") if message.sequencer else "",
            "version": message.version if isinstance(message, ObjectArrived) else "",
            "at": message.at,
        },
    ).fetchone()
    if news is None:
        return "repeat"
    connection.execute("select pg_notify(%s, '')", [CHANNEL])
    return "stock"
