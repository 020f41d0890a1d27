import dataclasses

import numpy as np
import pytest

from training.cohort.participant import participant
from training.cohort.tissue import Stack, make_tissues


def stack_of(p):
    both = [(m.thickness_mm, m.pennation_opt_deg) for m in (p.mg, p.sol)]
    return Stack.of(p.tissue, (both[0][0], both[1][0]), (both[0][1], both[1][1]))


@pytest.fixture(scope="module")
def person():
    return participant(4)


@pytest.fixture(scope="module")
def tissues(person):
    return make_tissues(person, stack_of(person))


def level_db(tissues, top_mm, end_mm, echo=None):
    rows = (tissues.depth_mm > top_mm) & (tissues.depth_mm < end_mm)
    part = (tissues.here if echo is None else echo)[:, rows]
    return 10 * np.log10((np.abs(part) ** 2).mean())


def test_layers_follow_each_other_in_the_stack(person):
    s = stack_of(person)
    tops = [s.skin_mm, s.sheet_mm, s.mg_top_mm, s.mg_end_mm, s.sol_top_mm, s.sol_end_mm]
    assert tops == sorted(tops)
    assert s.mg_end_mm - s.mg_top_mm == pytest.approx(person.mg.thickness_mm)
    assert s.run_mm[0] == pytest.approx(
        person.mg.l_opt_mm * np.cos(np.radians(person.mg.pennation_opt_deg))
    )


def test_sheets_outshine_fat_and_fat_outshines_muscle(person, tissues):
    s = stack_of(person)
    sheet = level_db(tissues, s.sheet_mm, s.mg_top_mm)
    fat = level_db(tissues, s.skin_mm, s.sheet_mm)
    mg = level_db(tissues, s.mg_top_mm + 1, s.mg_end_mm - 1)
    assert sheet > fat + 5 > mg + 10


def test_the_same_person_has_the_same_tissue_which_nobody_can_change(person, tissues):
    again = make_tissues(person, stack_of(person))
    np.testing.assert_array_equal(again.here, tissues.here)
    np.testing.assert_array_equal(again.beside, tissues.beside)
    with pytest.raises(ValueError, match="read-only"):
        tissues.here[0, 0] = 0


def test_the_slice_beside_has_the_same_layers_and_other_speckle(person, tissues):
    s = stack_of(person)
    for span in ((s.skin_mm, s.sheet_mm), (s.sheet_mm, s.mg_top_mm), (s.mg_top_mm, s.mg_end_mm)):
        here, beside = (level_db(tissues, *span, echo=e) for e in (tissues.here, tissues.beside))
        assert here == pytest.approx(beside, abs=1.5)
    product = (tissues.here * tissues.beside.conj()).ravel()
    power = np.sqrt((np.abs(tissues.here) ** 2).mean() * (np.abs(tissues.beside) ** 2).mean())
    assert abs(product.mean()) / power < 0.05


def test_few_scatterers_leave_empty_cells(person):
    def empty(per_mm2):
        t = dataclasses.replace(person.tissue, scatterers_mm2=per_mm2)
        one = dataclasses.replace(person, tissue=t)
        return (make_tissues(one, stack_of(one)).here[:, :100] == 0).mean()

    cell_mm2 = 60 / 256 * 50 / 512
    for per_mm2 in (10.0, 40.0):
        assert empty(per_mm2) == pytest.approx(np.exp(-per_mm2 * cell_mm2), abs=0.15)
