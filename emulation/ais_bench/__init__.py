"""Stand-in of Ascend's ais_bench inference tool: array mode with fixed shapes, on any aclruntime."""

import os
import sys


def _give_up_the_current_folder() -> None:
    """Search no longer where `python3 -m` begins: a queue.py of the user's would stand in for Python's own."""
    has_it = sys.argv[:1] == ["-m"] and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))
    if has_it and os.path.realpath(sys.path[0]) != os.path.realpath(os.path.join(__path__[0], os.pardir)):
        del sys.path[0]


_give_up_the_current_folder()
