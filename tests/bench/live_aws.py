"""The AWS stand-in of the demo, in a process of its own, that notes when each object was put.

python -m bench.live_aws       as `earmark.local.aws_server`, whose process it is; /stand_in/puts tells the times
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from earmark.local import aws, aws_server

_PUTS: Final = aws_server.CONTROL + "puts"


class StandIn(aws.AwsStandIn):
    """As a context."""

    module = "bench.live_aws"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def puts(self) -> dict[str, float]:
        """By bucket and key: the Unix time at which the first put of it was answered."""
        return {key: float(at) for key, at in self._post(_PUTS).items()}


def noting(serve: Callable[[dict[str, Any], Any], Iterable[bytes]], first: dict[str, float]) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The same, but for when objects came to be: that goes to `first`."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _PUTS:
            return Response(json.dumps(first), content_type="application/json")(environ, start_response)
        answered = serve(environ, start_response)
        if environ["REQUEST_METHOD"] == "PUT":
            first.setdefault(environ["PATH_INFO"].lstrip("/"), time.time())
        return answered

    return answer


def main() -> None:
    stand_in = aws_server.StandIn()
    aws_server.keep_mails(stand_in)
    server = make_server("127.0.0.1", 0, noting(aws_server.application(stand_in), {}), threaded=True, request_handler=aws_server._Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
