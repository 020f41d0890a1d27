"""Which operators of ONNX, up to opset 17, the parser of which TensorRT reads.

From the table of operators that comes with the parser, of TensorRT 8.5 and of 10.15, and from its
list of changes between them.  None was found for 11: it is taken to read what 10.15 does.
"""

TARGETS = ("8.5", "8.6", "10.3", "10.16", "11.4")  # those that a Jetson Orin can have

_SINCE = {
    "8.5": """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
        Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
        DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
        Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
        Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If InstanceNormalization
        IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul
        Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not
        OneHot Or PRelu Pad Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform
        RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
        ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign
        Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan
        Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """,
    "8.6": "IsInf LayerNormalization",
    "10.3": "Hardmax",  # from 9.2 on
    "10.16": "BlackmanWindow CastLike HammingWindow HannWindow STFT",  # from 10.4, 10.5 on
    "": """
        Bernoulli BitShift Compress ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear
        MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss
        Optional OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul SequenceAt
        SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
        SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer TfIdfVectorizer Unique
    """,
}
SINCE = {op: since for since, ops in _SINCE.items() for op in ops.split()}  # "": none reads it


def without(op: str) -> tuple[str, ...] | None:
    """The TARGETS whose parser does not read ``op``; None for an operator nothing is known of."""
    if op not in SINCE:
        return None
    since = SINCE[op]
    return TARGETS[: TARGETS.index(since)] if since else TARGETS


# Inputs that say a shape, axes or sizes: without a constant there, shapes would depend on data.
SHAPES = {
    **{op: {1} for op in SINCE if op.startswith("Reduce")},
    "ConstantOfShape": {0}, "CumSum": {1}, "Expand": {1}, "OneHot": {1}, "Pad": {1, 3},
    "Range": {0, 1, 2}, "Reshape": {1}, "Resize": {1, 2, 3}, "Slice": {1, 2, 3, 4}, "Split": {1},
    "Squeeze": {1}, "Tile": {1}, "TopK": {1}, "Trilu": {1}, "Unsqueeze": {1},
}  # fmt: skip
# Inputs that say where: integers by definition.
PLACES = {
    "Gather": {1}, "GatherElements": {1}, "GatherND": {1}, "OneHot": {0}, "ScatterElements": {1},
    "ScatterND": {1},
}  # fmt: skip
# Of what size their result is, only data tell.
DATA_SIZED = ("Compress", "NonMaxSuppression", "NonZero", "Unique")
