"""Reading the arguments of preprocessing steps: a missing or unknown one is an error at start."""

import math

from models.spec import SpecError, Step


def args_of(step: Step, *required: str, **optional: float) -> list[float]:
    """The values of ``required`` then ``optional`` arguments, in that order.

    Raises SpecError for a missing, unknown or non-finite argument, naming the known ones.
    """
    known = [*required, *optional]
    unknown = sorted(set(step.args) - set(known))
    missing = [name for name in required if name not in step.args]
    if unknown or missing:
        raise SpecError(
            f"step {step.op!r}: unknown arguments {unknown}, missing {missing}; known: {known}"
        )
    values = [float(step.args.get(name, optional.get(name, math.nan))) for name in known]
    for name, value in zip(known, values, strict=True):
        if name in step.args and not math.isfinite(value):
            raise SpecError(f"step {step.op!r}: {name} must be finite, is {value}")
    return values


def count(step: Step, name: str, value: float) -> int:
    """A positive whole number.  Raises SpecError."""
    if value < 1 or value != int(value):
        raise SpecError(f"step {step.op!r}: {name} must be a positive whole number, is {value}")
    return int(value)
