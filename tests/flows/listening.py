"""A webhook on loopback that keeps what it was sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener(ThreadingHTTPServer):
    """Keeps what it gets; answers with `status`."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[dict] = []
        self.raw: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/s3cr3t-t0ken"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.raw.append(body)
        self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        if 300 <= self.server.status < 400:
            self.send_header("Location", self.server.url)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@contextmanager
def listener() -> Iterator[Listener]:
    with Listener() as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        try:
            yield one
        finally:
            one.shutdown()
            thread.join()
