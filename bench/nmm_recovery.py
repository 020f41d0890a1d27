"""Parameters of simulated people: what was found beside what is true, and what the report claims.

The identification (``sonomyo physiology``) runs now, on every trial; the people that trained
together with a network are kept.
"""

from collections.abc import Sequence

import numpy as np

from bench.nmm_stored import Json
from bench.part import Part, number
from calibration.physiology import Identification, identify
from models.elbow import MUSCLES
from models.physiology import PER_MUSCLE
from training.joint_data import elbow_trial
from training.nmm_study import elbow_joint, plain, recovery, true_person
from training.synergy import effort
from training.virtual_measure import measured_of
from training.virtual_people import DEEP, PEOPLE


def recovery_part(kept: Sequence[Json]) -> Part:
    """``kept``: results of the study of every person and load."""
    found = {name: _identified(name) for name in PEOPLE}
    alone = recovery(
        [{"person_found": plain(f.values), "person_true": true_person(n)} for n, f in found.items()]
    )
    together = recovery(kept)
    rows: list[tuple[str, ...]] = [
        (name, number(alone[name]["rmse"], 4), number(row["rmse"], 4), number(row["usual"], 4))
        for name, row in together.items()
    ]
    sure, near, every = _claims(found)
    rows.append((f'called "identified": {sure} of {every}; true within 2 SD: {near}',))
    hits = sum(sum(hit) for f in kept for hit in f["at_bounds"].values())
    numbers = {
        "recovery": together, "recovery_identified": alone, "parameters_at_bounds": hits,
        "identified": {"called": sure, "true_within_2_sd": near, "of": every},
    }  # fmt: skip
    title = "parameters of simulated people: RMSE from the true ones"
    return Part(title, ("identified", "with the network", "if usual"), rows, numbers)


def _identified(name: str) -> Identification:
    joint = elbow_joint(name)
    trials = [elbow_trial(m) for m in measured_of(name)]
    return identify(
        [effort(t) for t in trials], joint.muscle, joint.names, trials[0].rate_hz,
        like=joint.neighbours,
    )  # fmt: skip


def _claims(found: dict[str, Identification]) -> tuple[int, int, int]:
    """Parameters called identified, those of them whose truth is within 2 SD, and all that the
    simulation has; gains only where there is an electrode."""
    sure = near = every = 0
    for name, f in found.items():
        true = true_person(name)
        for p in f.parameters:
            if p.name not in true or (p.name == "gain" and p.muscle in DEEP):
                continue
            wanted = true[p.name]
            if p.name in PER_MUSCLE:
                wanted = wanted[MUSCLES.index(p.muscle)]
            every += 1
            sure += p.identified
            near += p.identified and bool(np.abs(p.value - wanted) <= 2 * p.sd)
    return sure, near, every
