"""``rig.angle`` and ``rig.load``: what they mean, and what is wrong with them if they do not."""

from dataclasses import replace

import pytest

from edge.config import Config, ConfigError, Rig, Timing
from edge.joint_plan import JointPlan, plan_joint
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State

LINKS = ("serial:/dev/a", "serial:/dev/b")
IMAGE = Input("image", (1, 1, 8, 9), "us", kind="bmode")
ANGLE = Input("q", (1, 1), "angle", min=0.0, max=140.0)
LOAD = Input("m", (1, 1), "load", min=0.0, max=5.0)
LEG = ModelSpec("leg", (IMAGE,), (Output("torque", "N m"), Output("angle", "deg")), 1000 / 61)
SLOW = replace(LEG, name="slow", period_ms=20.0)
ARM = ModelSpec(
    "arm", (ANGLE, LOAD), (Output("angle", "deg"),), 10.0, states=(State("h", "g", (1, 1)),)
)


def plan(angle="", load="", links=LINKS[:1], models=(LEG, ARM), period_ms=10.0):
    rig = Rig(angle=angle, load=load, links=links)
    return plan_joint(Config(rig=rig, timing=Timing(period_ms=period_ms, release_ms=0)), models)


def test_nothing_is_said_by_default():
    assert plan() == JointPlan()
    assert (plan().angle, plan().load) == (False, False)


def test_a_device_says_both():
    found = plan("encoder", "command")
    assert found == JointPlan(angle_link=LINKS[0], load_link=LINKS[0])
    assert (found.angle, found.load) == (True, True)


def test_of_several_links_one_is_named():
    found = plan(f"encoder:{LINKS[1]}", f"command:{LINKS[0]}", LINKS)
    assert found == JointPlan(angle_link=LINKS[1], load_link=LINKS[0])


def test_a_model_says_the_angle_and_the_load_never_changes():
    assert plan("model:leg.angle", "2.5 kg") == JointPlan(angle_output=(0, 1), load_kg=2.5)
    assert plan(load="0kg").load  # none lifted is a load, too


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"angle": "goniometer"}, 'rig.angle = "goniometer" is not known: "encoder"'),
        ({"angle": "encoder", "links": ()}, "set rig.links"),
        ({"load": "command", "links": ()}, "set rig.links"),
        ({"angle": "encoder", "links": LINKS}, 'Write "encoder:serial:/dev/a"'),
        ({"load": "command:", "links": LINKS}, 'Write "command:serial:/dev/a"'),
        ({"angle": "encoder:serial:/dev/c"}, "/dev/c is not one of rig.links"),
        ({"angle": "model:leg.knee"}, r"angles known: \['leg.angle', 'arm.angle'\]"),
        ({"angle": "model:leg.torque"}, "is in N m, not in deg"),
        ({"angle": "model:"}, "no model gives that"),
        ({"angle": "model:leg.angle", "models": (ARM,)}, "no model gives that"),
        ({"angle": "model:leg.angle", "models": (LEG, LEG)}, "2 models are called so"),
        ({"angle": "model:arm.angle"}, "arm takes the angle itself"),
        (
            {"angle": "model:slow.angle", "models": (SLOW, ARM)},
            'slow steps every 20 ms, and arm needs an angle within every 19 ms.*or "encoder"',
        ),
        ({"load": "2"}, r"rig.load = \"2\" is not known: \"command\", or a fixed one"),
        ({"load": "2 N m"}, "in kilograms"),
        ({"load": "nan kg"}, "in kilograms"),
        ({"load": "2 kg m"}, "in kilograms"),
        ({"load": "5.5 kg"}, "arm is validated from 0 to 5 kg"),
        ({"period_ms": 20.0}, "arm steps once a tick and was trained for 10 ms: set timing.period"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_with_the_setting_and_the_remedy(settings, says):
    with pytest.raises(ConfigError, match=says):
        plan(**settings)


def test_a_model_that_remembers_no_angles_may_have_them_seldom():
    forgets = replace(ARM, states=())
    assert plan("model:slow.angle", "2 kg", models=(SLOW, forgets)).angle_output == (0, 1)


def test_a_model_that_frames_drive_may_have_any_period():
    assert plan("encoder", period_ms=5.0, models=(LEG,)).angle
