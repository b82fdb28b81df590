"""Which package brings a module, in which extra it is, and how to install what is missing: the one place that knows.

The lists of packages are `requirements.txt` (the core) and `requirements-EXTRA.txt`; a test holds this table to them.
"""

from __future__ import annotations

import importlib.util
import sys

from yolact_ascend.errors import NotInstalledError
from yolact_ascend.files import IS_CHECKOUT

CORE, EXPORT, TRAIN, ONNXRUNTIME, OPENVINO, TRACK = "", "export", "train", "onnxruntime", "openvino", "track"
CLUSTER = "cluster"
# By extra: the name of the package on the index, and of the module in it.
PACKAGES: dict[str, dict[str, str]] = {
    CORE: {
        "numpy": "numpy",
        "opencv-python-headless": "cv2",
        "simplejpeg": "simplejpeg",
        "pillow": "PIL",
        "pycocotools": "pycocotools",
        "tabulate": "tabulate",
        "threadpoolctl": "threadpoolctl",
        "tqdm": "tqdm",
        "pyyaml": "yaml",
        "jinja2": "jinja2",
        "leather": "leather",
    },
    ONNXRUNTIME: {"onnxruntime": "onnxruntime"},
    EXPORT: {
        "torch": "torch",
        "onnx": "onnx",
        "onnxsim": "onnxsim",
        "cython": "Cython",
        "setuptools": "setuptools",
    },
    TRAIN: {"matplotlib": "matplotlib", "torch-pruning": "torch_pruning"},
    OPENVINO: {"openvino": "openvino"},
    TRACK: {
        "trackers": "trackers",
        "supervision": "supervision",
        "scipy": "scipy",
        "requests": "requests",
        "pyyaml": "yaml",
        "defusedxml": "defusedxml",
        "pydeprecate": "deprecate",
        "rich": "rich",
    },
    CLUSTER: {"pyarrow": "pyarrow", "fsspec": "fsspec", "ray": "ray"},
}
# Packages that are installed without what they require, by `requirements-EXTRA-alone.txt`.
ALONE = {TRACK: ("trackers==2.6.1", "supervision==0.31.2")}
_KINDS = {
    OPENVINO: " openvino",
    TRACK: " track",
    CLUSTER: " cluster",
}  # of scripts/setup.sh, where its plain form does not install the extra


def extra_of(module: str) -> str:
    """Return the extra that brings a module, or a module inside it; the core for what no extra has."""
    top = module.split(".")[0]
    return next((extra for extra, packages in PACKAGES.items() if top in packages.values()), CORE)


def extra_of_package(package: str) -> str:
    """Return the extra of a package on the index, like `extra_of`."""
    return next((extra for extra, packages in PACKAGES.items() if package in packages), CORE)


def how_to_install(extra: str) -> str:
    """Return the sentence that says how to install an extra: into the checkout's .venv, or beside this package."""
    if IS_CHECKOUT:
        return f"Run bash scripts/setup.sh{_KINDS.get(extra, '')}, and then .venv/bin/python."
    alone = f", and pip install --no-deps {' '.join(ALONE[extra])}" if extra in ALONE else ""
    return f'Run pip install "yolact-ascend[{extra}]"{alone}.' if extra else "Run pip install yolact-ascend."


def is_installed(module: str) -> bool:
    """Whether this Python finds a module; it is not imported, which may take a while."""
    return importlib.util.find_spec(module) is not None


def require_module(module: str) -> None:
    """Raise NotInstalledError when a module is not installed, before the work that would need it later."""
    if not is_installed(module):
        raise NotInstalledError(describe_missing(module))


def describe_missing(module: str) -> str:
    """Return the message on a module that cannot be imported here: which, for which Python, and how to install it."""
    return f"{module} is not installed for {sys.executable}. {how_to_install(extra_of(module))}"
