"""The mutation runner, on a package with one module that is tested well and one that is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "benchmarks"))  # its scripts import each other by name

from mutant_suite import Suite
from mutations import find_mutations

SAFE = "def is_adult(age):\n    return age >= 18\n"
HOLE = "def is_child(age):\n    return age < 12\n"


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    write(folder / "pkg" / "__init__.py", "")
    write(folder / "pkg" / "safe.py", SAFE)
    write(folder / "pkg" / "hole.py", HOLE)
    write(
        folder / "tests" / "test_safe.py",
        "from pkg.safe import is_adult\n\n\n"
        "def test_age():\n    assert [is_adult(age) for age in (16, 17, 18, 19)] == [False, False, True, True]\n",
    )
    write(
        folder / "tests" / "test_hole.py",
        "from pkg.hole import is_child\n\n\ndef test_age():\n    assert is_child(3)\n    assert not is_child(30)\n",
    )
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(checkout: Path, out: Path, *flags: str) -> subprocess.CompletedProcess:
    script = CHECKOUT / "benchmarks" / "mutants.py"
    command = [sys.executable, script, "pkg", "--checkout", checkout, "--out", out, "--python", sys.executable, *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_hole_is_found_and_a_tested_module_has_none(checkout, tmp_path):
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    out = tmp_path / "mutants.jsonl"
    result = run(checkout, out)
    assert result.returncode == 0, result.stderr
    # Each module: the comparison, the constant by one (one of two), and the dropped return.
    assert "| pkg/hole.py | 3 | 1 | 1 | 2 |" in result.stdout
    assert "| pkg/safe.py | 3 | 3 | 3 | 0 |" in result.stdout
    assert "- pkg/hole.py:2 comparison: `age < 12` -> `(age <= 12)`" in result.stdout
    assert "| all | 6 | 4 | 4 | 2 |" in result.stdout
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


def test_the_same_command_resumes(checkout, tmp_path):
    out = tmp_path / "mutants.jsonl"
    first = run(checkout, out, "--mutants", "2")
    lines = out.read_text().splitlines()
    names = [json.loads(line)["name"] for line in lines if "name" in json.loads(line)]
    assert len(names) == 2
    # Interrupted while it wrote the second.
    last = next(index for index, line in enumerate(lines) if json.loads(line).get("name") == names[1])
    out.write_text("\n".join([*lines[:last], lines[last][:20]]))
    again = run(checkout, out, "--mutants", "2")
    assert again.stdout == first.stdout
    assert again.stderr.count("/1 ") == 1, again.stderr  # one mutant, not two
    changed = run(checkout, out, "--mutants", "2", "--seed", "1")
    assert changed.returncode == 2
    assert "Use another --out" in changed.stderr


def test_a_test_file_that_fails_without_a_mutant_is_left_out(checkout, tmp_path):
    write(checkout / "tests" / "test_hole.py", "from pkg import hole\n\n\ndef test_age():\n    assert not hole\n")
    (checkout / "pkg" / "safe.py").unlink()
    (checkout / "tests" / "test_safe.py").unlink()
    result = run(checkout, tmp_path / "mutants.jsonl")
    assert "tests/test_hole.py fails without a mutant" in result.stderr
    assert "| pkg/hole.py | 3 | 0 | 0 | 3 |" in result.stdout


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        ('"""Text."""\n', []),
        ("x: list[int] = f(1 < y)\n", ["1 < y -> (1 <= y)", "1 -> (2)", "1 -> (0)"]),
        ("f(min(a, b))\n", ["f(min(a, b)) -> pass", "min -> max"]),
        ("def f(x=True):\n    return\n", ["True -> (False)"]),
        ("if not x:\n    raise E\n", ["not x -> x", "raise E -> pass"]),
        (
            "if x and y:\n    x += z\n",
            ["x and y -> (not (x and y))", "x and y -> (x or y)", "x += z -> x -= z", "x += z -> pass"],
        ),
        ("print(f'{1 + 2}')\n", ["print(f'{1 + 2}') -> pass"]),
        ("x = 'ä' + 'b'\n", ["'ä' + 'b' -> ('ä' - 'b')"]),
    ],
    ids=["empty", "docstring", "comparison", "opposite", "default", "negation", "and", "f-string", "bytes"],
)
def test_mutations(source, expected):
    found = [f"{mutation.before} -> {mutation.after}" for mutation in find_mutations(source.encode())]
    assert found == expected


def test_which_tests_concern_a_module(tmp_path):
    for name, text in {
        "pkg/floor.py": "",
        "pkg/room/one.py": "",
        "pkg/room/two.py": "from pkg.room import one\n",
        "pkg/room/three.py": "",
        "tests/floor/test_floor.py": "",
        "tests/room/helper.py": "def f():\n    from pkg.room.two import g\n",
        "tests/room/test_two_more.py": "import helper\n",
        "tests/other/test_one.py": "import pkg.floor\n",
    }.items():
        write(tmp_path / name, text)
    suite = Suite(tmp_path, ["pkg"])
    # Its own, then those that import it.
    assert suite.of("pkg/floor.py") == [["tests/floor/test_floor.py"], ["tests/other/test_one.py"]]
    # Not the file of the same name in another room: the tests of what imports it.
    assert suite.of("pkg/room/one.py") == [[], ["tests/room/test_two_more.py"]]
    assert suite.of("pkg/room/two.py") == [["tests/room/test_two_more.py"], []]
    # Neither: those of the room.
    assert suite.of("pkg/room/three.py") == [[], ["tests/room/test_two_more.py"]]
