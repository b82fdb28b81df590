"""A user's own Detectron2 config file becomes a config exactly, or is refused by the key that stands against it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import CONFIGS, get_config, is_alike
from yolact_ascend.models.families import family_of
from yolact_ascend.models.labels import COCO_CLASSES, PASCAL_CLASSES
from yolact_ascend.models.rcnn.configs import ZOO_CONFIGS
from yolact_ascend.models.rcnn.detectron2_keys import BASES, FIXED, IGNORED, READ
from yolact_ascend.models.rcnn.yaml_config import read_config_file

DETECTION = "COCO-Detection"
MASK_RCNN, FASTER = CONFIGS["mask_rcnn_R_50_FPN_3x"], CONFIGS["faster_rcnn_R_50_FPN_1x"]
BASE = '_BASE_: "../Base-RCNN-FPN.yaml"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def model(**sections):
    """Return the text of a file on Detectron2's FPN base, with these values under MODEL."""
    lines = [f"  {name}: {value}" for name, value in sections.items()]
    return BASE + "\n".join(["MODEL:", *lines] if lines else []) + "\n"


def same_but_name(config, expected):
    return replace(config, name="", source=expected.source) == replace(expected, name="")


@pytest.mark.parametrize("config", ZOO_CONFIGS, ids=lambda config: config.name)
def test_the_shipped_bases_give_the_zoos_configs(write, config):
    folder = "COCO-InstanceSegmentation" if MASK in config.tasks else "COCO-Detection"
    found = read_config_file(write(f"_BASE_: ../{folder}/{config.name}.yaml\n", "own.yaml"))
    assert same_but_name(found, config)
    assert found.name.startswith("own-") and found.source.url == ""
    # Only a file of that very name is the listed config, which has weights of its own in the zoo.
    assert read_config_file(write(f"_BASE_: ../{folder}/{config.name}.yaml\n", f"{config.name}.yaml")) == config


def test_a_file_of_a_listed_name_with_other_values_is_not_the_listed_config(write):
    path = write(model(MASK_ON="True") + "INPUT: {MIN_SIZE_TEST: 400}\n", "mask_rcnn_R_50_FPN_3x.yaml")
    found = read_config_file(path)
    assert found.name != "mask_rcnn_R_50_FPN_3x" and found.preprocessing.shortest_edge_px == 400


def test_files_of_one_name_are_told_apart_by_their_values(write):
    first = get_config(str(write(model(MASK_ON="True"), "a/mine.yaml")))
    second = get_config(str(write(model(MASK_ON="True") + "TEST: {DETECTIONS_PER_IMAGE: 50}\n", "b/mine.yaml")))
    third = get_config(str(write(model(MASK_ON="True") + "# a comment\nSOLVER: {BASE_LR: 1}\n", "c/mine.yaml")))
    assert first.name.split("-")[0] == second.name.split("-")[0] == "mine"
    assert first.name != second.name and first == third
    assert not is_alike(first, second)


