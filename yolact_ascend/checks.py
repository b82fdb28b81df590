"""One finding of `doctor`: what was looked at, how it is, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yolact_ascend.errors import YolactAscendError, describe_os_error

OK, WARN, FAIL = "OK", "WARN", "FAIL"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, its status, what was found and, unless OK, what to do."""

    name: str
    status: str  # OK, WARN or FAIL
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # the same for programs

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "text": self.text, "facts": dict(self.facts)}


def run_check(name: str, look: Callable[[], Check]) -> Check:
    """Return what `look` finds; an error becomes a failed check, so that the other checks are still made."""
    try:
        return look()
    except YolactAscendError as error:
        return Check(name, FAIL, str(error))
    except OSError as error:
        return Check(name, FAIL, f"{describe_os_error(error)} Fix that, then run doctor again.")
    except Exception as error:
        return Check(name, FAIL, f"This check itself failed, please report it: {type(error).__name__}: {error}")
