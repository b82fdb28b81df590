"""The sentence for a weights file that cannot be read."""

from __future__ import annotations

import re
import string
from pathlib import Path

# How torch.load(weights_only=True) names a global that it does not load: PyTorch 2.1 to 2.3, from 2.4 on, and a module
# that it never loads. Source: pytorch/pytorch, torch/_weights_only_unpickler.py.
FOREIGN = re.compile(r"(?:Unsupported class|Unsupported global: GLOBAL|unsupported GLOBAL) ([\w.]+)")
# What a failed download leaves in place of weights, by its first bytes: reason and remedy.
NOT_WEIGHTS = {
    b"<": ("It is a web page.", "Open the address in a browser and download the file by hand."),
    b"version https://git-lfs": ("It is a Git LFS pointer.", "Fetch the file that it stands for: git lfs pull."),
}
TEXT = frozenset(string.printable.encode())
TEXT_IS_NO_WEIGHTS = (
    "It is plain text, expected a file that PyTorch saved (.pth), or a pickle of arrays (.pkl).",
    "Pass the file of the weights, or download it again.",
)


def explain_unreadable(path: Path, error: Exception) -> str:
    """Return the sentence for a file whose reading ended in this error, and what to do."""
    message = str(error).strip()
    save_weights = "In the program that wrote it, save the weights alone: torch.save(model.state_dict(), FILE)."
    foreign = FOREIGN.search(message)
    if foreign:
        return (
            f"{path} holds Python objects ({foreign[1]}) beside tensors. It is not read, because reading such a file "
            f"can run any code. {save_weights}"
        )
    if "TorchScript" in message:
        return f"{path} is a TorchScript program (torch.jit.save), expected weights. {save_weights}"
    reason = (message.splitlines()[0] if message else type(error).__name__).rstrip(".") + "."
    remedy = "Is it truncated? Compare its size with the source and download it again."
    with path.open("rb") as file:
        beginning = file.read(100).lstrip()
    if beginning and all(byte in TEXT for byte in beginning):
        reason, remedy = TEXT_IS_NO_WEIGHTS
    for start, explanation in NOT_WEIGHTS.items():
        if beginning.startswith(start):
            reason, remedy = explanation
    kind = "weights" if path.suffix == ".pkl" else "PyTorch weights"
    return f"{path} cannot be read as {kind} ({path.stat().st_size} bytes): {reason} {remedy}"
