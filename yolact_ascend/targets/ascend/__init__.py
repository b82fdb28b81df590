"""The Ascend target: ATC, ais_bench, npu-smi, and the stand-ins of them as its environment.

The only place that knows CANN's tools by name.
"""
