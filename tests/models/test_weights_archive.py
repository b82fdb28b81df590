"""Damaged archives are refused by name before PyTorch reads them, which compares no checksums."""

import struct
import tracemalloc
import warnings
import zipfile

import pytest
import torch
from factories import TINY_CONFIG

from yolact_ascend.errors import WeightsError
from yolact_ascend.models import weights_archive
from yolact_ascend.models.class_record import RECORD
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.weights import expected_shapes, load_backbone, load_fitting, read_state_dict, read_tensors
from yolact_ascend.models.weights_archive import require_whole
from yolact_ascend.models.weights_file import read_shapes
from yolact_ascend.models.yolact.network import YolactEdge

# Where fields stand in a record's entry of the directory and in its own header: zip's APPNOTE.TXT, 4.3.12 and 4.3.7.
FLAGS, METHOD, CHECKSUM, SIZE = (8, 6, "<H"), (10, 8, "<H"), (16, 14, "<I"), (24, 22, "<I")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of the right shapes, small: each tensor has one value, repeated."""
    path = tmp_path_factory.mktemp("whole") / "a.pth"
    state = {key: torch.ones(()).expand(shape) for key, shape in expected_shapes(TINY_CONFIG).items()}
    torch.save(state, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/9999", b"not used" * 1000)
    return path


@pytest.fixture
def path(whole, tmp_path):
    (tmp_path / "a.pth").write_bytes(whole.read_bytes())
    return tmp_path / "a.pth"


def find(path, record):
    """Return where a record's header, its content and its entry in the directory are."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        header = archive.getinfo(record).header_offset
        entry = content.index(b"PK\x01\x02", archive.start_dir)
    while content[entry + 46 : entry + 46 + len(record)] != record.encode():
        entry = content.index(b"PK\x01\x02", entry + 1)
    name, extra = struct.unpack_from("<HH", content, header + 26)
    return header, header + 30 + name + extra, entry


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)


def set_field(path, record, field, value):
    in_entry, in_header, form = field
    header, _, entry = find(path, record)
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, entry + in_entry, value)
    struct.pack_into(form, content, header + in_header, value)
    path.write_bytes(content)


def add(path, record, content=b"", method=zipfile.ZIP_STORED):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there already
        with zipfile.ZipFile(path, "a", method) as archive:
            archive.writestr(record, content)


DAMAGES = {
    "a value": (lambda p: flip(p, find(p, "a/data/3")[1]), r"is damaged: its record a/data/3 cannot .* \(Bad CRC-32"),
    "the names": (lambda p: flip(p, find(p, "a/data.pkl")[1] + 50), r"its record a/data.pkl cannot .* \(Bad CRC-32"),
    "a header": (lambda p: flip(p, find(p, "a/data/3")[0] + 31), "its record a/data/3 cannot be read .*differ"),
    "deflated": (lambda p: flip(p, find(p, "a/data/9999")[1]), "its record a/data/9999 cannot be read .Error -3"),
    "encrypted": (lambda p: set_field(p, "a/data/3", FLAGS, 1), "its record a/data/3 is encrypted"),
    "method": (lambda p: set_field(p, "a/data/3", METHOD, 99), "a/data/3 is compressed by method 99, expected 0"),
    "twice": (lambda p: add(p, "a/data/3", b"1234"), "holds two records a/data/3, expected each once"),
    "no values": (lambda p: rewrite(p, {"a/data/3": None}), "its record data/3 is missing, expected 4 bytes"),
    "few values": (lambda p: rewrite(p, {"a/data/3": b"12"}), "its record data/3 holds 2 bytes, expected 4"),
    "no names": (lambda p: rewrite(p, {"a/data.pkl": None}), "cannot be read as PyTorch weights .*It has no data.pkl"),
    "directory": (lambda p: p.write_bytes(p.read_bytes()[:-30]), "cannot be read as PyTorch weights .*truncated"),
}


