"""What the documents say exists: settings, flags, files."""

import re
import subprocess
import sys

import pytest
from factories import CHECKOUT

from yolact_ascend.models.config import CONFIGS
from yolact_ascend.pipeline.settings import KEYS

README = (CHECKOUT / "README.md").read_text()
DOCUMENTS = sorted(path for path in CHECKOUT.glob("*.md")) + sorted(CHECKOUT.glob("*/*.md"))


def test_readme_lists_every_setting_and_no_other():
    table = README.split("## Settings of run_all.sh")[1].split("##")[0]
    rows = re.findall(r"^\| (`.*?) \|", table.replace("\\|", "/"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)=", " ".join(rows))) == set(KEYS)


def test_readme_lists_every_config():
    assert set(re.findall(r"^\| `(\w+_config)`", README, re.MULTILINE)) == set(CONFIGS)


@pytest.mark.parametrize("script", ["pth2onnx.py", "preprocess.py", "postprocess.py"])
def test_flags_in_readmes_commands_exist(script):
    command = re.search(rf"^python3 {script}(?:.*\\\n)*.*", README, re.MULTILINE).group()
    result = subprocess.run(
        [sys.executable, script, "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    flags = re.findall(r"--\w+", command)
    assert flags
    assert set(flags) <= set(re.findall(r"--\w+", result.stdout))


def test_help_of_run_all_lists_every_setting():
    result = subprocess.run(
        [sys.executable, "-m", "yolact_ascend", "run", "--help"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r"^  (\w+)  ", result.stdout.split("settings:")[1], re.MULTILINE) == list(KEYS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_decisions_are_short():
    entries = (CHECKOUT / "docs" / "decisions.md").read_text().split("\n## ")[1:]
    assert entries
    for entry in entries:
        assert len(entry.strip().splitlines()) - 1 <= 8, entry.splitlines()[0]
