"""The role `api`: its parts, put together. Needs the extra `api`; nothing else of the daemon imports this before it is asked for."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from earmark.api.form import Bucket
from earmark.api.frontage import Frontage
from earmark.api.identifying import Identifying
from earmark.api.routes import application
from earmark.api.server import Server
from earmark.api.tokens import Tokens
from earmark.api.uploads import Uploads
from earmark.aws import Clients
from earmark.clip import Catalogue
from earmark.postgres import Pool
from earmark.settings import Settings
from earmark.telemetry import Metrics


class Serving:
    """`run` and `tidy` on threads of their own, until `close` and `stop`."""

    def __init__(
        self,
        *,
        settings: Settings,
        pool: Pool,
        catalogue: Catalogue,
        clients: Clients,
        metrics: Metrics,
        stop: threading.Event,
        healthy: Callable[[], str],
        preload: str,
    ) -> None:
        """`healthy`: "", or why nobody should ask now. `preload`: see `apart`. Raises BadSettings when it cannot listen."""
        api, place = settings.api, settings.catalogue.place
        self._stop = stop
        self._uploads = (
            Uploads(
                pool=pool,
                bucket=Bucket(s3=clients.s3, signer=clients.s3_signer, place=place),
                valid_s=api.upload_valid_s,
                days=api.upload_days,
                meter=metrics,
                stop=stop,
            )
            if place
            else None
        )
        made = application(
            settings=api,
            pool=pool,
            uploads=self._uploads,
            upload_bytes_max=min(api.upload_bytes_max, settings.catalogue.object_bytes_max),
            identifying=Identifying(pool=pool, catalogue=catalogue, params=settings.matching.params(), settings=api, preload=preload),
            healthy=healthy,
        )
        frontage = Frontage(made, settings=api, find_token=Tokens(pool=pool).find, now=lambda: datetime.now(UTC), meter=metrics)
        self._server = Server(frontage, settings=api)
        structlog.get_logger().info("api.listening", host=api.host, port=self._server.port, uploads=bool(place))

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def started(self) -> bool:
        return self._server.started

    def run(self) -> None:
        self._server.run()

    def close(self) -> None:
        self._server.close()

    def tidy(self) -> None:
        if self._uploads is None:
            self._stop.wait()
        else:
            self._uploads.run()
