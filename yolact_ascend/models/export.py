"""The `export` stage: weights to an ONNX file that was compared with PyTorch before it was accepted."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from yolact_ascend import __version__
from yolact_ascend.detection.output_names import BOXES, COUNT, WHOLE
from yolact_ascend.detection.sets import Matched, lists_detections, pair_rows
from yolact_ascend.errors import ArtifactError, WeightsError
from yolact_ascend.files import atomic_path, sha256_file
from yolact_ascend.models.config import ModelConfig, require_upstream
from yolact_ascend.models.description import KEY, Description, HostPart, to_json
from yolact_ascend.models.exporter import BATCH_AXIS, write_onnx
from yolact_ascend.models.families import default_cut, family_of
from yolact_ascend.models.family import ONNX, OPERATORS_DOMAIN, Family, HostNetwork
from yolact_ascend.models.host_part import HOST, PART_KEY, heads_file, require_own_heads
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.onnx_metadata import FLOAT32_OPERATORS, OPERATORS
from yolact_ascend.models.weights import load_network, read_state_dict
from yolact_ascend.tensors import TensorSpec, all_finite

# Largest |ONNX - PyTorch| over largest |PyTorch| of an output. Seen: 2e-6; summation order alone explains 1e-5.
TOLERANCE = 1e-4
# Of the mask coefficients: tanh, whose argument can be far larger than its result, is as far off as that.
TANH_TOLERANCE = 1e-3
# Of the masks of R-CNN: they are pooled at the coordinates of boxes that differ themselves. Seen: 1.1e-4.
POOLED_TOLERANCE = 1e-3
# Of an output in float16: next to equal values may be rounded to neighbours.
HALF_TOLERANCE = 2.0**-10
TOLERANCES = {"coeffs": TANH_TOLERANCE, "mask": TANH_TOLERANCE, "masks": POOLED_TOLERANCE}
# Of all detections, how many only one side may have: those whose overlap or score is next to a threshold.
UNMATCHED = 0.05
CHECKED_BATCHES = (1, 3)
OWN_NETWORK = "yolact_ascend"


Samples = Sequence[Sequence[np.ndarray]]  # inputs [B,...] in the order of the network's


class Difference(NamedTuple):
    """How far one output of the ONNX file is from PyTorch at one batch size."""

    output: str
    batch_size: int
    max_abs: float
    relative: float  # max_abs over the output's largest magnitude
    is_half: bool = False  # the output is float16


def export_onnx(
    weights: Path,
    config: ModelConfig,
    path: Path,
    upstream: Path | None = None,
    cut: str | None = None,
    operators: str = ONNX,
) -> list[Difference]:
    """Export the network to `path`: `image` -> the outputs at the cut, height and width fixed, the batch axis free.

    The network is ours, or the one in the patched checkout `upstream`; `cut` None is the family's default. Behind a cut
    that leaves a part of the network to the host, that part is written beside it (`heads_file`). The batch size is 1
    where the family takes no other. A graph with other `operators` than ONNX's cannot run here: the same network with
    ONNX's is checked. Returns the differences from PyTorch. Raises WeightsError, ToolError (checkout), or ArtifactError
    when a file fails a check; then no model is left.
    """
    family, cut = family_of(config), cut or default_cut(config)
    # Read the weights before the old file goes: a wrong name loses nothing.
    whole = load_upstream(upstream, weights, config) if upstream else load_network(weights, config)
    network = family.at_cut(whole, config, cut)
    heads = heads_file(path) if family.has_host_part(cut) else None
    if heads:
        require_own_heads(heads)
    path.unlink(missing_ok=True)
    facts = {**_facts(weights, config, upstream, cut), **({} if operators == ONNX else {OPERATORS: operators})}
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        inputs, outputs = input_tensors(config), family.outputs(config, cut)
        is_free = family.batch_sizes is None
        write_onnx(network, temporary, inputs, [spec.name for spec in outputs], family.opset, has_free_batch=is_free)
        model = _simplify(onnx.load(temporary))
        differences, part = [], None
        if heads:  # renamed before the model is
            temporary_heads = stack.enter_context(atomic_path(heads))
            differences = _write_host_part(family.host_part(whole, config, cut), temporary_heads, facts, family.opset)
            part = HostPart(heads.name, sha256_file(temporary_heads))
        description = Description(config, cut, facts["weights_sha256"], facts["network"], facts["producer"], part)
        _set_metadata(model, {**facts, KEY: json.dumps(to_json(description))})
        _state_float32_operators(model, family)
        onnx.save(model, temporary)
        check_contract(temporary, inputs, outputs, family)
        differences = compare_with_torch(temporary, network, outputs, _samples(family, config)) + differences
        refuse_different(differences)
        if operators != ONNX:
            _write_with_operators(family.with_operators(network, operators), model, temporary, inputs, outputs, family)
    return differences


def _write_with_operators(
    network: nn.Module,
    checked: onnx.ModelProto,
    path: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    family: Family,
) -> None:
    """Write the network of a checked model again, with operators that ONNX's checker and runtimes do not know."""
    names = [spec.name for spec in outputs]
    write_onnx(network, path, inputs, names, family.opset, family.batch_sizes is None, own_domains=[OPERATORS_DOMAIN])
    model = _simplify(onnx.load(path))
    for node in model.graph.node:  # atc finds them by type among ONNX's own
        if node.domain == OPERATORS_DOMAIN:
            node.domain = ""
    kept = [imported for imported in model.opset_import if imported.domain != OPERATORS_DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    _set_metadata(model, {entry.key: entry.value for entry in checked.metadata_props})
    _state_float32_operators(model, family)
    onnx.save(model, path)
    _require_contract(model, inputs, outputs, family)


def _samples(family: Family, config: ModelConfig) -> Samples:
    """Return inputs on which the family's network is compared, of each batch size that is checked."""
    generator = np.random.default_rng(0)
    batches = CHECKED_BATCHES if family.batch_sizes is None else (*family.batch_sizes, *family.batch_sizes)
    return [family.sample_inputs(config, generator, batch) for batch in batches]


def _write_host_part(part: HostNetwork, path: Path, facts: Mapping[str, str], opset: int) -> list[Difference]:
    """Write the host's part behind the cut as ONNX; returns how far it is from PyTorch."""
    write_onnx(part.network, path, part.inputs, [spec.name for spec in part.outputs], opset, has_free_batch=False)
    model = onnx.load(path)
    _set_metadata(model, {**facts, PART_KEY: HOST})
    onnx.save(model, path)
    generator = np.random.default_rng(0)
    sample = [generator.standard_normal((1, *spec.shape), dtype=np.float32) for spec in part.inputs]
    return compare_with_torch(path, part.network, part.outputs, [sample])


def load_upstream(checkout: Path, weights: Path, config: ModelConfig) -> nn.Module:
    """Return the network of a patched upstream checkout with the file's weights, ready for inference.

    Imports the checkout's code into this process. Raises ToolError when it is missing or not patched, WeightsError
    when the weights do not fit, UsageError for a config that upstream does not have.
    """
    require_upstream(config)
    return family_of(config).load_upstream(checkout, read_state_dict(weights, config), config)


def check_contract(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], family: Family) -> None:
    """Raise ArtifactError unless the file is valid ONNX with the opset, names and shapes that later stages rely on."""
    model = onnx.load(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"The exported ONNX is not valid: {error}") from error
    _require_contract(model, inputs, outputs, family)


