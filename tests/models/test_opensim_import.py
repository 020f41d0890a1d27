import gzip
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.opensim_import import read_osim
from models.osim import (
    Axis,
    Constant,
    MovingPoint,
    OsimError,
    PiecewiseLinear,
    Point,
    Polynomial,
    Scaled,
    Spline,
    Unknown,
)

DATA = os.environ.get("SONOMYO_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA does not name a folder with models")

MUSCLE = """
<Thelen2003Muscle name="pull">
  <GeometryPath>
    <PathPointSet><objects>
      <PathPoint name="a"><{frame}>{ground}</{frame}><location>0 0.1 0</location></PathPoint>
      <ConditionalPathPoint name="b"><{frame}>{ground}</{frame}><location>0.02 0 0</location>
        <{coordinate}>{bend}</{coordinate}><range>-1 0.5</range></ConditionalPathPoint>
      <MovingPathPoint name="c"><{frame}>{arm}</{frame}>
        <x_location><Constant><value>0.01</value></Constant></x_location>
        <y_location><SimmSpline><x>0 1 2</x><y>-0.1 -0.2 -0.1</y></SimmSpline></y_location>
        <z_location><Constant><value>0</value></Constant></z_location>
        <{y_coordinate}>{bend}</{y_coordinate}></MovingPathPoint>
    </objects></PathPointSet>
    <PathWrapSet><objects>
      <PathWrap name="w"><wrap_object>bone</wrap_object><method>midpoint</method>
        <range>2 3</range></PathWrap>
    </objects></PathWrapSet>
  </GeometryPath>
  <max_isometric_force>600</max_isometric_force>
  <optimal_fiber_length>0.1</optimal_fiber_length>
  <tendon_slack_length>0.2</tendon_slack_length>
  <pennation_angle_at_optimal>0.1</pennation_angle_at_optimal>
</Thelen2003Muscle>"""

WRAP = """
<WrapObjectSet><objects><WrapEllipsoid name="bone">
  <xyz_body_rotation>0 0 1</xyz_body_rotation><translation>0 0.05 0</translation>
  <quadrant>-y</quadrant><dimensions>0.03 0.02 0.01</dimensions>
</WrapEllipsoid></objects></WrapObjectSet>"""

BEND = '<Coordinate name="bend"><default_value>0.2</default_value><range>-1 2</range></Coordinate>'

AXES = """
<SpatialTransform>
  <TransformAxis name="rotation1"><coordinates>bend</coordinates><axis>0 0 2</axis>
    {turn}</TransformAxis>
  <TransformAxis name="rotation2"><coordinates></coordinates><axis>0 1 0</axis>{none}
  </TransformAxis>
  <TransformAxis name="rotation3"><coordinates></coordinates><axis>1 0 0</axis>{none}
  </TransformAxis>
  <TransformAxis name="translation1"><coordinates>bend</coordinates><axis>1 0 0</axis>
    {shift}</TransformAxis>
  <TransformAxis name="translation2"><coordinates></coordinates><axis>0 1 0</axis>{none}
  </TransformAxis>
  <TransformAxis name="translation3"><coordinates></coordinates><axis>0 0 1</axis>{none}
  </TransformAxis>
</SpatialTransform>"""

TURN = "<LinearFunction><coefficients>1 0</coefficients></LinearFunction>"
NONE = "<Constant><value>0</value></Constant>"
SHIFT = """<MultiplierFunction><function><PolynomialFunction><coefficients>3 2 1</coefficients>
</PolynomialFunction></function><scale>0.5</scale></MultiplierFunction>"""

OLD = f"""<?xml version="1.0"?>
<OpenSimDocument Version="30000"><Model name="hinge">
  <gravity>0 -9.8 0</gravity>
  <BodySet><objects>
    <Body name="ground"><Joint/>{WRAP}</Body>
    <Body name="arm"><mass>1.5</mass><mass_center>0 -0.2 0</mass_center>
      <inertia_xx>0.3</inertia_xx><inertia_yy>0.1</inertia_yy><inertia_zz>0.2</inertia_zz>
      <inertia_xy>0.01</inertia_xy><inertia_xz>0.02</inertia_xz><inertia_yz>0.03</inertia_yz>
      <Joint><CustomJoint name="elbow"><parent_body>ground</parent_body>
        <location_in_parent>0 0.1 0</location_in_parent>
        <orientation_in_parent>0 0 0.3</orientation_in_parent>
        <location>0 0 0</location><orientation>0 0 0</orientation>
        <CoordinateSet><objects>{BEND}</objects></CoordinateSet>
        {AXES.format(turn=TURN, none=NONE, shift=SHIFT)}
      </CustomJoint></Joint></Body>
  </objects></BodySet>
  <ForceSet><objects>{
    MUSCLE.format(
        frame="body",
        ground="ground",
        arm="arm",
        bend="bend",
        coordinate="coordinate",
        y_coordinate="y_coordinate",
    )
}</objects></ForceSet>
</Model></OpenSimDocument>"""

