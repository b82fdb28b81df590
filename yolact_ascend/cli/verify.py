"""`verify`: does this device compute what it should?"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend import flags
from yolact_ascend.checks import FAIL, Check
from yolact_ascend.cli.flags import add_flag, add_flags, reader
from yolact_ascend.errors import NotInstalledError, ToolError, UsageError, YolactAscendError
from yolact_ascend.models.config import DEMO_CONFIG, get_config
from yolact_ascend.models.inputs import RESIZE
from yolact_ascend.pipeline.keys import read_batch_sizes
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.targets.folder import VERDICT, WorkFolder
from yolact_ascend.targets.registry import DEFAULT_TARGET, TARGETS
from yolact_ascend.words import one_of, path

if TYPE_CHECKING:
    from yolact_ascend.analysis.golden import Golden
    from yolact_ascend.analysis.verdict import Verdict
    from yolact_ascend.targets.target import DeviceRequest, Target

HELP = "Check that a device computes what it should: 16 scenes, compared with golden values stage by stage."
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument(
        "pack",
        type=reader(path),
        nargs="?",
        metavar="PACK",
        help="check a packed model (`pack`) instead of the demo's",
    )
    parser.add_argument(
        "--target", type=reader(one_of(TARGETS)), default=DEFAULT_TARGET, help=f"one of {', '.join(TARGETS)}"
    )
    add_flags(parser, flags.DEVICE, flags.SOC)
    add_flag(parser, flags.NPUS, help="device number")
    add_flag(parser, flags.BATCH_SIZE, type=reader(read_batch_sizes), default="1,8", help="batch sizes")
    add_flag(parser, flags.EMBED, default=ALL, help="0: float32 inputs; 1: uint8 inputs, normalised by the model; all")
    add_flag(parser, flags.SAVE_PATH, default=Path("results/verify"), help=f"folder for the runs and for {VERDICT}")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis.redact import redactor_of_this_user
    from yolact_ascend.files import write_json
    from yolact_ascend.folders import hold_results

    record = arguments.save_path / VERDICT
    with hold_results(arguments.save_path, [record], flags.SAVE_PATH.word("DIR")):
        verdict = verify(arguments) if arguments.pack is None else verify_pack(arguments)
        write_json(record, redactor_of_this_user().values(verdict.to_json()))
    from yolact_ascend.analysis.doctor import render_text
    from yolact_ascend.analysis.self_test import FILES
    from yolact_ascend.analysis.verify import SHIPPED

    print(f"\n{render_text(list(verdict.checks))}\nRecord: {record}", flush=True)
    if not verdict.wrong:
        print(verdict.line())
        return
    bundle = f"`doctor --bundle=report.zip out={arguments.save_path}`"
    report = f" Please report it with {record} and the file of {bundle} (docs/hosts.md)."
    raise ToolError(verdict.line() + ("" if verdict.wrong[0].name in (SHIPPED, FILES) else report))


def verify_pack(arguments: argparse.Namespace) -> Verdict:
    """Check a packed model on the device of the flags; raises UsageError for what is no pack."""
    from yolact_ascend.analysis.self_test import check_pack
    from yolact_ascend.host.pack import MANIFEST, is_pack
    from yolact_ascend.targets.target import RUN, DeviceRequest

    folder = arguments.pack
    if not is_pack(folder):
        advice = "Unpack it first" if folder.suffix == ".zip" else "Pass a folder that `pack MODEL OUT` made"
        raise UsageError(f"{folder} is not a packed model: there is no {MANIFEST} in it. {advice}.")
    return check_pack(folder, DeviceRequest(arguments.device, arguments.soc, arguments.npus, work=frozenset((RUN,))))


def verify(arguments: argparse.Namespace) -> Verdict:
    """Run each variant, and compare it; what fails on the way is one of the checks.

    Raises UsageError for a folder or a device that no run takes, NotInstalledError where a library is missing: that is
    nothing to report.
    """
    from yolact_ascend.analysis.golden import read_golden
    from yolact_ascend.analysis.verdict import RUN, Verdict
    from yolact_ascend.analysis.verify import check_shipped
    from yolact_ascend.pipeline.demo import WEIGHTS

    kind = TARGETS[arguments.target]
    golden = read_golden()
    embeds = _embeds(arguments, golden)
    request = parse_words(_words(arguments, golden, embeds[0])).devices
    target = kind.find(request)
    checks, models = [check_shipped(golden, WEIGHTS)], []
    for embed in embeds:
        try:
            found, described = _verify_variant(arguments, golden, embed)
            checks += found
            models += described
        except UsageError as error:
            raise UsageError(_as_flag(str(error))) from error
        except NotInstalledError as error:
            raise NotInstalledError(f"{error} A packed model is checked without it: verify PACK.") from error
        except YolactAscendError as error:
            checks.append(Check(f"{RUN} embed={embed}", FAIL, _as_flag(str(error))))
    device = target.describe_device(target.npus[0])
    return Verdict(tuple(checks), device, target.facts(kind.precisions[0]), _versions(kind, request), tuple(models))


def _as_flag(text: str) -> str:
    """Return an error of a run, whose advice is a run's `out=DIR`, with this verb's flag."""
    return re.sub(r"(?<![\w-])out=DIR", "--out=DIR", text)


def _versions(kind: type[Target], request: DeviceRequest) -> dict[str, Any]:
    """Return what docs/hosts.md lists of a host: its system, our libraries, and the target's programs."""
    import platform

    from yolact_ascend.analysis.doctor import check_libraries

    facts = {name: value for check in kind.check(request) for name, value in check.facts.items()}
    named = ("ais_bench_version", "aclruntime_version")
    tools = {name.replace("_version", ""): facts[name] for name in named if name in facts}
    return {"system": platform.platform(), "machine": platform.machine(), **check_libraries().facts, **tools}


