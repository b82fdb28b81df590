"""`download`: published weights, and COCO in the layout that a run finds."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import CONFIGS, get_config

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.download import Published

HELP = "Fetch published weights, or COCO, and check them."
SPLITS = ("val2017", "train2017", "annotations")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("what", choices=("weights", "coco"))
    parser.add_argument("name", help=f"a config ({', '.join(CONFIGS)}), or a part of COCO ({', '.join(SPLITS)})")
    parser.add_argument("--to", type=Path, help="folder (default: the current one for weights, data/coco for COCO)")
    parser.add_argument("--url", help="address to try first, such as a mirror of your own; what it gives is checked")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    if arguments.what == "weights":
        print(fetch_weights(arguments.name, arguments.to or Path(), arguments.url))
    else:
        print(fetch_coco(arguments.name, arguments.to or Path("data/coco"), arguments.url))


def fetch_weights(name: str, folder: Path, url: str | None) -> str:
    """Fetch the weights of a config; return what was done. Raises UsageError when they are not to be had so."""
    from yolact_ascend.download import Published, fetch
    from yolact_ascend.models.weights_file import find_fault

    config = get_config(name)
    name, source = config.name, config.source
    if source.is_shipped:
        return f"The weights of {name} come with the repository: {source.url}"
    if not source.is_published or not source.url:
        raise UsageError(f"Nobody has published weights of {name}. Train them: train --config={name}.")
    if not source.file_name:
        raise UsageError(
            f"The weights of {name} are not at an address that can be fetched. They are linked at {source.url} ; "
            "download them by hand (docs/weights.md)."
        )
    hashes = {"sha384": source.sha384} if source.sha384 else {}
    published = Published(source.file_name, (source.url,), source.size_bytes, hashes, find_fault)
    path = fetch(with_mirror(published, url), folder)
    checked = "Its size and SHA-384 are the published ones" if hashes else "No size or hash of it is published"
    licence = f" Licence: {source.licence}." if source.licence else ""
    return f"{path} is there, {path.stat().st_size} bytes. {checked}: see docs/weights.md.{licence}"


def fetch_coco(split: str, folder: Path, url: str | None) -> str:
    """Fetch and unpack the images of a split and their annotations, or annotations alone; return what was done."""
    from yolact_ascend.download import fetch, unpack
    from yolact_ascend.images.archives import ANNOTATIONS, IMAGES, is_unpacked

    if split not in SPLITS:
        raise UsageError(f"'{split}' is not a part of COCO that can be fetched. Choose one of: {', '.join(SPLITS)}.")
    archives = [ANNOTATIONS] if split == "annotations" else [IMAGES[split], ANNOTATIONS]
    done = []
    for published in archives:
        if is_unpacked(published, folder):
            done.append(f"{published.name}: unpacked already")
            continue
        chosen = with_mirror(published, url) if published is archives[0] else published
        wanted = ["annotations/instances_"] if published is ANNOTATIONS else [f"{split}/"]
        is_users = (folder / published.name).exists()
        archive = fetch(chosen, folder)
        done.append(f"{published.name}: checked, {unpack(archive, folder, wanted)} files unpacked")
        if not is_users:
            archive.unlink()
    return f"{'; '.join(done)}. COCO is in {folder}: coco={folder}"


def with_mirror(published: Published, url: str | None) -> Published:
    """Return the file with an address of the user's before its own; raises UsageError for what is no address."""
    if url and not (url.isascii() and re.fullmatch(r"https?://[^/\s]+(/\S*)?", url)):
        raise UsageError(f"--url={url}: expected an address such as https://example.org/file, in ASCII (%-encoded).")
    return dataclasses.replace(published, urls=(url, *published.urls)) if url else published
