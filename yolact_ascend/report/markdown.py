"""report.md, rendered from report.json: every figure comes from there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yolact_ascend.report import sections
from yolact_ascend.report.advice import advice
from yolact_ascend.report.findings import SHOWN_SCORE
from yolact_ascend.report.sections import Table
from yolact_ascend.report.texts import Texts
from yolact_ascend.report.time_per_image import time_note, time_table
from yolact_ascend.tables import escape_markdown, markdown_table

MOST_CLASSES = 20  # whose AP is in report.md; report.json and report.html have those of all


def render_markdown(report: dict[str, Any]) -> str:
    """Render a report for reading, in its language; every figure comes from the JSON."""
    say = Texts(report["lang"])
    device, results, is_full = report["device"], report["results"], report["mode"] == "full"
    lines = [f"# {say('title')}", "", *_facts(report, say), ""]
    lines += _section(say("guide_title"), _table(sections.guide_table(report, say)))
    if is_full:
        lines += _accuracy(report, say)
    lines += _int8(report["model"].get("int8"), say)
    title = say("speed_units", title=sections.throughput_title(device, say))
    table = _table(sections.throughput_table(results, device, say))
    lines += _section(title, table, "", *advice(results, device, say))
    if is_full:
        table = _table(time_table(results, say))
        lines += _section(say("time_title"), table, "", time_note(report["model"]["config"], say))
    lines += _section(say("stages"), _table(sections.stage_table(report["stages"], say)))
    lines += _pictures(report, say)
    lines += _section(
        say("terms"), *(f"- {say('labelled', label=term, text=meaning)}" for term, meaning in say.terms())
    )
    return "\n".join(lines)


def _section(title: str, *lines: str) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _table(table: Table) -> str:
    return markdown_table(table.heads, table.rows)


def _facts(report: dict[str, Any], say: Texts) -> list[str]:
    created = say("created_by", created=report["created"], command=report["command"])
    return [
        f"- {say('labelled', label=say('created'), text=created)}",
        *(
            f"- {say('labelled', label=label, text=escape_markdown(line))}"
            for label, line in sections.facts(report, say)
        ),
        *(f"- **{caution}**" for caution in sections.cautions(report, say)),
        *(_warning(warning, say) for warning in (report["dataset"] or {}).get("warnings", ())),
    ]


def _warning(text: str, say: Texts) -> str:
    return f"- {say('labelled_bold', label=say('warning'), text=escape_markdown(text))}"


def _accuracy(report: dict[str, Any], say: Texts) -> list[str]:
    results = report["results"]
    table = sections.accuracy_table(results, say)
    if not table.rows:
        return _section(say("accuracy"), say("nothing_scored"), *_not_scored(results, say))
    lines = _section(say("accuracy"), _table(table), *_not_scored(results, say))
    lines += _section(say("metrics"), _table(sections.metrics_table(results, say)))
    classes = sections.class_table(results[0], say)
    is_short = len(classes.rows) <= MOST_CLASSES
    title = say("by_class", batch_size=results[0]["batch_size"])
    return lines + _section(title, _table(classes) if is_short else say("many_classes", count=len(classes.rows)))


def _not_scored(results: Sequence[dict[str, Any]], say: Texts) -> list[str]:
    """Say which images were not scored, and in how many the graph left out anchors."""
    failed = {image_id: None for result in results for image_id in result["failed"]}
    lines = []
    if failed:
        line = say("not_scored_line", ids=", ".join(map(str, failed)))
        lines += ["", say("labelled_bold", label=say("not_scored"), text=f"image_id {line}")]
    overfull = sections.overfull_line(results, say)
    return [*lines, *(["", say("labelled_bold", label=say("overfull"), text=overfull)] if overfull else [])]


def _int8(int8: dict[str, Any] | None, say: Texts) -> list[str]:
    """Say how an INT8 model was made, and what in it is not INT8, and why."""
    if int8 is None:
        return []
    return _section(
        "INT8",
        *(f"- {say('labelled', label=label, text=line)}" for label, line in sections.int8_lines(int8, say)),
        *(f"  - `{layer['name']}`: {layer['why']}" for layer in int8["float32"]),
        *(_warning(warning, say) for warning in int8["warnings"]),
    )


def _pictures(report: dict[str, Any], say: Texts) -> list[str]:
    lines = []
    if report["mistakes"]:
        table = Table(
            [say("image"), say("missed"), say("false"), say("wrong_mask")],
            [[_link(one["overlay"]), *(str(one[key]) for key in sections.MISTAKES)] for one in report["worst"]],
        )
        rows = ["", _table(table)] if table.rows else []
        lines += _section(say("mistakes"), sections.mistakes_line(report, say), *rows)
    if report["overlays"]:
        title = say("first_images", batch_size=report["results"][0]["batch_size"], score=SHOWN_SCORE)
        lines += _section(title, *(f"!{_link(name)}" for name in report["overlays"]))
    return lines


def _link(name: str) -> str:
    text = re.sub(r"[\[\]]", r"\\\g<0>", Path(name).stem)
    return f"[{text}]({quote(name)})"
