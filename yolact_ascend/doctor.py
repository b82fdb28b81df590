"""The `doctor` verb: what a run would find here, check by check, and what to do where it would fail."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend import __version__
from yolact_ascend.artifacts import require_weights
from yolact_ascend.ascend import (
    CPU_EMULATION,
    NPU,
    Shell,
    find_shell,
    read_cann_version,
    require_ais_bench,
    require_one_world,
    require_usable_paths,
    which,
)
from yolact_ascend.atc_errors import COMPILER_MODULES, COMPILER_PIP
from yolact_ascend.cards import choose_chips, read_chips, soc_version_of
from yolact_ascend.classes import read_config
from yolact_ascend.coco import check_categories, find_split, load_dataset, require_images
from yolact_ascend.config import get_config
from yolact_ascend.demo import IMAGES, NOTE, is_drawn, with_demo
from yolact_ascend.disk import describe_remedies, existing_folder, in_gb, plan_disk
from yolact_ascend.errors import ToolError, YolactAscendError, describe_os_error
from yolact_ascend.process import capture
from yolact_ascend.settings import RunSettings
from yolact_ascend.stages import LIBRARIES

OK, WARN, FAIL = "OK", "WARN", "FAIL"
SCHEMA_VERSION = 1
VAL2017_IMAGES = 5000
# Names, of the modules that it gets and numpy<2, those that the Python that runs it does not have.
_COMPILER_PROBE = """
import importlib, sys
try:
    import numpy
    has_numpy = int(numpy.__version__.split(".")[0]) < 2
except Exception:
    has_numpy = False
if not has_numpy:
    print("numpy<2")
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(name)
"""


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, what was found and, unless OK, what to do."""

    name: str
    status: str  # OK, WARN or FAIL
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # the same for programs

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "text": self.text, "facts": dict(self.facts)}


def examine(settings: RunSettings) -> list[Check]:
    """Make every check that a run of these settings depends on; a failed one does not keep the next from being made."""
    settings = with_demo(settings)
    checks = [_check("libraries", check_libraries)]
    shell, world = _check_world(settings)
    checks.append(world)
    kind = world.facts.get("kind")
    if shell is not None:
        checks += [
            _check("card", lambda: check_card(shell, settings.soc, settings.npus)),
            _check("atc", lambda: check_atc(shell, kind)),
            _check("ais_bench", lambda: check_ais_bench(shell, kind)),
        ]
    dataset = _check("data set", lambda: check_dataset(settings))
    return [
        *checks,
        _check("weights", lambda: check_weights(settings)),
        dataset,
        _check("work folder", lambda: check_work_folder(settings.out)),
        _check("disk", lambda: check_disk(settings, dataset.facts.get("images"))),
    ]


def render_text(checks: list[Check]) -> str:
    """Render one line a check, and one that counts."""
    width = max(len(check.name) for check in checks)
    lines = [f"{check.status:<4}  {check.name:<{width}}  {check.text}" for check in checks]
    counts = ", ".join(f"{sum(check.status == status for check in checks)} {status}" for status in (OK, WARN, FAIL))
    return "\n".join([*lines, counts])


def render_json(checks: list[Check]) -> str:
    """Render the checks as JSON; more keys may come."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "is_ready": not failed(checks),
        "checks": [check.to_json() for check in checks],
    }
    return json.dumps(value, indent=2)


def failed(checks: list[Check]) -> list[str]:
    """Return the names of the checks that failed."""
    return [check.name for check in checks if check.status == FAIL]


def check_libraries() -> Check:
    """Our own Python and the libraries whose versions can change a result."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    facts = {"yolact_ascend": __version__, "python": platform.python_version(), **versions}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        text = f"{sys.executable} lacks {', '.join(missing)}. Run bash scripts/setup.sh, and then .venv's Python."
        return Check("libraries", FAIL, text, facts)
    return Check("libraries", OK, ", ".join(f"{name} {version}" for name, version in facts.items()), facts)


def check_card(shell: Shell, soc: str | None, npus: Sequence[int]) -> Check:
    """The cards that npu-smi shows, and the soc_version that atc is given for them."""
    path = which("npu-smi", shell.env)
    if path is None:
        raise ToolError("There is no npu-smi on PATH. Install the driver, or use device=cpu for the emulation.")
    found, version = read_chips(shell.env)
    chips = [chip.name for chip in found]
    chosen = choose_chips(found, npus)[0]
    soc_version = soc or soc_version_of(chosen.name)
    text = f"{', '.join(chips)} (npu-smi {version}, {path}); soc_version {soc_version}{', as soc= says' if soc else ''}"
    facts = {"chips": chips, "soc_version": soc_version, "npu_smi": version, "npu_smi_path": path}
    if len(set(chips)) > 1:
        text += f". The cards differ; this run takes device {chosen.device_id}, a {chosen.name} (npus= chooses)"
    return Check("card", OK, text, facts)


