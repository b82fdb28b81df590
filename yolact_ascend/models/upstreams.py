"""The public projects that a checkout `upstream=DIR` can be of, and which of them has a config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.files import IS_CHECKOUT, shipped
from yolact_ascend.models.values import UPSTREAM_URL, YOLACT_URL, ModelConfig


@dataclass(frozen=True)
class Upstream:
    """One project: what tells its checkouts apart, and what of them an export imports.

    `name` is also that of its patch in `patches/`, and what `scripts/apply_patch.sh --upstream` calls it. `cut` and
    `rest` are methods of the patched network: images to FPN levels and prototypes, and what follows them. The second
    exists only in patched checkouts.
    """

    name: str
    url: str  # `ModelConfig.upstream_url`
    network_file: str  # has the class Yolact; no other project has a file of this name
    sources: tuple[str, ...]  # modules and packages that an export imports
    network_module: str
    config_module: str
    cut: str
    rest: str
    needs: str  # to be imported, beside torch, numpy and OpenCV
    options: tuple[tuple[str, bool], ...] = ()  # arguments of the class Yolact

    def source_files(self, checkout: Path) -> list[Path]:
        """Return every source in a checkout that an export runs, not only those that the patch changes."""
        folders = [checkout / source for source in self.sources]
        inside = (path for folder in folders for end in ("py", "pyx") for path in folder.rglob(f"*.{end}"))
        return sorted([*inside, *filter(Path.is_file, (folder.with_suffix(".py") for folder in folders))])

    def patch_command(self, checkout: Path) -> str:
        """Return the command that makes, or patches, a checkout."""
        script = "scripts/apply_patch.sh"
        return f"bash {script if IS_CHECKOUT else shipped(script)} --upstream={self.name} {checkout}"


UPSTREAMS = (
    Upstream(
        "yolact_edge",
        UPSTREAM_URL,
        network_file="yolact_edge/yolact.py",
        sources=("yolact_edge",),
        network_module="yolact_edge.yolact",
        config_module="yolact_edge.data",
        cut="__call__",
        rest="postprocess",
        needs="Cython, a C compiler and pycocotools",
        options=(("training", False),),
    ),
    Upstream(
        "yolact",
        YOLACT_URL,
        network_file="yolact.py",
        sources=("yolact", "backbone", "data", "layers", "utils"),
        network_module="yolact",
        config_module="data",
        cut="levels",
        rest="predict",
        needs="pycocotools",
    ),
)


def find_upstream(checkout: Path) -> Upstream | None:
    """Return which project a folder is a checkout of; None when it is none of them."""
    return next((upstream for upstream in UPSTREAMS if (checkout / upstream.network_file).is_file()), None)


def upstream_with(config: ModelConfig) -> Upstream:
    """Return the project whose code has this config; raises UsageError when there is none that `upstream=` takes."""
    for upstream in UPSTREAMS:
        if upstream.url == config.upstream_url:
            return upstream
    known = " or ".join(upstream.url for upstream in UPSTREAMS)
    raise UsageError(
        f"{config.name} is not a config of {known}, whose checkouts upstream= (--upstream) takes. Leave out upstream=, "
        "or choose another config."
    )


def require_checkout(checkout: Path, config: ModelConfig) -> Upstream:
    """Return the project that has this config; raises ToolError unless the folder is a checkout of it."""
    expected, found = upstream_with(config), find_upstream(checkout)
    if found is None:
        raise ToolError(
            f"{checkout} is not a checkout of {expected.name}: it has no {expected.network_file}. "
            f"Make one: {expected.patch_command(checkout)}"
        )
    if found is not expected:
        raise ToolError(
            f"{checkout} is a checkout of {found.name}, but {config.name} is a config of {expected.name} "
            f"({expected.url}). Pass a checkout of {expected.name}, or a config of {found.name}."
        )
    return expected
