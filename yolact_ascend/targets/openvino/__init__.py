"""The OpenVINO target: the exported ONNX as OpenVINO IR, on Intel's and other x86 or ARM CPUs, Intel GPUs and NPUs.

May import `targets.target` and what that may import.
"""