def rewrite(path, changes):
    """Write the archive anew, with sound checksums and other content (None: without that record)."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**records, **changes}.items():
            if content is not None:
                archive.writestr(name, content)


@pytest.mark.parametrize(("harm", "said"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named(path, harm, said):
    harm(path)
    with pytest.raises(WeightsError, match=said):
        read_state_dict(path, TINY_CONFIG)


@pytest.mark.parametrize(
    "load",
    [
        lambda path: load_fitting(YolactEdge(TINY_CONFIG), path, TINY_CONFIG),
        lambda path: load_backbone(YolactEdge(TINY_CONFIG), path, TINY_CONFIG),
    ],
    ids=["train --weights", "train --backbone_weights"],
)
def test_a_training_refuses_damage_in_the_same_words(path, load):
    flip(path, find(path, "a/data/3")[1])
    with pytest.raises(WeightsError) as expected:
        read_state_dict(path, TINY_CONFIG)
    with pytest.raises(WeightsError) as found:
        load(path)
    assert str(found.value) == str(expected.value)


def test_whole_files_are_read(path):
    assert set(read_state_dict(path, TINY_CONFIG)) == set(expected_shapes(TINY_CONFIG))


def test_a_file_without_checksums_is_read(tmp_path):
    """torch.serialization.set_crc32_options(False), of PyTorch from 2.6 on, leaves each checksum 0."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    for name in names:
        set_field(path, name, CHECKSUM, 0)
    assert read_shapes(path) == {"a": (3,)}
    assert torch.equal(read_tensors(path, {}).tensors["a"], torch.ones(3))


RECORD_DAMAGES = {
    "encrypted": (lambda p: set_field(p, f"a/{RECORD}", FLAGS, 1), "its record a/yolact_ascend.json is encrypted"),
    "method": (lambda p: set_field(p, f"a/{RECORD}", METHOD, 99), "compressed by method 99"),
    "deflated": (lambda p: flip(p, find(p, f"a/{RECORD}")[1]), "is damaged: its record a/yolact_ascend.json cannot"),
    "version": (lambda p: flip(p, find(p, f"a/{RECORD}")[2] + 6), "cannot be read .*zip file version"),
}


@pytest.mark.parametrize(("harm", "said"), RECORD_DAMAGES.values(), ids=RECORD_DAMAGES.keys())
def test_damage_of_the_record_of_classes_is_named(path, harm, said):
    add(path, f"a/{RECORD}", b"[1, 2, 3]" * 100, zipfile.ZIP_DEFLATED)
    harm(path)
    with pytest.raises(WeightsError, match=said):
        read_config(path, TINY_CONFIG)


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "not used"])
def test_an_archive_that_unpacks_to_far_more_than_is_needed_is_not_unpacked(path, monkeypatch, is_used):
    """Seen: 6.6 MB that unpack to 3 GiB, which PyTorch reads whole. Here 20 kB that unpack to 20 MB; needed are 3.4."""
    zeros = torch.zeros(5_000_000)
    if is_used:
        torch.save({"proto_net.10.bias": zeros[:24]}, path)
        rewrite_deflated(path)
    else:
        add(path, "a/data/8888", zeros.numpy().tobytes(), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(weights_archive, "_blocks", None)
    with pytest.raises(WeightsError, match=r"MB and unpacks to 20\.\d MB; its config needs 3\.4 MB\. It is not unpack"):
        read_state_dict(path, TINY_CONFIG)


def rewrite_deflated(path):
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("needed_bytes", "is_refused"), [(500_000, False), (499_000, True)], ids=["twice", "more than twice"]
)
def test_up_to_twice_the_need_is_unpacked(tmp_path, needed_bytes, is_refused):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
    if is_refused:
        with pytest.raises(WeightsError, match="unpacks to 1.0 MB"):
            require_whole(path, needed_bytes)
    else:
        require_whole(path, needed_bytes)


def test_a_checkpoint_with_more_than_the_weights_is_read_as_long_as_it_is_not_compressed(path):
    """Adam's state is twice as large as the weights."""
    state = {key: torch.ones(()).expand(shape) for key, shape in expected_shapes(TINY_CONFIG).items()}
    torch.save({"state_dict": state, "optimizer": torch.zeros(2_500_000)}, path)
    assert set(read_state_dict(path, TINY_CONFIG)) == set(state)


def test_a_record_takes_no_more_memory_than_it_declares(path):
    add(path, f"a/{RECORD}", bytes(30_000_000), zipfile.ZIP_DEFLATED)
    set_field(path, f"a/{RECORD}", SIZE, 40)
    tracemalloc.start()
    with pytest.raises(WeightsError, match="its record a/yolact_ascend.json cannot be read"):
        read_config(path, TINY_CONFIG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_record_of_classes_that_is_too_large_is_not_unpacked(path):
    add(path, f"a/{RECORD}", bytes(5 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="a/yolact_ascend.json unpacks to 5242880 bytes, expected at most 4194304"):
        read_config(path, TINY_CONFIG)
