"""`quantize_model` and the verb: what is chosen and written, on a small graph whose score is made up, and by hand."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from formats import require_valid
from graphs import PLAIN_CONFIG, SIZE, write_chain, write_inputs
from onnx import numpy_helper

from yolact_ascend.compression.quantize import quantize_model
from yolact_ascend.compression.recipe import QuantizeRecipe, Recipe
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.files import sha256_file


def recipe_of(**changes):
    return Recipe("own", QuantizeRecipe(**{"method": "minmax", "images": 6, **changes}))


RECIPE = recipe_of()
CHANNELS = (3, 20, 24, 24, 24)
LAYERS = ["conv0", "conv1", "conv2", "conv3", "left", "right"]
FLOAT_MAP = 60.0


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("data") / "inputs")


@pytest.fixture
def chain(tmp_path):
    (tmp_path / "model").mkdir()
    return write_chain(tmp_path / "model" / "chain.onnx", CHANNELS)


class MadeUpScore:
    """A score that falls by `costs` for each layer that is INT8; it counts calls, and is interrupted after `most`."""

    def __init__(self, costs, most=None, key="these images"):
        self.costs, self.most, self.key, self.calls = costs, most, key, 0

    def __call__(self, path):
        if self.calls == self.most:
            raise KeyboardInterrupt
        self.calls += 1
        quantized = {node.name for node in onnx.load(path).graph.node if node.input[0].endswith("_dq")}
        return FLOAT_MAP - sum(cost for name, cost in self.costs.items() if name in quantized)


class ListedScore(MadeUpScore):
    """Scores in the order in which they are asked for."""

    def __init__(self, *scores):
        super().__init__({})
        self.scores = iter(scores)

    def __call__(self, path):
        return next(self.scores)


def described(done):
    return require_valid(json.loads(done.files.description.read_text()), "int8")


def test_without_a_score_the_method_of_the_recipe_is_used(chain, inputs):
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent)
    assert (done.method, done.int8_layers, dict(done.scores)) == ("minmax", tuple(LAYERS), {})
    found = described(done)
    assert found["images"] == {**found["images"], "used": 6, "found": 8, "seed": 0}
    assert found["onnx"] == {"file": "chain.onnx", "sha256": sha256_file(chain)} and found["measured_on"] is None
    assert found["recipe_sha256"] == RECIPE.sha256 and found["recipe"] == {**found["recipe"], "images": 6}
    assert {name: entry["sha256"] for name, entry in found["files"].items()} == {
        "qdq": sha256_file(done.files.qdq),
        "ascend": sha256_file(done.files.ascend),
        "record": sha256_file(done.files.record),
    }
    assert [layer["precision"] for layer in found["layers"]] == ["int8"] * 6
    assert [layer["precision_on_ascend"] for layer in found["layers"]] == ["float32", *["int8"] * 5]
    assert [layer["why"] for layer in found["layers"]] == ["3 input channels: ATC computes it in float", *[None] * 5]
    names = {node.name for node in onnx.load(done.files.ascend).graph.node}
    assert {f"{name}_dequantize" for name in LAYERS} & names == {f"{name}_dequantize" for name in LAYERS[1:]}
    assert set(found["tensors"]) == {"image", "relu0", "relu1", "relu2", "relu3"}
    assert found["tensors"]["image"]["low"] >= 0 and found["tensors"]["image"]["high"] <= 255


def test_equal_inputs_give_equal_files(chain, inputs, tmp_path):
    one, other = (quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, tmp_path / name) for name in ("one", "other"))
    for path in ("qdq", "ascend", "record", "description"):
        assert getattr(one.files, path).read_bytes() == getattr(other.files, path).read_bytes(), path


def test_corrected_biases_keep_the_means_of_the_first_layer(chain, inputs, tmp_path):
    """Its input is the picture, so the means that were measured are its own; weights do not change."""

    def run(path):
        model = onnx.load(path)
        model.graph.output.append(onnx.ValueInfoProto(name="sum0"))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pictures = [np.fromfile(file, np.float32).reshape(1, 3, SIZE, SIZE) for file in inputs]
        return np.concatenate([session.run(["sum0"], {"image": picture})[0] for picture in pictures]).mean((0, 2, 3))

    found = {}
    for is_corrected in (False, True):
        recipe = recipe_of(images=len(inputs), bias_correction=is_corrected)
        done = quantize_model(chain, inputs, PLAIN_CONFIG, recipe, tmp_path / str(is_corrected))
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(done.files.qdq).graph.initializer}
        shift = np.abs(run(done.files.qdq) - run(chain)).max()
        found[is_corrected] = shift, values["conv0.weight_int8"], values["conv0.bias_int8"]
    assert found[True][0] < found[False][0] / 4
    assert (found[True][1] == found[False][1]).all() and (found[True][2] != found[False][2]).any()


def test_best_needs_a_score(chain, inputs):
    with pytest.raises(UsageError, match="method: best.*annotation"):
        quantize_model(chain, inputs, PLAIN_CONFIG, recipe_of(method="best"), chain.parent)


def test_a_budget_that_cannot_be_checked_is_said(chain, inputs):
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent)
    assert any("map_budget (0.5) was not checked" in warning for warning in described(done)["warnings"])
    assert not quantize_model(chain, inputs, PLAIN_CONFIG, recipe_of(map_budget=None), chain.parent).warnings[1:]


@pytest.fixture
def for_ascend(chain):
    """The model of `chain` as it is exported with Ascend's operators: another file, where tensors have other names."""
    model = onnx.load(chain)
    for node in model.graph.node:
        node.input[:] = [name.replace("relu", "other") for name in node.input]
        node.output[:] = [name.replace("relu", "other") for name in node.output]
    model.metadata_props.add(key="operators", value="ascend")
    path = chain.with_name("ascend.onnx")
    onnx.save(model, path)
    return path


