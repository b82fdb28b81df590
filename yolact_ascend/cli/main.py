"""The command line: verbs, the guide's flags, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend import __version__
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import (
    DatasetError,
    ToolError,
    UsageError,
    YolactAscendError,
    describe_os_error,
)
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.config import (
    CONFIGS,
    DEFAULT_CONFIG,
    DEFAULT_WEIGHTS,
    ModelConfig,
    get_config,
)
from yolact_ascend.models.yolact.cuts import CUTS, DEFAULT_CUT
from yolact_ascend.pipeline.settings import (
    DEVICES,
    KEYS,
    STAGES_OF_WAY,
    describe_keys,
    parse_words,
)
from yolact_ascend.process import count_cores

if TYPE_CHECKING:  # not when `--help` is all that is asked for
    from yolact_ascend.detection.evaluate import Evaluation
    from yolact_ascend.host.postprocess import Detector
    from yolact_ascend.training.train import Recipe

DEFAULT_IMAGES = Path("./data/coco/val2017")
DEFAULT_ANNOTATIONS = Path("./data/coco/annotations/instances_val2017.json")
DEFAULT_DRAWN = Path("./data/drawn")
DEFAULT_INPUTS = Path("./inputs")
INTERRUPTED = 130  # as shells report SIGINT
# Below, the levels have single cells: little to learn from, and PyTorch 2.13 on the CPU leaves memory uninitialised in
# the bfloat16 gradient of the convolution that makes P7 of one.
LEAST_SIZE_PX = 96


def main(argv: Sequence[str] | None = None) -> int:
    """`yolact-ascend VERB …`, the same as `python -m yolact_ascend VERB …`."""
    parser = argparse.ArgumentParser(
        prog="yolact-ascend", description="YolactEdge on Ascend NPUs: export, compile, run, score."
    )
    parser.add_argument("--version", action="version", version=f"yolact-ascend {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (add_arguments, _, description) in VERBS.items():
        add_arguments(
            verbs.add_parser(
                name,
                help=description,
                description=description,
                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            )
        )
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and "words" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if unknown:
        arguments.words += unknown  # --bs=8: the settings say how it is spelled
    return run_cli(VERBS[arguments.verb][1], arguments)


def run_script(verb: str, argv: Sequence[str] | None = None) -> int:
    """One verb as a script of its own: pth2onnx.py, preprocess.py, postprocess.py."""
    add_arguments, work, description = VERBS[verb]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser)
    return run_cli(work, parser.parse_args(argv))


def run_cli(work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Do the work; turn what users can cause into one message on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work(arguments)
    except YolactAscendError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output (head, less) has gone; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {describe_os_error(error)} What was finished is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        said = str(interrupt) or "what was finished is kept; the same command continues."
        print(f"\ninterrupted: {said}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _add_words(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    stages = "".join(f"\n  {way}: {', '.join(stages)}" for way, stages in STAGES_OF_WAY.items())
    parser.epilog = f"settings:\n{describe_keys()}\n\nstages, in order:{stages}"
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="settings, see below")


def _run(arguments: argparse.Namespace) -> None:
    from yolact_ascend.cli.run import run

    print(run(arguments.words))


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_words(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def _doctor(arguments: argparse.Namespace) -> None:
    settings = parse_words(arguments.words)
    try:
        from yolact_ascend.analysis import doctor
    except ModuleNotFoundError as error:
        raise ToolError(
            f"{sys.executable} lacks {error.name}. Run bash scripts/setup.sh, and then "
            ".venv/bin/python -m yolact_ascend doctor."
        ) from error
    checks = doctor.examine(settings)
    print(doctor.render_json(checks) if arguments.json else doctor.render_text(checks), flush=True)
    failed = doctor.failed(checks)
    if failed:
        raise ToolError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--output", type=Path, default=Path("yolact_edge.onnx"), help="ONNX file to write")
    _add_cut(parser)
    parser.add_argument("--upstream", type=Path, help="export the network of this patched checkout instead of ours")


def _export(arguments: argparse.Namespace) -> None:
    from yolact_ascend.models.export import export_onnx, largest_by_output

    config = read_config(arguments.trained_model, get_config(arguments.config))
    differences = export_onnx(arguments.trained_model, config, arguments.output, arguments.upstream, arguments.cut)
    for worst in largest_by_output(differences):
        print(
            f"{worst.output}: max-abs {worst.max_abs:.2e} from PyTorch, relative {worst.relative:.2e} "
            f"(batch {worst.batch_size})"
        )
    print(f"{arguments.output} written")


def _add_preprocess(parser: argparse.ArgumentParser) -> None:
    _add_dataset(parser)
    parser.add_argument("--save_path", type=Path, default=DEFAULT_INPUTS, help="folder for bin_file/ and ids.json")
    parser.add_argument("--limit", type=_count, help="only the first N images")
    parser.add_argument(
        "--dtype",
        choices=("float32", "uint8"),
        default="float32",
        help="float32: normalised, as the guide does; uint8: for a model compiled with AIPP, a quarter of the bytes",
    )
    _add_workers(parser)


def _preprocess(arguments: argparse.Namespace) -> None:
    from yolact_ascend.host.preprocess import preprocess
    from yolact_ascend.images.coco import load_dataset

    dataset = load_dataset(arguments.json_file, arguments.image_path)
    images = dataset.select(arguments.annotated_only, arguments.limit)
    made = preprocess(images, arguments.save_path, arguments.dtype, arguments.workers)
    print(f"{len(images)} inputs in {arguments.save_path} ({made} made now)")


def _add_postprocess(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_dataset(parser)
    parser.add_argument("--file_path", type=Path, default=Path("output"), help="folder with <index>_<k>.bin")
    parser.add_argument("--ids_path", type=Path, default=DEFAULT_INPUTS / "ids.json", help="ids.json of preprocess")
    _add_results(parser)
    _add_cut(parser)
    _add_workers(parser)


def _postprocess(arguments: argparse.Namespace) -> None:
    from yolact_ascend.files import write_json
    from yolact_ascend.host.postprocess import postprocess, read_ids
    from yolact_ascend.images.coco import check_categories, load_dataset

    config = read_config(arguments.trained_model, get_config(arguments.config))
    dataset = load_dataset(arguments.json_file, arguments.image_path)
    check_categories(dataset, config)
    evaluation, timings = postprocess(
        arguments.file_path,
        _load_detector(arguments, config, arguments.cut),
        dataset,
        read_ids(arguments.ids_path, dataset),
        arguments.bbox_det_file,
        arguments.mask_det_file,
        annotated_only=arguments.annotated_only,
        workers=arguments.workers,
    )
    if arguments.scores_file:
        write_json(arguments.scores_file, {**evaluation.to_json(), "host": timings.to_json()})
    _print_scores(evaluation)


def _print_scores(evaluation: Evaluation) -> None:
    from yolact_ascend.detection.evaluate import format_summary, format_table

    print(f"mAP in percent, {evaluation.images} images:\n{format_table(evaluation)}")
    for kind, score in (("box", evaluation.box), ("mask", evaluation.mask)):
        print(f"\nCOCOeval, {kind} (fractions):\n{format_summary(score)}")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="run folder of one batch size, such as results/bs8")
    parser.add_argument("second", type=Path, help="another, over the same images")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def _compare(arguments: argparse.Namespace) -> None:
    from yolact_ascend.analysis.compare import compare_runs, format_comparison

    comparison = compare_runs(arguments.first, arguments.second)
    names = (str(arguments.first), str(arguments.second))
    print(json.dumps(comparison.to_json(), indent=2) if arguments.json else format_comparison(comparison, names))


def _add_rehearse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=Path("results/yolact_edge.onnx"), help="exported ONNX file")
    parser.add_argument("--image_path", type=Path, default=DEFAULT_IMAGES, help="folder of images to run it on")
    parser.add_argument("--limit", type=_count, default=8, help="only the first N images")
    parser.add_argument("--json", action="store_true", help="print the ranges of all operators and weights as JSON")


def _rehearse(arguments: argparse.Namespace) -> None:
    from yolact_ascend.analysis.rehearse import format_ranges, rehearse, to_json
    from yolact_ascend.images.decode import find_images

    images = find_images(arguments.image_path, arguments.limit)
    ranges = rehearse(arguments.model, images)
    print(json.dumps(to_json(ranges, len(images)), indent=2) if arguments.json else format_ranges(ranges, len(images)))


def _add_cuts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=f"one of {', '.join(CONFIGS)}")
    parser.add_argument(
        "--trained_model", type=Path, help="weights to measure the host with; the demo's config has its own"
    )
    parser.add_argument("--image_path", type=Path, help="folder of images to measure on, instead of drawn scenes")
    parser.add_argument("--limit", type=_count, default=8, help="only the first N images")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _cuts(arguments: argparse.Namespace) -> None:
    from yolact_ascend.analysis.cuts import (
        choose_weights,
        count_cuts,
        cuts_to_json,
        format_cuts,
        measure_cuts,
    )

    config = get_config(arguments.config)
    weights = choose_weights(config, arguments.trained_model)
    if weights:
        config = read_config(weights, config)
    costs = count_cuts(config)
    measured = weights and measure_cuts(config, weights, arguments.image_path, arguments.limit)
    render = cuts_to_json(config, costs, measured or None)
    print(json.dumps(render, indent=2) if arguments.json else format_cuts(config, costs, measured or None))


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="an image, a folder of images, or a video")
    _add_model(parser)
    _add_engine(parser)
    parser.add_argument("--npu", type=_number, default=0, help="number of the device that runs a .om")
    parser.add_argument("--save_path", type=Path, default=Path("predictions"), help="folder for the results")
    parser.add_argument(
        "--score_threshold", type=_decimal(0, 1), default=0.3, help="leave out what scores no more than this"
    )
    parser.add_argument("--top_k", type=_count, default=100, help="most detections an image")
    parser.add_argument("--limit", type=_count, help="only the first N images or frames")


def _predict(arguments: argparse.Namespace) -> None:
    from yolact_ascend.host import predict

    source, is_video = arguments.source, predict.is_video(arguments.source)
    images = [] if is_video else predict.images_of(source, arguments.limit)
    config = read_config(arguments.trained_model, get_config(arguments.config))
    settings = DetectionSettings(score_threshold=arguments.score_threshold, max_detections=arguments.top_k)
    model = (arguments.model, arguments.trained_model, arguments.device_kind, arguments.npu)
    with predict.open_engine(*model) as (engine, world):
        cut = predict.find_cut(engine, config)
        detector = _load_detector(arguments, config, cut, settings, threads=count_cores())
        predictor = predict.Predictor(engine, detector)
        if is_video:
            summary = predict.predict_video(source, predictor, arguments.save_path, arguments.limit)
        else:
            summary = predict.predict_images(images, predictor, arguments.save_path)
    print(f"{summary.describe()}\n{arguments.model} on {world}; results in {arguments.save_path}")
    if summary.skipped:
        raise DatasetError(f"{len(summary.skipped)} of {len(images)} images were left out; they are named above.")


def _add_stream(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_engine(parser)
    parser.add_argument("--npus", type=_devices, default=(0,), help="device, or devices by comma, that run a .om")
    parser.add_argument("--batch_size", type=_count, default=1, help="of a .onnx; a .om has its own")
    _add_dataset(parser)
    parser.add_argument("--limit", type=_count, help="only the first N images")
    _add_results(parser)
    parser.add_argument("--summary_file", type=Path, help="also write the device's timings, in ais_bench's form")
    _add_workers(parser)


def _stream(arguments: argparse.Namespace) -> None:
    from yolact_ascend.files import write_json
    from yolact_ascend.host import predict
    from yolact_ascend.host.stream import Spent, score_stream, stream
    from yolact_ascend.images.coco import check_categories, load_dataset, require_images
    from yolact_ascend.targets.ascend.devices import summarise_stream

    config = read_config(arguments.trained_model, get_config(arguments.config))
    dataset = load_dataset(arguments.json_file, arguments.image_path)
    check_categories(dataset, config)
    images = dataset.select(arguments.annotated_only, arguments.limit)
    require_images(images)
    spent = Spent()
    with contextlib.ExitStack() as stack:
        # An exported ONNX runs here, whatever the devices.
        npus = arguments.npus if arguments.model.suffix == ".om" else (0,)
        model = (arguments.model, arguments.trained_model, arguments.device_kind)
        opened = [stack.enter_context(predict.open_engine(*model, npu)) for npu in npus]
        engines = [engine for engine, _ in opened]
        detector = _load_detector(arguments, config, predict.find_cut(engines[0], config))
        batch_size = engines[0].batch_size or arguments.batch_size
        way = (detector, predict.input_dtype(engines[0]), batch_size, arguments.workers)
        found = stack.enter_context(contextlib.closing(stream(engines, images, *way, spent)))
        streamed = score_stream(found, dataset, config, arguments.bbox_det_file, arguments.mask_det_file, spent)
    if arguments.scores_file:
        write_json(arguments.scores_file, streamed.to_json())
    if arguments.summary_file:
        write_json(arguments.summary_file, summarise_stream(spent.devices, batch_size, npus), indent=None)
    print(f"{streamed.describe()}\n{arguments.model} on {'; '.join(world for _, world in opened)}")
    _print_scores(streamed.evaluation)


def _add_draw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save_path", type=Path, default=DEFAULT_DRAWN, help="folder to draw, in COCO's layout")
    parser.add_argument("--train_images", type=_number, default=4000, help="scenes in train2017/")
    parser.add_argument("--val_images", type=_number, default=200, help="scenes in val2017/")
    parser.add_argument("--seed", type=_number, default=1, help="another seed draws other scenes")


def _draw(arguments: argparse.Namespace) -> None:
    from yolact_ascend.scenes.scenes import draw_dataset

    if not arguments.train_images and not arguments.val_images:
        raise UsageError("--train_images=0 and --val_images=0: there is nothing to draw. Give one of them a number.")
    draw_dataset(arguments.save_path, arguments.train_images, arguments.val_images, arguments.seed)
    print(f"{arguments.train_images} + {arguments.val_images} scenes in {arguments.save_path}")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=f"one of {', '.join(CONFIGS)}")
    parser.add_argument("--trained_model", type=Path, help="weights to start from, instead of from scratch")
    parser.add_argument("--image_path", type=Path, default=Path("./data/coco/train2017"), help="training images")
    parser.add_argument(
        "--json_file",
        type=Path,
        default=Path("./data/coco/annotations/instances_train2017.json"),
        help="their COCO annotation file; its categories become the classes",
    )
    parser.add_argument("--val_image_path", type=Path, help="images to score the network on")
    parser.add_argument("--val_json_file", type=Path, help="their COCO annotation file")
    parser.add_argument("--val_limit", type=_count, help="score only the first N of them")
    parser.add_argument("--val_every", type=_count, help="score after every N steps, too, not only at the end")
    parser.add_argument(
        "--save_path", type=Path, default=Path("training"), help="folder; a run there that was killed goes on"
    )
    parser.add_argument("--checkpoint_every", type=_count, default=500, help="steps between checkpoints")
    parser.add_argument(
        "--phases",
        type=_phases,
        default="550x8:800000",
        help="image size in pixels x batch size : steps; several phases with commas, such as 275x16:6000,550x4:1000",
    )
    parser.add_argument(
        "--learning_rate", type=_decimal(0, above=True), default=1e-3, help="for a batch of 8; in proportion for others"
    )
    parser.add_argument("--warmup_steps", type=_number, default=500, help="the learning rate rises over these")
    parser.add_argument("--decay", choices=("steps", "cosine"), default="steps", help="how it falls after that")
    parser.add_argument("--weight_decay", type=_decimal(0), default=5e-4, help="of all weights")
    parser.add_argument("--clip_norm", type=_decimal(0), default=0.0, help="largest norm of all gradients; 0: no limit")
    parser.add_argument(
        "--expand_most", type=_decimal(1, 16), default=4.0, help="augmentation: largest canvas; 1: none"
    )
    parser.add_argument(
        "--crop_least", type=_decimal(0, 1, above=True), default=0.3, help="augmentation: smallest window; 1: none"
    )
    parser.add_argument("--no_photometric", action="store_true", help="leave the colours as they are")
    parser.add_argument("--no_mirror", action="store_true", help="never mirror the image")
    parser.add_argument("--most_masks", type=_count, default=100, help="anchors an image whose masks are scored")
    parser.add_argument("--bfloat16", action="store_true", help="run the network in bfloat16; the losses stay float32")
    parser.add_argument("--seed", type=_number, default=0, help="of initial weights, order and augmentation")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, npu (with torch_npu) …")
    parser.add_argument("--workers", type=_count, default=2, help="threads that read and augment images")
    parser.add_argument("--threads", type=_count, help="threads of PyTorch on the CPU (its own default: one a core)")


def _train(arguments: argparse.Namespace) -> None:
    from yolact_ascend.detection.evaluate import format_table
    from yolact_ascend.images.coco import check_categories, load_dataset
    from yolact_ascend.training.samples import TrainingSet
    from yolact_ascend.training.train import (
        Validation,
        adopt_classes,
        train,
        use_device,
    )

    if (arguments.val_image_path is None) != (arguments.val_json_file is None):
        raise UsageError("--val_image_path and --val_json_file go together: give both, or neither.")
    dataset = load_dataset(arguments.json_file, arguments.image_path)
    config = adopt_classes(get_config(arguments.config), dataset)
    validation = None
    if arguments.val_json_file:
        held_out = load_dataset(arguments.val_json_file, arguments.val_image_path)
        check_categories(held_out, config)
        validation = Validation(held_out, arguments.val_limit, arguments.val_every or 0)
    evaluation = train(
        config,
        _recipe(arguments),
        TrainingSet(dataset, config.category_ids),
        arguments.save_path,
        validation=validation,
        checkpoint_every=arguments.checkpoint_every,
        pretrained=arguments.trained_model,
        device=use_device(arguments.device, arguments.threads),
        workers=arguments.workers,
    )
    if evaluation:
        print(f"mAP in percent, {evaluation.images} images:\n{format_table(evaluation)}")
    print(f"weights, log and loss curve in {arguments.save_path}")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from yolact_ascend.training.augment import Augmentation
    from yolact_ascend.training.samples import Phase
    from yolact_ascend.training.train import Recipe

    return Recipe(
        tuple(Phase(*numbers) for numbers in arguments.phases),
        learning_rate=arguments.learning_rate,
        warmup_steps=arguments.warmup_steps,
        decay=arguments.decay,
        weight_decay=arguments.weight_decay,
        clip_norm=arguments.clip_norm,
        augmentation=Augmentation(
            expand_most=arguments.expand_most,
            crop_least=arguments.crop_least,
            photometric=not arguments.no_photometric,
            mirror=not arguments.no_mirror,
        ),
        most_masks=arguments.most_masks,
        bfloat16=arguments.bfloat16,
        seed=arguments.seed,
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=f"one of {', '.join(CONFIGS)}")
    parser.add_argument("--trained_model", type=Path, default=Path(DEFAULT_WEIGHTS), help="weights file (.pth)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, default=Path("results/yolact_edge.onnx"), help="exported .onnx or compiled .om"
    )
    parser.add_argument("--device_kind", choices=DEVICES, default="auto", help="which card or emulation runs a .om")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bbox_det_file", type=Path, default=Path("results/bbox_detections.json"), help="boxes, out")
    parser.add_argument("--mask_det_file", type=Path, default=Path("results/mask_detections.json"), help="masks, out")
    parser.add_argument("--scores_file", type=Path, help="also write the scores as JSON")


def _add_cut(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cut",
        choices=CUTS,
        default=DEFAULT_CUT,
        help="where the graph ends: fpn, before the prediction heads, as the guide does, or heads, after them",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_count, default=count_cores(), help="processes; all cores unless told")


def _load_detector(
    arguments: argparse.Namespace,
    config: ModelConfig,
    cut: str,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    threads: int = 1,
) -> Detector:
    """Return the host's part behind a cut; torch is needed only where that has the prediction head."""
    from yolact_ascend.host.postprocess import Detector

    if cut == "heads":
        return Detector(config, None, settings)
    from yolact_ascend.models.export import load_heads

    return Detector(config, load_heads(arguments.trained_model, config, threads), settings)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image_path", type=Path, default=DEFAULT_IMAGES, help="folder of the images")
    parser.add_argument("--json_file", type=Path, default=DEFAULT_ANNOTATIONS, help="COCO annotation file")
    parser.add_argument(
        "--annotated_only", action="store_true", help="leave out images without annotations, as the guide does"
    )


