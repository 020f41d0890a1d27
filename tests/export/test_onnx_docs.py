"""The page about ONNX files says what the code does."""

import re
import sys
from pathlib import Path

from export.foreign_spec import contract_of
from export.onnx_ops import TARGETS
from export.onnx_rules import table
from models.spec import Input

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")


def test_its_table_is_that_of_the_rules():
    assert table() in PAGE, "run: python -c 'from export.onnx_rules import table; print(table())'"


def test_it_names_the_versions_that_are_checked():
    assert ", ".join(f'"{t}"' for t in TARGETS) in PAGE


def test_its_spec_can_be_read():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    found = contract_of(tomllib.loads(text))
    (image,) = found.spec.inputs
    assert isinstance(image, Input)
    assert found.axes["image"] == (0, 3, 2, 1)
