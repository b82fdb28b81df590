"""What the documents say exists: settings, verbs, flags, files."""

import argparse
import re

import pytest
from factories import CHECKOUT

from yolact_ascend import __version__
from yolact_ascend.cli import main
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.pipeline.keys import KEYS

README = (CHECKOUT / "README.md").read_text()
SETTINGS = (CHECKOUT / "docs" / "settings.md").read_text()
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("*/README.md")])
GUIDES_SCRIPTS = {"pth2onnx.py": "export", "preprocess.py": "preprocess", "postprocess.py": "postprocess"}


def test_the_table_of_settings_has_every_key_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? *\|", SETTINGS.split("## Stages")[0], re.MULTILINE)
    assert dict(rows) == {name: key.default for name, key in KEYS.items()}
    assert [name for name, _ in rows] == list(KEYS)


def test_readme_lists_every_config():
    first_cells = re.findall(r"^\| (`\w+_config`[^|]*)\|", README, re.MULTILINE)
    yolact = {name for name, config in CONFIGS.items() if config.family == "yolact"}
    assert set(re.findall(r"`(\w+_config)`", "".join(first_cells))) == yolact


def test_the_page_of_rcnn_lists_its_configs():
    table = (CHECKOUT / "docs" / "rcnn.md").read_text().split("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == [name for name, config in CONFIGS.items() if config.family == "rcnn"]


def commands(text):
    """The commands in a document's shell blocks, one line each, as (verb, flags)."""
    for block in re.findall(r"```sh\n(.*?)```|((?:^    .*\n)+)", text, re.DOTALL | re.MULTILINE):
        for line in "".join(block).replace("\\\n", " ").splitlines():
            found = re.search(r"-m yolact_ascend ([a-z_]+)|python3 (\w+\.py)", line)
            if found and (found.group(1) or found.group(2) in GUIDES_SCRIPTS):
                yield found.group(1) or GUIDES_SCRIPTS[found.group(2)], re.findall(r"--\w+", line.split("#")[0])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_each_block_of_code_is_closed(path):
    fences = re.findall(r"^ *```(.*)$", path.read_text(), re.MULTILINE)
    assert len(fences) % 2 == 0 and not any(fences[1::2]), "a block is not closed, so text shows as code"


def flags_of(verb):
    parser = argparse.ArgumentParser()
    main.VERBS[verb].add_arguments(parser)
    return set(parser._option_string_actions)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_verbs_and_flags_in_the_documents_exist(path):
    for verb, flags in commands(path.read_text()):
        assert set(flags) <= flags_of(verb), verb


def test_the_documents_have_commands():
    shown = [verb for path in DOCUMENTS for verb, _ in commands(path.read_text())]
    assert {"export", "preprocess", "postprocess", "compile", "infer", "benchmark", "stream", "predict"} <= set(shown)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_settings_in_the_documents_exist(path):
    for line in path.read_text().splitlines():
        found = re.search(r"run_all\.sh ([a-z_]+=.*?)(?:`|#|$)", line)
        if found:
            words = re.findall(r"(?:^| )([a-z_]+)=", found.group(1))
            assert set(words) <= set(KEYS), line


def test_help_of_run_all_lists_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main(["run", "--help"])
    assert re.findall(r"^  (\w+)  ", capsys.readouterr().out.split("settings:")[1], re.MULTILINE) == list(KEYS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_to_a_section_have_that_section(path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
        linked = path.parent / target if target else path
        assert anchor in sections(linked), f"{target}#{anchor}"


def sections(document):
    """Return the anchors of a document's headings, as GitHub makes them: lower case, `-` for a space."""
    text = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_modules_that_the_documents_name_exist(path):
    for name in re.findall(r"`(?:yolact_ascend/)((?:\w+/)*\w+\.py)`", path.read_text()):
        assert (CHECKOUT / "yolact_ascend" / name).is_file(), name


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_decisions_are_short():
    entries = (CHECKOUT / "docs" / "decisions.md").read_text().split("\n## ")[1:]
    assert entries
    for entry in entries:
        assert len(entry.strip().splitlines()) - 1 <= 8, entry.splitlines()[0]


def test_the_newest_version_of_the_changelog_is_the_packages():
    """docs/releasing.md: "Unreleased" on top, and below it what was released last, if anything was."""
    first, *released = re.findall(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == "Unreleased" and released[:1] in ([], [__version__])
