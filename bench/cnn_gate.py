"""Pictures that no estimate may trust: how many of each kind ours refuses, and how many good ones.

Of the people held out, so the network has seen neither them nor these pictures; the kinds marked
"never shown" it has not met at all.  The participants are simulated.
"""

from bench.cnn_stored import stored_cohort
from bench.part import Part, number
from training.outliers import UNSEEN


def gate_part() -> Part:
    """As stored with the folds of ours."""
    heads = ("refused, %", "SD, p5", "SD, median")
    title = (
        "SIMULATED pictures spoilt in many ways: share refused; smallest SD of any output in "
        "standard deviations of the targets"
    )
    results, wrong = stored_cohort("ours")
    if results is None:
        return Part(title, heads, [(w,) for w in wrong], {"gate": None})
    kinds = {"ordinary pictures": results["ordinary"], **results["spoilt"]}
    rows = []
    for name, one in kinds.items():
        label = f"{name} (never shown in training)" if name in UNSEEN else name
        cells = (number(100 * one["refused"], 1), number(one["sd_p5"]), number(one["sd_median"]))
        rows.append((label, *cells))
    numbers = {"gate": {name: one["refused"] for name, one in kinds.items()}}
    return Part(title, heads, rows, numbers)
