"""Runs a script of ModelZoo's LPRNet guide, written for torch 1.10, on a newer one.

    python lprnet_guide.py SCRIPT ARGUMENTS…

- `torch.onnx.export` is called as its default was in torch 1.10.
- The guide's LPRNet_modify_onnx.py turns MaxPool3d, which ONNX has not for [C,H,W], into MaxPool. It finds nodes by the
  names that torch 1.10 gave them, and needs Ascend's auto_optimizer; here the network does the same before its export.
- `imutils` is imported for the training only.
"""

import functools
import runpy
import sys
import types

import torch


class MaxPool(torch.nn.Module):
    """MaxPool3d with a kernel of depth 1 over [N,C,H,W]: each `strides[0]`-th channel, pooled."""

    def __init__(self, kernel_size: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        assert kernel_size[0] == 1
        self.step, self.pool = stride[0], torch.nn.MaxPool2d(kernel_size[1:], stride[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return self.pool(x[:, :: self.step])


if __name__ == "__main__":
    torch.nn.MaxPool3d = MaxPool
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    sys.modules["imutils"] = types.ModuleType("imutils")
    sys.modules["imutils"].paths = None
    sys.path[0] = ""
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
