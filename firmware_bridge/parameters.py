"""What the text of an address parameter must be; each raises ValueError that says so."""

import math

UNITS_UV = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6}


def names(text: str) -> tuple[str, ...]:
    """``TA,MG``: channel names, none empty, none twice."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found) or len(set(found)) != len(found):
        raise ValueError("expected different names with commas between")
    return found


def indices(text: str) -> tuple[int, ...]:
    """``0,2``: rows or columns, counted from 0."""
    return tuple(int(part) for part in text.split(","))


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError("expected a number above 0")
    return value


def not_negative(text: str) -> float:
    """A number, 0 or above."""
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError("expected a number from 0 up")
    return value


def unit_uv(text: str) -> float:
    """``uV``, ``mV`` or ``V``: how many microvolts it is."""
    if text not in UNITS_UV:
        raise ValueError("expected uV, mV or V")
    return UNITS_UV[text]


def whole(text: str) -> int:
    """A whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise ValueError("expected a whole number from 0 up")
    return value
