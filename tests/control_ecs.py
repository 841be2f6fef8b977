"""An HTTP server on loopback that behaves as the ECS agent does, well and badly."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARN = "arn:aws:ecs:us-west-2:123456789012:task/earmark/0123456789abcdef"


class EcsAgent:
    """On loopback; each answer may be replaced by a status and a body, or by any behaviour."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.misbehave: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.over = threading.Event()
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                agent.calls.append((self.path, asked))
                if agent.misbehave:
                    agent.misbehave(self)
                    return
                answer(self, 200, {"protection": {"ExpirationDate": "2026-11-21T12:00:00Z", "ProtectionEnabled": asked["ProtectionEnabled"], "TaskArn": ARN}})

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}/api/0123"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def asked(self) -> list[Any]:
        return [asked for _, asked in self.calls]

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(handler: BaseHTTPRequestHandler, status: int, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
