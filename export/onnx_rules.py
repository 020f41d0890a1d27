"""The rule check: what some TensorRT between 8.5 and 11 would reject or compute wrongly.

The old parsers accept files and compute something else, and none of them runs without a GPU.  So
what was read in their source, and what others ran into, is code here.
"""

from collections.abc import Collection, Iterable
from itertools import groupby

from onnx import ModelProto

from export import onnx_rules_file, onnx_rules_ops, onnx_rules_quantised
from export.onnx_graph import ExportError
from export.onnx_ops import TARGETS
from export.onnx_rule import Finding, Rule
from export.onnx_view import view_of

RULES: tuple[Rule, ...] = (
    *onnx_rules_file.RULES,
    *onnx_rules_ops.RULES,
    *onnx_rules_quantised.RULES,
)
UNKNOWN = "unknown-operator"


def check(
    model: ModelProto, targets: Collection[str] = TARGETS, allow: Collection[str] = ()
) -> list[Finding]:
    """Every rule that the network breaks for one of ``targets``, in the order of RULES.

    ``allow``: names of operators that may be unknown to the rules.  Raises ExportError for a
    version the rules know nothing of.
    """
    if strange := set(targets) - set(TARGETS):
        raise ExportError(f"TensorRT {sorted(strange)}: the rules know {', '.join(TARGETS)}")
    view, findings = view_of(model), []
    for rule in RULES:
        for node, what, where in rule.find(view):
            concerned = tuple(t for t in where or rule.targets if t in targets)
            allowed = rule.name == UNKNOWN and node.split()[0] in allow
            if concerned and not allowed:
                reason = f"{what}: {rule.why}"
                findings.append(
                    Finding(rule.name, rule.severity, node, concerned, reason, rule.remedy)
                )
    return findings


def refused(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid the network."""
    return [f for f in findings if f.severity == "refuse"]


def report(findings: Iterable[Finding], nodes: int = 3) -> str:
    """For a person: each rule once, with the first few ``nodes`` that break it and the remedy."""
    lines = []
    for _, group in groupby(findings, lambda f: (f.rule, f.targets)):
        same = list(group)
        lines += [str(f) for f in same[:nodes]]
        if len(same) > nodes:
            lines.append(f"  and {len(same) - nodes} more")
        lines.append(f"  remedy: {same[0].remedy}")
    return "\n".join(lines)


def table() -> str:
    """The rules in Markdown, for docs/onnx.md."""
    rows = ["| rule | TensorRT | what happens | remedy |", "|---|---|---|---|"]
    for r in RULES:
        versions = "all" if r.targets == TARGETS else ", ".join(r.targets)
        name = f"`{r.name}`" + (" (warns)" if r.severity == "warn" else "")
        rows.append(f"| {name} | {versions} | {r.why} | {r.remedy} |")
    return "\n".join(rows)
