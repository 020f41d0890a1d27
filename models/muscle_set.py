"""Hill muscles with the numbers of an OpenSim model."""

from collections.abc import Sequence

import torch

from models.muscle import Muscle
from models.osim import OsimModel


def muscle_set(
    model: OsimModel, names: Sequence[str], dtype: torch.dtype = torch.float32
) -> Muscle:
    """Constants ``(muscles,)`` in mm, N and rad of the muscles named, in this order.

    Raises OsimError for a name that is not in the model.  The tendon strain is that of the model's
    own tendon curve, 0.033 for many Thelen muscles; force curves are those of ``models.muscle``.
    """
    chosen = [model.muscle(name) for name in names]
    rows = [
        (
            1000 * m.l_opt_m,
            m.pennation_opt_rad,
            1000 * m.l_slack_m,
            m.f_max_n,
            m.tendon_strain,
        )
        for m in chosen
    ]
    return Muscle(*torch.tensor(rows, dtype=dtype).reshape(-1, 5).unbind(-1))
