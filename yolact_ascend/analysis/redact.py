"""Takes what is private out of texts that a user sends to others: secrets, the home folder, user and host names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

REDACTED = "<redacted>"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|PWD_|_PWD|CREDENTIAL|AUTH|COOKIE|APIKEY|(^|_)KEY(_|$|S$)", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"((?:token|secret|passw(?:or)?d|passwd|credential|api[-_]?key|authorization)[\"']?\s*[=:]\s*[\"']?(?:bearer\s+)?)"
    r"[^\s\"',;}&]+",
    re.IGNORECASE,
)
_USER_OF_URL = re.compile(r"(\w[\w+.-]*://)[^/@\s\"']+@")
_OTHER_HOME = re.compile(r"/home/[^/\s\"':;,]+")
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
        text = _OTHER_HOME.sub("/home/<user>", text)
        text = _USER_OF_URL.sub(rf"\1{REDACTED}@", text)
        return _IN_TEXT.sub(rf"\1{REDACTED}", text)

    def environment(self, env: Mapping[str, str]) -> str:
        """Return variables, one a line; those that no tool here reads by their names only."""
        known = [name for name in sorted(env) if _KNOWN.match(name)]
        lines = [f"{name}={REDACTED if _SECRET_NAME.search(name) else self.text(env[name])}" for name in known]
        others = sorted(set(env) - set(known))
        return "\n".join([*lines, f"# set, too, values left out: {' '.join(others) or 'none'}"]) + "\n"
