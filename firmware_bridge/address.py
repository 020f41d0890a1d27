"""The grammar of a device address: ``scheme:target?key=value&key=value``."""

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, quote

from firmware_bridge.types import DeviceError

T = TypeVar("T")


class Address:
    """A parsed address.  ``take`` each known parameter, then ``done`` refuses what is left."""

    def __init__(self, text: str):
        self.text = text
        self.scheme, _, rest = text.partition(":")
        self.target, _, query = rest.partition("?")
        try:
            self._params = dict(
                parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
            )
        except ValueError as e:
            raise DeviceError(f"{text!r}: write parameters as ?key=value&key=value ({e})") from e
        self._known: list[str] = []

    def take(self, key: str, default: T, convert: Callable[[str], T]) -> T:
        """The value of ``key``, or ``default``.  Raises DeviceError when it does not convert."""
        self._known.append(key)
        if key not in self._params:
            return default
        raw = self._params.pop(key)
        try:
            return convert(raw)
        except (ValueError, KeyError) as e:
            raise DeviceError(f"{self.text!r}: {key}={raw!r} is not valid: {e}") from e

    def done(self) -> None:
        """Refuse parameters nobody took.  Raises DeviceError with the known ones."""
        if self._params:
            raise DeviceError(
                f"{self.text!r}: unknown parameter {sorted(self._params)}; known: {self._known}"
            )


def make(scheme: str, target: str, params: Mapping[str, object]) -> str:
    """The address text for parts; the inverse of ``Address``."""
    query = "&".join(f"{k}={quote(str(v), safe='/:,.-')}" for k, v in params.items())
    return f"{scheme}:{target}" + (f"?{query}" if query else "")


def flag(text: str) -> bool:
    """``1 | on | true | yes`` or ``0 | off | false | no``.  Raises ValueError."""
    try:
        return {"1": True, "on": True, "true": True, "yes": True}.get(text.lower()) or {
            "0": False,
            "off": False,
            "false": False,
            "no": False,
        }[text.lower()]
    except KeyError:
        raise ValueError("expected on or off") from None
