"""Found by a Python process whose PYTHONPATH names this folder: it then has a Jetson.

``FAKE_TENSORRT`` is the version; ``FAKE_OFF`` is added to every output of its kernels.
"""

import os


class _ForGood:
    """As pytest's monkeypatch, but nothing is put back."""

    setattr = staticmethod(setattr)

    @staticmethod
    def setitem(mapping, key, value):
        mapping[key] = value


if version := os.environ.get("FAKE_TENSORRT"):
    from tests.fakes.tensorrt import Jetson

    Jetson(version, off=float(os.environ.get("FAKE_OFF", "0"))).install(_ForGood)
