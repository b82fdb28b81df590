"""Pruned networks: the same function without some channels, in every backbone, by the verb, and what is refused."""

import copy
import dataclasses
import re

import pytest
import torch
from factories import CHECKOUT, TINY_CONFIG

from yolact_ascend.cli import main, prune
from yolact_ascend.cli.train import make_recipe
from yolact_ascend.compression.prune import PRUNED_SUFFIX, format_pruned, prune_network
from yolact_ascend.compression.recipe import PruneRecipe
from yolact_ascend.errors import UsageError
from yolact_ascend.models.classes import config_of
from yolact_ascend.models.config import CONFIGS, DARKNET53, MOBILENETV2, RESNET50
from yolact_ascend.models.families import family_of
from yolact_ascend.models.network_layers import count_network
from yolact_ascend.models.weights import expected_shapes, load_network
from yolact_ascend.models.yolact.network import WithHeads

DEMO_WEIGHTS = CHECKOUT / TINY_CONFIG.source.url
RECIPE = PruneRecipe()
LEAST_QUANTISED = 16  # input channels; ATC returns narrower convolutions to float: int8_and_pruning, section 1


@pytest.fixture(scope="module")
def demo():
    return load_network(DEMO_WEIGHTS, TINY_CONFIG)


@pytest.fixture(scope="module")
def pruned(demo):
    return prune_network(demo, TINY_CONFIG, RECIPE)


def convolutions(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, torch.nn.Conv2d)}


def test_the_pruned_network_is_a_config_of_its_own(pruned):
    assert pruned.config.name == f"yolact_edge_demo{PRUNED_SUFFIX}" and pruned.config.name not in CONFIGS
    assert {key: tuple(value.shape) for key, value in pruned.network.state_dict().items()} == expected_shapes(
        pruned.config
    )
    before, after = (sum(layer.macs for layer in count_network(each, "heads")) for each in (TINY_CONFIG, pruned.config))
    assert pruned.removed_share == pytest.approx(1 - after / before)
    assert 0.35 <= pruned.removed_share < 0.4


def test_it_computes_what_the_network_does_without_the_removed_channels(demo, pruned):
    """A channel whose weights and bias are zero is zero behind its ReLU, and adds nothing to what reads it."""
    silenced, left = copy.deepcopy(demo), convolutions(pruned.network)
    for name, layer in convolutions(silenced).items():
        if left[name].out_channels < layer.out_channels:
            kept = {float(value) for value in left[name].bias.tolist()}
            gone = [n for n, value in enumerate(layer.bias.tolist()) if value not in kept]
            assert len(gone) == layer.out_channels - left[name].out_channels  # no two biases are equal
            with torch.no_grad():
                layer.weight[gone], layer.bias[gone] = 0, 0
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = (WithHeads(network)(image) for network in (silenced, pruned.network))
    for one, other in zip(expected, found):  # sums of other lengths: float32 rounds otherwise
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_the_network_that_is_pruned_stays_as_it_is(demo, pruned):
    assert {key: tuple(value.shape) for key, value in demo.state_dict().items()} == expected_shapes(TINY_CONFIG)
    assert all(
        torch.equal(value, other)
        for value, other in zip(
            load_network(DEMO_WEIGHTS, TINY_CONFIG).state_dict().values(), demo.state_dict().values()
        )
    )


@pytest.mark.parametrize(
    ("backbone", "sources"),
    [
        pytest.param(dataclasses.replace(RESNET50, stages=(1, 2, 1, 1)), (1, 2, 3), id="resnet"),
        pytest.param(dataclasses.replace(DARKNET53, stages=(1, 1, 1, 1, 1)), (2, 3, 4), id="darknet"),
        pytest.param(MOBILENETV2, (3, 4, 6), id="mobilenetv2 with stages that nothing reads"),
    ],
)
def test_every_backbone_is_pruned_to_widths_that_stay_quantised(backbone, sources):
    config = dataclasses.replace(TINY_CONFIG, backbone=backbone, fpn_sources=sources)
    torch.manual_seed(0)
    network = family_of(config).build(config).eval()
    pruned = prune_network(network, config, PruneRecipe(ratio=0.5))
    assert pruned.removed_share >= 0.5
    assert expected_shapes(pruned.config) == {key: tuple(v.shape) for key, v in pruned.network.state_dict().items()}
    assert any(name.startswith("backbone") for name, _ in pruned.config.widths)
    before = convolutions(network)
    for name, layer in convolutions(pruned.network).items():
        if layer.in_channels < before[name].in_channels:
            assert layer.in_channels > LEAST_QUANTISED and layer.in_channels % 32 == 0, name


def test_a_pruned_network_is_pruned_again(pruned):
    twice = prune_network(pruned.network, pruned.config, PruneRecipe(ratio=0.05, round_to=16))
    assert twice.config.name == pruned.config.name
    assert dict(twice.config.widths).keys() > dict(pruned.config.widths).keys()


def test_the_table_has_the_layers_that_changed(pruned):
    lines = format_pruned(pruned).splitlines()
    assert lines[0].split("|")[1:3] == [" layer                           ", " channels   "]
    assert any(re.match(r"\| proto_net.8 +\| 64 → 64 +\| 32 → 64 +\| 702.0 +\| 351.0", line) for line in lines)
    assert not any("backbone" in line for line in lines)
    assert lines[-1] == "yolact_edge_demo_pruned_config: 5.32 to 3.26 GFLOP, 38.7% less"


def test_what_cannot_be_pruned_is_one_sentence(demo):
    with pytest.raises(UsageError, match="mask_rcnn_demo_config is of the family rcnn, expected yolact"):
        prune_network(torch.nn.Module(), CONFIGS["mask_rcnn_demo_config"], RECIPE)
    with pytest.raises(UsageError, match=r"Pruning removes \d+\.\d% of the operations .* at most, expected 90.0%: its"):
        prune_network(demo, TINY_CONFIG, PruneRecipe(ratio=0.9))


def test_the_verb_writes_pruned_weights_and_fine_tunes_them_by_the_recipe(tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(prune, "train_network", lambda *values: given.append(values))
    (tmp_path / "mine.yaml").write_text(
        "prune:\n  round_to: 32\n  passes: 2\n  batch_size: 16\n  learning_rate: 0.004\n  seed: 7\n"
    )
    command = ["prune", f"--weights={DEMO_WEIGHTS}", f"--save_path={tmp_path}", f"--recipe={tmp_path}/mine.yaml"]
    assert main.main(command) == 0
    ((arguments, config, length),) = given
    written = tmp_path / "pruned.pth"
    assert config_of(None, written).widths == config.widths and "38.7% less" in capsys.readouterr().out
    assert arguments.trained_model == written
    recipe = make_recipe(arguments, 4000, config, length)
    assert [(phase.image_size, phase.batch_size, phase.steps) for phase in recipe.phases] == [
        (275, 16, 400),
        (550, 8, 200),
    ]
    assert (recipe.learning_rate, recipe.decay, recipe.clip_norm, recipe.seed) == (0.004, "cosine", 10, 7)
    first = written.read_bytes()
    assert main.main([*command, "--only_prune"]) == 0
    assert written.read_bytes() == first and len(given) == 1  # so that the fine-tuning resumes


def test_a_recipe_that_prunes_nothing_is_refused(tmp_path, capsys):
    assert main.main(["prune", f"--weights={DEMO_WEIGHTS}", f"--save_path={tmp_path}", "--recipe=int8"]) == 2
    assert "--recipe=int8 prunes nothing. Pass one with the key prune, such as pruned." in capsys.readouterr().err