def test_ascends_operators_get_the_integers_of_the_export_that_runs(chain, for_ascend, inputs, tmp_path):
    done = quantize_model(for_ascend, inputs, PLAIN_CONFIG, RECIPE, tmp_path, runnable=chain)
    assert described(done)["measured_on"] == {"file": "chain.onnx", "sha256": sha256_file(chain)}
    alone = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, tmp_path)
    assert done.files.qdq.read_bytes() == alone.files.qdq.read_bytes()
    one, other = (onnx.load(each.files.ascend) for each in (done, alone))
    assert [tensor.raw_data for tensor in one.graph.initializer] == [t.raw_data for t in other.graph.initializer]
    assert [node.op_type for node in one.graph.node] == [node.op_type for node in other.graph.node]
    known = {"image", *(tensor.name for tensor in one.graph.initializer)}
    for node in one.graph.node:
        assert set(node.input) <= known
        known |= set(node.output)
    assert {entry.key: entry.value for entry in one.metadata_props} == {"origin": "graphs.py", "operators": "int8"}


def test_ascends_operators_alone_cannot_be_measured(chain, for_ascend, inputs):
    with pytest.raises(ArtifactError, match=r"ascend\.onnx has operators of Ascend's.* --onnx_model=FILE"):
        quantize_model(for_ascend, inputs, PLAIN_CONFIG, RECIPE, chain.parent)
    with pytest.raises(ArtifactError, match="export it again with operators=onnx"):
        quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, runnable=for_ascend)


def test_an_export_of_other_weights_is_refused_before_any_work(chain, inputs, tmp_path):
    other = write_chain(tmp_path / "other.onnx", CHANNELS, bias=lambda outputs, _: np.zeros(outputs))
    with pytest.raises(ArtifactError, match="other network than the model that was measured: conv0 differs"):
        quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, tmp_path, runnable=other)
    fewer = write_chain(tmp_path / "fewer.onnx", CHANNELS[:-1])
    with pytest.raises(ArtifactError, match="conv3 differs"):
        quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, tmp_path, runnable=fewer)


def test_the_method_with_the_highest_score_is_taken(chain, inputs):
    score = ListedScore(FLOAT_MAP, 59.6, 59.9, 59.8, 59.95)  # float32, minmax, percentile, search, Ascend's form
    recipe = recipe_of(method="best")
    done = quantize_model(chain, inputs, PLAIN_CONFIG, recipe, chain.parent, score)
    expected = {"float32": 60.0, "minmax": 59.6, "percentile": 59.9, "search": 59.8, "int8": 59.9, "int8_ascend": 59.95}
    assert (done.method, dict(done.scores)) == ("percentile", expected)


@pytest.mark.parametrize(
    ("costs", "kept"),
    [
        pytest.param({"left": 0.4}, set(), id="budget met"),
        pytest.param({"conv0": 0.6, "conv2": 0.3}, {"conv0"}, id="float on Ascend anyway"),
        pytest.param({"left": 0.6, "conv2": 0.3}, {"conv0", "left"}, id="a last layer"),
        pytest.param({"conv2": 0.9}, {"conv0", "left", "right", "conv2"}, id="the most sensitive"),
        pytest.param({"conv1": 0.3, "conv2": 0.9}, {"conv0", "left", "right", "conv2"}, id="and not the next"),
    ],
)
def test_the_smallest_set_that_meets_the_budget_stays_in_float(chain, inputs, costs, kept):
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, MadeUpScore(costs))
    assert set(done.kept) == kept and set(done.kept_on_ascend) == {"conv0", *kept}
    assert done.scores["int8"] >= FLOAT_MAP - 0.5
    rows = {row["name"]: row for row in described(done)["sensitivity"]}
    assert set(rows) == (set(LAYERS) if "conv2" in kept else set())
    for name, row in rows.items():
        assert row["map"] == pytest.approx(FLOAT_MAP - costs.get(name, 0))
        assert 20 < row["sqnr_db"] < 60  # 8 bits of an even spread are 6.02 * 8 dB


