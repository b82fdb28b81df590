"""What is printed on terminals whose encoding lacks characters."""

import io
import subprocess
import sys

import pytest
from factories import CHECKOUT

from yolact_ascend.console import print_on_any_terminal


@pytest.mark.parametrize(
    ("encoding", "text", "printed"),
    [
        ("utf-8", "3×3 … –", "3×3 … –".encode()),
        ("latin-1", "3×3 … –", b"3\xd73 ... -"),
        ("ascii", "3×3 a·b", b"3x3 a*b"),
        ("ascii", "é ☃", b"\\xe9 \\u2603"),
        ("ascii", "", b""),
        ("utf-8", "a\udcff.jpg", b"a\xff.jpg"),
        ("utf-8", "a\ud800", b"a\\ud800"),
    ],
)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_characters_become_those_that_there_are(monkeypatch, name, encoding, text, printed):
    out = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(out, encoding))
    print_on_any_terminal()
    getattr(sys, name).write(text)
    getattr(sys, name).flush()
    assert out.getvalue() == printed


def test_other_streams_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    print_on_any_terminal()
    print("×")
    assert sys.stdout.getvalue() == "×\n"


@pytest.mark.parametrize("program", [["-m", "yolact_ascend", "train"], ["preprocess.py"]], ids=["a verb", "a script"])
def test_help_reaches_a_terminal_of_another_encoding(program):
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        **{"cwd": CHECKOUT, "env": {"PYTHONIOENCODING": "latin-1"}, "capture_output": True},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