def _verify_variant(arguments: argparse.Namespace, golden: Golden, embed: str) -> tuple[list[Check], list[dict]]:
    from yolact_ascend.analysis import verify as stages
    from yolact_ascend.analysis.verdict import POSTPROCESS, describe_model
    from yolact_ascend.cli.orchestration import run_stages

    words = _words(arguments, golden, embed)
    folder, config = WorkFolder(_work_folder(arguments, embed)), get_config(DEMO_CONFIG)
    run_stages([*words, "to=infer", "force=infer"])
    scenes = stages.load_scenes(golden, folder, config, embed)
    checks = [stages.check_export(scenes), stages.check_inputs(folder, scenes)]
    models = []
    for batch_size in arguments.batch_size:
        sidecar, described = describe_model(folder, batch_size, TARGETS[arguments.target], embed)
        models.append(described)
        checks.append(stages.check_outputs(folder, batch_size, sidecar, scenes))
    try:  # after the outputs: those that are not finite are refused here
        run_stages([*words, "to=postprocess"])
    except YolactAscendError as error:
        return [*checks, Check(f"{POSTPROCESS} embed={embed}", FAIL, str(error))], models
    checks += [stages.check_detections(folder, size, golden, scenes) for size in arguments.batch_size]
    return checks, models


def _embeds(arguments: argparse.Namespace, golden: Golden) -> list[str]:
    present = [embed for embed in TARGETS[arguments.target].embeds if embed != RESIZE and embed in golden.variants]
    if arguments.embed == ALL:
        return present
    try:
        return [one_of(present)(arguments.embed)]
    except ValueError as error:
        raise UsageError(f"--embed={arguments.embed}: expected {error}, or {ALL}.") from None


def _work_folder(arguments: argparse.Namespace, embed: str) -> Path:
    path: Path = arguments.save_path / f"embed{embed}"
    return path


def _words(arguments: argparse.Namespace, golden: Golden, embed: str) -> list[str]:
    """Return the settings of the run of one variant."""
    from yolact_ascend.pipeline.demo import WEIGHTS

    settings = {
        "out": _work_folder(arguments, embed),
        "config": DEMO_CONFIG,
        "weights": WEIGHTS,
        "images": golden.image_folder,
        "annotations": golden.annotations,
        "bs": ",".join(map(str, arguments.batch_size)),
        "target": arguments.target,
        "device": arguments.device,
        "npus": ",".join(map(str, arguments.npus)),
        "embed": embed,
        **({"soc": arguments.soc} if arguments.soc else {}),
    }
    return [f"{key}={value}" for key, value in settings.items()]
