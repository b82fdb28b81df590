"""Networks as values: configs, families, weights files, export to ONNX.

May import `detection` and the floor. Only `weights`, `upstream`, `export` and the families' networks import torch.
"""
