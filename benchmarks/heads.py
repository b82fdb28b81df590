"""Time the prediction head of one image on one core: PyTorch in several ways, and ONNX Runtime, which the product uses.

    python benchmarks/heads.py [--config NAME] [--rounds N]

Weights and levels are random. Prints core-ms per image, and whether an image's result in a batch has the same bits as
alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT)]

import numpy as np  # noqa: E402  (needs the path above)
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from tabulate import tabulate  # noqa: E402

from yolact_ascend.models.config import DEFAULT_CONFIG, get_config  # noqa: E402
from yolact_ascend.models.exporter import write_onnx  # noqa: E402
from yolact_ascend.models.families import FAMILIES  # noqa: E402
from yolact_ascend.models.yolact.cuts import FPN, HEADS, cut_outputs  # noqa: E402
from yolact_ascend.models.yolact.head_export import OnLevels  # noqa: E402
from yolact_ascend.models.yolact.network import PredictionHead  # noqa: E402
from yolact_ascend.tensors import TensorSpec  # noqa: E402

BATCHES = (1, 4)

Outputs = Sequence[np.ndarray]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=DEFAULT_CONFIG)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = get_config(args.config)
    head = OnLevels(PredictionHead(config)).eval()
    *specs, _ = cut_outputs(config, FPN)
    *names, _ = (spec.name for spec in cut_outputs(config, HEADS))
    levels = [torch.randn(max(BATCHES), *spec.shape) for spec in specs]
    rows = []
    for name, run in ways(head, specs, names, levels).items():
        alone = run([level[:1] for level in levels])
        times = [core_ms(run, [level[:batch] for level in levels], args.rounds) / batch for batch in BATCHES]
        is_same = all((many[:1] == one).all() for many, one in zip(run(levels), alone))
        rows.append([name, *times, "yes" if is_same else "no"])
    header = ["", *(f"core-ms per image, batches of {batch}" for batch in BATCHES), "same bits in a batch"]
    print(tabulate(rows, header, floatfmt=".1f"))


def ways(
    head: OnLevels, specs: Sequence[TensorSpec], outputs: Sequence[str], levels: Sequence[torch.Tensor]
) -> dict[str, Callable[[Sequence[torch.Tensor]], Outputs]]:
    """Return the ways to run the head, by name."""
    names = [spec.name for spec in specs]

    def in_torch(module: Callable, memory_format: torch.memory_format) -> Callable:
        def run(levels: Sequence[torch.Tensor]) -> Outputs:
            with torch.inference_mode():
                tensors = [level.contiguous(memory_format=memory_format) for level in levels]
                return [output.numpy() for output in module(*tensors)]

        return run

    with torch.inference_mode():
        traced = torch.jit.trace(head, tuple(levels))
    frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heads.onnx"
        write_onnx(head, path, specs, outputs, FAMILIES["yolact"].opset, has_free_batch=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return {
        "PyTorch": in_torch(head, torch.contiguous_format),
        "PyTorch, channels last": in_torch(head, torch.channels_last),
        "PyTorch, traced and frozen": in_torch(frozen, torch.contiguous_format),
        "ONNX Runtime": lambda levels: session.run(None, {n: x.contiguous().numpy() for n, x in zip(names, levels)}),
    }


def core_ms(run: Callable[[Sequence[torch.Tensor]], Outputs], levels: Sequence[torch.Tensor], rounds: int) -> float:
    """Return the median CPU time of a run in milliseconds."""
    run(levels)
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run(levels)
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
