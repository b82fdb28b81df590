"""What the name of a weights file says.

Upstream names its files `<config without _config>_<epoch>_<step>.pth`, Detectron2's zoo `model_final_<digits>.pkl`.
"""

from __future__ import annotations

import re
from pathlib import Path

from yolact_ascend.models.config import CONFIGS, ModelConfig, is_alike
from yolact_ascend.models.rcnn.configs import ZOO_CONFIGS

FILE_NAME = re.compile(r"(?P<name>.+?)_\d+_\d+(_interrupt)?")  # upstream's SavePath, utils/functions.py
# By the name that `download` gives a file, and by that in its address.
ZOO_FILES = {
    name: config for config in ZOO_CONFIGS for name in (config.source.file_name, config.source.url.rpartition("/")[2])
}


def config_by_name(path: Path) -> ModelConfig | None:
    """Return the config that a file's name is of; None when it is of none."""
    if path.name in ZOO_FILES:
        return ZOO_FILES[path.name]
    found = FILE_NAME.fullmatch(path.stem)
    return CONFIGS.get(f"{found['name']}_config") if found else None


def note_other_name(path: Path, config: ModelConfig) -> list[str]:
    """Return a note when a file's name is of a config that takes other inputs or has other anchors.

    The shapes of its weights may fit all the same: those of YOLACT's R-101 configs for 400, 550 and 700 pixels do.
    """
    named = config_by_name(path)
    if named is None or is_alike(named, config):
        return []
    return [
        f"its name is that of weights of {named.name}, whose input or anchors are not those of {config.name}. If they "
        f"are, use --config={named.name} (config={named.name} in a run)"
    ]