NEW = f"""<?xml version="1.0"?>
<OpenSimDocument Version="40500"><Model name="hinge">
  <gravity>0 -9.8 0</gravity>
  <Ground name="ground">{WRAP}</Ground>
  <BodySet><objects>
    <Body name="arm"><mass>1.5</mass><mass_center>0 -0.2 0</mass_center>
      <inertia>0.3 0.1 0.2 0.01 0.02 0.03</inertia></Body>
  </objects></BodySet>
  <JointSet><objects>
    <CustomJoint name="elbow"><socket_parent_frame>ground_offset</socket_parent_frame>
      <socket_child_frame>/bodyset/arm</socket_child_frame>
      <coordinates>{BEND}</coordinates>
      <frames><PhysicalOffsetFrame name="ground_offset"><socket_parent>/ground</socket_parent>
        <translation>0 0.1 0</translation><orientation>0 0 0.3</orientation>
      </PhysicalOffsetFrame></frames>
      {AXES.format(turn=TURN, none=NONE, shift=SHIFT)}
    </CustomJoint>
  </objects></JointSet>
  <ForceSet><objects>{
    MUSCLE.format(
        frame="socket_parent_frame",
        ground="/ground",
        arm="/bodyset/arm",
        bend="/jointset/elbow/bend",
        coordinate="socket_coordinate",
        y_coordinate="socket_y_coordinate",
    )
}</objects></ForceSet>
</Model></OpenSimDocument>"""


@pytest.fixture
def read(tmp_path):
    """Read a model from its text."""

    def read_text(text):
        path = tmp_path / "hinge.osim"
        path.write_text(text)
        return read_osim(path)

    return read_text


@pytest.mark.parametrize("text", [OLD, NEW], ids=["version 3", "version 4"])
def test_both_dialects_say_the_same(read, text):
    model = read(text)
    assert model.name == "hinge"
    assert model.gravity_m_s2 == (0, -9.8, 0)
    arm = model.body("arm")
    assert (arm.mass_kg, arm.mass_center_m) == (1.5, (0, -0.2, 0))
    assert arm.inertia_kg_m2 == ((0.3, 0.01, 0.02), (0.01, 0.1, 0.03), (0.02, 0.03, 0.2))

    joint = model.joints["arm"]
    assert (joint.parent.parent, joint.child.parent) == ("ground", "arm")
    assert (joint.parent.translation_m, joint.parent.rotation_rad) == ((0, 0.1, 0), (0, 0, 0.3))
    assert joint.rotations[0] == Axis((0, 0, 1), "bend", Polynomial((1, 0)))
    assert joint.rotations[1] == Axis((0, 1, 0), None, Constant(0))
    assert joint.translations[0].function == Scaled(Polynomial((3, 2, 1)), 0.5)

    bend = model.coordinate("bend")
    assert (bend.rotational, bend.range, bend.default, bend.locked) == (True, (-1, 2), 0.2, False)

    muscle = model.muscle("pull")
    assert (muscle.f_max_n, muscle.l_opt_m, muscle.l_slack_m) == (600, 0.1, 0.2)
    assert (muscle.pennation_opt_rad, muscle.v_max) == (0.1, 10)
    assert (muscle.rise_s, muscle.fall_s, muscle.tendon_strain) == (0.015, 0.05, 0.04)  # Thelen's
    fixed, conditional, moving = muscle.points
    assert fixed == Point("ground", (0, 0.1, 0))
    assert conditional == Point("ground", (0.02, 0, 0), "bend", (-1, 0.5))
    assert isinstance(moving, MovingPoint)
    assert moving.frame == "arm"
    assert moving.location[0] == Axis((1, 0, 0), None, Constant(0.01))
    assert moving.location[1] == Axis((0, 1, 0), "bend", Spline((0, 1, 2), (-0.1, -0.2, -0.1)))
    (wrap,) = muscle.wraps
    assert (wrap.wrap, wrap.method, wrap.first, wrap.last) == ("bone", "midpoint", 1, 2)

    bone = model.wraps["bone"]
    assert (bone.kind, bone.size_m, bone.side, bone.active) == (
        "ellipsoid", (0.03, 0.02, 0.01), (1, -1), True,
    )  # fmt: skip
    assert (bone.pose.parent, bone.pose.rotation_rad) == ("ground", (0, 0, 1))


