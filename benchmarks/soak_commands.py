"""The commands that `soak.py` kills, what each starts from, and which moments of each are tried."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CONFIG = "yolact_edge_demo_config"
WEIGHTS = "demo.pth"
BATCH_SIZES = (1, 2)
IMAGES, TRAIN_IMAGES = 3, 4  # three: the second batch of two is not full
RESULTS = "results"
WHOLE = ""  # the moment of a command without stages

# What every command finds in its folder.
MODEL_WORDS = (f"--config={CONFIG}", f"--trained_model={WEIGHTS}")
DATA_WORDS = ("--image_path=data/val2017", "--json_file=data/annotations/instances_val2017.json")
RUN_WORDS = (
    f"config={CONFIG}",
    f"weights={WEIGHTS}",
    "coco=data",
    "device=emulation",
    f"out={RESULTS}",
    "workers=2",
)


@dataclass(frozen=True)
class Command:
    """A command line, and the moments at which it is killed.

    A moment is a line that the command prints, or WHOLE: any time from its start. `keeps` are the paths that it finds
    of what the command `after` left.
    """

    name: str
    words: tuple[str, ...]
    moments: tuple[str, ...] = (WHOLE,)
    after: str | None = None
    keeps: tuple[str, ...] = ()

    @property
    def line(self) -> list[str]:
        """The words with the interpreter that runs now."""
        first = self.words[0]
        program = [str(CHECKOUT / first)] if first.endswith(".py") else ["-m", "yolact_ascend", first]
        return [sys.executable, *program, *self.words[1:]]


def all_commands() -> dict[str, Command]:
    """Return every command by its name."""
    found = [Command("draw", ("draw", "--save_path=drawn", "--train_images=2", "--val_images=4")), preprocess()]
    for size in BATCH_SIZES:
        found += [*runs(size), *verbs(size), train(size)]
    return {command.name: command for command in found}


def runs(size: int) -> list[Command]:
    """Return the whole runs of a batch size, staged and streamed, on both targets, and a benchmark."""
    staged = (
        "[export] running",
        f"[compile bs{size}] running",
        "[preprocess] running",
        f"[infer bs{size}] running",
        f"[postprocess bs{size}] running",
        f"[postprocess bs{size}] done",  # the report
    )
    streamed = (f"[stream bs{size}] running", f"[stream bs{size}] done")
    words = ("run", *RUN_WORDS, f"bs={size}")
    other = tuple(word for word in words if not word.startswith("device="))
    return [
        Command(f"run bs={size}", words, staged),
        Command(f"run stream=1 bs={size}", (*words, "stream=1"), streamed, f"run bs={size}", (RESULTS,)),
        Command(
            f"run mode=perf bs={size}",
            (*words, "mode=perf", "loop=5"),
            (f"[benchmark bs{size}] running",),
            f"run bs={size}",
            (RESULTS,),
        ),
        Command(
            f"run target=onnxruntime bs={size}",
            (*other, "target=onnxruntime", "aipp=1", "cut=heads"),
            (f"[compile bs{size}] running", f"[infer bs{size}] running"),
        ),
    ]


def verbs(size: int) -> list[Command]:
    """Return the verbs by hand, on what a staged run left."""
    run, bs = f"run bs={size}", f"{RESULTS}/bs{size}"
    model = f"{RESULTS}/yolact_edge_bs{size}.om"
    on_model = (*MODEL_WORDS, f"--model={model}", "--device=emulation")
    files = ("--bbox_det_file=by_hand/boxes.json", "--mask_det_file=by_hand/masks.json", "--scores_file=by_hand/s.json")
    keeps = (model, f"{model}.json")
    predicts = ("predict", "data/val2017", *on_model, "--save_path=by_hand")
    return [
        Command(f"predict bs={size}", predicts, (WHOLE,), run, keeps),
        Command(f"stream bs={size}", ("stream", *on_model, *DATA_WORDS, *files, "--workers=2"), (WHOLE,), run, keeps),
        Command(
            f"postprocess.py bs={size}",
            (
                "postprocess.py",
                *(*MODEL_WORDS, *DATA_WORDS, *files, "--workers=2"),
                *(f"--file_path={bs}/output", f"--ids_path={RESULTS}/inputs/ids.json"),
            ),
            (WHOLE,),
            run,
            (f"{bs}/output", f"{RESULTS}/inputs/ids.json"),
        ),
    ]


def preprocess() -> Command:
    """Return the preprocess by hand, which has no batch size."""
    words = ("preprocess.py", f"--config={CONFIG}", *DATA_WORDS, "--save_path=by_hand", "--workers=2")
    return Command("preprocess.py", words)


def train(size: int) -> Command:
    """Return a training of six steps with a checkpoint after every second."""
    data = ("--image_path=data/train2017", "--json_file=data/annotations/instances_train2017.json")
    recipe = (f"--phases=96x{size}:6", "--checkpoint_every=2", "--threads=1", "--workers=1")
    scored = ("--val_image_path=data/val2017", "--val_json_file=data/annotations/instances_val2017.json")
    words = ("train", f"--config={CONFIG}", *data, *recipe, *scored, "--val_limit=1", "--save_path=by_hand")
    return Command(f"train bs={size}", words)


def write_data(folder: Path) -> None:
    """Draw the images, and copy the weights: what every command finds."""
    sys.path.insert(0, str(CHECKOUT))
    from yolact_ascend.scenes.scenes import draw_dataset

    draw_dataset(folder / "data", TRAIN_IMAGES, IMAGES, 1)
    shutil.copy2(CHECKOUT / "weights" / "yolact_edge_demo.pth", folder / WEIGHTS)


def prepare(command: Command, data: Path, references: Path, folder: Path) -> None:
    """Fill the folder with what the command finds when it is first called."""
    shutil.copytree(data, folder)
    for kept in command.keeps:
        assert command.after is not None
        _copy(references / folder_name(command.after) / kept, folder / kept)


def begin(command: Command, moment: str, data: Path, references: Path, folder: Path) -> None:
    """Fill the folder with what the command finds before that moment.

    A run finds its earlier stages done, as after a kill there, and nothing of the stage and the later ones.
    """
    if moment == WHOLE:
        prepare(command, data, references, folder)
        return
    shutil.copytree(data, folder)
    _copy(references / folder_name(command.name) / RESULTS, folder / RESULTS)
    _undo(moment, folder / RESULTS)


def _undo(moment: str, work: Path) -> None:
    """Remove the report, and from a stage on the records and all that they name."""
    label = moment[1:].split("]")[0].replace(" ", "_")
    records = [path for path in (work / ".stages").iterdir() if path.name != "files.json"]
    records.sort(key=lambda path: path.stat().st_mtime_ns)  # as they were done
    first = [path.stem for path in records].index(label) + moment.endswith("done")
    for record in records[first:]:
        for name in json.loads(record.read_text())["outputs"]:
            (work / name).unlink()
        record.unlink()
    for name in ("report.json", "report.md", "report.html"):
        (work / name).unlink(missing_ok=True)  # report.html needs libraries of its own
    shutil.rmtree(work / "overlays", ignore_errors=True)


def folder_name(name: str) -> str:
    """Return the folder of a command's reference."""
    return name.replace(" ", "_").replace("=", "")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
