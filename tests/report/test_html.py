"""report.html: one file, right for screen readers, phones and the dark; shown by Chromium where there is one."""

import base64
import html.parser
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from finished import OUTCOMES, written

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.report import report as report_module
from yolact_ascend.report.report import write_report
from yolact_ascend.report.texts import Texts

pytest.importorskip("jinja2")
pytest.importorskip("leather")
from yolact_ascend.report.figures import Line, draw_lines
from yolact_ascend.report.html import PANEL_BYTES, picture_as_uri, render_html

VOID = {"meta", "link", "img", "br", "hr", "rect", "line", "path"}
ROOT = "document.documentElement"
MEASURE = f"document.body.dataset.wider = {ROOT}.scrollWidth - {ROOT}.clientWidth"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Page(html.parser.HTMLParser):
    """The tags of a page, with their attributes, and its text; fails where a tag is not closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(finish):
    """Return what writes the report of a finished folder, and gives the page."""

    def page(tasks=(BOX, MASK), *words):
        run = finish(tasks, *words)
        said = write_report(run, OUTCOMES if "mode=perf" not in words else OUTCOMES[:1], [])
        assert said.splitlines()[-1] == f"Open in a browser: {run.folder.report_html.as_uri()}"
        return run, run.folder.report_html.read_text()

    return page


@pytest.mark.parametrize("words", [(), ("lang=zh",), ("mode=perf",)], ids=["full", "zh", "perf"])
def test_a_page_is_whole_by_itself(page, words):
    _, text = page((BOX, MASK), *words)
    parsed = Page(text)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in parsed.all("a")]
    assert links and {link.removeprefix("#") for link in links} <= set(ids)
    # Nothing is fetched, and nothing runs: no console error can come.
    addresses = re.findall(r"""(?:src|href|url\()\s*=?\s*["']?([^"')\s>]+)""", text)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not parsed.all("script") and "@import" not in text and not re.search(r"\bon\w+=", text)
    assert all(image["alt"] for image in parsed.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in parsed.all("svg"))
    assert "prefers-color-scheme: dark" in text
    assert {"name": "color-scheme", "content": "light dark"} in parsed.all("meta")
    assert parsed.all("html") == [{"lang": "zh-CN" if "lang=zh" in words else "en"}]
    assert ("mode=perf" in words) == (not parsed.all("img"))
    assert "None" not in "".join(parsed.text)


def test_a_page_shows_what_the_report_has(page):
    run, text = page()
    report, _ = written(run)
    shown = re.sub(r"\s+", " ", " ".join(Page(text).text))
    for expected in (
        *("30.00 %", "133.33", "n/a", "COCO's twelve numbers", "a.pth", report["versions"]["python"]),
        *(report["model"]["weights_sha256"], report["results"][0]["model_sha256"], report["model"]["onnx_sha256"]),
        *(report["dataset"]["annotations_sha256"], report["device"]["note"], report["created"]),
        *(entry["name"] for entry in report["results"][0]["classes"]),
        *(term for term, _ in Texts("en").terms()),
    ):
        assert expected in shown, expected
    assert len(Page(text).all("svg")) == 4  # AP by IoU, two precision-recall curves, latency over the run
    pictures = {*report["overlays"], *(one["overlay"] for one in report["worst"])}
    assert len(Page(text).all("img")) == 2 * len(pictures)


def test_names_of_classes_and_commands_are_text_not_markup(page, finish):
    run = finish((BOX, MASK))
    write_report(run, OUTCOMES, ["out=<b>&"])
    text = run.folder.report_html.read_text()
    assert "<b>&amp;" not in text and "out=&lt;b&gt;&amp;" in text


def test_a_network_without_masks_and_a_benchmark_have_no_empty_parts(page):
    _, text = page((BOX,))
    assert "mask mAP" not in text and len(Page(text).all("svg")) == 3


def test_several_batch_sizes_have_a_figure_of_their_throughput(page):
    run, text = page()
    report, _ = written(run)
    (result,) = report["results"]
    report["results"].append({**result, "batch_size": 4, "throughput_images_per_s": 150.0})
    both = render_html(report, run.folder.root)
    labels = [svg["aria-label"] for svg in Page(both).all("svg")]
    (figure,) = re.findall('<svg[^>]*label="images/s by batch size".*?</svg>', both, re.DOTALL)
    assert re.findall("<text[^>]*>([^<]*)</text>", figure)[:3] == ["bs", "2", "4"]
    assert "images/s by batch size" in labels and "images/s by batch size" not in text
    assert len([label for label in labels if label.startswith("bs=")]) == 2  # latency over the run


def test_ticks_of_a_figure_are_what_they_stand_for():
    """A card's batch may take a fraction of a millisecond."""
    svg = draw_lines([Line("ms", [(0, 0.21), (1, 0.93)])], "batch", None, "latency")
    texts = re.findall("<text[^>]*>([^<]*)</text>", svg)
    assert {"0.25", "0.5", "0.75"} <= set(texts)
    assert not re.findall(r"<[^>]*\.\d\d[^>]*>", svg)  # coordinates are short


def test_an_embedded_picture_has_a_limit_whatever_it_shows():
    """Of noise, which no JPEG makes small: 40 of them stay below 4 MB, and a page below 5 MB."""
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    uri = picture_as_uri(noise)
    assert len(uri) < PANEL_BYTES * 4 / 3 + 100
    assert 40 * len(uri) < 4_000_000
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (420, 560, 3)


@pytest.mark.parametrize("module", report_module.LIBRARIES_OF_PAGE)
def test_without_its_libraries_a_run_ends_with_report_md_and_a_sentence(finish, monkeypatch, module):
    run = finish((BOX, MASK))
    write_report(run, OUTCOMES, [])
    is_installed = report_module.is_installed
    monkeypatch.setattr(report_module, "is_installed", lambda name: name != module and is_installed(name))
    said = write_report(run, OUTCOMES, [])
    assert said.splitlines()[-1].startswith(f"There is no report.html: {module} is not installed for ")
    assert run.folder.report_md.is_file() and not run.folder.report_html.exists()


def test_a_browser_shows_it_at_both_widths_without_scrolling_sideways(page, tmp_path):
    """Chromium writes a line with CONSOLE to stderr for each message of the page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} on PATH")
    run, _ = page()
    # The page states how much wider than the window it is, in a copy; Chromium prints the document after scripts ran.
    copy = tmp_path / "measured.html"
    text = run.folder.report_html.read_text()
    copy.write_text(text.replace("</body>", f"<script>{MEASURE}</script></body>"))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    for width in (1280, 390):
        size = [f"--window-size={width},900", f"--user-data-dir={tmp_path}/profile"]
        command = [browser, *flags, *size, copy.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert re.findall(r'data-wider="(.*?)"', shown.stdout) == ["0"], width
        assert "CONSOLE" not in shown.stderr