def test_a_compressed_model_is_the_same_model(read, tmp_path):
    path = tmp_path / "hinge.osim.gz"
    path.write_bytes(gzip.compress(NEW.encode()))
    assert read_osim(path) == read(NEW)


@pytest.mark.parametrize(
    ("xml", "function"),
    [
        ("<NaturalCubicSpline><x>0 1</x><y>2 3</y></NaturalCubicSpline>", Spline((0, 1), (2, 3))),
        ("<PiecewiseLinearFunction><x>0 1</x><y>2 3</y></PiecewiseLinearFunction>",
         PiecewiseLinear((0, 1), (2, 3))),
        ("<function><LinearFunction><coefficients>2 1</coefficients></LinearFunction></function>",
         Polynomial((2, 1))),
        ("<GCVSpline><x>0</x></GCVSpline>", Unknown("GCVSpline")),
        ("<Appearance/><LinearFunction/>", Polynomial((1, 0))),
    ],
)  # fmt: skip
def test_functions_of_a_coordinate(read, xml, function):
    joint = read(NEW.replace(SHIFT, xml)).joints["arm"]
    assert joint.translations[0].function == function


def test_simple_joints_turn_about_z_or_not_at_all(read):
    pin = NEW.replace("CustomJoint", "PinJoint")
    assert read(pin).joints["arm"].rotations == (Axis((0, 0, 1), "bend", Polynomial((1, 0))),)
    weld = NEW.replace("CustomJoint", "WeldJoint").replace(BEND, "")
    weld_joint = read(weld).joints["arm"]
    assert (weld_joint.rotations, weld_joint.translations) == ((), ())


COUPLER = """<ConstraintSet><objects><CoordinateCouplerConstraint name="c">
  <isEnforced>{on}</isEnforced><coupled_coordinates_function>
  <LinearFunction><coefficients>2 0</coefficients></LinearFunction></coupled_coordinates_function>
  <independent_coordinate_names>bend</independent_coordinate_names>
  <dependent_coordinate_name>knee</dependent_coordinate_name><scale_factor>0.5</scale_factor>
</CoordinateCouplerConstraint></objects></ConstraintSet>"""


def test_a_coordinate_that_follows_another(read):
    on = read(NEW.replace("<ForceSet>", COUPLER.format(on="true") + "<ForceSet>"))
    assert on.couplers["knee"].independent == "bend"
    assert on.couplers["knee"].function == Scaled(Polynomial((2, 0)), 0.5)
    assert not read(NEW.replace("<ForceSet>", COUPLER.format(on="false") + "<ForceSet>")).couplers


def test_what_a_muscle_leaves_out_comes_from_the_defaults_of_the_file(read):
    defaults = """<defaults><Thelen2003Muscle name="default">
      <max_contraction_velocity>8</max_contraction_velocity>
      <FmaxTendonStrain>0.033</FmaxTendonStrain></Thelen2003Muscle></defaults>"""
    muscle = read(NEW.replace("<ForceSet>", defaults + "<ForceSet>")).muscle("pull")
    assert (muscle.v_max, muscle.tendon_strain, muscle.rise_s) == (8, 0.033, 0.015)


