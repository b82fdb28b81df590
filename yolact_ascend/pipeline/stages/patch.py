"""Stage `patch`: bring a checkout of upstream to the pinned commit plus our patch; only with `upstream=`."""

from __future__ import annotations

from yolact_ascend.files import CHECKOUT, sha256_file
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.steps import Step

PATCH = CHECKOUT / "patches" / "yolact_edge.patch"
APPLY_PATCH = CHECKOUT / "scripts" / "apply_patch.sh"


def steps(run: RunContext) -> list[Step]:
    """Return the step, or none where the network is our own definition."""
    upstream = run.settings.upstream
    if upstream is None:
        return []

    def work() -> None:
        run.runner.run_own(["bash", str(APPLY_PATCH), str(upstream)])

    return [
        Step(
            "patch",
            None,
            inputs=lambda: {"patch_sha256": sha256_file(PATCH), "upstream": str(upstream)},
            # Every source that an export runs, not only those that the patch changes.
            outputs=lambda: sorted(
                path for end in ("py", "pyx") for path in (upstream / "yolact_edge").rglob(f"*.{end}")
            ),
            work=work,
            made=lambda: [],  # the script itself looks after the checkout
        )
    ]
