"""The texts of report.md and report.html in each language: one table, which the tests hold to be complete."""

from __future__ import annotations

from typing import Any

from yolact_ascend.pipeline.keys import LANGUAGES
from yolact_ascend.report.terms import NAMES, TERMS, WORDS, Pair

FACTS: dict[str, Pair] = {
    "title": ("yolact-ascend report", "yolact-ascend 推理报告"),
    "labelled": ("{label}: {text}", "{label}：{text}"),
    "labelled_bold": ("**{label}**: {text}", "**{label}**：{text}"),
    "created": ("Created", "生成时间"),
    "created_by": ("{created} by `{command}`", "{created}，命令：`{command}`"),
    "device": ("Device", "设备"),
    "model": ("Model", "模型"),
    "model_line": (
        "{config}, network of {network}, cut {cut}, weights {weights}, sha256 {sha256}",
        "{config}，网络定义 {network}，切分点 {cut}，权重 {weights}，sha256 {sha256}",
    ),
    "unnamed_weights": ("(file not known)", "（文件名未知）"),
    "input": ("Input", "输入"),
    "canvas_line": (
        "canvas {height}x{width}, fit={fit}, operators={operators}",
        "画布 {height}x{width}，fit={fit}，operators={operators}",
    ),
    "classes": ("Classes", "类别"),
    "classes_line": ("{count}, from {source}", "{count} 类，来源：{source}"),
    "compiled": ("Compiled", "模型转换"),
    "compiled_line": ("precision {precision}, input {dtype}{embed}", "精度模式 {precision}，输入 {dtype}{embed}"),
    "embed_normalise": (", normalised by the model (embed=1)", "，由模型做归一化（embed=1）"),
    "embed_resize": (
        " of any size, resized and normalised by the model (embed=resize)",
        "，尺寸任意，由模型做缩放和归一化（embed=resize）",
    ),
    "dataset": ("Data set", "数据集"),
    "dataset_line": (
        "{name}, {images} of {of_images} images ({annotated} of them annotated)",
        "{name}，共 {of_images} 张图片，本次使用 {images} 张（其中 {annotated} 张有标注）",
    ),
    "part_of": ("a part of {name}", "{name} 的一部分"),
    "one_class": ("{name}, 1 class ({names})", "{name}，1 个类别（{names}）"),
    "of_classes": ("{name}, {count} classes ({names})", "{name}，{count} 个类别（{names}）"),
    "dataset_none": (
        "none: this run measures throughput only",
        "无（本次运行只测性能）",
    ),
    "warning": ("Warning", "警告"),
    "on_host": ("{what} on {host}", "{what}（主机：{host}）"),
    "cpu_emulation_of": ("CPU emulation of {soc}", "CPU 模拟的 {soc}"),
    "emulated": ("{chip} (emulated)", "{chip}（CPU 模拟）"),
    "several_devices": (", {count} devices", "，{count} 个设备"),
    "demo_note": (
        "This is {note}",
        "这是演示：数据集是合成场景，不是 COCO；模型是用合成场景训练的小网络。精度和性能均为实测值，"
        "但不能与在 COCO 上训练的模型比较。如需可比较的结果，请指定 weights= 和 coco=。",
    ),
    "emulation_note": (
        "{note}",
        "CPU 模拟环境：吞吐率和时延是本机 CPU 用 ONNX Runtime 运行的结果，不代表 NPU 的性能。",
    ),
    "other_note": ("{note}", "由 {target} 在 {chip} 上运行，不能与 NPU 的吞吐率比较。"),
}

