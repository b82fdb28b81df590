"""The plan of a scaled run: what every worker must agree on. Shard k is a pure function of (plan, k)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyarrow import fs

from yolact_ascend.detection.image_matches import Scoring
from yolact_ascend.errors import ArtifactError, UsageError, show_value
from yolact_ascend.files import parse_json
from yolact_ascend.scale.manifest import Image, read_shard, write_manifest
from yolact_ascend.scale.places import RESUME, Place
from yolact_ascend.tables import counted

SCHEMA = 1
PLAN, MANIFEST, PARTS = "plan.json", "manifest.parquet", "parts"


@dataclass(frozen=True)
class Plan:
    """What the parts of a run depend on, beside the code; plan.json (docs/formats.md)."""

    source: str  # without passwords
    images: int
    manifest_sha256: str  # of the images in order, with their ids, sizes and annotations
    model: dict[str, str]  # SHA-256 by file name
    config: str  # its name
    config_sha256: str  # of the config as a value, with its classes' ids
    engine: dict[str, Any]  # target, batch size, and what outputs depend on beside: versions, chip, CPU
    shard_size: int  # images; a multiple of the batch size
    tasks: tuple[str, ...]  # what the network finds
    class_ids: tuple[int, ...]  # of the model's classes [K], in the results
    category_ids: tuple[int, ...] = ()  # of the annotation file, in order; none: nothing is scored
    schema: int = SCHEMA

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.images // self.shard_size)

    @property
    def scoring(self) -> Scoring | None:
        """How what is found is compared with the annotations; None: there are none."""
        return Scoring(self.tasks, self.class_ids, self.category_ids) if self.category_ids else None

    def describe_start(self, missing: int) -> str:
        """Return how much there is to do, of which so many shards are missing."""
        images, shards = counted(self.images, "image"), counted(self.shards, "shard")
        return f"{images} in {shards}, {self.shards - missing} of them done before."

    def count(self, shard: int) -> int:
        """Return how many images a shard has."""
        return min(self.shard_size, self.images - shard * self.shard_size)


@dataclass(frozen=True)
class Planned:
    """A plan in its place, and the parts that are there."""

    out: Place
    plan: Plan

    def images(self, shard: int) -> list[Image]:
        """Return the images of a shard."""
        return read_shard(self.out / MANIFEST, shard)

    def part(self, shard: int) -> Place:
        """Return where the part of a shard is, or will be."""
        return self.out / PARTS / _part_name(shard)

    def missing(self) -> list[int]:
        """Return the shards whose parts are not there."""
        there = {path.rpartition("/")[2] for path in (self.out / PARTS).files()}
        return [shard for shard in range(self.plan.shards) if _part_name(shard) not in there]

    def commit(self, shard: int, part: Any) -> None:
        """Write the part of a shard, whole; raises ArtifactError where the plan is gone, or nothing can be written."""
        if (self.out / PLAN).kind != fs.FileType.File:
            raise ArtifactError(
                f"{self.out.name} has no {PLAN} any more: the store was lost or replaced. Bring it back. {RESUME}"
            )
        self.part(shard).write(part)


def _part_name(shard: int) -> str:
    return f"part-{shard:06d}.parquet"


def place_plan(out: Place, plan: Plan, images: Sequence[Image]) -> Planned:
    """Write a plan, its manifest first, or take the same one that is there.

    Several processes may do this at once with the same plan. Raises UsageError that names the differences when the
    place has another plan.
    """
    there = out / PLAN
    kind = there.kind
    if kind == fs.FileType.NotFound:
        names = {path.rpartition("/")[2].lstrip(".") for path in out.files()}
        if not all(name.startswith(MANIFEST) for name in names):  # of another process that plans the same just now
            raise UsageError(f"{out.name} is not empty, and has no {PLAN}. Pass a new folder: --out=URI.")
        write_manifest(out / MANIFEST, images, plan.shard_size)
        there.write((json.dumps(dataclasses.asdict(plan), indent=2) + "\n").encode())
    found = read_plan(out)
    if found != plan:
        raise UsageError(f"{there.name} is another plan: {_describe_difference(found, plan)}. Pass another --out=URI.")
    return Planned(out, plan)


def read_plan(out: Place) -> Plan:
    """Return the plan of a place; raises ArtifactError when it is missing or damaged."""
    there = out / PLAN
    try:
        value = parse_json(there.read())
        schema = value.get("schema")
        if schema != SCHEMA:
            raise ArtifactError(
                f"{there.name} has schema {show_value(schema)}, expected {SCHEMA}. Use another --out=URI."
            )
        lists = {name: tuple(value[name]) for name in ("tasks", "class_ids", "category_ids")}
        return Plan(**{**value, **lists})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{there.name} is not a plan: {error}. Copy it again, or use another --out=URI.") from error


def _describe_difference(found: Plan, wanted: Plan) -> str:
    """Return what differs, there against here, in words."""
    said = []
    for each in dataclasses.fields(Plan):
        before, now = getattr(found, each.name), getattr(wanted, each.name)
        if before == now:
            continue
        if isinstance(now, dict):
            said += [
                f"{key} {show_value(was)}, now {show_value(value)}" for key, was, value in differences(before, now)
            ]
        elif each.name.endswith("sha256"):
            said.append("other images or annotations" if each.name.startswith("manifest") else "another config")
        else:
            said.append(f"{each.name} {show_value(before)}, now {show_value(now)}")
    return "; ".join(said)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give the names that have other values, and both values; those inside a value that is a mapping, one by one."""
    for name in sorted({*before, *now}):
        was, value = before.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(value, dict):
            yield from differences(was, value)
        elif was != value:
            yield name, was, value
