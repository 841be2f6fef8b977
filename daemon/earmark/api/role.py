"""`earmark run --role api`: the loops that it is made of. The framework is an extra: it is asked for when somebody has the role."""

import threading
from collections.abc import Callable
from typing import Final

from earmark.aws import Clients
from earmark.errors import BadSettings
from earmark.index.answers import Index
from earmark.postgres import Pool
from earmark.settings import Settings
from earmark.telemetry import Check, Metrics

#: Of the extra, as far as it is imported.
_PACKAGES: Final = frozenset({"fastapi", "starlette", "uvicorn", "anyio", "h11"})

#: Its name, what a thread of its own runs, and what ends that when the worker's `stop` is set.
Loop = tuple[str, Callable[[], None], Callable[[], None]]


def api_loops(
    *, settings: Settings, pool: Pool, index: Index, clients: Clients, metrics: Metrics, stop: threading.Event, healthy: Check, preload: str
) -> tuple[list[Loop], Check]:
    """The loops, the last of them to be ended first; and whether it is ready. Any number of workers may have the role.

    Args:
        healthy: what /healthz says: "", or why nobody should ask now.
        preload: the module that child processes are forked from, see `apart`.

    Raises BadSettings without the extra, or when it cannot listen.
    """
    try:
        from earmark.api.serving import Serving  # noqa: PLC0415 -- who does not serve need not have it
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise BadSettings(f"the role api needs {error.name}, which is not installed: install earmark[api]") from None
    serving = Serving(settings=settings, pool=pool, catalogue=index, clients=clients, metrics=metrics, stop=stop, healthy=healthy, preload=preload)
    return [("uploads", serving.tidy, stop.set), ("api", serving.run, serving.close)], lambda: "" if serving.started else "the API does not listen"
