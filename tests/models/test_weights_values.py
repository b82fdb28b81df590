"""Tensors that no network can use are refused by name, and harmless oddities are not."""

import math

import pytest
import torch
from factories import TINY_CONFIG

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.weights import expected_shapes, load_backbone, load_fitting, read_state_dict
from yolact_ascend.models.yolact.backbones import imagenet_prefixes
from yolact_ascend.models.yolact.network import YolactEdge

KEY = "proto_net.10.bias"
SIZE = 24
VARIANCE = "backbone.layers.0.1.running_var"
COUNTER = "backbone.layers.0.1.num_batches_tracked"


@pytest.fixture
def write(tmp_path):
    """Write a file of the right shapes, small, with these tensors in it: others have one value, repeated."""

    def write(**tensors):
        state = {key: torch.ones(()).expand(shape) for key, shape in expected_shapes(TINY_CONFIG).items()}
        torch.save({**state, **tensors}, tmp_path / "a.pth")
        return tmp_path / "a.pth"

    return write


def values(*odd, dtype=torch.float32, size=SIZE):
    return torch.tensor([*odd, *[0.5] * (size - len(odd))], dtype=dtype)


REFUSED = {
    "int32": (lambda: values().int(), "1 weights that are not float16 .* or float64 .proto_net.10.bias int32."),
    "bool": (lambda: values() > 0, "1 weights that are not .*bias bool.*Pass the float32 weights"),
    "complex": (lambda: values(dtype=torch.complex64), "1 weights that are not .*bias complex64"),
    "float8": (lambda: values().to(torch.float8_e5m2), "1 weights that are not .*bias float8_e5m2"),
    "NaN": (lambda: values(math.nan), r"NaN or infinite values in 1 tensors \(proto_net.10.bias: 1 of 24\)"),
    "infinite": (lambda: values(math.inf, -math.inf), r"in 1 tensors \(proto_net.10.bias: 2 of 24\).*diverge"),
    "beyond float32": (lambda: values(1e300, dtype=torch.float64), r"in 1 tensors \(proto_net.10.bias: 1 of 24\)"),
    "float16": (lambda: values(math.inf, dtype=torch.float16), r"in 1 tensors \(proto_net.10.bias: 1 of 24\)"),
    "sparse": (lambda: values().to_sparse(), r"1 tensors that are not dense \(proto_net.10.bias sparse_coo\)"),
    "meta": (lambda: values().to("meta"), r"1 tensors that are not dense \(proto_net.10.bias meta\)"),
    "huge": (lambda: torch.ones((), dtype=torch.float16).expand(2**40), r"1 misshapen .* \[1099511627776\] instead of"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_right_is_refused_with_the_tensors_name(write, make, said):
    with pytest.raises(WeightsError, match=said):
        read_state_dict(write(**{KEY: make()}), TINY_CONFIG)


def test_nested_tensors_are_refused(write):
    """PyTorch calls them a prototype, with a warning."""
    with pytest.warns(UserWarning, match="prototype"):
        path = write(**{KEY: torch.nested.nested_tensor([values(), values()])})
    with pytest.raises(WeightsError, match="proto_net.10.bias nested"):
        read_state_dict(path, TINY_CONFIG)


def test_a_variance_below_zero_is_refused(write):
    """Its root is NaN from -1e-5 on, PyTorch's epsilon; no variance is below zero."""
    with pytest.raises(WeightsError, match=rf"variances below zero in 1 batch norms \({VARIANCE}: 2 of 16\)"):
        read_state_dict(write(**{VARIANCE: values(-1.0, -1e-9, 0.0, -0.0, size=16)}), TINY_CONFIG)


TAKEN = {
    "a view": lambda: torch.arange(100.0)[7 : 7 + SIZE],
    "strides": lambda: torch.arange(100.0)[::4][:SIZE],
    "repeated": lambda: torch.ones(()).expand(SIZE),
    "sums beyond float32": lambda: values(3e38, 3e38, 3e38),
    "negated": lambda: torch.imag(values(dtype=torch.complex64).conj()),
    "largest float64": lambda: values(3.4e38, dtype=torch.float64),
    "a parameter": lambda: torch.nn.Parameter(values()),
}


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN.keys())
def test_harmless_oddities_are_taken(write, make):
    found = read_state_dict(write(**{KEY: make()}), TINY_CONFIG)
    assert torch.equal(found[KEY], make().detach().float())


def test_what_is_not_used_is_not_looked_at(write):
    odd = {"semantic_seg_conv.bias": values(math.nan), COUNTER: torch.tensor(-3.0)}
    assert read_state_dict(write(**odd), TINY_CONFIG)


@pytest.mark.parametrize(
    ("odd", "said"),
    [(values(size=16).to(torch.int8), "running_var int8"), (values(math.nan, size=16), "running_var: 1 of 16")],
    ids=["int", "NaN"],
)
def test_a_training_refuses_them_too(write, tmp_path, odd, said):
    path = write(**{VARIANCE: odd})
    with pytest.raises(WeightsError, match=said):
        load_fitting(YolactEdge(TINY_CONFIG), path, TINY_CONFIG)
    backbone = {f"backbone.{new}": old for old, new in imagenet_prefixes(TINY_CONFIG.backbone).items()}
    renamed = {
        old + key[len(new) :]: value
        for key, value in torch.load(path, weights_only=True).items()
        for new, old in backbone.items()
        if key.startswith(new)
    }
    torch.save(renamed, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=said):
        load_backbone(YolactEdge(TINY_CONFIG), tmp_path / "b.pth", TINY_CONFIG)


@pytest.mark.filterwarnings("ignore")  # quantized tensors are deprecated
@pytest.mark.parametrize("kind", ["qint8", "complex64"])
def test_a_counter_that_no_network_can_take_is_refused(write, kind):
    """Found by benchmarks/fuzz.py: a quantized counter was a traceback of PyTorch, a complex one was cut."""
    made = {
        "qint8": lambda: torch.quantize_per_tensor(torch.tensor(3.0), 0.1, 0, torch.qint8),
        "complex64": lambda: torch.tensor(3, dtype=torch.complex64),
    }
    with pytest.raises(WeightsError, match=f"1 weights that are not .*num_batches_tracked {kind}"):
        read_state_dict(write(**{COUNTER: made[kind]()}), TINY_CONFIG)