def _require_contract(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], family: Family
) -> None:
    found = {value.name: _shape(value) for value in (*model.graph.input, *model.graph.output)}
    batch = BATCH_AXIS if family.batch_sizes is None else family.batch_sizes[0]
    expected = {spec.name: [batch, *spec.shape] for spec in (*inputs, *outputs)}
    opset = {imported.domain: imported.version for imported in model.opset_import}.get("")
    if list(found.items()) != list(expected.items()) or opset != family.opset:
        raise ArtifactError(
            f"The exported ONNX has opset {opset} and {found}, expected opset {family.opset} and {expected}. "
            "Is this version of torch or onnxsim one that the project was tested with (requirements-export.txt)?"
        )


def compare_with_torch(
    path: Path, network: nn.Module, outputs: Sequence[TensorSpec], samples: Samples
) -> list[Difference]:
    """Run the ONNX file and the network on the same inputs.

    Raises ArtifactError when they find other detections, WeightsError when the network's values are not finite.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [spec.name for spec in outputs]
    differences, matched = [], Matched()
    for sample in samples:
        with torch.inference_mode():
            expected = [output.numpy() for output in network(*map(torch.from_numpy, sample))]
        if not all(map(all_finite, expected)):
            raise WeightsError(
                "The weights give values that are not finite numbers for a drawn picture, and engines differ in what "
                "they make of those. Did the training diverge? Pass an earlier checkpoint."
            )
        found = session.run(None, {entry.name: values for entry, values in zip(session.get_inputs(), sample)})
        if lists_detections(names):
            found, expected, both = _same_detections(names, found, expected)
            matched += both
        for name, ours, reference in zip(names, found, expected):
            if name == COUNT:  # `matched` says more
                continue
            max_abs, largest = (float(np.abs(values).max(initial=0)) for values in (ours - reference, reference))
            relative = max_abs / largest if largest else max_abs
            differences.append(Difference(name, len(sample[0]), max_abs, relative, ours.dtype == np.float16))
    if matched.first + matched.second - 2 * matched.both > UNMATCHED * (matched.first + matched.second):
        raise ArtifactError(
            f"The exported ONNX finds {matched.first} objects and PyTorch {matched.second}, but only {matched.both} "
            "are the same. Is this version of torch, onnxsim or onnxruntime untested (requirements-export.txt)? "
            "Weights of which all scores are equal, such as zeros, cannot be compared: pass trained ones."
        )
    return differences


def _same_detections(
    names: Sequence[str], found: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], Matched]:
    """Return the outputs of a batch with the detections that both sides have, and how many those are.

    Outputs of a row for each detection have the rows of all images, one after the other. A choice that turned leaves
    another box of the same object: that is another detection, not a difference.
    """
    boxes, matched = names.index(BOXES), Matched()
    sides: list[list[list[np.ndarray]]] = []  # of each image, both
    for one, other in zip(zip(*found), zip(*expected)):
        first, second, both = pair_rows(names, one, other, all_candidates=True)
        apart = np.abs(first[boxes] - second[boxes]).max(axis=1, initial=0)
        is_same = apart <= TOLERANCE * np.abs(second[boxes]).max(initial=0)
        sides.append([_kept_rows(names, outputs, is_same) for outputs in (first, second)])
        matched += replace(both, both=int(is_same.sum()))
    joined = [[np.concatenate(output) for output in zip(*side)] for side in zip(*sides)]
    return joined[0], joined[1], matched


def _kept_rows(names: Sequence[str], outputs: Sequence[np.ndarray], is_kept: np.ndarray) -> list[np.ndarray]:
    return [output if name in WHOLE else output[is_kept] for name, output in zip(names, outputs)]


def largest_by_output(differences: Sequence[Difference]) -> list[Difference]:
    """Return the largest relative difference of each output, over the batch sizes."""
    largest: dict[str, Difference] = {}
    for difference in differences:
        if difference.output not in largest or difference.relative > largest[difference.output].relative:
            largest[difference.output] = difference
    return list(largest.values())


def refuse_different(differences: Sequence[Difference]) -> None:
    """Raise ArtifactError that names the worst output when one is further from PyTorch than its tolerance."""
    # `not <=` rather than `>`: NaN is refused, too.
    refused = [difference for difference in differences if not difference.relative <= _tolerance(difference)]
    if refused:
        worst = max(refused, key=lambda difference: np.nan_to_num(difference.relative, nan=np.inf))
        raise ArtifactError(
            f"The exported ONNX differs from PyTorch: {worst.output} at batch {worst.batch_size} by "
            f"{worst.max_abs:.2e} (relative {worst.relative:.2e}, allowed {_tolerance(worst):.0e}). Do the "
            "weights hold NaN or huge values, or is this version of torch, onnxsim or onnxruntime untested "
            "(requirements-export.txt)?"
        )


def _tolerance(difference: Difference) -> float:
    return HALF_TOLERANCE if difference.is_half else TOLERANCES.get(difference.output, TOLERANCE)


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and shapes, where onnxsim is installed; without it the graph is larger and computes the same."""
    try:
        import onnxsim
    except ModuleNotFoundError:
        print("note: onnxsim is not installed, so the ONNX is not simplified; it is checked as ever.", file=sys.stderr)
        return onnx.shape_inference.infer_shapes(model)  # with the shapes that the contract asks for
    simplified, is_same = onnxsim.simplify(model)
    if not is_same:
        raise ArtifactError(
            "onnxsim changed what the exported ONNX computes; see requirements-export.txt for tested versions."
        )
    return simplified


def _facts(weights: Path, config: ModelConfig, upstream: Path | None, cut: str) -> dict[str, str]:
    return {
        "producer": f"yolact-ascend {__version__}",
        "network": family_of(config).describe_upstream(upstream) if upstream else OWN_NETWORK,
        "config": config.name,
        "cut": cut,
        "weights_sha256": sha256_file(weights),
        "class_names": json.dumps(config.class_names),
        "category_ids": json.dumps(config.category_ids),
        "mean_rgb": json.dumps(config.preprocessing.mean_rgb),
        "std_rgb": json.dumps(config.preprocessing.std_rgb),
        "pixel_max": json.dumps(config.preprocessing.pixel_max),
    }


def _set_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> None:
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)


def _state_float32_operators(model: onnx.ModelProto, family: Family) -> None:
    """State the operators that are to stay float32 in half precision, by the names that this graph has."""
    names = family.float32_operators(model.graph)
    if names:
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        _set_metadata(model, {**metadata, FLOAT32_OPERATORS: "\n".join(names)})


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
