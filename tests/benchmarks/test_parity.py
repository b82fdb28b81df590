"""`make parity` with pretended referees: what docs/parity.md says of each."""

import re
import subprocess
import sys
from datetime import date

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "scripts"))

import parity
from parity import REFEREES, Referee, describe_version, judge, main


def pretended(code: str, **more) -> Referee:
    return Referee("pretended", "PRETENDED_DIR", "everything", lambda folder: [sys.executable, "-c", code], **more)


def rows(document) -> list[str]:
    return [line for line in document.read_text().splitlines() if line.startswith("| pretended")]


@pytest.fixture
def referee_folder(tmp_path, monkeypatch):
    folder = tmp_path / "referee"
    folder.mkdir()
    (folder / "a.py").write_text("print(1)\n")
    monkeypatch.setenv("PRETENDED_DIR", str(folder))
    return folder


def test_result_version_date_and_figures_of_a_referee(referee_folder, tmp_path):
    code = "print('.parity: 3 of 4 mask pixels differ '); print('== 2 passed, 1 skipped, 9 deselected in 0.12s ==')"
    document = tmp_path / "parity.md"
    assert main([pretended(code)], document) == 0
    version = describe_version(referee_folder)
    assert re.fullmatch(r"not a git checkout; SHA-256 of its Python files [0-9a-f]{12}", version)
    today = date.today().isoformat()
    assert rows(document) == [f"| pretended | everything | {version} | {today} | 2 passed, 1 skipped |"]
    assert f"## Figures: pretended, {version}\n\n- 3 of 4 mask pixels differ\n" in document.read_text()


def test_an_absent_referee_is_named_as_not_run(monkeypatch, tmp_path):
    monkeypatch.delenv("PRETENDED_DIR", raising=False)
    monkeypatch.delenv("OTHER_DIR", raising=False)
    document = tmp_path / "parity.md"
    assert main([pretended("", needs=("OTHER_DIR",))], document) == 0
    assert rows(document) == ["| pretended | everything |  |  | not run: PRETENDED_DIR and OTHER_DIR not set |"]


def test_each_folder_is_run_alone_and_one_that_is_missing_fails(referee_folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    folders = [referee_folder, other, tmp_path / "gone"]
    monkeypatch.setenv("PRETENDED_DIR", ":".join(map(str, folders)))
    code = "import os; print('parity: folder', os.environ['PRETENDED_DIR'].rpartition('/')[2])"
    document = tmp_path / "parity.md"
    assert main([pretended(code, version=lambda folder: folder.name)], document) == 1
    found = [row.split(" | ")[2:] for row in rows(document)]
    assert [(version, result) for version, _, result in found] == [
        ("referee", "agrees |"),
        ("other", "agrees |"),
        ("", f"not run: PRETENDED_DIR names {folders[2]}, which is not there |"),
    ]
    assert re.findall(r"^- folder (\w+)$", document.read_text(), re.MULTILINE) == ["referee", "other"]


def test_a_folder_of_packages_is_no_referee_and_reaches_the_tests(referee_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PRETENDED_DIR", f"{referee_folder}:{tmp_path / 'packages'}")
    code = "import os; print('parity: folders', os.environ['PRETENDED_DIR'].count(':'))"
    document = tmp_path / "parity.md"
    referee = pretended(code, version=lambda folder: folder.name, has_packages=True)
    assert main([referee], document) == 0
    assert [row.split(" | ")[2] for row in rows(document)] == ["referee"]
    assert "- folders 1\n" in document.read_text()


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, "", ("agrees", True)),
        (3, "", ("**disagrees** (exit code 3)", False)),
        (0, "5 passed in 0.1s", ("5 passed", True)),
        (0, "12 passed, 3 deselected in 61.25s (0:01:01)\nlast words", ("12 passed", True)),
        (1, "1 failed, 5 passed, 2 errors in 1s", ("**1 failed, 5 passed, 2 errors**", False)),
        (0, "7 skipped in 1.00s", ("**7 skipped**", False)),
        (5, "100 deselected in 1.00s", ("**disagrees** (exit code 5)", False)),
    ],
    ids=["script", "script fails", "passed", "long", "failed", "all skipped", "no tests"],
)
def test_judgement(code, output, expected):
    assert judge(code, output) == expected


def test_the_version_is_the_commit_where_there_is_one(referee_folder):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", referee_folder, *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "a.py")
    git("commit", "--quiet", "--message=a")
    commit = git("rev-parse", "HEAD")[:12]
    assert describe_version(referee_folder) == f"commit {commit}"
    (referee_folder / "a.py").write_text("print(2)\n")
    assert describe_version(referee_folder) == f"commit {commit}, with local changes"


def test_every_marker_of_the_suite_has_its_referee():
    commands = [referee.command(CHECKOUT) for referee in REFEREES if referee.variable != "GUIDE_DIR"]
    markers = {words[words.index("-m", 2) + 1] for words in commands}
    text = (CHECKOUT / "pyproject.toml").read_text()
    assert markers == set(re.findall(r'^ +"(\w+): needs', text, re.MULTILINE))
    variables = {referee.variable for referee in REFEREES}
    assert variables == {
        *("YOLACT_EDGE_DIR", "YOLACT_DIR", "AIS_BENCH_DIR", "ULTRALYTICS_DIR", "LPRNET_GUIDE_DIR", "GUIDE_DIR"),
        *("DETECTRON2_DIR", "MASKRCNN_BENCHMARK_DIR", "DETECTRON_DIR", "MSMODELSLIM_DIR"),
    }
    documented = (CHECKOUT / "CONTRIBUTING.md").read_text()
    assert all(f"`{variable}=DIR" in documented for variable in variables)


def test_the_version_of_ultralytics_is_that_of_the_environment(tmp_path):
    folder = tmp_path / "lib" / "python3.11" / "site-packages" / "ultralytics-8.4.190.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ultralytics\nVersion: 8.4.190\n")
    assert parity.describe_package("ultralytics", tmp_path) == "version 8.4.190"


def test_the_record_is_in_docs():
    assert parity.DOCUMENT == CHECKOUT / "docs" / "parity.md"
