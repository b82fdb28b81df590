"""The one place that reads the environment of this process."""

from __future__ import annotations

import os


def shell_environment() -> dict[str, str]:
    """Return the environment as the user's shell has it."""
    return dict(os.environ)
