"""A part of a bench: lines of its table, numbers of its JSON, and what is wrong with them."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH = 150  # of the table where there is no terminal
NOTHING = "-"


@dataclass(frozen=True)
class Part:
    """``rows`` are a name and a cell per head, or less; ``wrong`` says what must be repaired."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: dict[str, Any]
    wrong: tuple[str, ...] = ()


def print_parts(parts: Sequence[Part], title: str) -> None:
    """Everything as one table, a section per part."""
    columns = 1 + max(len(p.heads) for p in parts)
    table = Table(show_header=False, title=title)
    table.add_column(ratio=1)
    for _ in range(columns - 1):
        table.add_column(justify="right")
    for p in parts:
        table.add_row(*map(escape, (p.title, *p.heads)), style="bold", end_section=True)
        for row in p.rows:
            table.add_row(*map(escape, row))
        table.add_section()
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)


def number(value: float | None, digits: int = 2) -> str:
    """A cell; what is not known is a dash."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def plain(value: Any) -> Any:
    """The same for JSON: four decimals, four digits where these say nothing; null for no number."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(value, 4) if abs(value) >= 0.01 else float(f"{value:.4g}")
    return value
