"""The likely cause of wrong outputs, found by trial: which fault, made on purpose on this host, gives what was found.

Faults of the input (order of channels, normalisation, layout) are put into the right input, which the float32 network
then computes. Faults of the outputs (another image's rows, another layout) are put into the right outputs. A cause is
named only where such a result fits what the device gave; otherwise the text says that none fits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from yolact_ascend.analysis.golden import sample
from yolact_ascend.models.config import Preprocessing

FITS = 0.995  # likeness of a fault's result to what was found; float16 alone stays above 0.9998 on the stand-ins
AS_CLOSE = 4.0  # and that many times closer than the right result
FLOAT16_MAX = 65504.0
TRIED_IMAGES = 2  # of those that are wrong; each fault of the input costs a run of the network on each
ROW_SAMPLES = 2048  # of each output, to find rows by
BLOCK = 16  # channels of one block in CANN's inner layout, NC1HWC0
CHANNELS, NORMALISATION, LAYOUT, ZEROS = "channel order", "normalisation", "wrong layout", "zeros"
OVERFLOW, ROWS, UNKNOWN = "float16 overflow", "another image's rows", "not known"

Network = Callable[[np.ndarray], Sequence[np.ndarray]]  # inputs [B,3,H,W] -> outputs, each [B,...]


@dataclass(frozen=True)
class Cause:
    """What most likely went wrong, for the last line, and what it was seen by."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.text})"


@dataclass(frozen=True)
class Evidence:
    """The outputs of a model beside the right ones; each output is [N,...], for the same N images."""

    names: Sequence[str]
    found: Sequence[np.ndarray]
    right: Sequence[np.ndarray]
    wrong_images: Sequence[int]
    inputs: np.ndarray  # [N,3,H,W], normalised, as the network takes them
    preprocessing: Preprocessing
    has_aipp: bool  # the model normalises by itself


def find_cause(evidence: Evidence, network: Network) -> Cause:
    """Return the likely cause; `network` computes in float32 on this host."""
    for look in (_find_overflow, _find_zeros, _find_rows, _find_layout):
        cause = look(evidence)
        if cause is not None:
            return cause
    return _find_fault_of_input(evidence, network)


def find_input_fault(found: np.ndarray, right: np.ndarray, preprocessing: Preprocessing) -> Cause | None:
    """Return the fault that turns the right normalised input [3,H,W] into `found`; None where none does."""
    own = _likeness(found, right)
    results = {cause: _likeness(found, spoil(right)) for cause, spoil in input_faults(preprocessing).items()}
    best = max(results, key=results.__getitem__)
    return best if _explains(results[best], own) else None


def input_faults(preprocessing: Preprocessing) -> dict[Cause, Callable[[np.ndarray], np.ndarray]]:
    """Return the faults of a normalised input [3,H,W] that users of such models make."""
    is_rgb = preprocessing.channel_order == "RGB"
    values = (preprocessing.mean_rgb, preprocessing.std_rgb)
    mean, std = (np.array(v if is_rgb else v[::-1], np.float32).reshape(3, 1, 1) for v in values)

    def pixels(x: np.ndarray) -> np.ndarray:
        return x * std + mean

    return {
        Cause(CHANNELS, "red and blue are exchanged"): lambda x: (pixels(x)[::-1] - mean) / std,
        Cause(CHANNELS, "red and blue are exchanged after the normalisation"): lambda x: x[::-1],
        Cause(NORMALISATION, "mean and deviation are those of the channels in the other order"): lambda x: (
            (pixels(x) - mean[::-1]) / std[::-1]
        ),
        Cause(NORMALISATION, "the network gets pixels that are not normalised"): pixels,
        Cause(NORMALISATION, "the network gets pixels divided by 255 and not normalised"): lambda x: pixels(x) / 255,
        Cause(NORMALISATION, "the mean is not subtracted"): lambda x: pixels(x) / std,
        Cause(NORMALISATION, "the deviation is not divided by"): lambda x: pixels(x) - mean,
        Cause(NORMALISATION, "the input is normalised twice"): lambda x: (x - mean) / std,
        Cause(LAYOUT, "the input's [H,W,3] is taken for [3,H,W]"): lambda x: x.transpose(1, 2, 0).reshape(x.shape),
        Cause(LAYOUT, "the input's [3,H,W] is taken for [H,W,3]"): lambda x: (
            (pixels(x).reshape(*x.shape[1:], 3).transpose(2, 0, 1) - mean) / std
        ),
        Cause(LAYOUT, "rows and columns of the input are exchanged"): lambda x: x.transpose(0, 2, 1),
        Cause(ZEROS, "the network gets an input of zeros"): np.zeros_like,
    }


def _find_overflow(evidence: Evidence) -> Cause | None:
    for name, found, right in zip(evidence.names, evidence.found, evidence.right):
        count = int((~np.isfinite(found)).sum())
        if count:
            return Cause(
                OVERFLOW,
                f"{count} values of {name} are not finite. `rehearse` names the operators that overflow; compile with "
                "precision=fp32 where the card can",
            )
        if np.abs(found).max() >= FLOAT16_MAX > np.abs(right).max():
            return Cause(OVERFLOW, f"values of {name} stop at {FLOAT16_MAX:.0f}, where float16 ends")
    return None


