"""The table of mAP in docs/rcnn.md is that of benchmarks/results/rcnn_accuracy.json."""

import json
import re

from factories import CHECKOUT

RESULTS = json.loads((CHECKOUT / "benchmarks" / "results" / "rcnn_accuracy.json").read_text())
SECTION = (CHECKOUT / "docs" / "rcnn.md").read_text().split("\n## Accuracy\n")[1].split("\n## ")[0]


def test_the_table_has_the_measured_figures():
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|", SECTION, re.MULTILINE)
    expected = {name: (f"{of['box']['all']:.2f}", f"{of['mask']['all']:.2f}") for name, of in RESULTS["mAP"].items()}
    assert {name: (box, mask) for name, box, mask in rows} == expected


def test_ours_is_within_a_tenth_of_a_point_of_detectron2s_evaluation():
    """Where both pad to the same canvas, in float32."""
    theirs = RESULTS["mAP"]["Detectron2, on our canvas"]
    for way in ("torch", "ONNX Runtime", "OpenVINO fp32"):
        assert all(abs(RESULTS["mAP"][way][task]["all"] - theirs[task]["all"]) <= 0.1 for task in ("box", "mask"))
