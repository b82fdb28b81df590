"""What `predict` reads: a path, the number of a camera, or the URL of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from yolact_ascend.words import path

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "tcp", "rtp")
MOST_DIGITS = 3  # of a camera's number


@dataclass(frozen=True)
class LiveSource:
    """A camera by its number, or a stream by its URL."""

    address: int | str

    def __str__(self) -> str:
        """Name it in a sentence or a file: of a URL without user, password and query, which may be secret."""
        if isinstance(self.address, int):
            return f"camera {self.address}"
        url = urlsplit(self.address)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"

    @property
    def stem(self) -> str:
        """The name of its results, without an ending."""
        if isinstance(self.address, int):
            return f"camera_{self.address}"
        return re.sub(r"[^\w.-]+", "_", str(self).partition("://")[2]).strip("_.") or "stream"


def read_source(word: str) -> LiveSource | Path:
    """Return what a word names: a camera ("0"), a stream ("rtsp://…"), or a path.

    Raises ValueError for what is none of them.
    """
    if word.isascii() and word.isdigit():
        if len(word) > MOST_DIGITS:
            raise ValueError(f"a camera's number of at most {MOST_DIGITS} digits, or a path such as ./NUMBER")
        return LiveSource(int(word))
    scheme = re.match(r"([A-Za-z][\w+.-]*)://", word)
    if scheme is None:
        return path(word)
    if scheme[1].lower() not in SCHEMES or not _has_host(word):
        raise ValueError(f"a path, the number of a camera, or a stream's URL ({', '.join(SCHEMES)}://HOST/…)")
    return LiveSource(word)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # brackets that are no IPv6 address
        return False
