"""What the engine inspector says, in the spellings of its versions."""

import json

import pytest

from export.trt_layers import UNKNOWN, read_layers


def report(*layers, **more):
    return read_layers(json.dumps({"Layers": list(layers), **more}))


def layer(kind, into, out="Float", key="Format/Datatype", **more):
    return {"Name": "x", "LayerType": kind, "Inputs": [{"Name": "a", key: into}],
            "Outputs": [{"Name": "b", key: out}], **more}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Row major linear FP32", "FP32"),
        ("Row major linear FP16 format", "FP16"),
        ("Channel major FP16 format where channel % 8 == 0", "FP16"),
        ("Two wide channel vectorized row major FP16 format", "FP16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "INT8"),
        ("Channel major INT8 format where column stride % 32 == 0", "INT8"),
        ("Row major linear BFloat16 format", "BF16"),
        ("Row major linear FP8 format", "FP8"),
        ("Float", "FP32"),
        ("Half", "FP16"),
        ("Int8", "INT8"),
        ("BFloat16", "BF16"),
        ("N/A due to dynamic shapes", UNKNOWN),
        ("Int32", UNKNOWN),
        ("UInt8", UNKNOWN),
        ("Bool", UNKNOWN),
    ],
)
@pytest.mark.parametrize("key", ["Format/Datatype", "Format/DataType", "DataType"])
def test_a_tensors_type_is_read_in_every_spelling(text, precision, key):
    (found,) = report(layer("gemm", text, key=key)).layers
    assert found.precision == precision


def test_type_and_format_may_stand_apart():
    tensor = {"Name": "a", "DataType": "Half", "Format": "Row major linear FP32 format (kLINEAR)"}
    (found,) = report({"Name": "x", "LayerType": "gemm", "Inputs": [tensor]}).layers
    assert found.precision == "FP16"


def test_a_layer_computes_in_the_lowest_type_that_it_reads():
    half_by_int8 = layer("gemm", "Half")
    half_by_int8["Inputs"].append({"Name": "w", "Format/Datatype": "Int8"})
    weights = layer("CaskConvolution", "Row major linear FP32", Weights={"Type": "Int8"})
    # Not in what it writes: this one dequantises.
    writes = layer("CaskConvolution", "Row major linear FP32", out="Row major Int8 format")
    assert [x.precision for x in report(half_by_int8, weights, writes).layers] == [
        "INT8", "INT8", "FP32",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "computes"),
    [
        ("CaskConvolution", True), ("CaskDeconvolutionV2", True), ("CaskGemmConvolution", True),
        ("gemm", True), ("MatrixMultiply", True), ("FullyConnected", True), ("fmha", True),
        ("Reformat", False), ("kgen", False), ("PointWiseV2", False), ("Reduce", False),
        ("NoOp", False), ("Constant", False),
    ],
)  # fmt: skip
def test_layers_where_precision_pays_are_told_from_others(kind, computes):
    (found,) = report(layer(kind, "Half")).layers
    assert found.computes == computes


def test_the_kind_is_the_more_telling_of_two():
    (found,) = report(layer("CaskGemmConvolution", "Half", ParameterType="Convolution")).layers
    assert found.kind == "Convolution"


def test_counts_by_precision():
    found = report(layer("gemm", "Int8"), layer("gemm", "Half"), layer("kgen", "Half"))
    assert found.count(computes=True) == {"INT8": 1, "FP16": 1}
    assert found.count(computes=False) == {"FP16": 1}


@pytest.mark.parametrize(
    ("into", "missing"),
    [(["Half", "Float"], True), (["Half", "Int8"], False), (["Half", "?"], False)],
)
def test_what_was_asked_for_is_missing_only_where_every_layer_is_known(into, missing):
    assert report(*(layer("gemm", text) for text in into)).missing("INT8") == missing
    assert not report(layer("kgen", "Float")).missing("INT8")  # nothing to be quantised


@pytest.mark.parametrize(
    "more",
    [
        {"Bindings": ["image", "values"]},
        {"I/O Tensors": [{"Name": "image", "IOMode": "Input"}, {"Name": "values"}]},
    ],
)
def test_inputs_and_outputs_are_read_in_both_spellings(more):
    assert report(**more).tensors == ("image", "values")


def test_an_engine_built_without_details_gives_names_only():
    found = report("conv + relu", "Reformat of x")
    assert [(x.name, x.precision, x.computes) for x in found.layers] == [
        ("conv + relu", UNKNOWN, True), ("Reformat of x", UNKNOWN, False),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}'])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ValueError, match=r"Layers|Expecting"):
        read_layers(text)
