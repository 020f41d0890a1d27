"""What two minutes of calibration are worth on the people held out; they are simulated."""

from bench.cnn_stored import REMEDY, stored
from bench.part import Part
from models.state_cnn import STATE
from training.personal import VARIANTS

FILE = "personal.json"
NAMES = {
    "none": "as it is",
    "affine clinic": "gain and offset, from what a clinic knows of the routine",
    "affine measured": "gain and offset, every target measured in the routine",
    "last layer measured": "last layer, every target measured in the routine",
}


def personal_part() -> Part:
    """Accuracy A of ours before and after the routine, as stored with its folds."""
    title = "SIMULATED participants held out, ours personalised by a two-minute routine: A, %"
    found = stored(FILE)
    if found is None:
        why = f"{FILE} is missing: {REMEDY}"
        return Part(title, STATE, [(why,)], {"personal": None}, (why,))
    rows = []
    for variant in VARIANTS:
        each = [found["outputs"][o][variant] for o in STATE]
        cells = (f"{one['mean']['a']:.1f} ± {one['sd']['a']:.1f}" for one in each)
        rows.append((NAMES[variant], *cells))
    numbers = {
        variant: {o: found["outputs"][o][variant]["mean"]["a"] for o in STATE}
        for variant in VARIANTS
    }
    return Part(title, STATE, rows, {"personal": numbers})
