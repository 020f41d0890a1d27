"""Reference inputs and outputs: read without evaluating anything, and played as on the device."""

import io
import math
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import REFERENCE, load_bundle
from edge.reference import compare_with, read_reference, write_reference
from edge.runtime import open_engine

ARRAYS = {"emg": np.ones((5, 1, 1), np.float32), "values": np.zeros((5, 1), np.float32)}
GOOD = write_reference(ARRAYS)


def saved(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture
def engine(adder):
    """The running sum of its input."""
    engine = open_engine(load_bundle(str(adder)))
    yield engine
    engine.close()


def compared(adder, engine, **arrays):
    reference = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
    return compare_with(reference, load_bundle(str(adder)).spec, engine)


@pytest.mark.parametrize("data", [GOOD, saved(**ARRAYS)], ids=["ours", "numpy's"])
def test_reads_what_numpy_writes(data):
    found = read_reference(data)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_the_same_arrays_are_the_same_bytes_and_numpy_reads_them():
    assert write_reference(ARRAYS) == GOOD
    with np.load(io.BytesIO(GOOD), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["emg"], ARRAYS["emg"])


class Harm:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


@pytest.mark.parametrize(
    "data",
    [
        saved(a=np.array([Harm()], object)), pickle.dumps(Harm()),
        saved(a=np.zeros(3, np.int64)), saved(a=np.zeros((2, 3), np.float32, order="F")),
        saved(a=np.array([1j])), b"", saved(a=np.zeros(3, [("x", "f4")])),
    ],
    ids=["object", "pickle", "integers", "other order", "complex", "empty", "fields"],
)  # fmt: skip
def test_what_is_no_plain_array_is_refused(data):
    with pytest.raises(ValueError, match="no plain array|zip archive"):
        read_reference(data)


def test_an_array_that_says_it_is_larger_than_it_is_takes_no_memory():
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99), }"
    npy = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("a.npy", npy)
    with pytest.raises(ValueError, match="a.npy is no whole array"):
        read_reference(file.getvalue())


@given(st.data())
@settings(max_examples=500)
def test_whatever_is_changed_it_is_arrays_or_a_value_error(data):
    mutated = bytearray(GOOD)
    at = data.draw(st.integers(0, len(GOOD) - 1))
    piece = data.draw(st.binary(min_size=1, max_size=8))
    mutated[at : at + len(piece)] = piece
    try:
        found = read_reference(bytes(mutated))
    except ValueError:
        return
    assert sum(a.nbytes for a in found.values()) <= 2 * len(GOOD)  # float64 is twice as long


def test_states_are_carried_from_step_to_step_as_on_the_device(adder, engine):
    ones = np.ones((4, 1, 1))
    found = compared(adder, engine, emg=ones, values=[[1], [2], [3], [4]])
    assert found["sum"] == (0.0, 0.0, 4.0)
    off = compared(adder, engine, emg=ones, values=[[1], [2], [3], [7]])["sum"]
    assert (off.rms, off.worst, off.largest) == (1.5, 3.0, 7.0)
    begun = compared(adder, engine, emg=ones, h=[[10], [0], [0], [0]], values=np.full((4, 1), 14))
    assert begun["sum"].worst == 3.0


def test_nan_is_never_near_enough_and_infinity_is_infinity(adder, engine):
    assert math.isnan(compared(adder, engine, emg=[[[math.nan]]], values=[[1]])["sum"].worst)
    same = compared(adder, engine, emg=[[[math.inf]]], values=[[math.inf]])
    assert same["sum"].worst == 0.0


@pytest.mark.parametrize(
    "arrays",
    [
        {"emg": np.ones(4)},
        {"values": np.ones((4, 1))},
        {"values": np.ones((4, 1)), "emg": np.ones(3)},
        {"values": np.ones((0, 1)), "emg": np.ones(0)},
    ],
)
def test_a_reference_of_another_network_is_refused(adder, engine, arrays):
    with pytest.raises(ValueError, match=r"reference.npz has n"):
        compared(adder, engine, **arrays)


def test_the_shipped_reference_is_what_the_shipped_network_does():
    bundle = load_bundle("elbow-nmm")
    engine = open_engine(bundle)
    found = compare_with(read_reference(bundle.files[REFERENCE]), bundle.spec, engine)
    engine.close()
    assert found.keys() == {"sd", *(o.name for o in bundle.spec.outputs)}
    assert all(off.worst <= 1e-4 * off.largest for off in found.values())
