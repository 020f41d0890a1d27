"""For every test: no engines but its own, and a Jetson to be had."""

import pytest


@pytest.fixture(autouse=True)
def _no_engines_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))


@pytest.fixture
def jetson(monkeypatch):
    """``jetson(version, ...)``: this process is now on such a machine."""

    def install(version="10.3.0", **machine):
        from tests.fakes.tensorrt import Jetson

        return Jetson(version, **machine).install(monkeypatch)

    return install
