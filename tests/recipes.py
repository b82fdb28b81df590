"""Recipes of Ascend/ModelZoo-PyTorch (ACL_PyTorch) whose README has figures that were measured on a 310P.

Operators: what PyTorch's exporter writes for these networks at opset 11; some recipes change the graph afterwards.
"""

_RESIDUAL = "Conv Relu MaxPool Add GlobalAveragePool Flatten Gemm"
_PLAIN = "Conv Relu MaxPool Flatten Gemm"
_ATTENTION = "MatMul Softmax Erf Mul Add Sub Div Pow Sqrt ReduceMean Transpose Reshape"

RECIPES = {
    "Resnet50_Pytorch_Infer": _RESIDUAL,
    "Resnet50_Pytorch_Infer_poc": f"{_RESIDUAL} AscendQuant AscendDequant",  # quantised by AMCT
    "Wide_ResNet50_2_for_Pytorch": _RESIDUAL,
    "SE_ResNet50_Pytorch_Infer": f"{_RESIDUAL} Sigmoid Mul",
    "VGG16": _PLAIN,
    "VGG19": _PLAIN,
    "Squeezenet1_1": "Conv Relu MaxPool Concat GlobalAveragePool Flatten",
    "GoogleNet_for_Pytorch": "Conv Relu MaxPool Concat GlobalAveragePool Flatten Gemm",
    "InceptionV3_for_Pytorch": "Conv Relu MaxPool AveragePool Concat GlobalAveragePool Flatten Gemm",
    "MobileNet-v1": "Conv Relu AveragePool Reshape Gemm",
    "MobileNetV2_for_Pytorch": "Conv Clip Add GlobalAveragePool Flatten Gemm",
    "MobileNetV3_for_Pytorch": "Conv Relu Add Clip Mul Div GlobalAveragePool Reshape Gemm",
    "EfficientNet_for_Pytorch": "Conv Sigmoid Mul Add GlobalAveragePool Flatten Gemm",
    "Yolov4_for_Pytorch": "Conv Softplus Tanh Mul Add LeakyRelu MaxPool Concat",
    "SSD": "Conv Relu MaxPool Transpose Reshape Concat Softmax",
    "UNet": "Conv Relu MaxPool Concat",
    "U2-Net_for_PyTorch": "Conv Relu MaxPool Resize Concat Add Sigmoid",
    "HRNet_mmlab_for_pytorch": "Conv Relu Add Resize",
    "DBNet_MobileNetV3": "Conv Relu Add Mul Clip ConvTranspose Sigmoid Concat Resize",
    "CRNN_BuiltIn_for_Pytorch": "Conv Relu MaxPool Squeeze Unsqueeze Transpose LSTM Concat",
    "LPRNet_for_PyTorch": "Conv Relu AveragePool Pow ReduceMean Div Concat",
    "SwinTransformer_for_Pytorch": f"{_ATTENTION} Conv Slice Concat Gather Gemm",
    "ViT_base": f"{_ATTENTION} Conv Concat Gather Gemm",
    "Bert_Uncased_Huggingface": f"{_ATTENTION} Gather Slice Unsqueeze Cast",
    "YolactEdge_for_PyTorch": "Conv Relu MaxPool Add Resize Tanh Transpose Reshape Concat Softmax Slice",
}
