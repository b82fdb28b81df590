"""What the tools of this host say about themselves, for a user's report of a problem: texts, not understood here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yolact_ascend.errors import YolactAscendError
from yolact_ascend.process import capture, format_command
from yolact_ascend.targets.ascend.cards import NPU_SMI_LIMIT_S
from yolact_ascend.targets.ascend.installation import device_files, notes_of_installers, read_if_there
from yolact_ascend.targets.ascend.tools import Shell, find_shell

# name of the text -> the tool's words; `python` is the one that has ais_bench
_QUERIES = {
    "npu-smi info": ("npu-smi", "info"),
    "npu-smi info -l": ("npu-smi", "info", "-l"),
    "npu-smi info -m": ("npu-smi", "info", "-m"),
    "atc --help": ("atc", "--help"),
    "ais_bench --help": ("python", "-m", "ais_bench", "--help"),
    "packages of ais_bench's Python": ("python", "-m", "pip", "list", "--disable-pip-version-check"),
}


def inspect_tools(device: str, env: Mapping[str, str]) -> tuple[dict[str, str], Mapping[str, str]]:
    """Return texts by name, and the environment of the tools; nothing here fails, what is missing is said in a text."""
    texts = {}
    shell = None
    try:
        shell = find_shell(device)
        texts["how the tools were found"] = f"{shell.reason}; sourced: {shell.set_env}\n"
    except YolactAscendError as error:
        texts["how the tools were found"] = f"not found: {error}\n"
    tool_env = env if shell is None else shell.env
    for name, words in _QUERIES.items():
        texts[name] = _ask(words, shell, tool_env)
    texts["devices"] = "\n".join(map(str, device_files())) or "no /dev/davinci*"
    texts.update({str(path): read_if_there(path) for path in notes_of_installers(tool_env)})
    return texts, tool_env


def _ask(words: Sequence[str], shell: Shell | None, env: Mapping[str, str]) -> str:
    """Return a command, its exit code and all that it printed; it is ended after `NPU_SMI_LIMIT_S` seconds."""
    python = "python3" if shell is None else shell.python
    command = [python if word == "python" else word for word in words]
    try:
        result = capture(["timeout", "-k", "5", str(NPU_SMI_LIMIT_S), *command], env)
    except YolactAscendError as error:
        return f"$ {format_command(command)}\n{error}\n"
    ended = f"ended after {NPU_SMI_LIMIT_S:g} s" if result.returncode == 124 else f"exit code {result.returncode}"
    return f"$ {format_command(command)}\n{result.stdout}{result.stderr}\n[{ended}]\n"