BAD = {
    "not XML": ("hello", r"hinge\.osim: not XML .* give an \.osim file"),
    "another document": ("<html/>", "not an OpenSim document"),
    "too old": (NEW.replace("40500", "10905"), "version '10905'; open and save it in OpenSim 4"),
    "a set-up file": ('<OpenSimDocument Version="40000"/>', "holds no <Model>"),
    "a bomb": ('<!DOCTYPE a [<!ENTITY b "bb">]>' + NEW.partition("?>")[2], "DOCTYPE"),
    "no fibre": (
        NEW.replace("<optimal_fiber_length>0.1<", "<optimal_fiber_length>0<"),
        r"hinge\.osim: <Thelen2003Muscle name='pull'>: l_opt_m is 0; muscles need",
    ),
    "no force": (NEW.replace(">600<", ">-1<"), "f_max_n is -1"),
    "pennation in degrees": (
        NEW.replace("<pennation_angle_at_optimal>0.1", "<pennation_angle_at_optimal>5.7"),
        "pennation_angle_at_optimal is 5.7; give radians",
    ),
    "range in degrees": (
        NEW.replace("<range>-1 2</range>", "<range>0 130</range>"),
        "name='bend'>: <range> 0 130 is beyond a full turn; give radians, not degrees",
    ),
    "range the wrong way": (NEW.replace("<range>-1 2<", "<range>2 -1<"), "lower end first"),
    "words for numbers": (NEW.replace(">600<", ">much<"), "<max_isometric_force> holds 'much'"),
    "not finite": (NEW.replace(">600<", ">nan<"), "give finite numbers"),
    "two numbers": (NEW.replace(">600<", ">600 700<"), "has 2 numbers; give 1"),
    "no axis": (NEW.replace("<axis>0 0 2</axis>", "<axis>0 0 0</axis>"), "<axis> is zero"),
    "five axes": (NEW.replace('<TransformAxis name="rotation2">', "<Lost>").replace(
        "</TransformAxis>\n  <TransformAxis name=\"rotation3\">",
        "</Lost><TransformAxis name=\"rotation3\">"), "has 5 axes"),
    "knots that go back": (NEW.replace("<x>0 1 2</x>", "<x>0 2 1</x>"), "x growing"),
    "a strange quadrant": (NEW.replace(">-y<", ">up<"), "<quadrant> 'up'; write all, x"),
    "a flat ellipsoid": (NEW.replace("0.03 0.02 0.01", "0.03 0 0.01"), "give sizes above 0"),
    "too deep": ("<a>" * 200 + "</a>" * 200, "more than 100 levels"),
    "a point nowhere": (
        NEW.replace("<socket_parent_frame>/ground</socket_parent_frame>", ""),
        "<socket_parent_frame> or <body> is missing",
    ),
    "another unit": (
        NEW.replace("<gravity>", "<length_units>inches</length_units><gravity>"),
        "<length_units> inches; only meters",
    ),
    "neither true nor false": (
        NEW.replace("<quadrant>", "<active>perhaps</active><quadrant>"), "write true or false"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_an_unusable_file_names_the_element_and_the_remedy(read, text, message):
    with pytest.raises(OsimError, match=message):
        read(text)


def test_a_file_that_is_not_there_or_torn(tmp_path):
    with pytest.raises(OsimError, match="no such file"):
        read_osim(tmp_path / "nothing.osim")
    torn = tmp_path / "torn.osim.gz"
    torn.write_bytes(gzip.compress(NEW.encode())[:200])
    with pytest.raises(OsimError, match="cannot be read"):
        read_osim(torn)


def test_entities_are_refused_in_any_encoding(tmp_path):
    bomb = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'
    path = tmp_path / "bomb.osim"
    path.write_bytes(bomb.encode("utf-16"))
    with pytest.raises(OsimError, match="DOCTYPE"):
        read_osim(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(NEW) - 20))
def test_a_file_cut_anywhere_is_an_error_that_is_ours(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "cut.osim"
    path.write_text(NEW[:cut])
    with pytest.raises(OsimError):
        read_osim(path)


@pytest.mark.parametrize("limits", ["-10 10", "-99999.9 99999.9"])
def test_no_limit_is_not_mistaken_for_degrees(read, limits):
    text = NEW.replace("<range>-1 2</range>", f"<range>{limits}</range>")
    assert read(text).coordinate("bend").range[1] >= 10


def test_names_that_are_not_there_list_what_is(read):
    model = read(NEW)
    with pytest.raises(OsimError, match="hinge: no muscle 'push'; there are: pull"):
        model.muscle("push")
    with pytest.raises(OsimError, match="no coordinate 'fold'; there are: bend"):
        model.coordinate("fold")
    with pytest.raises(OsimError, match="no body 'leg'; there are: arm"):
        model.body("leg")


@needs_data
@pytest.mark.parametrize(
    ("path", "bodies", "coordinates", "muscles", "wraps"),
    [
        ("arm26_reference/arm26.osim", 2, 2, 6, 4),
        ("gait_emg_ik_id_sub06/model/gait2392.osim.gz", 12, 23, 92, 0),
        ("walk_emg_ik_id_moco/subject_walk_scaled.osim.gz", 22, 33, 80, 44),
    ],
)
def test_models_of_the_field(path, bodies, coordinates, muscles, wraps):
    model = read_osim(Path(DATA) / path)
    counts = [len(t) for t in (model.bodies, model.coordinates, model.muscles, model.wraps)]
    assert counts == [bodies, coordinates, muscles, wraps]


@needs_data
def test_arm26_in_numbers():
    model = read_osim(Path(DATA) / "arm26_reference/arm26.osim")
    forearm = model.body("r_ulna_radius_hand")
    assert (forearm.mass_kg, forearm.inertia_kg_m2[2][2]) == (1.534315, 0.020062)
    assert math.degrees(model.coordinate("r_elbow_flex").range[1]) == pytest.approx(130)
    bra = model.muscle("BRA")
    assert (bra.f_max_n, bra.l_opt_m, bra.l_slack_m) == (987.26, 0.0858, 0.0535)
    assert (bra.rise_s, bra.fall_s, bra.tendon_strain) == (0.01, 0.04, 0.033)
