"""The kinds of input that `fuzz.py` damages, and the readers that each goes through: those that the verbs call."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from mutators import (
    ANNOTATION_EDITS,
    BYTE_EDITS,
    JSON_EDITS,
    PLACES,
    SCALARS,
    WORDS,
    ZIP_EDITS,
    edit_bytes,
    edit_json,
    edit_lines,
    edit_zip,
    few,
)

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT / folder) for folder in (".", "tests", "emulation")]

from factories import TINY_CONFIG, write_coco  # noqa: E402  found by the line above
from fuzz_rcnn import array_pickles, config_files  # noqa: E402

from yolact_ascend.errors import YolactAscendError  # noqa: E402

WEIGHTS = CHECKOUT / "weights" / "yolact_edge_demo.pth"
TOLERANCE = 1e-9  # percent of mAP: another order of summation

# Does what a verb would do with the damaged input; returns what is wrong although it was accepted.
Attempt = Callable[[Any], "str | None"]


@dataclass(frozen=True)
class Kind:
    """One kind of input: how damage is drawn, and what makes, once in a process, the attempt at it.

    `readers` says which functions an attempt calls; `refusals` are what they may raise.
    """

    readers: str
    damage: st.SearchStrategy
    prepare: Callable[[Path], Attempt]
    refusals: tuple[type[BaseException], ...] = (YolactAscendError,)


TEXT_DAMAGE = st.one_of(
    st.fixed_dictionaries({"json": few(JSON_EDITS, 1), "bytes": st.just([])}),
    st.fixed_dictionaries({"json": few(JSON_EDITS, 0, 1), "bytes": few(BYTE_EDITS, 1)}),
)


ANNOTATION_DAMAGE = st.one_of(
    st.fixed_dictionaries({"json": few(ANNOTATION_EDITS, 1), "bytes": st.just([])}), TEXT_DAMAGE
)


def damaged_json(document: Any, damage: dict[str, list]) -> bytes:
    """Return the bytes of a JSON file with this damage."""
    return edit_bytes(edit_json(document, damage["json"]).encode("utf-8", "surrogatepass"), damage["bytes"])


def annotations(folder: Path) -> Attempt:
    """Read a damaged annotation file and score detections against it; pycocotools scores them, too."""
    from fuzz_scores import compare_scores

    from yolact_ascend.images.coco import load_dataset
    from yolact_ascend.images.pictures import verify

    coco = write_coco(folder / "coco", TINY_CONFIG)
    path = coco / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())

    def attempt(damage: dict[str, list]) -> str | None:
        path.write_bytes(damaged_json(document, damage))
        dataset, config = verify(load_dataset(path, coco / "val2017"), TINY_CONFIG)
        return compare_scores(path, dataset, document["annotations"], config, TOLERANCE)

    return attempt


def annotations_in_pieces(folder: Path) -> Attempt:
    """Read a damaged annotation file whole, and in pieces, where a byte that is no text may be found later."""
    from annotation_files import comparable, outcome, read_in_pieces

    from yolact_ascend import long_json
    from yolact_ascend.images.annotations import read_annotations

    path = write_coco(folder / "coco", TINY_CONFIG) / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    long_json.BLOCK, long_json.MOST_ENTRIES = 50, 2

    def attempt(damage: dict[str, list]) -> str | None:
        path.write_bytes(damaged_json(document, damage))
        whole = outcome(lambda: read_annotations(path))
        in_pieces = outcome(lambda: read_in_pieces(path))
        if repr(in_pieces) != repr(comparable(whole)) and "codec" not in repr(whole):
            return f"in pieces {repr(in_pieces)[:300]}, whole {repr(comparable(whole))[:300]}"
        if isinstance(whole, YolactAscendError):
            raise whole
        return None

    return attempt


def ids(folder: Path) -> Attempt:
    """Read a damaged ids.json."""
    from yolact_ascend.host.postprocess import read_ids
    from yolact_ascend.images.coco import load_dataset

    coco = write_coco(folder / "coco", TINY_CONFIG)
    dataset = load_dataset(coco / "annotations" / "instances_val2017.json", coco / "val2017")
    path = folder / "ids.json"

    def attempt(damage: dict[str, list]) -> str | None:
        path.write_bytes(damaged_json({"ids": [3, 1, 2, 4]}, damage))
        found = read_ids(path, dataset)
        is_right = len(set(found)) == len(found) > 0 and set(found) <= {1, 2, 3, 4}
        return None if is_right else f"accepted other ids: {found}"

    return attempt


def class_record(folder: Path) -> Attempt:
    """Read a `.pth` whose record of classes is damaged."""
    from yolact_ascend.models.class_record import RECORD
    from yolact_ascend.models.classes import choose_classes

    path = folder / "weights.pth"
    records = {info: data for info, data in _records(WEIGHTS) if info.endswith("data.pkl")}  # names and shapes
    name, record = next((info, json.loads(data)) for info, data in _records(WEIGHTS) if info.endswith(RECORD))

    def attempt(damage: dict[str, list]) -> str | None:
        with zipfile.ZipFile(path, "w") as archive:
            for other, data in {**records, name: damaged_json(record, damage)}.items():
                archive.writestr(other, data)
        config = choose_classes(path, TINY_CONFIG).config
        return _fault_of_classes(config.class_names, config.category_ids, TINY_CONFIG.num_classes)

    return attempt


def class_file(folder: Path) -> Attempt:
    """Read a damaged file for classes=, of names or of annotations."""
    from yolact_ascend.models.classes import read_listed

    pairs = zip(TINY_CONFIG.category_ids, TINY_CONFIG.class_names)
    document = {"categories": [{"id": number, "name": name} for number, name in pairs]}

    def attempt(damage: dict[str, list]) -> str | None:
        path = folder / "classes.json"
        path.write_bytes(damaged_json(document, damage))
        listed = read_listed(str(path))
        lines = folder / "classes.txt"
        lines.write_bytes(edit_bytes("\n".join(TINY_CONFIG.class_names).encode(), damage["bytes"]))
        read_listed(str(lines))
        return _fault_of_classes(listed.names, listed.ids or (), len(listed.names))

    return attempt


def _fault_of_classes(names: tuple, ids: tuple, count: int) -> str | None:
    kinds = {
        "names that are no texts": all(isinstance(name, str) and name.strip() for name in names),
        "equal names": len(set(map(str, names))) == len(names),
        "ids that are no whole numbers": all(type(number) is int for number in ids),
        "equal ids": len(set(map(str, ids))) == len(ids),
        "another number of them": len(names) == len(ids) == count,
    }
    wrong = [kind for kind, is_right in kinds.items() if not is_right]
    return f"accepted {wrong[0]}: names {str(names)[:100]} and ids {str(ids)[:100]}" if wrong else None


def weights(folder: Path) -> Attempt:
    """Read a `.pth` with damaged bytes or records; damaged bytes that are accepted must not change a value."""
    import torch

    from yolact_ascend.models.classes import choose_classes
    from yolact_ascend.models.weights import read_state_dict

    path, original = folder / "weights.pth", WEIGHTS.read_bytes()
    expected = read_state_dict(WEIGHTS, TINY_CONFIG)

    def attempt(damage: dict[str, list]) -> str | None:
        path.write_bytes(edit_bytes(edit_zip(original, damage["zip"]) if damage["zip"] else original, damage["bytes"]))
        with contextlib.redirect_stderr(io.StringIO()):
            found = read_state_dict(path, choose_classes(path, TINY_CONFIG).config)
        if any(edit[0] == "swap" for edit in damage["zip"]):  # two records of one size: a whole file of other weights
            return None
        return _fault_of_values(found, expected, torch)

    return attempt


def _fault_of_values(found: dict, expected: dict, torch: Any) -> str | None:
    if any(not bool(torch.isfinite(value).all()) for value in found.values()):
        return "accepted values that are not finite"
    changed = [key for key, value in expected.items() if key not in found or not torch.equal(found[key], value)]
    return f"accepted changed tensors: {len(changed)}" if changed else None


TENSOR_EDITS = st.tuples(
    st.sampled_from(("drop", "rename", "fill", "type", "shape", "sparse", "meta", "object")),
    PLACES,
    st.sampled_from((float("nan"), float("inf"), -1e38, 0.0)),
    st.sampled_from(("int8", "int64", "bool", "complex64", "float16", "bfloat16", "float64", "float8_e4m3fn", "qint8")),
)


def tensors(folder: Path) -> Attempt:
    """Read a `.pth`, whole as a file, whose tensors are of other types, shapes, layouts or values."""
    import torch
    from fuzz_tensors import edit_tensors

    from yolact_ascend.models.classes import choose_classes
    from yolact_ascend.models.weights import read_state_dict

    path = folder / "weights.pth"
    original = torch.load(WEIGHTS, weights_only=True)

    def attempt(edits: list) -> str | None:
        torch.save(edit_tensors(original, edits), path)
        with contextlib.redirect_stderr(io.StringIO()):
            found = read_state_dict(path, choose_classes(path, TINY_CONFIG).config)
        if any(value.is_meta or value.layout != torch.strided or value.is_quantized for value in found.values()):
            return "accepted values that are not plain numbers in memory"
        if any(not value.is_floating_point() for key, value in found.items() if not key.endswith("_tracked")):
            return "accepted values that are not floating point"
        # As float32: PyTorch has no such test for float8, which the unused counters may be.
        is_finite = all(bool(torch.isfinite(value.float()).all()) for value in found.values())
        return None if is_finite else "accepted values that are not finite"

    return attempt


def om(folder: Path) -> Attempt:
    """Load a damaged model on the stand-in of the device, and run it once."""
    from ascend_emulation import om as container
    from fuzz_models import compile_small, run_once, small_onnx

    _, header, model = compile_small(small_onnx(folder)).read_bytes().split(b"\n", 2)
    path, fields = folder / "damaged.om", json.loads(header)

    def attempt(damage: dict[str, list]) -> str | None:
        content = edit_bytes(model, damage["model"])
        digest = {"model_sha256": container.sha256_hex(content)} if damage["fits"] else {}
        line = damaged_json({**fields, **digest}, {"json": damage["json"], "bytes": []})
        path.write_bytes(edit_bytes(container.MAGIC + line + b"\n" + content, damage["bytes"]))
        path.chmod(container.FILE_MODE)
        run_once(path)
        return None

    return attempt


OM_DAMAGE = st.one_of(
    st.fixed_dictionaries(
        {"json": few(JSON_EDITS, 1), "bytes": st.just([]), "model": st.just([]), "fits": st.just(False)}
    ),
    st.fixed_dictionaries(
        {"json": st.just([]), "bytes": few(BYTE_EDITS, 1), "model": st.just([]), "fits": st.just(False)}
    ),
    st.fixed_dictionaries(
        {"json": st.just([]), "bytes": st.just([]), "model": few(BYTE_EDITS, 1), "fits": st.booleans()}
    ),
)


def sidecar(folder: Path) -> Attempt:
    """Read a damaged side-car as a run, its report, `compare` and `predict` do."""
    from fuzz_models import small_description, small_need

    from yolact_ascend.models.inputs import takes_pixels
    from yolact_ascend.targets import compiled
    from yolact_ascend.tensors import TensorSpec

    model, need = folder / "small.om", small_need()
    model.write_bytes(b"model")
    compiled.write_sidecar(model, compiled.describe_model(model, need, small_description(), ["--flag"], "atc"))
    fields = json.loads(compiled.sidecar_file(model).read_text())

    def attempt(damage: dict[str, list]) -> str | None:
        compiled.sidecar_file(model).write_bytes(damaged_json(fields, damage))
        compiled.find_made_for(model)
        found = compiled.require_model(model, need)
        takes_pixels(TensorSpec.of_sample(found.input))
        sizes = [TensorSpec.of_sample(output).size_bytes for output in found.outputs]
        return (
            None
            if all(type(size) is int and size > 0 for size in sizes)
            else f"accepted outputs without a size: {sizes} bytes"
        )

    return attempt


def description(folder: Path) -> Attempt:
    """Read a damaged description of a model, as every verb does."""
    from fuzz_models import small_description

    from yolact_ascend.models.description import parse_description, to_json
    from yolact_ascend.models.families import cut_outputs

    fields = to_json(small_description())

    def attempt(damage: dict[str, list]) -> str | None:
        text = damaged_json(fields, damage).decode("utf-8", "replace")
        found = parse_description(text, "small.onnx")
        cut_outputs(found.config, found.cut)
        is_same = to_json(parse_description(json.dumps(to_json(found)), "again")) == to_json(found)
        return None if is_same else "accepted a description that is not read back as it was"

    return attempt


def aipp(folder: Path) -> Attempt:
    """Compile with a damaged AIPP file on the stand-in of atc, and run the model once."""
    from fuzz_models import SMALL_AIPP, compile_small, run_once, small_onnx

    path, onnx = folder / "aipp.cfg", small_onnx(folder)

    def attempt(damage: dict[str, list]) -> str | None:
        text = edit_lines(SMALL_AIPP, damage["lines"])
        path.write_bytes(edit_bytes(text.encode("utf-8", "replace"), damage["bytes"]))
        run_once(compile_small(onnx, path))
        return None

    return attempt


LINE_EDITS = st.tuples(st.sampled_from(("set", "delete", "repeat", "rename", "move")), PLACES, SCALARS, PLACES)
LINE_DAMAGE = st.fixed_dictionaries({"lines": few(LINE_EDITS), "bytes": few(BYTE_EDITS, 0, 1)})


def words(folder: Path) -> Attempt:
    """Read the words of a run, and what the run does with them before it looks for devices."""
    from yolact_ascend.models.classes import choose_classes
    from yolact_ascend.models.config import get_config
    from yolact_ascend.pipeline.context import find_classes_word, find_dataset
    from yolact_ascend.pipeline.demo import with_demo
    from yolact_ascend.pipeline.settings import parse_words
    from yolact_ascend.targets.registry import TARGETS

    usual = {"config": TINY_CONFIG.name, "weights": str(WEIGHTS), "coco": str(write_coco(folder / "coco", TINY_CONFIG))}

    def attempt(pairs: list) -> str | None:
        given = ["=".join(pair) if isinstance(pair, list) else pair for pair in pairs]
        keys = {word.partition("=")[0] for word in given}
        given += [f"{key}={value}" for key, value in usual.items() if key not in keys]
        settings = with_demo(parse_words(given))
        TARGETS[settings.target].require_usable_paths(settings.out)
        assert settings.stages
        if settings.needs_dataset:
            find_dataset(settings)
        choose_classes(settings.weights, get_config(settings.config), find_classes_word(settings))
        return None

    return attempt


def _word_pairs() -> st.SearchStrategy:
    from yolact_ascend.pipeline.keys import KEYS
    from yolact_ascend.pipeline.ways import ALL_STAGES

    # No program gets a NUL in its words, but bytes that are no UTF-8, which Python turns into half surrogates.
    odd = ("~", "~x", "9" * 5000, "1,1", "\udcff", *(word for word in WORDS if "\0" not in word))
    letters = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6)
    values = st.one_of(
        st.sampled_from((*ALL_STAGES, *(key.default for key in KEYS.values()), *odd)),
        letters,
        st.integers(-2, 2**70).map(str),
        st.sampled_from(
            ("ascend", "onnxruntime", "npu", "cpu", "fp32", "fp16", "heads", "perf", "random", "0,1", "1.5")
        ),
    )
    pair = st.tuples(st.sampled_from([*KEYS, "", "BS", "-bs", "out "]), values).map(list)
    return st.lists(st.one_of(pair, pair, pair, letters), min_size=1, max_size=5)


def _records(path: Path) -> list[tuple[str, bytes]]:
    from mutators import read_zip

    return read_zip(path.read_bytes())


def _emulated_refusals() -> tuple[type[BaseException], ...]:
    from ascend_emulation.atc_errors import AtcError

    return (AtcError,)


ZIP_DAMAGE = st.one_of(
    st.fixed_dictionaries({"zip": few(ZIP_EDITS, 1), "bytes": st.just([])}),
    st.fixed_dictionaries({"zip": st.just([]), "bytes": few(BYTE_EDITS, 1)}),
)
PICKLE_DAMAGE = st.fixed_dictionaries({"form": st.integers(0, 5), "bytes": few(BYTE_EDITS, 1)})
FILE_DAMAGE = st.fixed_dictionaries({"lines": few(LINE_EDITS, 0, 3), "bytes": few(BYTE_EDITS, 0, 2)})

KINDS = {
    "annotations": Kind("load_dataset, pictures.verify, evaluate; against pycocotools", ANNOTATION_DAMAGE, annotations),
    "annotations_in_pieces": Kind("read_annotations, read_truths", ANNOTATION_DAMAGE, annotations_in_pieces),
    "ids": Kind("host.postprocess.read_ids", TEXT_DAMAGE, ids),
    "class_record": Kind("models.classes.choose_classes", TEXT_DAMAGE, class_record),
    "class_file": Kind("models.classes.read_listed", TEXT_DAMAGE, class_file),
    "weights": Kind("choose_classes, models.weights.read_state_dict", ZIP_DAMAGE, weights),
    "tensors": Kind("choose_classes, models.weights.read_state_dict", few(TENSOR_EDITS, 1), tensors),
    "om": Kind("the emulated aclruntime.InferenceSession, one run", OM_DAMAGE, om, (RuntimeError,)),
    "sidecar": Kind("targets.compiled.require_model, find_made_for, TensorSpec.of_sample", TEXT_DAMAGE, sidecar),
    "description": Kind("models.description.parse_description", TEXT_DAMAGE, description),
    "aipp": Kind("the emulated atc_cli.compile_model, one run", LINE_DAMAGE, aipp, _emulated_refusals()),
    "array_pickles": Kind("choose_classes, models.weights.read_state_dict", PICKLE_DAMAGE, array_pickles),
    "config_files": Kind("models.config.get_config, models.description.from_json", FILE_DAMAGE, config_files),
    "words": Kind("parse_words, with_demo, find_dataset, choose_classes", _word_pairs(), words),
}
