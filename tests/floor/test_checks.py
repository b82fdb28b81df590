"""A finding of doctor, and what an error inside a check becomes."""

import errno
import json

import pytest

from yolact_ascend.checks import OK, WARN, Check, run_check
from yolact_ascend.errors import ToolError, describe_os_error


def raises(error):
    def look():
        raise error

    return look


def test_a_check_is_what_was_found():
    check = Check("card", WARN, "no card", {"chips": []})
    assert run_check("another name", lambda: check) is check
    assert json.loads(json.dumps(check.to_json())) == {
        **{"name": "card", "status": "WARN", "text": "no card"},
        "facts": {"chips": []},
    }
    assert Check("card", OK, "310P3").to_json()["facts"] == {}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolError("There is no atc. Install it."), "There is no atc. Install it."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            "Cannot use /a: Permission denied. Fix that, then run doctor again.",
        ),
        (ZeroDivisionError("by zero"), "This check itself failed, please report it: ZeroDivisionError: by zero"),
    ],
    ids=["ours", "the system's", "a mistake of the check"],
)
def test_an_error_is_a_failed_check(error, text):
    assert run_check("atc", raises(error)) == Check("atc", "FAIL", text, {})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_ends_all_checks(error):
    with pytest.raises(type(error)):
        run_check("atc", raises(error))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "The system reports: No space left on device. Is /dev/shm, the tem",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.bin"), "Cannot use a.bin: No such file or"),
        (OSError("odd"), "The system reports: odd."),
    ],
    ids=["no file", "a file", "only a text"],
)
def test_an_error_of_the_system_is_a_sentence(error, text):
    assert describe_os_error(error).startswith(text)
