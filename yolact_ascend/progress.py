"""What shows on a terminal that work goes on: a bar, or a clock where nothing can be counted; elsewhere nothing.

Neither has colours, so NO_COLOR (no-color.org) needs no care.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from yolact_ascend.environment import is_run_on_a_terminal

LEAST_S = 2.0  # a shorter step is over before a clock is read
TICK_S = 1.0


def is_shown() -> bool:
    """Whether somebody sees a bar: on a terminal, or as a stage of a run on one, which passes its output on."""
    return sys.stderr.isatty() or is_run_on_a_terminal()


def bar(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """Return tqdm's bar over items, or for `update`, with its `options`; it stays silent where nobody sees it."""
    from tqdm import tqdm  # here: most verbs need none

    return tqdm(items, file=sys.stderr, disable=not is_shown(), **options)


@contextlib.contextmanager
def clock(what: str) -> Iterator[None]:
    """Show inside the block how long it has taken, after `LEAST_S`, on a terminal.

    The cursor stays at the line's begin, so that whatever is printed meanwhile takes the clock's place.
    """
    if not is_shown():
        yield
        return
    ended = threading.Event()
    ticking = threading.Thread(target=_tick, args=(what, ended), daemon=True)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join()


def _tick(what: str, ended: threading.Event) -> None:
    start = time.monotonic()
    line, wait_s = "", LEAST_S
    while not ended.wait(wait_s):
        line, wait_s = f"{what}: {time.monotonic() - start:.0f} s", TICK_S
        sys.stderr.write(f"{line}\r")
        sys.stderr.flush()
    sys.stderr.write(f"{' ' * len(line)}\r" if line else "")
    sys.stderr.flush()
