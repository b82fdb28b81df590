"""Takes what is private out of texts that a user sends to others: secrets, the home folder, user and host names."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolact_ascend.environment import shell_environment

REDACTED = "<redacted>"
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|PWD_|_PWD|CREDENTIAL|AUTH|COOKIE|APIKEY|(^|_)(KEY|KEYS|PASS|PAT)(_|$)",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END |\Z)", re.DOTALL)
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token))([\"']?\s*:\s*[\"']?)[^\r\n\"']+", re.IGNORECASE
)
_IN_TEXT = re.compile(
    r"((?:token|secret|password|passwd|passphrase|credential|api[-_]?key|access[-_]?key|amz-signature|(?<=[?&])sig"
    r"|(?<![a-z])pwd(?!=/))"  # PWD=/… is the current folder
    r"[\"']?(?:\s*[=:]\s*|(?<=--token)\s+|(?<=--password)\s+))"
    r"(?:\"[^\"\r\n]*\"|'[^'\r\n]*'|[^\s\"',;}&]+)",
    re.IGNORECASE,
)
# Of GitHub, GitLab, Hugging Face, AWS, PyPI and Slack, and JSON web tokens.
_TOKEN = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|AKIA|ASIA|pypi-|xox[abprs]-)[\w-]{10,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
)
_USER_OF_URL = re.compile(r"(\w[\w+.-]*://)[^/\s\"']+@")
_OTHER_HOME = re.compile(r"(/home/|/Users/|[A-Z]:\\Users\\)[^/\\\s\"':;,]+")
# Names of users and hosts that are words of these texts as well.
_PLAIN = {"", "root", "localhost", "ascend", "HwHiAiUser", "davinci", "cann", "npu", "atlas", "linux", "python"}
LEAST_SECRET = 6  # letters: what is shorter is no secret, and occurs everywhere
# What of the environment a tool of ours or of CANN's reads; of all others only the names are given.
_KNOWN = re.compile(
    r"ASCEND|ACL_|ATC_|GE_|TE_|TBE_|MAX_COMPILE|INF_NAN|DUMP_|NPU|DEVICE_|CANN|EMULATED|YOLACT|COCO|PYTHON|PIP_|VIRTUAL_ENV"
    r"|CONDA|TORCH|OMP_|MKL_|OPENBLAS|OPENVINO|OV_|OPENCV|CUDA|LD_|LANG|LC_|(PATH|HOME|TMPDIR|SHELL|TERM|CI)$"
)


class Redactor:
    """Replaces what is private in this user's texts."""

    def __init__(self, env: Mapping[str, str], home: Path, host: str) -> None:
        self._env = env
        secrets = [value for name, value in env.items() if _SECRET_NAME.search(name) and len(value) >= LEAST_SECRET]
        homes = {str(home), str(home.resolve())} - {"/"}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._patterns = [(rf"{re.escape(path)}(?![\w-])", "~") for path in sorted(homes, key=len, reverse=True)]
        for name in sorted({env.get("USER", ""), env.get("LOGNAME", ""), home.name} - _PLAIN):
            # Where it is certainly a name: a user may be called "test".
            self._patterns += [(rf"(?<=/){re.escape(name)}(?=/)", "<user>"), (rf"\b{re.escape(name)}(?=@)", "<user>")]
        if host.lower() not in _PLAIN:
            self._patterns.append((rf"(?<!\w){re.escape(host)}(?!\w)", "<host>"))

    def text(self, text: str) -> str:
        """Return a text without what is private."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        for pattern, shown in self._patterns:
            text = re.sub(pattern, shown, text)
        text = _OTHER_HOME.sub(r"\1<user>", text)
        text = _USER_OF_URL.sub(rf"\1{REDACTED}@", text)
        text = _PRIVATE_KEY.sub(rf"\1 {REDACTED} \2", text)
        text = _HEADER.sub(rf"\1\2{REDACTED}", text)
        text = _TOKEN.sub(REDACTED, text)
        return _IN_TEXT.sub(_hide_value, text)

    def values(self, value: Any) -> Any:
        """Return a value of JSON, its texts without what is private."""
        if isinstance(value, Mapping):
            return {name: self.values(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.values(one) for one in value]
        return self.text(value) if isinstance(value, str) else value

    def environment(self, env: Mapping[str, str]) -> str:
        """Return variables, one a line; those that no tool here reads by their names only."""
        known = [name for name in sorted(env) if _KNOWN.match(name)]
        lines = [f"{name}={REDACTED if _SECRET_NAME.search(name) else self.text(env[name])}" for name in known]
        others = sorted(set(env) - set(known))
        return "\n".join([*lines, f"# set, too, values left out: {' '.join(others) or 'none'}"]) + "\n"


def redactor_of_this_user() -> Redactor:
    """Return what takes out this user's own secrets, home folder and names: an error's text can hold them, too."""
    return Redactor(shell_environment(), Path.home(), socket.gethostname())


def _hide_value(found: re.Match[str]) -> str:
    """Return a name and its separator, with the value replaced; quotes stay."""
    name = found.group(1)
    value = found.group()[len(name) :]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{quote}{REDACTED}{quote}"
