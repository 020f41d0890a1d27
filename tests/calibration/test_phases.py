"""When the phases were: from a table, from marks."""

import math

import pytest

from calibration.phases import CalibrationError, Interval, marked_phases, read_phases

TABLE = """start_s,end_s,phase,angle_deg,moment_nm
32,36,mvc,,118.5
0,30,rest,0,
60,62,passive,-20,
"""


def test_reads_the_table_in_order_of_time(tmp_path):
    (tmp_path / "p.csv").write_text(TABLE)
    rest, mvc, passive = read_phases(tmp_path / "p.csv")
    assert (rest.start_s, rest.end_s, rest.phase, rest.angle_deg) == (0, 30, "rest", 0)
    assert (mvc.phase, mvc.moment_nm) == ("mvc", 118.5)
    assert passive.angle_deg == -20
    assert math.isnan(rest.moment_nm)
    assert math.isnan(mvc.angle_deg)


def test_what_was_not_read_needs_no_column(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffstart_s,end_s,phase\n0,30,rest\n")
    assert math.isnan(read_phases(tmp_path / "p.csv")[0].angle_deg)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "first line must be start_s,end_s,phase"),
        ("start_s,end_s\n0,30\n", "first line must be"),
        ("start_s,end_s,phase,speed\n0,30,rest,1\n", "first line must be"),
        ("start_s,end_s,phase\n0,30,sleep\n", "'sleep' is not one of rest, mvc, passive"),
        ("start_s,end_s,phase\n30,0,rest\n", "the end comes after the start"),
        ("start_s,end_s,phase\n-1,30,rest\n", "times count from the start"),
        ("start_s,end_s,phase\nsoon,30,rest\n", "could not convert"),
        ("start_s,end_s,phase\n,30,rest\n", "from nan"),
        ("start_s,end_s,phase\n0,30,rest,1\n", "too many cells"),
        ("start_s,end_s,phase,angle_deg\n0,30,rest,inf\n", "leave unknown cells empty"),
        (
            "start_s,end_s,phase\n0,30,rest\n29,33,mvc\n",
            "rest until 30 s and mvc from 29 s overlap",
        ),
    ],
)
def test_refuses_a_table_that_cannot_be_meant(tmp_path, text, says):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(CalibrationError, match=says):
        read_phases(tmp_path / "p.csv")


def test_says_which_table_is_missing(tmp_path):
    with pytest.raises(CalibrationError, match="no.csv"):
        read_phases(tmp_path / "no.csv")


def test_a_mark_begins_a_phase_and_the_next_one_ends_it():
    marks = [(5, "Rest"), (35, "get ready"), (40, "mvc"), (44, "stop"), (50, "passive"), (90, "x")]
    assert marked_phases(marks) == (
        Interval(5, 35, "rest"), Interval(40, 44, "mvc"), Interval(50, 90, "passive")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ([], "no marks called rest, mvc, passive: give --phases"),
        ([(0, "hello"), (1, "there")], "no marks called"),
        ([(0, "rest")], "nothing ends it"),
    ],
)
def test_marks_that_name_no_phase_are_refused(marks, says):
    with pytest.raises(CalibrationError, match=says):
        marked_phases(marks)
