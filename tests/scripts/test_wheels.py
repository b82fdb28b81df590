"""The core and ONNX Runtime have wheels for each Python on aarch64, as card hosts are: pip's index is asked.

Deselected, as it takes a minute and a network: `make wheels`.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "scripts"))
import wheelhouse

PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run", "--no-deps")


def ask_index(*words: str) -> subprocess.CompletedProcess:
    """Have pip choose wheels, from metadata alone where the index has it."""
    return subprocess.run([*PIP, "--ignore-installed", *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def index():
    done = ask_index("tqdm")
    if done.returncode:
        pytest.skip(f"pip's index is out of reach: {done.stderr[-200:]}")


@pytest.mark.index
@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13"])
def test_what_a_cards_host_needs_has_wheels(python, tmp_path):
    """glibc 2.28 is that of openEuler 20.03, CentOS 8 and Debian 10; boards with Ubuntu 20.04 have 2.31."""
    target = wheelhouse.Target(python, "aarch64", "2.28")
    wanted = wheelhouse.our_requirements("runtime", target)
    report, place = tmp_path / "report.json", f"--target={tmp_path / 'nowhere'}"
    words = [wheelhouse._without_marker(one) for one in wanted]
    done = ask_index("--report", str(report), place, *target.flags(), *words)
    assert done.returncode == 0, done.stderr
    chosen = {
        one["metadata"]["name"].lower().replace("_", "-"): one for one in json.loads(report.read_text())["install"]
    }
    assert set(chosen) == {one.name for one in wanted}
    assert all(one["download_info"]["url"].endswith(".whl") for one in chosen.values())
    assert "aarch64" in chosen["numpy"]["download_info"]["url"] and not (tmp_path / "nowhere").exists()
