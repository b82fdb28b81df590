"""Files that pass between stages: whole or absent, readable by ais_bench, and errors in a sentence."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import (
    as_json,
    atomic_path,
    digest,
    digest_files,
    distinct_stems,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
)


def test_written_files_pass_ais_benchs_permission_rules(tmp_path):
    """Group and others may not write, whatever the umask: ais_bench since 2024 refuses 0664."""
    before = os.umask(0o002)
    try:
        write_bytes(tmp_path / "new" / "0.bin", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "0.bin").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("failure", [RuntimeError("boom"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, failure):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(type(failure)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_of_the_same_file_goes(tmp_path):
    (tmp_path / ".a.onnx.99.part").write_text("half")
    (tmp_path / ".b.onnx.99.part").write_text("half")
    write_bytes(tmp_path / "a.onnx", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.onnx.99.part", "a.onnx"]


def test_a_file_is_closed_to_others_while_it_is_written(tmp_path):
    before = os.umask(0o002)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            assert temporary.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["disk full", "quota"])
def test_a_full_disk_is_said_in_a_sentence(tmp_path, code):
    with pytest.raises(ArtifactError, match="No room to write .*0.bin.*Free space"), atomic_path(tmp_path / "0.bin"):
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_place_is_said_in_a_sentence(tmp_path):
    """A limit on file size stops the write in its middle, as a full disk does."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from yolact_ascend.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(Path(sys.argv[1]) / '0.bin', b'x' * 5000)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "ArtifactError: No room to write" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Cannot create the folder"):
        write_json(tmp_path / "file" / "a.json", {})


def test_json_goes_both_ways(tmp_path):
    write_json(tmp_path / "a.json", {"ids": [1, 2]})
    assert read_json(tmp_path / "a.json", "the ids") == {"ids": [1, 2]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no .*the ids"),
        ("{", "the ids. is not JSON: .*Fix or replace the file"),
        (b"\xff\xfe", "the ids. is not JSON"),
        ("[" * 200_000, "the ids. is not JSON: it is nested too deeply to be read"),
        ('{"a":' * 200_000, "the ids. is not JSON: it is nested too deeply to be read"),
    ],
    ids=["missing", "cut short", "not text", "nested lists", "nested objects"],
)
def test_unreadable_json_is_said_in_a_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArtifactError, match=message):
        read_json(tmp_path / "a.json", "the ids")


@pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="this Python reads numbers of any length")
def test_a_number_of_thousands_of_digits_is_said_in_a_sentence(tmp_path):
    """CVE-2020-10735: a ValueError since Python 3.11, not json's."""
    (tmp_path / "a.json").write_text('{"ids": [' + "7" * 6000 + "]}")
    with pytest.raises(ArtifactError, match=r"a\.json \(the ids\) is not JSON: it has a whole number of thousands of"):
        read_json(tmp_path / "a.json", "the ids")


def test_json_that_takes_more_memory_than_there_is_is_said_in_a_sentence(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from yolact_ascend.files import read_json\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "read_json(Path(sys.argv[1]) / 'a.json', 'the ids')\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert re.search(r"ArtifactError: Reading .*a\.json \(the ids, 1074 MB\) takes more memory than", result.stderr)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", '"\\ud800"', "1e999", '{"a": 1, "a": 2}'])
def test_what_pythons_json_takes_is_read(tmp_path, text):
    """Whether such a value fits is for those to say who use it; pycocotools reads them, too."""
    (tmp_path / "a.json").write_text(text)
    assert repr(read_json(tmp_path / "a.json", "it")) == repr(json.loads(text))


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_text("abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ArtifactError, match="Cannot read"):
        sha256_file(tmp_path / "none")


def test_json_is_written_in_one_line_when_asked(tmp_path):
    write_json(tmp_path / "a.json", [1, 2], indent=None)
    assert (tmp_path / "a.json").read_text() == json.dumps([1, 2]) + "\n"


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        ([], []),
        (["b.jpg", "a.jpg"], ["b", "a"]),
        (["x/a.jpg", "y/a.jpg", "a.png"], ["a", "a_2", "a_3"]),
        (["a.jpg", "a_2.jpg", "a.png"], ["a", "a_2", "a_3"]),
        (["../../etc/a.jpg", "/b.jpg", "..\\c.jpg", ".."], ["a", "b", ".._c", ".."]),
        (["a\nb.jpg", "a\rb.jpg", "\x1b[2J.jpg", "\udc80.jpg", "ä ö.jpg"], ["a_b", "a_b_2", "_[2J", "_", "ä ö"]),
        ([f"{'é' * 200}.jpg", f"{'é' * 201}.jpg"], ["é" * 100, f"{'é' * 100}_2"]),
    ],
    ids=["none", "different", "the same", "a number that is taken", "elsewhere", "not printable", "too long"],
)
def test_stems_are_distinct_and_in_order(names, stems):
    assert distinct_stems([Path(name) for name in names]) == stems


def test_a_digest_tells_values_apart_and_not_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) == digest({"a": 1, "b": (2,)})
    assert len({digest(value) for value in (None, {}, [], {"a": 1}, {"a": "1"}, [1, 2], [2, 1])}) == 7


def test_a_digest_of_files_tells_names_contents_and_order_apart(tmp_path):
    names = [tmp_path / name for name in ("a", "b")]
    for path in names:
        path.write_text("same")
    before = digest_files(names)
    assert digest_files(names) == before
    assert before not in (digest_files(names[:1]), digest_files(names[::-1]), digest_files([names[0]] * 2))
    names[1].write_text("other")
    assert digest_files(names) != before
    with pytest.raises(ArtifactError, match="Cannot read .*none"):
        digest_files([tmp_path / "none"])


def test_a_value_becomes_what_is_read_back():
    assert as_json({"a": (1, (2,))}) == {"a": [1, [2]]}


def test_a_file_can_be_written_under_the_longest_stem(tmp_path):
    (stem,) = distinct_stems([Path("a" * 251 + ".jpg")])
    write_bytes(tmp_path / f"{stem}_12345.jpeg", b"x")
    assert len(list(tmp_path.iterdir())) == 1