POOLING = {
    **{"box_pooler_size": 9, "box_pooler_samples": 2, "mask_pooler_size": 7, "mask_pooler_samples": 1},
    "pooler_is_aligned": False,
}
HEADS = {
    **{"box_layers": 3, "box_channels": 64, "class_agnostic_boxes": True, "box_weights": (1, 2, 3, 4)},
    **{"mask_layers": 2, "mask_channels": 32, "class_agnostic_masks": True},
}
VALUES = {
    "depth": (model(RESNETS="{DEPTH: 101}"), lambda c: c.backbone.stages, (3, 4, 23, 3)),
    "152": (model(RESNETS="{DEPTH: 152}"), lambda c: c.backbone.stages, (3, 8, 36, 3)),
    "groups": (
        model(RESNETS="{NUM_GROUPS: 32, WIDTH_PER_GROUP: 8}"),
        lambda c: (c.rcnn.groups, c.rcnn.bottleneck_channels),
        (32, 256),
    ),
    "basic blocks": (
        model(RESNETS="{DEPTH: 18, RES2_OUT_CHANNELS: 64}"),
        lambda c: (c.backbone.block, c.rcnn.res2_channels),
        ("basic", 64),
    ),
    "stride": (model(RESNETS="{STRIDE_IN_1X1: False}"), lambda c: c.rcnn.stride_in_1x1, False),
    "classes": (model(ROI_HEADS="{NUM_CLASSES: 3}"), lambda c: c.class_names, ("class 1", "class 2", "class 3")),
    "COCO's classes": (model(), lambda c: c.class_names, COCO_CLASSES),
    "80 others": (BASE + 'DATASETS:\n  TRAIN: ("mine",)\n', lambda c: c.class_names[0], "class 1"),
    "Pascal's": (
        model(ROI_HEADS="{NUM_CLASSES: 20}") + "DATASETS: {TRAIN: \"('voc_2007_trainval', 'voc_2012_trainval')\"}\n",
        lambda c: c.class_names,
        PASCAL_CLASSES,
    ),
    "sizes of anchors": (
        model(ANCHOR_GENERATOR="{SIZES: [[8], [16], [32], [64], [128]]}"),
        lambda c: c.rcnn.anchor_sizes_px,
        ((8,), (16,), (32,), (64,), (128,)),
    ),
    "sizes of each level": (
        model(ANCHOR_GENERATOR="{SIZES: [[8, 16.5]]}"),
        lambda c: c.rcnn.anchor_sizes_px,
        ((8, 16.5),) * 5,
    ),
    "ratios": (
        model(ANCHOR_GENERATOR="{ASPECT_RATIOS: [[0.25, 1]]}"),
        lambda c: c.rcnn.aspect_ratios,
        (0.25, 1),
    ),
    "edges": (
        BASE + "INPUT: {MIN_SIZE_TEST: 480, MAX_SIZE_TEST: 640}\n",
        lambda c: (c.preprocessing.shortest_edge_px, c.preprocessing.longest_edge_px, c.preprocessing.width_px),
        (480, 640, 640),
    ),
    "canvas": (BASE + "INPUT: {MAX_SIZE_TEST: 641}\n", lambda c: c.preprocessing.height_px, 672),
    "BGR": (
        BASE + "MODEL: {PIXEL_MEAN: [1, 2, 3], PIXEL_STD: [4, 5, 6]}\n",
        lambda c: (c.preprocessing.channel_order, c.preprocessing.mean_rgb, c.preprocessing.std_rgb),
        ("BGR", (3, 2, 1), (6, 5, 4)),
    ),
    "RGB": (
        BASE + "MODEL: {PIXEL_MEAN: [1, 2, 3], PIXEL_STD: [4, 5, 6]}\nINPUT: {FORMAT: RGB}\n",
        lambda c: (c.preprocessing.channel_order, c.preprocessing.mean_rgb, c.preprocessing.std_rgb),
        ("RGB", (1, 2, 3), (4, 5, 6)),
    ),
    "thresholds": (
        model(ROI_HEADS="{SCORE_THRESH_TEST: 0.3, NMS_THRESH_TEST: 0.4}", RPN="{NMS_THRESH: 0.6}"),
        lambda c: (c.rcnn.score_threshold, c.rcnn.nms_iou, c.rcnn.rpn_nms_iou),
        (0.3, 0.4, 0.6),
    ),
    "detections": (BASE + "TEST: {DETECTIONS_PER_IMAGE: 300}\n", lambda c: c.rcnn.max_detections, 300),
    "proposals": (
        model(RPN="{PRE_NMS_TOPK_TEST: 500, POST_NMS_TOPK_TEST: 200}"),
        lambda c: (c.rcnn.rpn_candidates, c.rcnn.rpn_proposals),
        (500, 200),
    ),
    "pooling": (
        model(
            MASK_ON="True",
            ROI_BOX_HEAD="{POOLER_RESOLUTION: 9, POOLER_SAMPLING_RATIO: 2, POOLER_TYPE: ROIAlign}",
            ROI_MASK_HEAD="{POOLER_RESOLUTION: 7, POOLER_SAMPLING_RATIO: 1, POOLER_TYPE: ROIAlign}",
        ),
        lambda c: replace(MASK_RCNN.rcnn, **POOLING) == c.rcnn,
        True,
    ),
    "heads": (
        model(
            MASK_ON="True",
            ROI_BOX_HEAD="{NUM_FC: 3, FC_DIM: 64, CLS_AGNOSTIC_BBOX_REG: True, BBOX_REG_WEIGHTS: '(1., 2., 3., 4)'}",
            ROI_MASK_HEAD="{NUM_CONV: 2, CONV_DIM: 32, CLS_AGNOSTIC_MASK: True}",
        ),
        lambda c: replace(MASK_RCNN.rcnn, **HEADS) == c.rcnn,
        True,
    ),
    "channels of the FPN": (model(FPN="{OUT_CHANNELS: 64}"), lambda c: c.fpn_channels, 64),
    "norm": (model(RESNETS="{NORM: BN}"), lambda c: c.tasks, (BOX,)),
    "masks": (model(MASK_ON="True"), lambda c: c.tasks, (BOX, MASK)),
    "texts as values": (model(MASK_ON="'True'", RPN='{NMS_THRESH: "0.5"}'), lambda c: c.rcnn.rpn_nms_iou, 0.5),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_become_the_config(write, name):
    text, read, expected = VALUES[name]
    assert read(read_config_file(write(text))) == expected


REFUSED = {
    "C4": ("MODEL: {MASK_ON: True}\n", r"MODEL.BACKBONE.NAME, which it does not set, is 'build_resnet_backbone'"),
    "RetinaNet": (model(META_ARCHITECTURE="RetinaNet"), "MODEL.META_ARCHITECTURE is 'RetinaNet'; expected"),
    "keypoints": (model(KEYPOINT_ON="True"), "MODEL.KEYPOINT_ON is True; expected False"),
    "cascade": (model(ROI_HEADS="{NAME: CascadeROIHeads}"), "MODEL.ROI_HEADS.NAME is 'CascadeROIHeads'"),
    "group norm": (model(RESNETS="{NORM: GN}"), "MODEL.RESNETS.NORM is 'GN'; expected 'FrozenBN' or 'BN'"),
    "norm of the FPN": (model(FPN="{NORM: GN}"), "MODEL.FPN.NORM is 'GN'"),
    "deformable": (
        model(RESNETS="{DEFORM_ON_PER_STAGE: [False, True, True, True]}"),
        r"MODEL.RESNETS.DEFORM_ON_PER_STAGE is \[False, True, True, True\]",
    ),
    "dilation": (model(RESNETS="{RES5_DILATION: 2}"), "MODEL.RESNETS.RES5_DILATION is 2; expected 1"),
    "depth": (model(RESNETS="{DEPTH: 51}"), "MODEL.RESNETS.DEPTH is 51; expected 18 or 34 or 50 or 101 or 152"),
    "width of basic blocks": (model(RESNETS="{DEPTH: 18}"), "RES2_OUT_CHANNELS, which it does not set, is 256"),
    "ratios of levels": (
        model(ANCHOR_GENERATOR="{ASPECT_RATIOS: [[1], [1], [1], [1], [2]]}"),
        "ASPECT_RATIOS is .* expected the same ratios on each level",
    ),
    "levels of anchors": (model(ANCHOR_GENERATOR="{SIZES: [[1], [2]]}"), "SIZES is .*expected one list of numbers"),
    "anchors of size 0": (model(ANCHOR_GENERATOR="{SIZES: [[0]]}"), "SIZES is .*expected one list of numbers above 0"),
    "poolings": (
        model(MASK_ON="True", ROI_MASK_HEAD="{POOLER_TYPE: ROIAlign}"),
        "ROI_MASK_HEAD.POOLER_TYPE is 'ROIAlign'; expected the pooling of the box head",
    ),
    "pooling": (model(ROI_BOX_HEAD="{POOLER_TYPE: ROIPool}"), "POOLER_TYPE is 'ROIPool'; expected ROIAlignV2 or"),
    "no resize": (BASE + "INPUT: {MIN_SIZE_TEST: 0}\n", "INPUT.MIN_SIZE_TEST is 0; expected a whole number from 1"),
    "grey": (BASE + "INPUT: {FORMAT: L}\n", "INPUT.FORMAT is 'L'; expected BGR or RGB"),
    "one mean": (BASE + "MODEL: {PIXEL_MEAN: [1]}\n", r"MODEL.PIXEL_MEAN is \[1\]; expected a list of 3 numbers"),
    "deviation 0": (BASE + "MODEL: {PIXEL_STD: [1, 0, 1]}\n", "PIXEL_STD is .*expected a list of 3 numbers above 0"),
    "threshold": (model(ROI_HEADS="{NMS_THRESH_TEST: 5}"), "NMS_THRESH_TEST is 5; expected a number from 0 to 1"),
    "sigmoid": (model(ROI_BOX_HEAD="{USE_SIGMOID_CE: True}"), "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE is True"),
    "key of a project": (model(POINT_HEAD="{NAME: a}"), "MODEL.POINT_HEAD.NAME is no key of Detectron2 at 02b5c4e2"),
    "typing error": (model(RESNETS="{DEPHT: 50}"), "MODEL.RESNETS.DEPHT is no key of Detectron2"),
    "version 1": (BASE + "VERSION: 1\n", "VERSION is 1; expected 2"),
    "a section as a value": (BASE + "MODEL: {RESNETS: 5}\n", "MODEL.RESNETS does not go together with MODEL.RESNETS."),
    "a section in a list": (model(ANCHOR_GENERATOR="{SIZES: [[{a: 1}]]}"), "SIZES is "),
    "infinite": (model(RPN="{BBOX_REG_WEIGHTS: [.inf, 1, 1, 1]}"), "BBOX_REG_WEIGHTS is "),
    "no number": (model(RPN="{PRE_NMS_TOPK_TEST: .nan}"), "PRE_NMS_TOPK_TEST is nan"),
    "a list": ("- 1\n", r"holds \[1\], expected sections"),
    "nothing": ("", "holds None, expected sections"),
    "no YAML": ("MODEL: {a: [}\n", "cannot be read as plain YAML"),
    "code": (
        "MODEL:\n  RESNETS: !!python/object/apply:os.system ['touch ran']\n",
        "it asks for python/object/apply:os.system, which would run code",
    ),
    "another tag": ("MODEL: !mine 1\n", "cannot be read as plain YAML: could not determine a constructor"),
    "keys of numbers": ("MODEL: {1: 2}\n", "'MODEL.1' is no key of a Detectron2 config"),
    "deep": ("MODEL: " + "{A: " * 40 + "1" + "}" * 40 + "\n", "it is nested more than 20 deep"),
    "deeper": ("MODEL: " + "[" * 20_000 + "]" * 20_000 + "\n", "it is nested more than 20 deep"),
    "an unhashable key": ("? [a, b]\n: 1\n", "cannot be read as plain YAML"),
    "base elsewhere": ('_BASE_: "https://example.org/a.yaml"\n', "_BASE_ is 'https://example.org/a.yaml', expected a"),
    "no base": ('_BASE_: "there/is-none.yaml"\n', "its _BASE_ there/is-none.yaml is not there .*Copy it there"),
    "a folder as base": ("_BASE_: .\n", "its _BASE_ . is not there"),
    "base of nobody": ("_BASE_: ~nobody-here/a.yaml\n", "its _BASE_ ~nobody-here/a.yaml is not there"),
    "base of a long name": (f"_BASE_: {'a' * 5000}\n", "its _BASE_ a+ is not there"),
    "base with a zero byte": ('_BASE_: "a\\0b"\n', "its _BASE_ .* is not there"),
    "base of another kind": ("_BASE_: 5\n", "_BASE_ is 5, expected a file"),
    "a number of 6000 digits": (model(ROI_HEADS=f"{{NUM_CLASSES: 0x{'f' * 5000}}}"), "NUM_CLASSES is a int too long"),
    "a key with dots": (BASE + "MODEL.MASK_ON: True\n", "'MODEL.MASK_ON' is no key of a Detectron2 config"),
    "its own base": ("_BASE_: mine.yaml\n", "its _BASE_ leads back to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_built_is_refused_by_file_and_key(write, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, said = REFUSED[name]
    with pytest.raises(UsageError, match=said) as caught:
        read_config_file(write(text))
    assert "mine.yaml" in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_many_references_to_one_value_are_refused_quickly(write):
    """Ten references in each of nine levels: 10**9 entries, if they were written out."""
    lines = ["A0: &a0 {k: 1}"] + [
        f"A{i}: &a{i} {{{', '.join(f'x{j}: *a{i - 1}' for j in range(10))}}}" for i in range(1, 10)
    ]
    with pytest.raises(UsageError, match="is no key of"):
        read_config_file(write("\n".join(lines)))


def test_bases_that_are_many_times_as_many_as_files_are_refused_quickly(write):
    """Four references in each of 15 files: a thousand million bases."""
    write("A: 1\n", "0.yaml")
    for i in range(1, 16):
        write(f"_BASE_: [{', '.join([f'{i - 1}.yaml'] * 4)}]\n", f"{i}.yaml")
    with pytest.raises(UsageError, match="its _BASE_ leads back to .*, or on without end"):
        read_config_file(write("_BASE_: 15.yaml\n"))


def test_a_link_to_itself_and_a_pipe_are_refused(tmp_path):
    link, pipe = tmp_path / "link.yaml", tmp_path / "pipe.yaml"
    link.symlink_to(link)
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="Cannot read the config file .*link.yaml: Too many levels"):
        read_config_file(link)
    with pytest.raises(UsageError, match="pipe.yaml is no regular file. Write the config into a file"):
        read_config_file(pipe)


def test_the_file_at_fault_is_named_when_it_is_a_base(write):
    write(BASE + "MODEL: {KEYPOINT_ON: True}\n", "bases/people.yaml")
    path = write("_BASE_: bases/people.yaml\nMODEL: {MASK_ON: True}\n")
    with pytest.raises(UsageError, match=r"bases/people.yaml: MODEL.KEYPOINT_ON is True"):
        read_config_file(path)


def test_a_file_goes_before_its_bases_and_a_later_base_before_an_earlier(write):
    write(BASE + "TEST: {DETECTIONS_PER_IMAGE: 10}\nINPUT: {MIN_SIZE_TEST: 100, MAX_SIZE_TEST: 200}\n", "one.yaml")
    write("TEST: {DETECTIONS_PER_IMAGE: 20}\nINPUT: {MIN_SIZE_TEST: 150}\n", "two.yaml")
    found = read_config_file(write("_BASE_: [one.yaml, two.yaml]\nTEST: {DETECTIONS_PER_IMAGE: 30}\n"))
    assert found.rcnn.max_detections == 30
    assert (found.preprocessing.shortest_edge_px, found.preprocessing.longest_edge_px) == (150, 200)


def test_what_does_not_matter_is_ignored(write):
    ignored = "".join(
        f"{section}:\n  {key}: 1\n"
        for section, key in (("SOLVER", "ANYTHING"), ("DATALOADER", "NUM_WORKERS"), ("TEST", "EVAL_PERIOD"))
    )
    text = model(MASK_ON="True", DEVICE="cpu", WEIGHTS="output/model_final.pth") + ignored + "OUTPUT_DIR: ./output\n"
    assert same_but_name(read_config_file(write(text)), MASK_RCNN)


def test_without_masks_the_mask_head_does_not_matter(write):
    text = model(MASK_ON="False", ROI_MASK_HEAD="{NAME: PointRendMaskHead, NORM: GN, CONV_DIM: 1}")
    assert same_but_name(read_config_file(write(text)), FASTER)


@pytest.mark.parametrize(
    "word",
    ["faster_rcnn_R_50_FPN_1x", f"{DETECTION}/faster_rcnn_R_50_FPN_1x", f"{DETECTION}/faster_rcnn_R_50_FPN_1x.yaml"],
)
def test_names_of_the_zoo_are_taken(word):
    assert get_config(word) is FASTER


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("COCO-InstanceSegmentation/faster_rcnn_R_50_FPN_1x", "Unknown config 'COCO-InstanceSegmentation/faster_rcnn"),
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", "There is no config file COCO-Detection/retinanet_R_50_FPN_1x"),
        ("there/is-none.yaml", "There is no config file there/is-none.yaml. Choose one of: .* or pass a Detectron2"),
        ("COCO-Detection/yolact_base_config", "Unknown config"),
        ("a" * 5000 + ".yaml", "There is no config file a+.yaml"),
        ("a\0b.yaml", "There is no config file a"),
        ("~nobody-here/a.yaml", "There is no config file ~nobody-here/a.yaml"),
    ],
)
def test_other_names_are_refused_with_what_there_is(word, said):
    with pytest.raises(UsageError, match=said):
        get_config(word)


