"""Earmark: which catalogued recording is playing in this live stream, from when to when."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Catalogue", "__version__"]

if TYPE_CHECKING:
    from earmark.library import Catalogue as Catalogue


def __getattr__(name: str) -> Any:
    # Lazily, so that `earmark --help` and the pure rooms do not pay for psycopg and PyAV.
    if name == "Catalogue":
        from earmark.library import Catalogue

        return Catalogue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
