"""What ``rig.angle`` and ``rig.load`` mean for the models at hand.

``encoder`` and ``command`` are a rehab device's.  With several links ``encoder:LINK`` says whose:
two devices may measure two joints, and the newest of both would be neither.  ``model:NAME.OUTPUT``
is what another model of this daemon finds out in the same tick.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge.config import Config, ConfigError
from edge.evenness import LIMIT, wants_even
from models.spec import ModelSpec


@dataclass(frozen=True)
class JointPlan:
    """The two settings, looked up; "" and None = from somewhere else, or from nowhere."""

    angle_link: str = ""
    angle_output: tuple[int, int] | None = None  # places of the model, and of its output
    load_link: str = ""
    load_kg: float | None = None

    @property
    def angle(self) -> bool:
        """Whether there is an angle."""
        return bool(self.angle_link) or self.angle_output is not None

    @property
    def load(self) -> bool:
        """Whether there is a load."""
        return bool(self.load_link) or self.load_kg is not None


def plan_joint(config: Config, specs: Sequence[ModelSpec]) -> JointPlan:
    """Look up the settings for these models.  Raises ConfigError with the remedy."""
    for spec in specs:
        if spec.driver == "tick" and not math.isclose(spec.period_ms, config.timing.period_ms):
            raise ConfigError(
                f"{spec.name} steps once a tick and was trained for {spec.period_ms:g} ms: set "
                f"timing.period_ms to that, it is {config.timing.period_ms:g}"
            )
    angle, load, links = config.rig.angle, config.rig.load, config.rig.links
    plan = JointPlan()
    match angle.partition(":"):
        case ("encoder", _, link):
            plan = replace(plan, angle_link=_link("angle", angle, link, links))
        case ("model", _, name):
            plan = replace(plan, angle_output=_output(name, specs))
        case _ if angle:
            raise ConfigError(
                f'rig.angle = "{angle}" is not known: "encoder", or "model:NAME.OUTPUT"'
            )
    match load.partition(":"):
        case ("command", _, link):
            plan = replace(plan, load_link=_link("load", load, link, links))
        case _ if load:
            plan = replace(plan, load_kg=_kg(load, specs))
    return plan


def _link(setting: str, text: str, link: str, links: Sequence[str]) -> str:
    where = f'rig.{setting} = "{text}"'
    if not links:
        raise ConfigError(f"{where}: nobody can send it: set rig.links")
    if not link and len(links) > 1:
        raise ConfigError(f'{where}: which of the links? Write "{text.rstrip(":")}:{links[0]}"')
    if link and link not in links:
        raise ConfigError(f"{where}: {link} is not one of rig.links {list(links)}")
    return link or links[0]


def _output(name: str, specs: Sequence[ModelSpec]) -> tuple[int, int]:
    found = [
        (k, n)
        for k, spec in enumerate(specs)
        for n, o in enumerate(spec.outputs)
        if f"{spec.name}.{o.name}" == name
    ]
    known = [f"{s.name}.{o.name}" for s in specs for o in s.outputs if o.unit == "deg"]
    where = f'rig.angle = "model:{name}"'
    if not found:
        raise ConfigError(f"{where}: no model gives that; angles known: {known or 'none'}")
    if len(found) > 1:
        raise ConfigError(f"{where}: {len(found)} models are called so: run one of them")
    (model, output) = found[0]
    spec = specs[model]
    if (unit := spec.outputs[output].unit) != "deg":
        raise ConfigError(f"{where} is in {unit}, not in deg; angles known: {known or 'none'}")
    if any(i.source == "angle" for i in spec.inputs):
        raise ConfigError(f"{where}: {spec.name} takes the angle itself: choose another model's")
    for taker in specs:
        if wants_even(taker) and spec.period_ms >= (most_ms := LIMIT * taker.period_ms):
            raise ConfigError(
                f"{where}: {spec.name} steps every {spec.period_ms:g} ms, and {taker.name} needs an"
                f" angle within every {most_ms:g} ms, or all it says is FAULT: choose a faster"
                ' model\'s, or "encoder"'
            )
    return model, output


def _kg(text: str, specs: Sequence[ModelSpec]) -> float:
    number, kilograms, rest = text.partition("kg")
    try:
        kg = float(number)
    except ValueError:
        kg = math.nan
    if not (math.isfinite(kg) and kilograms and not rest):
        raise ConfigError(
            f'rig.load = "{text}" is not known: "command", or a fixed one in kilograms: "2.0 kg"'
        )
    for spec in specs:
        for i in spec.inputs:
            if i.source == "load" and not i.min <= kg <= i.max:
                raise ConfigError(
                    f'rig.load = "{text}": {spec.name} is validated from {i.min:g} to {i.max:g} kg'
                )
    return kg
