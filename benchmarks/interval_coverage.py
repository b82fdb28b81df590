"""How often the interval of `compare` holds the true difference: two simulated networks on many simulated data sets.

    python benchmarks/interval_coverage.py [--data_sets N] [--samples N] [--images 100,500]

Each object has a difficulty that both networks share; each network finds it, scores it and places its box with noise of
its own, and invents objects. The true difference is that of one data set of very many images. Prints a Markdown table;
the last column is the share of intervals that hold it, with its standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yolact_ascend.analysis.bootstrap import compare_precision
from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import IOU_THRESHOLDS, Matches
from yolact_ascend.tables import markdown_table

CLASSES = 8
OBJECTS_PER_IMAGE = 6.0
TRUE_IMAGES = 200_000


@dataclass(frozen=True)
class Network:
    """How good a simulated network is."""

    skill: float  # of a found box: how high its overlap is, on the scale of a logit
    noise: float = 0.6  # of its own, beside the difficulty that all networks share
    invented: float = 2.0  # objects in an image, on average


BASE = Network(skill=1.2)
CASES = {"no difference": BASE, "a worse network": Network(skill=1.05), "more invented": Network(1.2, 0.6, 4.0)}


def simulate(networks: tuple[Network, ...], images: int, generator: np.random.Generator) -> list[Matches]:
    """Return the matches of several networks on the same simulated images."""
    shares = 1 / np.arange(1, CLASSES + 1)
    objects = generator.poisson(OBJECTS_PER_IMAGE * shares / shares.sum(), (images, CLASSES))
    image, category = (np.repeat(each.ravel(), objects.ravel()) for each in np.indices(objects.shape))
    scene = generator.normal(0, 0.5, images)  # what the objects of an image have in common
    difficulty = scene[image] + generator.normal(0, 1.0, len(image))
    found = []
    for network in networks:
        quality = network.skill - difficulty + generator.normal(0, network.noise, len(image))
        overlap = 1 / (1 + np.exp(-quality))
        certainty = quality + generator.normal(0, 0.8, len(image))
        extra = generator.poisson(network.invented, images)
        extra_image = np.repeat(np.arange(images), extra)
        extra_class = generator.choice(CLASSES, len(extra_image), p=shares / shares.sum())
        scores = np.concatenate([certainty, generator.normal(-1.0, 1.0, len(extra_image))])
        overlaps = np.concatenate([overlap, np.zeros(len(extra_image))])
        places = [np.concatenate(pair) for pair in ((image, extra_image), (category, extra_class))]
        order = np.lexsort((-scores, places[1]))
        is_hit = overlaps[order] >= IOU_THRESHOLDS[:, None]
        names = tuple(range(images)), tuple(range(CLASSES))
        matches = Matches(*names, objects, places[0][order], places[1][order], is_hit, np.zeros_like(is_hit))
        found.append(matches)
    return found


def true_difference(networks: tuple[Network, ...], images: int = TRUE_IMAGES) -> float:
    """Return the difference of the second network from the first, in points, on very many images."""
    runs = simulate(networks, images, np.random.default_rng(0))
    ones = np.ones((1, images), np.int64)
    first, second = (mean_precision(AveragePrecision(run).of_classes(ones)).mean() for run in runs)
    return float(100 * (second - first))


def coverage(
    networks: tuple[Network, ...], images: int, data_sets: int, samples: int, truth: float
) -> tuple[float, float, float]:
    """Return the share of data sets whose interval holds the truth, their mean width and the mean error, in points."""
    held, widths, errors = [], [], []
    for seed in range(1, data_sets + 1):
        runs = simulate(networks, images, np.random.default_rng(seed))
        with contextlib.redirect_stderr(io.StringIO()):  # its bars
            found = compare_precision(*map(AveragePrecision, runs), samples, seed).columns["all"]
        assert found.low is not None and found.high is not None and found.points is not None
        held.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
        errors.append(found.points - truth)
    return float(np.mean(held)), float(np.mean(widths)), float(np.mean(errors))


def main() -> None:
    """Print a row for each case and number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_sets", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--images", default="100,500", help="images of a data set, separated by commas")
    args = parser.parse_args()
    rows = []
    for name, network in CASES.items():
        networks = (BASE, network)
        truth = true_difference(networks)
        for images in map(int, args.images.split(",")):
            share, width, bias = coverage(networks, images, args.data_sets, args.samples, truth)
            error = 100 * np.sqrt(share * (1 - share) / args.data_sets)
            cells = [f"{truth:+.2f}", f"{bias:+.3f}", f"{width:.2f}", f"{100 * share:.1f} ± {error:.1f}"]
            rows.append([name, images, *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    heads = ["second network", "images", "true difference", "mean error", "width of the interval", "holds the truth, %"]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
