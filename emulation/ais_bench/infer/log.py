"""Lines on stdout in the real tool's form."""

from __future__ import annotations

_GREEN, _PLAIN = "\033[1;32m", "\033[0m"
_HELP_FILE = "gitee repo: Ascend/tools, path:tools/ais_bench-workload/tool/ais_bench/README.md"


def info(message: str) -> None:
    """`[INFO] message`."""
    print(f"[INFO] {message}", flush=True)


def warning(message: str) -> None:
    """`[WARNING] message`."""
    print(f"[WARNING] {message}", flush=True)


def error(message: str) -> None:
    """`[ERROR] message`."""
    print(f"[ERROR] {message}", flush=True)


def solution(chapter: str) -> None:
    """The line that names the chapter of the real tool's help for an error."""
    target = f'"{_HELP_FILE}, chapter: FAQ/security_error/{chapter}_error_log_solution"'
    print(f"[{_GREEN}SOLUTION{_PLAIN}] visit {_GREEN} {target} {_PLAIN} for detailed solution", flush=True)