def _count(word: str) -> int:
    if not (word.isascii() and word.isdigit() and int(word) > 0):
        raise argparse.ArgumentTypeError(f"'{word}' is no whole number above 0")
    return int(word)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise argparse.ArgumentTypeError(f"'{word}' is no whole number")
    return int(word)


def _devices(word: str) -> tuple[int, ...]:
    try:
        return KEYS["npus"].read(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{word}': expected {error}") from None


def _decimal(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """Return what reads a finite number from `least` (itself left out: `above`) to `most`."""
    expected = f"above {least:g}" if above else f"from {least:g}"
    expected += f" to {most:g}" if math.isfinite(most) else " on" * (not above)

    def read(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            raise argparse.ArgumentTypeError(f"'{word}' is no number {expected}")
        return value

    return read


def _phases(words: str) -> tuple[tuple[int, ...], ...]:
    """Read `SIZExBATCH:STEPS,…` as rows of image size, batch size, steps."""
    matches = [re.fullmatch(r"(\d+)x(\d+):(\d+)", word, re.ASCII) for word in words.split(",")]
    phases = tuple(tuple(int(number) for number in match.groups()) for match in matches if match)
    if len(phases) != len(matches) or not all(number > 0 for phase in phases for number in phase):
        raise argparse.ArgumentTypeError(f"'{words}': expected SIZExBATCH:STEPS, such as 275x16:6000,550x4:1000")
    if any(size < LEAST_SIZE_PX for size, _, _ in phases):
        raise argparse.ArgumentTypeError(f"'{words}': expected image sizes of {LEAST_SIZE_PX} pixels or more")
    return phases


VERBS = {
    "run": (_add_words, _run, "Do all stages, from weights to the report; redo only what changed."),
    "doctor": (_add_doctor, _doctor, "Check tools, card, weights, data set and disk for a run of these settings."),
    "export": (_add_export, _export, "Export weights to ONNX (pth2onnx.py)."),
    "preprocess": (_add_preprocess, _preprocess, "Turn COCO images into raw network inputs (preprocess.py)."),
    "postprocess": (
        _add_postprocess,
        _postprocess,
        "Turn the device's outputs into detections and mAP (postprocess.py).",
    ),
    "stream": (
        _add_stream,
        _stream,
        "Take images to mAP in memory, in overlapping stages, on any engine.",
    ),
    "compare": (_add_compare, _compare, "Compare the outputs and mAP of two runs over the same images."),
    "rehearse": (_add_rehearse, _rehearse, "Name the operators of an ONNX file whose values float16 cannot hold."),
    "cuts": (_add_cuts, _cuts, "Show what each cut of the graph leaves to the card, the disk and the host."),
    "predict": (_add_predict, _predict, "Draw what a model finds in images or a video, and write it as JSON."),
    "draw": (_add_draw, _draw, "Draw a data set in COCO's format, with classes of its own."),
    "train": (_add_train, _train, "Train a config, from scratch or from weights, on data in COCO's format."),
}
