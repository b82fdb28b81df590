"""README.zh-CN.md has the sections, commands, tables, links, settings and figures of README.md."""

import re
from collections import Counter

import pytest
from factories import CHECKOUT

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
LINK = re.compile(r"\]\(([^)]+)\)")


def sections(name):
    """Return the document's text by sections, without the line that links the other language."""
    text = (CHECKOUT / name).read_text().replace(f"({CHINESE})", "").replace(f"({ENGLISH})", "")
    return re.split(r"^##+ ", text, flags=re.MULTILINE)


PAIRS = list(zip(sections(ENGLISH), sections(CHINESE)))


def commands(section):
    """Return the lines of shell blocks, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"(^|\s+)#.*", "", line) for line in "".join(blocks).splitlines()]
    return [line for line in lines if line]


def files(section):
    """Return what indented blocks list: the part of each line before two spaces or more."""
    return re.findall(r"^    (\S+(?:,? {1,2}\S+)?) {2,}", section, re.MULTILINE)


def facts(text):
    """Return what no language changes: code, links and figures, each with its count."""
    prose = re.sub(r"^```.*?^```|^    .*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    links = ["#" if target.startswith("#") else target for target in LINK.findall(prose)]
    prose = LINK.sub("]", prose)
    code = re.findall(r"`([^`]+)`", prose)
    figures = re.findall(r"\d+(?:\.\d+)*", re.sub(r"`[^`]+`", "", prose))
    return Counter([*links, *code, *figures])


def rows(section):
    return re.findall(r"^\|.*\|$", section, re.MULTILINE)


def headings(name):
    return re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", (CHECKOUT / name).read_text(), flags=re.S | re.M), re.M)


def test_each_links_the_other():
    for name, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        assert f"]({other})" in (CHECKOUT / name).read_text().splitlines()[2]


def test_the_sections_are_the_same():
    assert headings(CHINESE) == headings(ENGLISH)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[pair[0].splitlines()[0] for pair in PAIRS])
def test_a_section_has_the_same_commands_files_tables_and_facts(english, chinese):
    assert commands(chinese) == commands(english)
    assert files(chinese) == files(english)
    assert [facts(row) for row in rows(chinese)] == [facts(row) for row in rows(english)]
    assert [row.count("|") for row in rows(chinese)] == [row.count("|") for row in rows(english)]
    assert chinese.count("\n- ") == english.count("\n- ")
    assert facts(chinese) == facts(english)


def test_the_comparison_sees_commands_tables_and_files():
    text = (CHECKOUT / ENGLISH).read_text()
    assert len(commands(text)) >= 7 and len(rows(text)) >= 25 and len(files(text)) >= 8
    assert "bash scripts/run_all.sh bs=8" in commands(text)
    assert "bs8/output/<index>_<k>.bin" in files(text)
    assert facts("[a](b.md#c) `d=1` 2.5 GB [e](#f)") == Counter(["b.md#c", "d=1", "2.5", "#"])