ACCURACY: dict[str, Pair] = {
    "guide_title": ("Accuracy and performance", "模型推理性能&精度"),
    "guide_chip": ("Chip", "芯片型号"),
    "guide_batch": ("Batch Size", "Batch Size"),
    "guide_dataset": ("Data set", "数据集"),
    "guide_map": ("Accuracy ({task} mAP)", "精度({task} mAP)"),
    "guide_speed": ("Performance (images/s)", "性能(images/s)"),
    "accuracy": ("Accuracy (mAP in percent, COCOeval)", "精度（mAP，单位 %，COCOeval）"),
    "accuracy_short": ("Accuracy", "精度"),
    "box": ("box", "检测框"),
    "mask": ("mask", "掩码"),
    "nothing_scored": (
        "Nothing is scored: these images have no annotations.",
        "没有精度结果：这些图片没有标注。",
    ),
    "not_scored": ("Not scored", "未参与评测"),
    "not_scored_line": ("{ids} (could not be decoded)", "{ids}（图片无法解码）"),
    "overfull": ("Left out", "锚框被截断"),
    "overfull_line": (
        "{images} images had more anchors above the score threshold than the model keeps; the weakest were left out",
        "有 {images} 张图片中超过置信度阈值的锚框多于模型保留的数量，置信度最低的锚框被舍弃",
    ),
    "few_images": (
        "Images scored: only {images}. Compare this mAP with runs on the same images only.",
        "只评测了 {images} 张图片：该 mAP 只能与相同图片上的结果比较。",
    ),
    "metrics": ("COCO's twelve numbers (percent)", "COCO 的 12 项指标（单位 %）"),
    "by_iou": ("AP by IoU threshold", "不同 IoU 阈值下的 AP"),
    "curves": ("Precision–recall curves", "精确率–召回率（P-R）曲线"),
    "recall": ("recall, %", "召回率，%"),
    "precision": ("precision, %", "精确率，%"),
    "iou": ("IoU threshold, %", "IoU 阈值，%"),
    "by_class": ("AP of each class (percent, bs={batch_size})", "各类别的 AP（单位 %，bs={batch_size}）"),
    "many_classes": (
        "{count} classes: their AP is in report.json and report.html.",
        "共 {count} 个类别，各类别的 AP 见 report.json 和 report.html。",
    ),
    "class": ("class", "类别"),
    "annotated": ("annotated", "标注数"),
    "mistakes": ("Mistakes", "错误分析"),
    "mistakes_line": (
        "At score >= {score} and IoU >= {iou}, {detections} detections for {annotations} annotated objects: "
        "{missed} missed, {false} false, {wrong_mask} with a wrong mask. {good} of {images} images have no mistake.",
        "置信度 ≥ {score}、IoU ≥ {iou} 时，共 {annotations} 个标注目标、{detections} 个检测结果：漏检 {missed} 个，"
        "误检 {false} 个，掩码错误 {wrong_mask} 个。{images} 张图片中有 {good} 张没有错误。",
    ),
    "missed": ("missed", "漏检"),
    "false": ("false", "误检"),
    "wrong_mask": ("wrong mask", "掩码错误"),
    "worst_images": ("Worst images", "错误最多的图片"),
    "first_images": (
        "First images: ground truth and detections (bs={batch_size}, score >= {score})",
        "前几张图片：标注与检测结果（bs={batch_size}，置信度 ≥ {score}）",
    ),
    "ground_truth": ("ground truth", "标注"),
    "detections": ("detections", "检测结果"),
    "image": ("image", "图片"),
}

INT8: dict[str, Pair] = {
    "recipe": ("Recipe", "量化配方"),
    "ranges": ("Ranges", "校准"),
    "ranges_line": (
        "{method}, of {images} images (drawn from {of_images})",
        "{method}，使用 {images} 张图片（从 {of_images} 张中抽取）",
    ),
    "held_out": (
        "mAP on held-out training images, by which the method was chosen",
        "留出的训练图片上的 mAP（据此选择校准方法）",
    ),
    "onnx_size": ("Size of the ONNX", "ONNX 大小"),
    "onnx_size_line": (
        "{size:,} bytes, {smaller:.2f} times smaller than float32",
        "{size:,} 字节，是 float32 的 1/{smaller:.2f}",
    ),
    "int8_layers": ("Layers in INT8", "INT8 层"),
    "int8_layers_line": ("{count} of {layers}", "{layers} 层中的 {count} 层"),
    "in_float32": ("; in float32:", "；保留 float32 的层："),
}

