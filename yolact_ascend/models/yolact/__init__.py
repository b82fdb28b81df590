"""The YOLACT family: network, heads, cuts and their tensors, anchors, detection from its outputs.

Entered through `family` only.
"""
