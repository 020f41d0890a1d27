import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


class Upstream:
    """A web server on this machine; ``files`` is what it has, by the path behind the base URL."""

    def __init__(self):
        self.files = {}  # path: bytes
        self.asked = []  # paths, in order
        self.cut = set()  # paths whose connection breaks half-way
        self.silent = threading.Event()  # set: answer nothing until released
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self):
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = unquote(self.path[1:])
                upstream.asked.append(path)
                if upstream.silent.is_set():
                    upstream.release.wait(10)
                    return
                if path not in upstream.files:
                    self.send_error(404)
                    return
                body = upstream.files[path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if path in upstream.cut else body)

            def log_message(self, *_):
                pass

        return Handler

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache and no SONOMYO_DATA: a fresh machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SONOMYO_DATA", raising=False)
    return tmp_path / "cache" / "sonomyo"
