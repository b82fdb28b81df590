"""The host's work around the device: preprocess, postprocess, stream, predict, and the Python API that they stand on.

May import `targets` and the rooms below it; knows no target by name.
"""
