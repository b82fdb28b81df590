"""Which ONNX operators a chip is known to compute: facts of public sources, and nothing that is inferred from silence.

CANN's lists are incomplete, and the ×'s of its product tables are wrong for operators that run (StridedSlice and Tanh
on 310P, GatherV2 on 910B). So an operator is known by a mark that says yes, and unknown otherwise. A mark says nothing
about types, attributes and opsets.

Sources, August 2026:

- hicann/ops-nn@e5c3fa932, ops-math@c41933244, ops-cv@6ae87653: the product tables (√) in the README of each operator,
  the kernels that they define for a chip (AddConfig), and their ONNX plugins, which state the operators that an ONNX
  operator becomes. It counts as known if all of these are; variants for three dimensions are left out.
- hicann/ge@ffdcbc9: the operators of an installed CANN for 910B (tests/engines/nn_engine/depends/CANN_910b_stub), and
  those that need no kernel (compiler/engines/local_engine).
- Ascend/ModelZoo-PyTorch@6a2804a35, ACL_PyTorch: recipes with figures measured on the chip. Counted are operators that
  PyTorch's exporter writes for these networks.
- ultralytics#25432, #25436: models that its maintainers ran or compiled for a 310P3.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolact_ascend.targets.ascend.host_needs import family_of_chip

KNOWN, NOT_KNOWN_TO, UNKNOWN = "known", "known not", "unknown"

_TABLES = "CANN's tables of operators"
_WITHOUT_KERNEL = "Constant Flatten Identity If Reshape Shape Size Squeeze Unsqueeze"
# Of ONNX up to opset 18, and without a registered parser on any chip (CANN 9.1).
_WITHOUT_PARSER = """
    BlackmanWindow CenterCropPad ConvInteger DFT DynamicQuantizeLinear GroupNormalization HammingWindow
    HannWindow Loop MatMulInteger MelWeightMatrix NegativeLogLikelihoodLoss Optional OptionalGetElement
    OptionalHasElement QLinearConv QLinearMatMul RNN STFT Scan SequenceMap StringNormalizer
    TfIdfVectorizer
