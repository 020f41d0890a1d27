"""Where engines are kept, by whoever runs it."""

from pathlib import Path

import pytest

from edge.runtime.settings import Runtime


def test_a_user_keeps_engines_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert Runtime().folder == Path("/c/sonomyo/engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert Runtime().folder == Path("/home/me/.cache/sonomyo/engines")


def test_a_service_keeps_them_where_systemd_says(monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/sonomyo:/var/cache/more")
    assert Runtime().folder == Path("/var/cache/sonomyo/engines")


def test_the_configuration_goes_before_both():
    assert Runtime(engines="/data/engines").folder == Path("/data/engines")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"engine": "tensorrt"}, "auto, ort, trt, ort-cuda, ort-tensorrt, is 'tensorrt'"),
        ({"io": "managed"}, "runtime.io must be one of auto, mapped, copy"),
        ({"wait": ""}, "runtime.wait must be one of spin, block"),
    ],
)
def test_a_wrong_setting_is_refused(setting, says):
    with pytest.raises(ValueError, match=says):
        Runtime(**setting)
