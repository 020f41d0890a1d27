"""The real recording: what is known of a leg from its other clips, and from its other conditions.

us_mg_dynamometer is one person; these figures say nothing about other people.
"""

from typing import Any

from bench.cnn_part import NOTHING, Part, number
from bench.cnn_stored import Json, stored

FILE = "real.json"
PASSIVE = "passive"  # how the name of the condition begins
NAMES = {"ours": "ours", "pca": "80 principal components + ridge"}


def real_part() -> Part:
    """Leave-one-clip-out and leave-one-condition-out, as stored."""
    title = "us_mg_dynamometer, one real person: R2 and RMSE on what was not trained on"
    heads = ("angle R2", "angle RMSE, deg", "torque R2", "torque RMSE, N m")
    real = stored(FILE)
    if real is None:
        why = f"{FILE} is missing, and no command makes it yet"
        return Part(title, heads, [(why,)], _numbers(None), (why,))
    rows = [
        _clip_row(f"a clip left out: {NAMES['ours']}", real["clip"]),
        _clip_row(f"a clip left out: {NAMES['pca']}", real["pca_clip"]),
    ]
    for condition, both in real["condition"].items():
        for who, name in NAMES.items():
            cells = [number(both[who].get(k)) for k in (
                "angle_r2", "angle_rmse_deg", "torque_r2", "torque_rmse_nm")]  # fmt: skip
            rows.append((f"condition {condition} left out: {name}", *cells))
    return Part(title, heads, rows, _numbers(real))


def _clip_row(label: str, one: Json | None) -> tuple[str, ...]:
    if one is None:
        return label, NOTHING
    parts = (one[what][k] for what in ("angle", "torque") for k in ("r2", "rmse"))
    return label, *(number(value, digits) for value, digits in zip(parts, (3, 2) * 2, strict=True))


def _numbers(real: Json | None) -> dict[str, Any]:
    """``null`` for what is not stored."""
    clip = real["clip"] if real else None
    conditions = real["condition"] if real else {}
    passive = next((both for name, both in conditions.items() if name.startswith(PASSIVE)), None)
    return {
        "real_clip": {f"{what}_r2": clip[what]["r2"] if clip else None
                      for what in ("angle", "torque")},
        "real_condition": {f"{who}_passive_torque_rmse_nm":
                           passive[who]["torque_rmse_nm"] if passive else None for who in NAMES},
        "real": real,
    }  # fmt: skip
