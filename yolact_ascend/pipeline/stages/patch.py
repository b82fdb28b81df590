"""Stage `patch`: bring a checkout of upstream to the pinned commit plus our patch; only with `upstream=`."""

from __future__ import annotations

from yolact_ascend.files import sha256_file, shipped
from yolact_ascend.models.upstreams import upstream_with
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.steps import Step

PATCHES = shipped("patches")
APPLY_PATCH = shipped("scripts/apply_patch.sh")


def steps(run: RunContext) -> list[Step]:
    """Return the step, or none where the network is our own definition."""
    checkout = run.settings.upstream
    if checkout is None:
        return []
    upstream = upstream_with(run.settings.model_config)
    patch = PATCHES / f"{upstream.name}.patch"

    def work() -> None:
        run.runner.run_own(["bash", str(APPLY_PATCH), f"--upstream={upstream.name}", str(checkout)])

    return [
        Step(
            "patch",
            None,
            inputs=lambda: {"patch_sha256": sha256_file(patch), "upstream": str(checkout)},
            outputs=lambda: upstream.source_files(checkout),
            work=work,
            made=lambda: [],  # the script itself looks after the checkout
        )
    ]
