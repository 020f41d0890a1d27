"""Results that took long and are kept: read again, and compared with the settings of today."""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def read_kept(file: Path, settings: Json, remedy: str) -> tuple[Json | None, tuple[str, ...]]:
    """What a file holds, None without it, and what is wrong with it; ``remedy`` says what to do.

    ``settings`` are what decides the result, as JSON would give them back.
    """
    if not file.is_file():
        return None, (f"{file.name} is missing: {remedy}",)
    found = dict(json.loads(file.read_text("utf-8")))
    if found["settings"] != settings:
        return found, (f"{file.name} was made with other settings: {remedy}",)
    return found, ()
