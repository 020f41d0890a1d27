"""What a rule is: something some TensorRT between 8.5 and 11 rejects or computes wrongly."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from export.onnx_ops import TARGETS
from export.onnx_view import View

OLD = ("8.5", "8.6")
Severity = Literal["refuse", "warn"]


class Found(NamedTuple):
    """A place where a rule is broken."""

    node: str  # or a tensor, as messages call it; "" for the file
    what: str  # is wrong there
    targets: tuple[str, ...] | None = None  # where not all of the rule's


@dataclass(frozen=True)
class Rule:
    """``find`` gives every place where the network breaks it."""

    name: str
    why: str  # what the parsers do with it
    remedy: str
    find: Callable[[View], Iterator[Found]]
    targets: tuple[str, ...] = TARGETS
    severity: Severity = "refuse"


@dataclass(frozen=True)
class Finding:
    """A rule that a network breaks, at one place, for some of the TensorRT versions asked for."""

    rule: str
    severity: Severity
    node: str
    targets: tuple[str, ...]
    reason: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.node}: " if self.node else ""
        versions = ", ".join(self.targets)
        return f"{self.severity} {self.rule} (TensorRT {versions}): {place}{self.reason}"
