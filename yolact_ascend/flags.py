"""The flags of our own verbs, declared once: what `cli` parses, and what the commands that a run prints are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.words import listed, path, whole_number

MAX_DEVICE = 255  # ais_bench's own limit of --device
MAX_BATCH_SIZE = 4096  # and of --batchsize
MAX_COUNT = 10**9
MAX_WORKERS = 1024
MAX_SEED = 2**63 - 1  # of torch.manual_seed
COUNT = whole_number(1, MAX_COUNT)
NUMBER = whole_number(0, MAX_COUNT)
read_npus = listed(whole_number(0, MAX_DEVICE), f"device numbers from 0 to {MAX_DEVICE}, separated by commas")


def read_share(word: str) -> tuple[int, int]:
    """Read I/N, a number from 0 and how many there are."""
    number, slash, count = word.partition("/")
    try:
        found = (NUMBER(number), COUNT(count))
    except ValueError:
        found = (1, 0)
    if not slash or found[0] >= found[1]:
        raise ValueError("I/N with I from 0 to N-1, such as 0/4")
    return found


@dataclass(frozen=True)
class Flag:
    """One flag: its name, how its value is read (ValueError says what was expected), its help and its default.

    `aliases` are other names for the same flag, `short` is one with a single dash; None as the default means that there
    is none.
    """

    name: str
    read: Callable[[str], Any]
    help: str
    default: Any = None
    aliases: tuple[str, ...] = ()
    short: str = ""
    is_held: bool = False  # a verb with this path must not meet a run in the same work folder

    def word(self, value: object) -> str:
        """Return the flag with a value, as a command has it."""
        return f"--{self.name}={value}"


# The model and the weights. The guide's names come first; the aliases are those of run_all.sh.
CLASSES = Flag(
    "classes", str, "class names of weights that name none: a file, a COCO annotation file, or names with commas"
)
TRAINED_MODEL = Flag("trained_model", path, "weights file (.pth, .pkl)", aliases=("weights",))
CONFIG = Flag("config", str, "model config: its name in YolactEdge, YOLACT or Detectron2, or a Detectron2 config file")
CUT = Flag("cut", str, "where the graph on the device ends")
OPERATORS = Flag("operators", str, "operators of the graph: onnx, or Ascend's own for NMS and ROIAlign (R-CNN)")
OUTPUT_TYPE = Flag(
    "output_type", str, "YOLACT: type of the prototypes that the model gives: fp32 (default) or fp16, half the bytes"
)
CANVAS = Flag(
    "canvas",
    str,
    "R-CNN: the model's input in pixels, SIZE or HEIGHTxWIDTH in multiples of 32, such as 800x1344 (default: the "
    "config's, 1344); images are padded to it",
)
FIT = Flag(
    "fit",
    str,
    "R-CNN: how images are resized: max, by the lengths of their shorter and longer edge (default), or window, as "
    "large as fits onto the canvas",
)
UPSTREAM = Flag("upstream", path, "export the network of this patched checkout of YolactEdge or YOLACT instead of ours")
ONNX_MODEL = Flag("onnx_model", path, "the same weights exported with operators=onnx, where --model has Ascend's")
ONNX_OUTPUT = Flag("output", path, "ONNX file to write", Path("yolact_edge.onnx"), is_held=True)

# Images and annotations.
IMAGE_PATH = Flag("image_path", path, "folder of the images", Path("data/coco/val2017"))
JSON_FILE = Flag("json_file", path, "COCO annotation file", Path("data/coco/annotations/instances_val2017.json"))
COCO = Flag("coco", path, "COCO folder, instead of --image_path and --json_file")
LIMIT = Flag("limit", COUNT, "use only the first N images")
SAVE_PATH = Flag("save_path", path, "folder for the results", aliases=("out",), is_held=True)
DTYPE = Flag(
    "dtype",
    str,
    "float32: normalised; uint8: pixels, a quarter of the bytes, for a model that normalises them itself (embed=1)",
    "float32",
)
WORKERS = Flag("workers", whole_number(1, MAX_WORKERS), "processes for the host's work (default: all cores)")

# Very many images.
OUT_URI = Flag("out", str, "where plan, parts and results go: a folder, or a URI of a store (s3://BUCKET/FOLDER)")
SHARD = Flag(
    "shard",
    read_share,
    "I/N: do each N-th shard only, from the I-th on (0/4 to 3/4), and do not merge: for Slurm and Kubernetes",
)
REPORT = Flag("report", path, "report.json of a finished run, whose speeds --plan_only counts with")
IMAGES = Flag("images", COUNT, "how many images --plan_only counts with (default: those of SOURCE)")
HOST_CORES = Flag("host_cores", COUNT, "cores of each host, for --plan_only (default: those of this host)")
HOST_CARDS = Flag("host_cards", COUNT, "cards of each host, for --plan_only (default: as its cores keep busy, up to 8)")
LOCAL_CLUSTER, JOINED_CLUSTER = "local", "ray"
CLUSTER = Flag(
    "cluster",
    str,
    "a Ray cluster does the shards: local (started on this host), ray (the one that this host is in), or its address",
)
ACTORS = Flag("actors", COUNT, "workers on the cluster (default: one for each card, or each host without cards)")
SHARD_SIZE = Flag("shard_size", COUNT, "images per shard, a multiple of the batch size (default: about 256)")

# Outputs, detections and scores.
FILE_PATH = Flag("file_path", path, "folder of the model's outputs, <index>_<k>.bin", Path("output"), is_held=True)
IDS_PATH = Flag("ids_path", path, "ids.json, which preprocess wrote", Path("inputs/ids.json"))
BBOX_DET_FILE = Flag(
    "bbox_det_file", path, "write the boxes here, in COCO's format", Path("results/bbox_detections.json"), is_held=True
)
MASK_DET_FILE = Flag(
    "mask_det_file", path, "write the masks here, in COCO's format", Path("results/mask_detections.json"), is_held=True
)
SCORES_FILE = Flag("scores_file", path, "also write the scores as JSON", is_held=True)
SUMMARY_FILE = Flag("summary_file", path, "also write the device's timings, in ais_bench's format", is_held=True)

# A model in memory.
MODEL = Flag(
    "model",
    path,
    "compiled model (.om for ascend, .xml for openvino, .torch for torch) or ONNX (.onnx for onnxruntime)",
    Path("results/yolact_edge.onnx"),
)
TARGET = Flag(
    "target",
    str,
    "what weights (.pth, .pkl) are made for (default: ascend where there is a card, else openvino where that is "
    "installed, else onnxruntime)",
)
DEVICE = Flag(
    "device",
    str,
    "ascend: auto, npu, emulation; onnxruntime: auto, cpu; openvino: auto, cpu, gpu, npu; torch: auto, cpu, cuda",
    "auto",
    aliases=("device_kind",),
)
NPUS = Flag(
    "npus", read_npus, "device number, or several separated by commas that share the images", "0", aliases=("npu",)
)
THREADS = Flag(
    "threads",
    whole_number(1, MAX_WORKERS),
    "CPU threads of the model, for onnxruntime, openvino and torch (default: all cores)",
)
SOC = Flag("soc", str, "the card's chip (atc --soc_version), if npu-smi does not report it")
BATCH_SIZE = Flag("batch_size", whole_number(1, MAX_BATCH_SIZE), "images per batch", 1, aliases=("bs",))

# The verbs compile, infer and benchmark, for targets that run in this Python.
COMPILED_OUTPUT = Flag("output", path, "compiled model to write", is_held=True)
PRECISION = Flag("precision", str, "number format of the compiled model")
EMBED = Flag(
    "embed",
    str,
    "what the model does itself: 0: nothing; 1: it normalises uint8 images; resize (openvino): it also resizes them",
    "0",
)
BIN_FOLDER = Flag("input", path, "folder of inputs, <index>.bin", Path("inputs/bin_file"))
OUTPUT_FOLDER = Flag("output", path, "folder for the outputs; the timings go beside it", Path("output"), is_held=True)
BATCH_FILE = Flag("input", path, "file of one whole batch, instead of zeros")
PERF_OUTPUT = Flag("output", path, "the timings go beside this folder, which stays empty", Path("perf"), is_held=True)
LOOP = Flag("loop", COUNT, "how many times the batch runs", 100)


def thread_words(threads: int | None) -> list[str]:
    """Return the flag for a model's CPU threads; none for all cores."""
    return [] if threads is None else [THREADS.word(threads)]


# Smaller models.
RECIPE = Flag("recipe", str, "a shipped recipe (int8, pruned, pruned_int8), or a file: FILE.yaml", "int8")
SCORED = Flag("scored", path, "folder of images to be scored later: calibrating on one of them is warned of")

# Drawn scenes.
TRAIN_IMAGES = Flag("train_images", NUMBER, "scenes in train2017/", 4000)
VAL_IMAGES = Flag("val_images", NUMBER, "scenes in val2017/", 200)
SEED = Flag("seed", whole_number(0, MAX_SEED), "random seed of the scenes", 1)

HELD = frozenset(flag.name for flag in list(globals().values()) if isinstance(flag, Flag) and flag.is_held)
