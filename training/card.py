"""The card of a bundle: what it is for, what it was made from, how good it is, where it ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.spec import ModelSpec
from training.metrics import Score


@dataclass(frozen=True)
class Facts:
    """What a card says besides the numbers; every text is a paragraph of Markdown."""

    title: str
    purpose: str
    data: str
    split: str
    training: str
    baseline: str
    limits: str
    licence: str
    command: str


def card(facts: Facts, spec: ModelSpec, network: Sequence[Score], baseline: Sequence[Score]) -> str:
    """The card as Markdown; ``network`` and ``baseline`` score the same groups."""
    outputs = ", ".join(f"`{o.name}` ({o.unit})" for o in spec.outputs)
    inputs = "; ".join(f"`{i.name}` {list(i.shape)} from {i.source}" for i in spec.inputs)
    doubt = ", each with a standard deviation" if spec.sd else ""
    steps = " > ".join(s.op for i in spec.inputs for s in i.steps)
    prepared = f", prepared by: {steps}" if steps else ""
    return f"""# {facts.title}

{facts.purpose}

**Not for clinical use.** {facts.limits}

In: {inputs}{prepared}. Out: {outputs}{doubt}.

## Data
{facts.data}

{facts.split}

## Error on recordings kept out of training
Root-mean-square error, and R2 in brackets where the truth moves. {facts.baseline}

{_table(spec, network, baseline)}

## Training
{facts.training} To reproduce: `{facts.command}`.

## Licence
{facts.licence}
"""


def _table(spec: ModelSpec, network: Sequence[Score], baseline: Sequence[Score]) -> str:
    heads = [f"{o.name}, {o.unit}: {who}" for o in spec.outputs for who in ("this", "linear")]
    lines = [
        "| recording | samples | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    cells: dict[str, list[Score]] = {}
    for ours, linear in zip(network, baseline, strict=True):
        cells.setdefault(ours.group, []).extend((ours, linear))
    for group, found in cells.items():
        shown = " | ".join(_cell(s) for s in found)
        lines.append(f"| {group} | {found[0].n} | {shown} |")
    return "\n".join(lines)


def _cell(s: Score) -> str:
    return f"{s.rmse:.2f}" + ("" if math.isnan(s.r2) else f" ({s.r2:.2f})")
