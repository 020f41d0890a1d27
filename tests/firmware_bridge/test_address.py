"""Device addresses: what is not understood is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.address import Address, flag, make
from firmware_bridge.types import DeviceError


def test_parts_of_an_address():
    a = Address("usb:ABC?fps=61&hv=on&crop=1,2,3,4")
    assert (a.scheme, a.target) == ("usb", "ABC")
    assert a.take("fps", 30.0, float) == 61.0
    assert a.take("hv", False, flag) is True
    assert a.take("gain", 5, int) == 5
    assert a.take("crop", "", str) == "1,2,3,4"
    a.done()


@given(st.dictionaries(st.text("abcxyz_", min_size=1), st.text(min_size=1), max_size=4))
def test_what_is_made_is_read_back(params):
    a = Address(make("replay", "file", params))
    assert {k: a.take(k, "", str) for k in params} == params
    a.done()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("usb:?fps=fast", "fps='fast' is not valid"),
        ("usb:?fps=1&pfs=2", r"unknown parameter \['pfs'\]; known: \['fps'\]"),
        ("usb:?fps", "write parameters as"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(text, says):
    def read():
        a = Address(text)
        a.take("fps", 1.0, float)
        a.done()

    with pytest.raises(DeviceError, match=says):
        read()


@pytest.mark.parametrize("text", ["on", "ON", "1", "yes", "true"])
def test_on(text):
    assert flag(text) is True


@pytest.mark.parametrize("text", ["off", "0", "No", "false"])
def test_off(text):
    assert flag(text) is False


def test_neither_on_nor_off():
    with pytest.raises(ValueError, match="on or off"):
        flag("maybe")
