"""`scale`: very many images, in shards that any number of processes and hosts do, to results files and mAP."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_described_model,
    add_flag,
    add_flags,
    add_switch,
    requested_model,
    say_overfull,
    show_scores,
)
from yolact_ascend.errors import UsageError

if TYPE_CHECKING:
    from yolact_ascend.scale.plan import Planned
    from yolact_ascend.scale.planning import ScaleRequest

ONLY_WITH = {"actors": "cluster", **dict.fromkeys(("report", "images", "host_cores", "host_cards"), "plan_only")}
HELP = "Run very many images in shards, on this host or several, and merge their results."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="images: a folder, a list (.txt), WebDataset archives (.tar) or Parquet tables (.parquet), by path or URI",
    )
    add_flag(parser, flags.OUT_URI)
    add_flag(parser, flags.JSON_FILE, default=None, help="COCO annotation file, to score against (default: none)")
    add_described_model(parser)
    add_flag(parser, flags.BATCH_SIZE, default=None, help="images per batch, for a model that takes any (default: 1)")
    add_flags(parser, flags.CLUSTER, flags.ACTORS, flags.SHARD, flags.SHARD_SIZE, flags.LIMIT, flags.WORKERS)
    add_switch(parser, "plan_only", "print how many cards, hosts, cores and hours it takes, by --report; run nothing")
    add_flags(parser, flags.REPORT, flags.IMAGES, flags.HOST_CORES, flags.HOST_CARDS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.extras import require_module

    for name, other in ONLY_WITH.items():
        if getattr(arguments, name) is not None and not getattr(arguments, other):
            raise UsageError(f"--{name} says nothing without --{other}. Leave it out, or pass both.")
    if arguments.plan_only:
        _plan_capacity(arguments)
        return
    if arguments.source is None or arguments.out is None:
        raise UsageError("Pass SOURCE, the images, and --out=URI, the place of plan, parts and results.")
    if arguments.cluster is not None and arguments.shard is not None:
        raise UsageError("Pass either --cluster or --shard: a cluster does all shards.")
    require_module("pyarrow")
    if arguments.cluster is not None:
        require_module("ray")
    from yolact_ascend.scale.places import require_apart

    require_apart(arguments.source, arguments.out)
    planned = _run_on_cluster(arguments) if arguments.cluster is not None else _run_here(arguments)
    if planned is not None:
        _merge(planned)


def _plan_capacity(arguments: argparse.Namespace) -> None:
    from yolact_ascend.cores import count_cores
    from yolact_ascend.scale.capacity import Hosts, describe_capacity, read_measured

    if arguments.report is None or (arguments.images is None and arguments.source is None):
        raise UsageError("--plan_only counts by a run: pass --report=FILE (its report.json), and SOURCE or --images=N.")
    measured = read_measured(arguments.report)
    images = arguments.images
    if images is None:
        from yolact_ascend.scale.source import list_source

        images = len(list_source(arguments.source))
    hosts = Hosts(arguments.host_cores or count_cores(), arguments.host_cards)
    print(describe_capacity(images, measured, hosts))


def _request(arguments: argparse.Namespace) -> ScaleRequest:
    from yolact_ascend.scale.planning import ScaleRequest

    return ScaleRequest(arguments.source, arguments.json_file, arguments.shard_size, arguments.limit)


def _run_here(arguments: argparse.Namespace) -> Planned | None:
    """Do the shards of this process; return the plan when its parts are to be merged."""
    from yolact_ascend.host.loading import choose_model
    from yolact_ascend.scale.places import find_place
    from yolact_ascend.scale.plan import place_plan
    from yolact_ascend.scale.planning import prepare_plan
    from yolact_ascend.scale.run import Group, shards_of, work
    from yolact_ascend.tables import counted

    chosen = choose_model(requested_model(arguments))
    prepared = prepare_plan(_request(arguments), chosen)
    for warning in prepared.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    planned = place_plan(find_place(arguments.out), prepared.plan, prepared.images)
    plan, missing = planned.plan, planned.missing()
    own = shards_of(missing, arguments.shard and Group(*arguments.shard))
    print(plan.describe_start(len(missing)))
    if own:
        worked = work(planned, chosen, arguments.source, own, arguments.workers)
        say_overfull(worked.spent.host)
        print(worked.describe())
    if arguments.shard is None:
        return planned
    left = len(planned.missing())
    others = f"{counted(left, 'shard')} left to others."
    print(others if left else "All parts are there: merge them without --shard.")
    return None


def _run_on_cluster(arguments: argparse.Namespace) -> Planned:
    from yolact_ascend.environment import limit_ray, silence_ray

    is_alone = arguments.cluster == flags.LOCAL_CLUSTER
    silence_ray(is_alone)  # which Ray reads when it is imported
    if not is_alone:
        limit_ray()
    from yolact_ascend.scale.actor import Job
    from yolact_ascend.scale.cluster import joined, run_on_cluster, say_on_stderr

    job = Job(arguments.out, _request(arguments), requested_model(arguments), arguments.workers).absolute()
    with joined(arguments.cluster):
        planned, workers = run_on_cluster(job, arguments.actors, say_on_stderr)
    for worked in workers:
        say_overfull(worked.spent.host)
        print(worked.describe())
    return planned


def _merge(planned: Planned) -> None:
    from yolact_ascend.scale.run import finish
    from yolact_ascend.tables import counted

    merged = finish(planned)
    if merged.failed:
        print(f"warning: {merged.describe()}", file=sys.stderr)
    print(f"Results of {counted(merged.evaluation.images, 'image')} are in {planned.out.name}.")
    if planned.plan.category_ids:
        show_scores(merged.evaluation)
    else:
        print("Nothing is scored: there are no annotations.")
