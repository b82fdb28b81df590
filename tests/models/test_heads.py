"""The prediction head on the host: PyTorch's values, the same bits with any number of threads and in any process."""

import pickle
import tempfile

import numpy as np
import pytest
import torch
from factories import TINY_CONFIG

from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.weights import load_network
from yolact_ascend.models.yolact.cuts import cut_outputs


@pytest.fixture(scope="module")
def levels():
    generator = np.random.default_rng(0)
    return [generator.standard_normal(spec.shape, dtype=np.float32) for spec in cut_outputs(TINY_CONFIG, "fpn")[:-1]]


def host_heads(weights, threads=1):
    return load_detector(weights, TINY_CONFIG, "fpn", threads=threads).heads


def test_the_values_are_pytorchs(tiny_weights, levels):
    found = host_heads(tiny_weights)(levels)
    with torch.inference_mode():
        head = load_network(tiny_weights, TINY_CONFIG).head
        expected = head.predict_levels([torch.from_numpy(level)[None] for level in levels])
    assert len(found) == len(expected) == 3
    for ours, theirs, spec in zip(found, expected, cut_outputs(TINY_CONFIG, "heads")):
        assert ours.shape == spec.shape and ours.dtype == np.float32
        # The order of sums; tanh makes no more of it.
        np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_threads_and_processes_give_the_same_bits(tiny_weights, levels):
    heads = host_heads(tiny_weights)
    alone = heads(levels)
    for other in (pickle.loads(pickle.dumps(heads)), host_heads(tiny_weights, threads=2)):
        found = other(levels)
        assert len(found) == len(alone) == 3
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, alone))


def test_making_them_leaves_nothing_on_disk_when_it_is_killed(tiny_weights, monkeypatch, tmp_path):
    expected = host_heads(tiny_weights).model
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # nothing can be written there
    assert host_heads(tiny_weights).model == expected
