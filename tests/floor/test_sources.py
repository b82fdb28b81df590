"""Which sources a piece of work depends on: all that its modules import, and nothing else."""

import shutil

import pytest

from yolact_ascend import sources
from yolact_ascend.sources import LIBRARIES, OPTIONAL, made_by, sources_of

EXPORT = "models.export"
PREPROCESS = "host.preprocess"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, whose files may change; `made_by` and `sources_of` look there."""
    folder = tmp_path / sources.PACKAGE.name
    shutil.copytree(sources.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return look_at(folder, monkeypatch)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return what writes a package of these modules, given as name -> text, for `sources_of` to look at."""

    def write(modules):
        folder = tmp_path / sources.PACKAGE.name
        for name, text in modules.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return look_at(folder, monkeypatch)

    return write


def look_at(folder, monkeypatch):
    monkeypatch.setattr(sources, "PACKAGE", folder)
    forget_all()
    return folder


def forget_all():
    """Also what files were read: a later test may have a file of the same path."""
    sources_of.cache_clear()
    sources._imports_of.cache_clear()


@pytest.fixture(autouse=True)
def forget():
    yield
    forget_all()


def names_of(*modules):
    return [path.relative_to(sources.PACKAGE).as_posix() for path in sources_of(*modules)]


@pytest.mark.parametrize(
    ("modules", "files"),
    [
        (["errors"], ["errors.py"]),
        (["tensors"], ["errors.py", "tensors.py"]),
        (["tensors", "errors"], ["errors.py", "tensors.py"]),
        (["detection.run_lengths"], ["detection/run_lengths.c", "detection/run_lengths.py", "errors.py"]),
        (["detection.nms"], ["detection/boxes.py", "detection/nms.py", "detection/thresholds.py"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_sources_are_a_module_and_what_it_imports(modules, files):
    assert set(names_of(*modules)) >= set(files)
    assert names_of(*modules) == sorted(set(names_of(*modules)))


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("", []),
        ("import json, yolact_ascend.b\n", ["b.py"]),
        ("from yolact_ascend import b\n", ["b.py"]),
        ("from yolact_ascend.b import name\n", ["b.py"]),
        ("def work():\n    from yolact_ascend.b import name\n", ["b.py"]),
        ("if True:\n    import yolact_ascend.room.c as c\n", ["b.py", "room/c.py"]),
        ("from yolact_ascend.room import c\n", ["b.py", "room/__init__.py", "room/c.py"]),
        ("from yolact_ascend.room.c import name\n", ["b.py", "room/c.py"]),
        ("# from yolact_ascend.b import name\nimport b\nfrom other import yolact_ascend\n", []),
        ("import yolact_ascend_other.b\n", []),
        ("if TYPE_CHECKING:\n    from yolact_ascend.b import name\nelse:\n    x = 1\n", []),
    ],
)
def test_every_form_of_an_import_counts_and_those_of_imported_modules_too(written, text, files):
    written(
        {
            "a.py": text,
            "b.py": "from yolact_ascend import a\nname = 1\n",  # a circle ends
            "room/__init__.py": "",
            "room/c.py": "from yolact_ascend.b import name\n",
        }
    )
    assert names_of("a") == ["a.py", *files]


@pytest.mark.parametrize(
    ("work", "module", "is_changed"),
    [
        (EXPORT, "training/train.py", False),
        (EXPORT, "cli/main.py", False),
        (EXPORT, "host/preprocess.py", False),
        (EXPORT, "models/config.py", True),
        (EXPORT, "models/yolact/backbones.py", True),
        (EXPORT, "models/labels.py", True),  # through config
        (EXPORT, "tensors.py", True),
        (PREPROCESS, "models/config.py", True),
        (PREPROCESS, "images/transforms.py", True),
        (PREPROCESS, "models/yolact/backbones.py", False),
        (PREPROCESS, "training/train.py", False),
    ],
)
def test_a_change_counts_for_the_work_that_imports_the_module(package, work, module, is_changed):
    before = made_by(work)
    assert made_by(work) == before
    with (package / module).open("a") as file:
        file.write("# a comment\n")
    assert (made_by(work)["code"] != before["code"]) == is_changed


def test_work_depends_on_the_versions_of_libraries(monkeypatch):
    before = made_by("tensors")
    assert set(before["libraries"]) == {"numpy"}
    monkeypatch.setattr(sources.metadata, "version", lambda name: "0.0")
    assert made_by("tensors") == {"code": before["code"], "libraries": {"numpy": "0.0"}}


def test_work_depends_on_the_libraries_that_it_imports():
    """What was exported where PyTorch is, stays fresh on a card's host without it."""
    assert {"torch", "onnx", "onnxsim", "onnxruntime"} <= set(made_by(EXPORT)["libraries"])
    after = {"numpy", "opencv-python-headless", "pycocotools", "simplejpeg"}
    assert set(made_by(PREPROCESS)["libraries"]) == after
    assert set(made_by("host.infer", "targets.ascend.engine")["libraries"]) == {"numpy"}
    assert set(sources.library_versions()) == set(LIBRARIES)


def test_a_missing_library_has_no_version(monkeypatch):
    """onnxsim may be missing: what a stage was made by states that, and its installation makes it stale."""
    real = sources.metadata.version

    def version(name):
        if name == "onnxsim":
            raise sources.metadata.PackageNotFoundError(name)
        return real(name)

    with_all = made_by(EXPORT)["libraries"]
    monkeypatch.setattr(sources.metadata, "version", version)
    assert made_by(EXPORT)["libraries"] == {**with_all, "onnxsim": None}
    assert {"onnxsim"} == OPTIONAL
