"""Smaller and faster models: INT8 quantisation of an exported ONNX, and structured pruning, by recipes."""