def check_atc(shell: Shell, kind: str | None) -> Check:
    """Where atc is, of which CANN, and whether the Python that it compiles operators in has what it imports."""
    path = which("atc", shell.env)
    if path is None:
        raise ToolError("There is no atc on PATH. Source CANN's set_env.sh, or use device=cpu for the emulation.")
    if kind == CPU_EMULATION:
        return Check("atc", OK, f"stand-in, {path}", {"path": path, "cann": None})
    version = read_cann_version(shell.env)
    text, facts = f"CANN {version}, {path}", {"path": path, "cann": version}
    trouble = _compiler_trouble(shell.env)
    if trouble:
        return Check(
            "atc",
            WARN,
            f"{text}. Its compiler's Python ({which('python3', shell.env)}) {trouble}: {COMPILER_PIP}",
            facts,
        )
    return Check("atc", OK, text, facts)


def check_ais_bench(shell: Shell, kind: str | None) -> Check:
    """The Python of ais_bench, and where ais_bench and aclruntime lie in it."""
    facts = require_ais_bench(shell, kind)
    tools = "; ".join(f"{name} {facts[f'{name}_version']}, {facts[name]}" for name in ("ais_bench", "aclruntime"))
    return Check("ais_bench", OK, f"{tools}; Python {facts['python_version']}, {facts['python']}", facts)


def check_weights(settings: RunSettings) -> Check:
    """Whether the weights file is there, and of the config as far as it says."""
    path = settings.weights
    require_weights(path, settings.config)
    read_config(path, get_config(settings.config))
    size = path.stat().st_size
    return Check("weights", OK, f"{path}, {size / 10**6:.1f} MB", {"path": str(path), "size_bytes": size})


def check_dataset(settings: RunSettings) -> Check:
    """Whether the data set is whole, and of the config's classes."""
    if not settings.needs_dataset:
        return Check("data set", OK, "not needed in mode=perf", {"images": 0})
    if settings.is_demo and not is_drawn(settings.coco):
        scenes = min(IMAGES, settings.image_limit or IMAGES)
        return Check("data set", OK, f"none, so a run draws scenes of its own: {NOTE}", {"images": scenes})
    dataset = load_dataset(*reversed(find_split(settings.coco)))
    check_categories(dataset, read_config(settings.weights, get_config(settings.config)))
    images = dataset.select(limit=settings.image_limit)
    require_images(images)
    annotated = len(dataset.select(annotated_only=True, limit=settings.image_limit))
    limited = f" of {len(dataset.images)}" if len(images) < len(dataset.images) else ""
    text = f"{len(images)}{limited} images, {annotated} of them annotated, {dataset.annotation_file}"
    facts = {"images": len(images), "annotated_images": annotated, "of_images": len(dataset.images)}
    return Check("data set", OK, text, facts)


def check_work_folder(folder: Path) -> Check:
    """Whether a run may write there, and ais_bench takes its path."""
    require_usable_paths(folder)
    parent = existing_folder(folder)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        text = f"{folder}: {parent} is no folder that this user may write to. Choose another by out=DIR."
        return Check("work folder", FAIL, text)
    return Check("work folder", OK, f"{folder}{'' if folder.exists() else ', to be made'}")


def check_disk(settings: RunSettings, images: int | None) -> Check:
    """Whether the stages to run have room for what they write; `images` None: as many as val2017, or the limit.

    What lies in the work folder already counts as written: a new run overwrites it.
    """
    is_guess = images is None
    if images is None:
        images = min(VAL2017_IMAGES, settings.limit or VAL2017_IMAGES)
    plan = plan_disk(settings, images)
    assumed = f" (for {images} images, as the data set could not be read)" if is_guess else ""
    text = f"{in_gb(plan.needed)} GB needed{assumed}, {in_gb(plan.free)} GB free at {settings.out}"
    facts = {**plan.to_json(), "images": images}
    if plan.is_refused:
        return Check("disk", FAIL, f"{text}. {describe_remedies(settings, images, plan)}", facts)
    if plan.is_tight:
        remedy = "Detections and logs come on top: free another GB, or choose another disk (out=DIR)."
        return Check("disk", WARN, f"{text}. {remedy}", facts)
    return Check("disk", OK, text, facts)


def _check(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except YolactAscendError as error:
        return Check(name, FAIL, str(error))
    except OSError as error:
        return Check(name, FAIL, f"{describe_os_error(error)} Mend that, then run doctor again.")
    except Exception as error:  # the other checks are still worth seeing
        return Check(name, FAIL, f"This check itself failed, please report it: {type(error).__name__}: {error}")


def _check_world(settings: RunSettings) -> tuple[Shell | None, Check]:
    """Find the tools' shell and tell its world; the shell is there though its tools may be mixed or incomplete."""
    shells: list[Shell] = []

    def look() -> Check:
        shells.append(find_shell(settings.device))
        kind = require_one_world(shells[0], settings.device)
        name = "CANN and its NPU" if kind == NPU else "CPU emulation"
        sourced = f", by sourcing {shells[0].set_env}" if shells[0].set_env else ""
        facts = {"kind": kind, "reason": shells[0].reason, "set_env": shells[0].set_env and str(shells[0].set_env)}
        return Check("world", OK, f"{name}: {shells[0].reason}{sourced}", facts)

    check = _check("world", look)
    return (shells[0] if shells else None), check


def _compiler_trouble(env: Mapping[str, str]) -> str:
    """Say what atc's Python lacks, by E40000's experience; "" when nothing is known to be wrong."""
    result = capture(["python3", "-c", _COMPILER_PROBE, *COMPILER_MODULES], env)
    lacking = result.stdout.split()
    return f"lacks {', '.join(lacking)}, without which atc may end in E40000" if lacking else ""