def test_a_file_in_place_goes_before_the_zoos_name(write, tmp_path, monkeypatch):
    write(BASE + "TEST: {DETECTIONS_PER_IMAGE: 7}\n", "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")
    monkeypatch.chdir(tmp_path)
    assert get_config("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml").rcnn.max_detections == 7


def test_a_base_that_is_not_there_is_told(write, capsys):
    read_config_file(write('_BASE_: "elsewhere/Base-RCNN-FPN.yaml"\n', "told.yaml"))
    expected = (
        "note: told.yaml: elsewhere/Base-RCNN-FPN.yaml is not there; the values of Detectron2's Base-RCNN-FPN.yaml"
    )
    assert expected in capsys.readouterr().err


def test_no_key_is_in_two_tables():
    tables = [set(READ), set(FIXED), set(IGNORED)]
    assert sum(map(len, tables)) == len(set().union(*tables))


# With Detectron2's checkout.


def flatten(node, above=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def plain(value):
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.detectron2
def test_the_tables_have_each_key_of_detectron2_with_its_default(detectron2):
    from detectron2.config import get_cfg

    defaults = dict(flatten(get_cfg()))
    wanted = {**READ, **{key: default for key, (default, _) in FIXED.items()}}
    assert {key: plain(defaults[key]) for key in wanted} == wanted
    rest = [key for key in defaults if key not in wanted]
    sections = tuple(key for key in IGNORED if key.endswith("."))
    assert [key for key in rest if key not in IGNORED and not key.startswith(sections)] == []
    assert [key for key in IGNORED if not key.endswith(".") and key not in defaults] == []


@pytest.mark.detectron2
def test_the_shipped_bases_say_what_detectron2s_files_say(detectron2):
    from detectron2.config import CfgNode

    for name, ours in BASES.items():
        theirs = dict(flatten(CfgNode.load_yaml_with_base(str(configs(detectron2) / name))))
        merged = dict(flatten({key: value for key, value in ours.items() if key != "_BASE_"}))
        merged = {**({} if name.startswith("Base") else dict(flatten(BASES["Base-RCNN-FPN.yaml"]))), **merged}
        theirs = {key: value for key, value in theirs.items() if key in READ or key in FIXED}
        assert {key: plain(decode(value)) for key, value in theirs.items()} == {
            key: plain(value) for key, value in merged.items() if key in READ or key in FIXED
        }, name


def decode(value):
    import ast

    return ast.literal_eval(value) if isinstance(value, str) and value.startswith("(") else value


def configs(package):
    return Path(package.__file__).parent.parent / "configs"


def all_files():
    folder = Path(os.environ.get("DETECTRON2_DIR", "").split(os.pathsep)[0]) / "configs"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml")) if folder.is_dir() else []
    return found or ["none"]


@pytest.mark.detectron2
@pytest.mark.parametrize("name", all_files())
def test_each_file_of_detectron2_is_built_with_its_keys_or_refused_by_name(detectron2, name):
    import torch
    from detectron2_parity import network_state
    from detectron2_shim import build_detectron2

    path = configs(detectron2) / name
    try:
        config = read_config_file(path)
    except UsageError as error:
        assert ".yaml" in str(error) and ("MODEL." in str(error) or "would run code" in str(error))
        return
    with torch.device("meta"):
        ours = family_of(config).build(config).state_dict()
        theirs = network_state(build_detectron2(path, ["MODEL.DEVICE", "meta"]))
    shapes = [{key: tuple(value.shape) for key, value in state.items()} for state in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.detectron2
def test_a_dump_of_all_keys_is_read_as_its_file(detectron2, write):
    """Detectron2's trainer writes such a dump beside the weights: output/config.yaml."""
    from detectron2_shim import detectron2_config

    cfg = detectron2_config("COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml")
    assert same_but_name(read_config_file(write(cfg.dump(), "config.yaml")), CONFIGS["mask_rcnn_R_101_FPN_3x"])


@pytest.mark.detectron2
def test_a_copied_tree_needs_no_shipped_base(detectron2, tmp_path, capsys):
    shutil.copytree(configs(detectron2), tmp_path / "configs")
    path = tmp_path / "configs" / "COCO-Detection" / "faster_rcnn_R_50_FPN_1x.yaml"
    assert read_config_file(path) is FASTER
    assert "is not there" not in capsys.readouterr().err
