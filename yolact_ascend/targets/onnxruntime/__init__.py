"""The ONNX Runtime target: the exported ONNX on the CPU, in float32.

May import `targets.target` and what that may import.
"""
