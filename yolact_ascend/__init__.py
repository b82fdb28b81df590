"""YolactEdge instance segmentation on Huawei Ascend NPUs: export, compile, run, score."""

__version__ = "0.1.0"
