"""Elements of an XML file that say where they are when what they hold is wrong."""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from models.osim import OsimError, Vec3

MOST_BYTES = 100_000_000  # a hundred times the largest model we know
DEEPEST = 100  # elements inside each other


class Node:
    """An element with its file; values that are missing take a default or raise OsimError."""

    def __init__(self, element: Element, file: str):
        self.element, self.file = element, file
        self.tag: str = element.tag
        self.name = element.get("name", "").strip()

    def __iter__(self) -> Iterator["Node"]:
        return (Node(e, self.file) for e in self.element)

    def find(self, path: str) -> "Node | None":
        found = self.element.find(path)
        return None if found is None else Node(found, self.file)

    def all(self, path: str) -> "list[Node]":
        return [Node(e, self.file) for e in self.element.iterfind(path)]

    def text(self, tag: str, default: str | None = None) -> str:
        found = self.element.findtext(tag, "").strip()
        if found:
            return found
        if default is None:
            self.fail(f"<{tag}> is missing or empty", "add it")
        return default

    def link(self, *tags: str) -> str:
        """Last part of the first path among ``tags``: ``/bodyset/tibia_r`` names ``tibia_r``."""
        found = next(filter(None, (self.text(tag, "") for tag in tags)), None)
        if found is None:
            self.fail(f"<{'> or <'.join(tags)}> is missing", "say where it belongs")
        return found.rpartition("/")[2]

    def numbers(
        self, tag: str, count: int | None, default: tuple[float, ...] | None = None
    ) -> tuple[float, ...]:
        text = self.text(tag, None if default is None else " ")
        if not text.strip() and default is not None:
            return default
        try:
            values = tuple(float(word) for word in text.split())
        except ValueError:
            values = (math.nan,)
        if not all(map(math.isfinite, values)):
            self.fail(f"<{tag}> holds {text[:40]!r}", "give finite numbers")
        if count is not None and len(values) != count:
            self.fail(f"<{tag}> has {len(values)} numbers", f"give {count}")
        return values

    def number(self, tag: str, default: float | None = None) -> float:
        return self.numbers(tag, 1, None if default is None else (default,))[0]

    def vector(self, tag: str, default: Vec3 | None = (0.0, 0.0, 0.0)) -> Vec3:
        x, y, z = self.numbers(tag, 3, default)
        return x, y, z

    def flag(self, tag: str, default: bool) -> bool:
        text = self.text(tag, str(default)).lower()
        if text not in ("true", "false", "1", "0"):
            self.fail(f"<{tag}> holds {text[:40]!r}", "write true or false")
        return text in ("true", "1")

    def fail(self, wrong: str, remedy: str) -> NoReturn:
        name = f" name={self.name!r}" if self.name else ""
        raise OsimError(f"{self.file}: <{self.tag}{name}>: {wrong}; {remedy}")


def parse(path: Path) -> Node:
    """Root of an XML file, gzip-compressed if its name ends in ``.gz``.

    Raises OsimError for what is not XML, too large, or declares entities.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise OsimError(f"{path}: no such file; check the path") from error
    except (OSError, EOFError, zlib.error) as error:
        raise OsimError(f"{path}: cannot be read ({error}); fetch it again") from error
    if len(data) > MOST_BYTES:
        raise OsimError(f"{path.name}: more than {MOST_BYTES} bytes; this is no model")

    def refuse(*_: object) -> None:
        raise OsimError(f"{path.name}: <!DOCTYPE> can hide a bomb; delete the declaration")

    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise OsimError(f"{path.name}: more than {DEEPEST} levels; this is no model")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise OsimError(f"{path.name}: not XML ({error}); give an .osim file") from error
    return Node(builder.close(), path.name)