def test_an_interrupted_search_resumes_with_its_scores(chain, inputs):
    costs = {"conv2": 0.9}
    for _ in range(2):  # each adds four scores
        with pytest.raises(KeyboardInterrupt):
            quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, MadeUpScore(costs, most=4))
    assert [path.name for path in chain.parent.iterdir() if "int8" in path.name] == ["chain_int8_progress.json"]
    again = MadeUpScore(costs)
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, again)
    assert set(done.kept) == {"conv0", "left", "right", "conv2"} and not done.files.progress.exists()
    whole = MadeUpScore(costs)
    quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, whole)
    assert again.calls == whole.calls - 8


def test_no_other_file_is_written_in_the_meantime(chain, inputs):
    """ONNX Runtime's calibrator copies the model beside it, as *-inferred.onnx; a kill would leave such files."""
    others, trials = chain.with_name("chain-inferred.onnx"), []
    others.write_text("mine")

    class Score(MadeUpScore):
        def __call__(self, path):
            trials.append(path)
            return super().__call__(path)

    quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, Score({}))
    assert others.read_text() == "mine"
    assert trials[0] == chain and all(path.parts[1] == "proc" for path in trials[1:])  # in memory


def test_scores_of_other_held_out_images_are_not_resumed(chain, inputs):
    with pytest.raises(KeyboardInterrupt):
        quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, MadeUpScore({}, most=1))
    other = MadeUpScore({}, key="other images")
    quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, other)
    assert other.calls == 3  # float32, INT8, and Ascend's form of it


def test_a_budget_of_nothing_int8_writes_no_file(chain, inputs):
    costs = dict.fromkeys(LAYERS, 1.0)
    with pytest.raises(ArtifactError, match="Every layer .* would stay in float32"):
        quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, MadeUpScore(costs))
    assert not [path for path in chain.parent.iterdir() if path.suffix == ".onnx" and path != chain]


def test_a_network_whose_layers_all_stay_float_on_ascend_is_refused(inputs, tmp_path):
    """ATC computes convolutions of at most 16 input channels in float."""
    narrow = write_chain(tmp_path / "narrow.onnx", (3, 16, 16))
    with pytest.raises(ArtifactError, match=r"float32 on Ascend; the first is conv0 \(3 input channels.*float16"):
        quantize_model(narrow, inputs, PLAIN_CONFIG, RECIPE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["narrow.onnx"]


def test_one_image_is_warned_of_and_works(chain, inputs):
    said = []
    recipe = recipe_of(map_budget=None)
    done = quantize_model(chain, inputs[:1], PLAIN_CONFIG, recipe, chain.parent, scored=inputs, say=said.append)
    assert described(done)["warnings"] == list(done.warnings) and len(done.warnings) == 2
    assert [f"warning: {warning}" for warning in done.warnings] == said[:2]


def test_a_bad_image_writes_nothing(chain, inputs, tmp_path):
    bad = tmp_path / "bad.bin"
    bad.write_bytes(np.full((3, 8, 8), np.nan, np.float32).tobytes())
    with pytest.raises(DatasetError, match=r"bad\.bin has values that are not finite"):
        quantize_model(chain, [*inputs[:3], bad], PLAIN_CONFIG, RECIPE, chain.parent)
    assert [path.name for path in chain.parent.iterdir()] == ["chain.onnx"]


def test_a_quantised_model_is_refused_before_any_work(chain, inputs):
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent)
    for path in (done.files.qdq, done.files.ascend):
        with pytest.raises(ArtifactError, match="is quantised already"):
            quantize_model(path, inputs, PLAIN_CONFIG, RECIPE, chain.parent)


def test_the_sensitivity_is_measured_on_request(chain, inputs):
    score = MadeUpScore({"conv1": 0.2, "left": 0.1})
    done = quantize_model(chain, inputs, PLAIN_CONFIG, RECIPE, chain.parent, score, is_measured=True)
    assert [layer.name for layer in done.sensitivity[:2]] == ["conv1", "left"] and len(done.sensitivity) == len(LAYERS)
    assert not done.kept
