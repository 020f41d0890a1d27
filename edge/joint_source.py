"""Where a daemon's joint angle and load come from: commands of a device, a model, the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.estimate import Estimator
from edge.joint import NOTHING, Inbox, Reading
from edge.joint_plan import JointPlan
from edge.turns import Source, nothing
from firmware_bridge.links import Link
from firmware_bridge.types import UNKNOWN_NS


@dataclass
class JointSource:
    """``angle`` and ``load`` are for ``Turns``."""

    angle: Source = nothing
    load: Source = nothing
    inboxes: list[Inbox] = field(default_factory=list)
    estimators: Sequence[Estimator] = ()

    @property
    def counters(self) -> dict[str, int]:
        """Measurements that came after a newer one, or a second time; steps of models on
        angles that did not come evenly.
        """
        return {
            "outdated": sum(i.angle.outdated + i.load.outdated for i in self.inboxes),
            "uneven": sum(e.uneven_steps for e in self.estimators),
        }


def open_joint(
    plan: JointPlan, estimators: Sequence[Estimator], links: Mapping[str, Link]
) -> JointSource:
    """From now on it watches those of the ``links`` (by address) that the plan names.

    What no model takes it leaves alone: a recording may want a torque that a model could not use.
    """
    source = JointSource(estimators=estimators)
    inboxes: dict[str, Inbox] = {}
    angle = any(e.uses_angle for e in estimators)
    load = any(e.uses_load for e in estimators)
    for address in {plan.angle_link, plan.load_link} - {""}:
        inbox = inboxes[address] = Inbox(
            angle and address == plan.angle_link, load and address == plan.load_link
        )
        links[address].watch = inbox.take
        source.inboxes.append(inbox)
    if plan.angle_link:
        source.angle = _from_encoder(links[plan.angle_link], inboxes[plan.angle_link])
    elif plan.angle_output:
        model, output = plan.angle_output
        source.angle = angle_of(estimators[model], output)
    if plan.load_link:
        source.load = _from_command(inboxes[plan.load_link])
    elif plan.load_kg is not None:
        source.load = fixed_load(plan.load_kg)
    return source


def angle_of(estimator: Estimator, output: int) -> Source:
    """The newest angle a model gave that was no fault, as old as the data it was made of."""
    newest = NOTHING

    def angle(_: int) -> Reading:
        nonlocal newest
        if not estimator.fault and (t_ns := estimator.t_ns) != UNKNOWN_NS:
            newest = Reading(estimator.values.item(output), t_ns)
        return newest

    return angle


def fixed_load(kg: float) -> Source:
    """A load that is what it is at every tick."""
    return lambda t_ns: Reading(kg, t_ns)


def _from_encoder(link: Link, inbox: Inbox) -> Source:
    def angle(_: int) -> Reading:
        link.poll()  # or what arrived just now would wait for the next tick
        return inbox.angle.reading

    return angle


def _from_command(inbox: Inbox) -> Source:
    return lambda _: inbox.load.reading
