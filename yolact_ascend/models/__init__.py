"""Networks as values: configs, families, weights files, export to ONNX.

May import `detection` and the floor. PyTorch is imported only by `weights`, `export` and the families' networks.
"""