"""
_OF_QDQ = ("QuantizeLinear", "DequantizeLinear")
# family -> operators
_IN_TABLES = {
    "310p": """
    Abs Acos Acosh Add And ArgMax ArgMin Asinh Atan Atanh BatchNormalization BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast Ceil Clip ConstantOfShape Cos Cosh CumSum DepthToSpace Div Elu Equal Expand Floor Greater GreaterOrEqual
    HardSigmoid IsInf LessOrEqual Max MaxRoiPool Min Mod Mul Neg Or PRelu Pad Pow Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSumExp ReduceProd ReduceSumSquare Relu Shrink Sigmoid Sin Sinh Softplus SpaceToDepth Sub Tile Transpose Xor
    """,
    "310b": """
    BatchNormalization Cast ConstantOfShape Cos CumSum Div Elu HardSigmoid Less LpNormalization MaxRoiPool Neg Pow Range
    ReduceL1 ReduceL2 Sin Sub Transpose
    """,
    "910b": """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor Cast Ceil Celu Clip Compress Concat ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DepthToSpace Div Elu Equal Erf Exp Expand Floor Gather GatherElements GatherND Gemm GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual GridSample HardSigmoid HardSwish InstanceNormalization IsInf IsNaN LRN LayerNormalization
    LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Resize RoiAlign Round Scatter ScatterElements Selu Shrink Sigmoid Sign Sin Sinh Softmax SoftmaxCrossEntropyLoss
    Softplus Softsign SpaceToDepth Split Sqrt Sub Sum Tan Tanh ThresholdedRelu Tile Transpose Trilu Upsample Where Xor
    """,
}
# (what was seen, on which families, operators)
_RUNS = (
    ("ModelZoo's VGG16 ran there", ("310p", "310b"), "Conv Relu MaxPool Gemm"),
    ("ModelZoo's GoogleNet ran there", ("310p", "310b"), "Conv Relu MaxPool Concat GlobalAveragePool Gemm"),
    ("ModelZoo's MobileNetV2 ran there", ("310p", "310b"), "Conv Clip Add Gemm"),
    ("ModelZoo's EfficientNet ran there", ("310p", "310b"), "Conv Sigmoid Mul Add GlobalAveragePool Gemm"),
    ("ModelZoo's Yolov4 ran there", ("310p", "310b"), "Conv LeakyRelu MaxPool Concat Add"),
    ("ModelZoo's InceptionV3 ran there", ("310p",), "AveragePool"),
    ("ModelZoo's YolactEdge ran there", ("310p",), "Resize Tanh Slice"),
    ("ModelZoo's DBNet ran there", ("310p",), "ConvTranspose"),
    ("ModelZoo's CRNN ran there", ("310p",), "LSTM"),
    ("ModelZoo's ViT_base ran there", ("310p",), "MatMul Softmax Erf ReduceMean Sqrt"),
    ("ModelZoo's BERT ran there", ("310p",), "Gather"),
    # Their networks take torch.max of a dimension (models.patch), and divide by a sum of exponentials (gen_cfg.py).
    ("ModelZoo's PointNet++ ran there", ("310p",), "ReduceMax"),
    ("ModelZoo's T2T-ViT ran there", ("310p",), "ReduceSum"),
    ("Ultralytics' YOLO11 compiled for it", ("310p",), "Split"),
    ("compiled for it by Ultralytics, with all five inputs", ("310p",), "NonMaxSuppression"),
    # Resnet50_Pytorch_Infer_poc: quantised by AMCT, 75.31 % top-1 on a 310P3.
    ("ModelZoo's int8 ResNet-50 ran there", ("310p",), "AscendQuant AscendDequant"),
    # It replaces NonMaxSuppression and RoiAlign by the first two, which ONNX does not have.
    ("ModelZoo's MaskRcnn ran there", ("310p",), "BatchMultiClassNMS RoiExtractor TopK Exp"),
)
# (family, operator) -> why. × in a table counts only where nothing says otherwise: no kernel and no run is known.
_MARKED_NO = "× in the table of GridSampler2D (ops-cv), and no kernel for this chip in its definition"
_NOT = {("310p", "GridSample"): _MARKED_NO, ("310b", "GridSample"): _MARKED_NO}


@dataclass(frozen=True)
class KernelFact:
    """What is known of an operator on a chip, and from where."""

    state: str  # KNOWN, NOT_KNOWN_TO or UNKNOWN
    source: str


def kernel_fact(operator: str, domain: str, soc_version: str) -> KernelFact:
    """Return what is known of an ONNX operator on a chip."""
    family = family_of_chip(soc_version)
    if domain not in ("", "ai.onnx"):
        return KernelFact(UNKNOWN, f"of the domain {domain}")
    if operator in _OF_QDQ:
        return KernelFact(NOT_KNOWN_TO, "CANN has no ONNX parser for it: compile *_int8_ascend.onnx of `quantize`")
    if operator in _WITHOUT_PARSER.split():
        return KernelFact(NOT_KNOWN_TO, "CANN has no ONNX parser for it")
    if (family, operator) in _NOT:
        return KernelFact(NOT_KNOWN_TO, _NOT[family, operator])
    if operator in _WITHOUT_KERNEL.split():
        return KernelFact(KNOWN, "needs no kernel")
    if operator in _IN_TABLES.get(family, "").split():
        return KernelFact(KNOWN, _TABLES)
    seen = next((seen for seen, families, names in _RUNS if family in families and operator in names.split()), None)
    return KernelFact(KNOWN, seen) if seen else KernelFact(UNKNOWN, "")


def has_lists(soc_version: str) -> bool:
    """Whether there is any list of operators for this chip's family."""
    return family_of_chip(soc_version) in _IN_TABLES
