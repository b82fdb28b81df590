"""The host's work around the device: preprocess, postprocess, stream, predict.

May import `targets` and the rooms below it; knows no target by name.
"""
