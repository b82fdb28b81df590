"""The legend of a report, and what its steps and stages are called, in each language."""

from __future__ import annotations

Pair = tuple[str, str]  # in the order of pipeline.keys.LANGUAGES

# What the legend explains: the term, and what it is.
TERMS: dict[str, tuple[Pair, Pair]] = {
    "map": (
        ("mAP, AP", "mAP、AP"),
        (
            "average precision, the area below the precision–recall curve; mAP is its mean over classes and over the "
            "IoU thresholds .50, .55, … .95 (column all). APs, APm, APl: of small, medium, large objects (areas below "
            "32², below 96², from 96² pixels)",
            "平均精度，即 P-R 曲线下的面积；mAP 是对所有类别以及 IoU 阈值 .50、.55、…、.95 取平均（all 列）。"
            "APs、APm、APl 分别对应小、中、大目标（面积小于 32²、小于 96²、不小于 96² 像素）",
        ),
    ),
    "ar": (
        ("AR1, AR10, AR100", "AR1、AR10、AR100"),
        (
            "average recall with at most 1, 10, 100 detections per image",
            "每张图片最多取 1、10、100 个检测结果时的平均召回率",
        ),
    ),
    "iou": (
        ("IoU", "IoU"),
        (
            "intersection over union: how well a detection and an annotation overlap",
            "交并比：检测结果与标注的重叠程度",
        ),
    ),
    "mistakes": (
        ("missed, false, wrong mask", "漏检、误检、掩码错误"),
        (
            "an annotated object without a detection of its class; a detection without such an object; a pair whose "
            "boxes match and whose masks do not. An object found as another class counts as missed and false",
            "依次为：标注目标没有同类检测结果；检测结果没有同类标注目标；检测框匹配但掩码不匹配。类别判错的目标同时计入漏检和误检",
        ),
    ),
    "bs": (("bs, batch", "bs、batch"), ("images that the device computes at once", "设备一次计算的图片数")),
    "speed": (
        ("images/s", "images/s"),
        (
            "of the device: compute time only. End to end: all stages together, with files and host work",
            "设备性能只计计算时间；端到端包含所有阶段、文件读写和主机处理",
        ),
    ),
    "latency": (
        ("p90, p95, p99", "p90、p95、p99"),
        ("90, 95, 99 % of the batches took at most this long", "90%、95%、99% 的 batch 时延不超过该值"),
    ),
    "input": (
        ("input", "输入"),
        (
            "what the device was timed on: the images of the data set, or in a benchmark zeros or random numbers",
            "测性能时送入设备的数据：数据集中的图片；仅测性能时为全零或随机数",
        ),
    ),
    "copies": (
        ("H2D, D2H", "H2D、D2H"),
        ("copy of a batch from host to device, and of its outputs back", "主机到设备、设备到主机的数据拷贝"),
    ),
    "cut": (
        ("cut", "切分点"),
        (
            "where the graph on the device ends; the host computes the rest",
            "设备上计算图结束的位置，其余部分由主机计算",
        ),
    ),
    "precision": (
        ("precision", "精度模式"),
        ("number format that the device computes in", "设备计算所用的数据类型"),
    ),
    "na": (
        ("n/a, –", "n/a、–"),
        (
            "n/a: not measured, or nothing to measure it on; –: a step that this run does not have",
            "n/a 表示未测量，或没有可供测量的数据；– 表示本次运行没有该步骤",
        ),
    ),
}

# Words that report.json has in English.
WORDS: dict[str, str] = {
    "the weights file": "权重文件",
    "the exported model": "已导出的模型",
    "drawn scenes": "合成场景",
    "dataset": "数据集",
    "zeros": "全零",
    "random": "随机数",
    "none, CPU emulation": "无（CPU 模拟环境）",
}

# Steps of an image and stages of a run: what each is; their own names stay, because commands and files have them.
NAMES: dict[str, Pair] = {
    "decode": ("decode", "解码"),
    "resize": ("resize", "缩放"),
    "write": ("write", "写文件"),
    "infer": ("infer", "推理"),
    "read": ("read", "读文件"),
    "heads": ("heads", "检测头"),
    "detect": ("detect", "检测"),
    "masks": ("masks", "掩码"),
    "RLE": ("RLE", "RLE 编码"),
    "eval": ("eval", "评测"),
    "patch": ("patch", "打补丁"),
    "export": ("export", "导出 ONNX"),
    "quantize": ("quantize", "量化"),
    "compile": ("compile", "模型转换"),
    "preprocess": ("preprocess", "预处理"),
    "postprocess": ("postprocess", "后处理"),
    "stream": ("stream", "流式推理"),
    "benchmark": ("benchmark", "性能测试"),
    "report": ("report", "报告"),
}
