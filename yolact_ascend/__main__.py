"""`python -m yolact_ascend`, and `python yolact_ascend`: by its path, as a run starts its stages."""

import os
import sys


def search_own_folder_first() -> None:
    """Search the folder of this package where Python has put the current folder (`-m`) or the package itself (a path).

    A queue.py in the user's folder would stand in for Python's own, and a module of this package, too.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  pathlib is not Python's yet
    is_by_path = not __package__
    if is_by_path or not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]
    if own not in sys.path:
        sys.path.insert(0, own)


if __name__ == "__main__":
    search_own_folder_first()
    from yolact_ascend.cli.main import main

    raise SystemExit(main())
