import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
import pytest

from training.state_data import StateData


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


@pytest.fixture(scope="session")
def drawn_legs() -> Callable[[int, int], StateData]:
    """Makes ``people`` of ``each`` pictures: two muscles, and a target in MG's brightness.

    The second target is the thickness of MG.  Anatomy is known of the thickness alone.
    """

    def draw(people: int, each: int) -> StateData:
        n, rng = people * each, np.random.default_rng(1)
        bright, split = rng.uniform(30, 90, n), rng.integers(50, 76, n)
        depth = np.arange(128)
        mg = (depth >= 20) & (depth < split[:, None])
        sol = (depth >= split[:, None] + 3) & (depth < 116)
        sheet = ~mg & ~sol & (depth >= 17) & (depth < 119)
        level = 60.0 + mg * (bright - 60.0)[:, None] + 120 * sheet
        images = level[:, None, :] + 8 * rng.standard_normal((n, 128, 128))
        maps = np.stack([sheet, mg, sol], axis=1)[:, :, None, :].repeat(128, axis=2)
        thickness = (split - 20) * 50 / 128
        anatomy = np.full((n, 6), np.nan, np.float32)
        anatomy[:, 0] = thickness
        return StateData(
            np.clip(images, 0, 255).astype(np.uint8),
            (255 * maps).astype(np.uint8),
            np.repeat(np.arange(people), each),
            np.stack([bright, thickness], axis=1).astype(np.float32),
            anatomy,
        )

    return draw
