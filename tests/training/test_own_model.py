"""A model file of one's own: a recorded walk, read as anybody would have it read."""

import numpy as np
import pytest

from models.osim import OsimError
from training.datasets import DataMissing, locate
from training.gait import MOVING
from training.gait_recording import DATA, read_gait
from training.joint_geometry import along, smooth
from training.own_checks import TrialsError
from training.own_trials import load_own
from training.sto import read_sto

SECONDS = 12
LIST = """
[joint]
osim = "{}"
coordinate = "ankle_angle_r"
towards = ["tib_ant_r"]
away = ["soleus_r", "med_gas_r", "lat_gas_r"]
[[trials]]
motion = "ik.mot"
emg = "emg.sto"
moment = "id.sto"
"""


def write(path, columns):
    degrees = "yes" if path.suffix == ".mot" else "no"
    head = f"t\ninDegrees={degrees}\nendheader\n" + "\t".join(columns)
    np.savetxt(path, np.stack(list(columns.values()), 1), "%.9g", "\t", header=head, comments="")


@pytest.fixture(scope="module")
def tables():
    names = {"ik.mot": "ik", "emg.sto": "emgFilt", "id.sto": "id"}
    try:
        whole = {k: read_sto(locate(DATA, f"walk36/{name}.sto")) for k, name in names.items()}
    except DataMissing as e:
        pytest.skip(str(e))
    return {k: {c: x[: 100 * SECONDS] for c, x in t.items()} for k, t in whole.items()}


@pytest.fixture
def folder(tmp_path, tables):
    for name, columns in tables.items():
        write(tmp_path / name, columns)
    (tmp_path / "trials.toml").write_text(LIST.format(locate(DATA, "model/gait2392.osim.gz")))
    return tmp_path


def test_muscles_follow_every_joint_of_the_motion_that_they_cross(folder):
    (trial,), joint = load_own(folder / "trials.toml")
    g = read_gait("walk36")
    motion = {c: smooth(g.angles[c], 100.0) for c in MOVING if c in g.angles.columns}
    wanted = along(g.model, joint.names, motion, "ankle_angle_r")
    inside = slice(20, 1100)  # filters begin and end elsewhere
    for name in ("length_mm", "arm_mm", "path_mm_s"):
        got, want = getattr(trial, name)[inside], getattr(wanted, name)[inside]
        np.testing.assert_allclose(got, want, atol=0.05)


def test_a_real_moment_of_the_other_sign_is_refused_with_the_remedy(folder, tables):
    column = "ankle_angle_r_moment"
    write(folder / "id.sto", {**tables["id.sto"], column: -tables["id.sto"][column]})
    with pytest.raises(TrialsError, match=r"id.sto, emg.sto: .*\(r = -0.8.*turn the sign of the m"):
        load_own(folder / "trials.toml")


def test_a_calf_in_the_column_of_the_shin_is_refused(folder, tables):
    emg = tables["emg.sto"]
    exchanged = {**emg, "tib_ant_r": emg["soleus_r"], "soleus_r": emg["tib_ant_r"],
                 "med_gas_r": emg["tib_ant_r"], "lat_gas_r": emg["tib_ant_r"]}  # fmt: skip
    write(folder / "emg.sto", exchanged)
    with pytest.raises(TrialsError, match="changed places in the EMG's columns"):
        load_own(folder / "trials.toml")


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ('moment = "id.sto"', "", TrialsError, "needs moment = inverse dynamics"),
        ('["tib_ant_r"]', '["tib_anterior"]', OsimError, "no muscle 'tib_anterior'"),
        ('"ankle_angle_r"', '"ankle"', OsimError, "no coordinate 'ankle'"),
        ('["tib_ant_r"]', '["tib_ant_r", "vas_lat_r"]', TrialsError, "vas_lat_r has a moment arm"),
    ],
)
def test_what_does_not_fit_the_model_is_named(folder, before, after, error, message):
    path = folder / "trials.toml"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(error, match=message):
        load_own(path)


def test_nobody_knows_what_moves_a_model_so_it_does_not_roll_on(folder):
    _, joint = load_own(folder / "trials.toml")
    assert joint.paths is None
    assert joint.accelerate is None
