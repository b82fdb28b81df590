"""The texts of reports: each in both languages, each used, and each with the same values put in."""

import re
import string

import pytest
from factories import CHECKOUT

from yolact_ascend.pipeline.keys import LANGUAGES
from yolact_ascend.pipeline.ways import ALL_STAGES
from yolact_ascend.report.sections import MISTAKES, TASKS
from yolact_ascend.report.terms import NAMES, TERMS, WORDS
from yolact_ascend.report.texts import TEXTS, Texts
from yolact_ascend.report.time_per_image import IMAGE_STEPS

REPORT = CHECKOUT / "yolact_ascend" / "report"
SOURCES = {path.name: path.read_text() for path in (*REPORT.glob("*.py"), *REPORT.glob("*.jinja"))}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SAME = {"Batch Size", "batch", "RLE", "bs, batch"}  # words that Ascend's Chinese documents use as they are
ENGLISH_FROM_JSON = {"demo_note", "emulation_note", "other_note"}  # as {note}


def values_in(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_has_both_languages_with_the_same_values(key):
    english, chinese = TEXTS[key]
    assert english and chinese and not CHINESE.search(english)
    if key in ENGLISH_FROM_JSON:
        assert values_in(english) == {"note"}
    else:
        assert values_in(english) == values_in(chinese)
    if re.search("[a-z]{3}", re.sub(r"\{[^}]*\}", "", english)) and english not in SAME:
        assert CHINESE.search(chinese), chinese
    assert not re.search("[\u4e00-\u9fff][,:;?!]", chinese), "a half-width mark after a Chinese character"


def test_every_text_is_used_and_every_used_one_is_there():
    used = {key for source in SOURCES.values() for key in re.findall(r"""\bsay\(\s*["'](\w+)["']""", source)}
    assert used | {*TASKS, *MISTAKES} == set(TEXTS)


def test_every_step_and_stage_has_a_name_and_the_legend_both_languages():
    assert set(NAMES) == {*IMAGE_STEPS, *ALL_STAGES}
    for english, chinese in (*NAMES.values(), *(meaning for _, meaning in TERMS.values())):
        assert not CHINESE.search(english) and (CHINESE.search(chinese) or english in SAME)


def test_words_from_elsewhere_are_still_written_there():
    sources = "".join(path.read_text() for path in REPORT.parent.rglob("*.py") if path.name != "terms.py")
    assert all(re.search(rf'["]{word}["{{]', sources) for word in WORDS)
    assert Texts("zh").word("drawn scenes") == "合成场景" and Texts("zh").word("a.txt") == "a.txt"
    assert Texts("en").word("drawn scenes") == "drawn scenes"


def test_a_language_is_one_of_the_setting_lang():
    assert [Texts(lang)("accuracy_short") for lang in LANGUAGES] == ["Accuracy", "精度"]