def _find_zeros(evidence: Evidence) -> Cause | None:
    zero = {
        name: [i for i in evidence.wrong_images if not found[i].any() and right[i].any()]
        for name, found, right in zip(evidence.names, evidence.found, evidence.right)
    }
    zero = {name: images for name, images in zero.items() if images}
    if not zero:
        return None
    images = sorted({i for listed in zero.values() for i in listed})
    return Cause(ZEROS, f"{', '.join(zero)} of image {_list(images)} hold nothing but zeros: nothing was written there")


def _find_rows(evidence: Evidence) -> Cause | None:
    count = len(evidence.inputs)

    def sampled(outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [
            np.stack([sample(output[i], ROW_SAMPLES) for i in range(count)]).astype(np.float64) for output in outputs
        ]

    rights = sampled(evidence.right)
    scales = [np.linalg.norm(part) or 1.0 for part in rights]  # each output counts the same
    found, right = (
        np.concatenate([part / scale for part, scale in zip(parts, scales)], axis=1)
        for parts in (sampled(evidence.found), rights)
    )
    others = {}
    for i in evidence.wrong_images:
        alike = [_likeness(found[i], right[j]) for j in range(count)]
        best = int(np.argmax(alike))
        if best != i and _explains(alike[best], alike[i]):
            others[i] = best
    if not others or 2 * len(others) < len(evidence.wrong_images):
        return None
    listed = ", ".join(f"{i} has those of {j}" for i, j in itertools.islice(others.items(), 4))
    more = ", ..." if len(others) > 4 else ""
    return Cause(ROWS, f"the outputs of {len(others)} images belong to others: {listed}{more}")


def _find_layout(evidence: Evidence) -> Cause | None:
    i = evidence.wrong_images[0]
    explained: dict[str, list[str]] = {}  # layout -> outputs
    unexplained = 0
    for name, found, right in zip(evidence.names, evidence.found, evidence.right):
        own = _likeness(found[i], right[i])
        layouts = _layouts(right[i])
        alike = {text: _likeness(found[i], values) for text, values in layouts.items()}
        best = max(alike, key=alike.__getitem__, default="")
        if best and _explains(alike[best], own):
            explained.setdefault(best, []).append(name)
        elif own < FITS:
            unexplained += 1
    if not explained or unexplained:
        return None
    return Cause(LAYOUT, "; ".join(f"{text}: {', '.join(names)}" for text, names in explained.items()))


def _layouts(right: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values of an output [a,b,c] in other orders in memory."""
    if right.ndim != 3:
        return {}
    orders = list(itertools.permutations(range(3)))[1:]
    found = {f"with axes in the order {order}": right.transpose(order) for order in orders}
    if right.shape[0] % BLOCK == 0:
        blocks = right.reshape(right.shape[0] // BLOCK, BLOCK, *right.shape[1:])
        found["in CANN's inner layout NC1HWC0"] = blocks.transpose(0, 2, 3, 1)
    return found


def _find_fault_of_input(evidence: Evidence, network: Network) -> Cause:
    """Run the network on wrong inputs, one fault after the other, and see which gives what was found."""
    images = list(evidence.wrong_images[:TRIED_IMAGES])
    found = [output[images] for output in evidence.found]

    def closeness(outputs: Sequence[np.ndarray]) -> float:
        """Return the likeness of the output and image that fit worst."""
        return min(_likeness(f[n], o[n]) for f, o in zip(found, outputs) for n in range(len(images)))

    own = closeness([output[images] for output in evidence.right])
    results = {}
    for cause, spoil in input_faults(evidence.preprocessing).items():
        spoiled = np.stack([spoil(evidence.inputs[i]) for i in images])
        results[cause] = closeness(network(np.ascontiguousarray(spoiled, np.float32)))
    best = max(results, key=results.__getitem__)
    if _explains(results[best], own):
        return Cause(f"AIPP: {best.kind}" if evidence.has_aipp else best.kind, best.text)
    closest = f"the right outputs, likeness {own:.4f}"
    if results[best] > own:
        closest = f"{best.kind}: {best.text}, likeness {results[best]:.4f}"
    return Cause(UNKNOWN, f"none of the faults that were tried gives these outputs; the closest: {closest}")


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Return 1 for equal tensors; the cosine where both are as long, and less where one is a multiple of the other."""
    a, b = (values.reshape(-1).astype(np.float64) for values in (first, second))
    squares = float(a @ a + b @ b)
    return 2 * float(a @ b) / squares if squares else 1.0


def _explains(fault: float, right: float) -> bool:
    """Whether a fault's result is as found, and the right one is clearly not."""
    return fault >= FITS and (1 - right) >= AS_CLOSE * (1 - fault)


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{shown}, ..." if len(numbers) > 4 else shown