SPEED: dict[str, Pair] = {
    "speed_npu": ("Throughput of the device alone", "设备性能"),
    "speed_cpu": ("Throughput on the CPU", "CPU 性能"),
    "speed_emulation": ("Throughput on the CPU emulation", "CPU 模拟环境性能"),
    "speed_units": (
        "{title} (latency and copies in ms per batch)",
        "{title}（时延和拷贝时间的单位：ms/batch）",
    ),
    "speed_short": ("Performance", "性能"),
    "chip": ("chip", "芯片"),
    "batch": ("batch", "batch"),
    "precision_mode": ("precision", "精度模式"),
    "input_head": ("input", "输入"),
    "mean": ("mean", "平均"),
    "median": ("median", "中位数"),
    "batches": ("batches", "batch 数"),
    "compute_only": (
        "Throughput counts compute time only, without the copies to and from the device (H2D, D2H).",
        "吞吐率只计计算时间，不含主机与设备之间的拷贝（H2D、D2H）。",
    ),
    "sum_of_devices": (
        "With several devices, it is the sum of theirs.",
        "多个设备时，为各设备之和。",
    ),
    "unsteady": (
        "bs={batch_size}: the time per batch changed by {drift:+.1f} % from the first to the last quarter of the "
        "batches, so these figures are not stable. {busy}Run longer, on an idle and cool machine.",
        "bs={batch_size}：最后 1/4 的 batch 与最初 1/4 相比，耗时变化了 {drift:+.1f}%，数据不稳定。"
        "{busy}请在空闲、散热良好的机器上运行更长时间。",
    ),
    "busy_cpu": ("That is usual on a CPU that does other work, too. ", "CPU 同时运行其他任务时，这很常见。"),
    "no_advice": (
        "No batch size is advised: that takes figures of a real device, which change by at most {drift:g} % during "
        "the run, over at least {batches} batches each.",
        "本次数据不足以给出 batch size 建议：需要真实设备上的数据，"
        "每个 batch size 至少 {batches} 个 batch，且运行期间变化不超过 {drift:g}%。",
    ),
    "use_smallest": (
        "Use bs={best}: the fastest here, {speed} images/s. Larger batches gain nothing.",
        "推荐 bs={best}：本次最快，{speed} images/s。更大的 batch 没有收益。",
    ),
    "use_fastest": (
        "Use bs={best}: the fastest here, {speed} images/s, {gain:.1f} % more than bs={smallest}.",
        "推荐 bs={best}：本次最快，{speed} images/s，比 bs={smallest} 高 {gain:.1f}%。",
    ),
    "use_smaller": (
        "Use bs={smallest}: bs={best} is the fastest here, {speed} images/s, but only {gain:.1f} % more than "
        "bs={smallest}{drifts}, and a smaller batch has a lower latency.",
        "推荐 bs={smallest}：bs={best} 虽然最快（{speed} images/s），但只比 bs={smallest} 高 {gain:.1f}%{drifts}，"
        "而更小的 batch 时延更低。",
    ),
    "within_drift": (
        ", which is within the drift of these figures ({drift:.1f} %)",
        "，在数据本身的波动（{drift:.1f}%）之内",
    ),
    "by_batch": ("images/s by batch size", "不同 batch size 的 images/s"),
    "latency_over_run": ("Latency over the run", "运行过程中的时延"),
    "latency_caption": (
        "bs={batch_size}: ms per batch, {batches} batches",
        "bs={batch_size}：每个 batch 的时延（ms），共 {batches} 个 batch",
    ),
    "latency_points": (
        "; each point is of {size} batches",
        "；每个点为 {size} 个 batch",
    ),
    "longest": ("longest", "最大"),
    "latency_card": ("latency, median / p99", "时延，中位数 / p99"),
    "comma": (", ", "，"),
    "time_title": (
        "Time per image (CPU-core ms; infer: device ms)",
        "单张图片耗时（ms；主机步骤为单核 CPU 时间，推理为设备时间）",
    ),
    "time_short": ("Time per image", "单张图片耗时"),
    "time_note": (
        "Host times are CPU time, without waiting. The last columns say how many host cores keep up with how many "
        "images/s of the device: as measured{published}. End to end is measured on this machine, from the first stage "
        "that reads images to the scores, including the start-up of each stage.",
        "主机耗时为 CPU 时间，不含等待。最后两列表示：设备达到该 images/s（实测值{published}）时，主机需要多少个 CPU 核"
        "才能跟上。端到端为本机实测，从读取图片的第一个阶段到算出精度，包含各阶段的启动时间。",
    ),
    "published": (
        ", and on an Atlas 310P at least the {speed} of Ascend ModelZoo's guide",
        "；Atlas 310P 上至少取昇腾 ModelZoo 指导文档中的 {speed}",
    ),
    "host_total": ("host total", "主机合计"),
    "end_to_end": ("end to end images/s", "端到端 images/s"),
    "device_speed": ("device images/s", "设备 images/s"),
    "cores": ("cores to keep up", "所需 CPU 核数"),
    "cores_at": ("with images/s", "对应 images/s"),
    "stages": ("Stages", "各阶段"),
    "stage": ("stage", "阶段"),
    "seconds": ("seconds", "耗时(s)"),
    "images": ("images", "图片数"),
    "status": ("status", "状态"),
    "fresh": ("up to date: as an earlier run measured", "无需重跑：沿用之前的结果"),
    "done": ("done", "完成"),
}

PAGE: dict[str, Pair] = {
    "provenance": ("Provenance", "来源与复现"),
    "command": ("Command", "命令"),
    "versions": ("Versions", "软件版本"),
    "hashes": ("Hashes (SHA-256)", "哈希值（SHA-256）"),
    "commands": ("Commands of the stages", "各阶段的命令"),
    "finished": ("finished", "完成时间"),
    "host": ("Host", "主机"),
    "weights": ("weights", "权重"),
    "annotations": ("annotations", "标注文件"),
    "compiled_model": ("model bs={batch_size}", "模型 bs={batch_size}"),
    "missing": ("not installed", "未安装"),
    "terms": ("Terms", "术语"),
    "made_by": (
        "Made by yolact-ascend {version}. Every figure is from report.json beside this file.",
        "由 yolact-ascend {version} 生成。所有数据来自同目录下的 report.json。",
    ),
    "contents": ("Contents", "目录"),
    "no_latency": (
        "The program that ran states no latency of single batches.",
        "运行的程序没有给出单个 batch 的时延。",
    ),
}

TEXTS: dict[str, Pair] = {**FACTS, **ACCURACY, **INT8, **SPEED, **PAGE}


class Texts:
    """The texts of one language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._index = LANGUAGES.index(lang)

    def __call__(self, key: str, **values: Any) -> str:
        """Return a text with its values put in."""
        return TEXTS[key][self._index].format(**values)

    def name(self, word: str) -> str:
        """Return what a step or a stage is called."""
        return NAMES[word][self._index]

    def word(self, english: str) -> str:
        """Return a word of report.json in this language, where there is one; else as it is, such as a file's name."""
        return english if self.lang == "en" else WORDS.get(english, english)

    def terms(self) -> list[tuple[str, str]]:
        """Return the legend: each term, and what it is."""
        return [(term[self._index], meaning[self._index]) for term, meaning in TERMS.values()]
