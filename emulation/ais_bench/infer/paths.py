"""Which files and folders the tool reads and writes: owner, permissions, no links; and opening them by these rules.

The rules and sentences are those of the ais_bench of December 2025.
"""

from __future__ import annotations

import os
import re
import stat
from typing import IO, Any

from ais_bench.infer import log

FOLDER_MODE = 0o750
FILE_MODE = 0o640
_PATH_LENGTH_MAX = 4096
_NAME_LENGTH_MAX = 255
_ILLEGAL_CHARACTER = re.compile(r"[^_A-Za-z0-9/.-]")
_FORBIDDEN_WHEN_READ = stat.S_IWGRP | stat.S_IWOTH
_FORBIDDEN_WHEN_WRITTEN = stat.S_IWGRP | stat.S_IWOTH | stat.S_IROTH | stat.S_IXOTH


class PathStringError(Exception):
    """The path has characters or a length that the tool does not take."""


class OpenError(Exception):
    """The file cannot be opened by the rules."""


def check_path_string(path: str) -> str:
    """The absolute path; raises PathStringError."""
    absolute = os.path.abspath(path)
    if len(absolute) > _PATH_LENGTH_MAX:
        log.error(
            f"file total path's length out of range ({_PATH_LENGTH_MAX}), please check the file(or directory) path"
        )
        log.solution("path_length_overflow")
        raise PathStringError(path)
    if any(len(name) > _NAME_LENGTH_MAX for name in absolute.split("/")):
        log.error(f"file base name length out of range ({_NAME_LENGTH_MAX}), please check the file(or directory) path")
        log.solution("path_length_overflow")
        raise PathStringError(path)
    if _ILLEGAL_CHARACTER.search(absolute):
        log.error("path contains illegal char, legal chars include A-Z a-z 0-9 _ - / .")
        log.solution("path_contain_illegal_char")
        raise PathStringError(path)
    return absolute


def may_read(path: str) -> bool:
    """Whether the file or folder exists and may be read; where not, the reason is on stdout."""
    absolute = check_path_string(path)
    if not os.path.exists(absolute):
        log.error(f"path: {absolute} not exist, please check if file or dir is exist")
        return False
    if not _is_own_and_no_link(absolute):
        return False
    mode = os.stat(absolute).st_mode
    if mode & _FORBIDDEN_WHEN_READ:
        log.error(
            f"The file {absolute} is group writable, or is others writable, as import file(or directory), "
            "permission should not be over 0o755(rwxr-xr-x)"
        )
        log.solution("path_permission")
        return False
    if not os.access(absolute, os.R_OK) or not mode & stat.S_IRUSR:
        log.error(
            f"Current user doesn't have read permission to the file {absolute}, as import file(or directory), "
            "permission should be at least 0o400(r--------) "
        )
        log.solution("path_permission")
        return False
    return True


def may_write(path: str) -> bool:
    """Whether the file or folder may be written, or does not exist yet; where not, the reason is on stdout."""
    absolute = check_path_string(path)
    if not os.path.exists(absolute):
        return True
    if not _is_own_and_no_link(absolute):
        return False
    if os.stat(absolute).st_mode & _FORBIDDEN_WHEN_WRITTEN:
        log.error(
            f"The file {absolute} is group writable, or is others writable, as export file(or directory), "
            "permission should not be over 0o750(rwxr-x---)"
        )
        log.solution("path_permission")
        return False
    if not os.access(absolute, os.W_OK):
        log.error(
            f"Current user doesn't have write permission to the file {absolute}, as export file(or directory), "
            "permission should be at least 0o200(-w-------) "
        )
        log.solution("path_permission")
        return False
    return True


def _is_own_and_no_link(absolute: str) -> bool:
    if os.path.islink(absolute):
        log.error(f"path :{absolute} is a soft link, not supported, please import file(or directory) directly")
        log.solution("soft_link")
        return False
    status = os.stat(absolute)
    if status.st_uid != os.geteuid() and status.st_gid not in os.getgroups():
        log.error(
            f"current user isn't path:{absolute}'s owner or ownergroup, "
            "make sure current user belong to file(or directory)'s owner or ownergroup"
        )
        log.solution("owner_or_ownergroup")
        return False
    return True


def has_suffix(path: str, suffix: str) -> bool:
    """Whether `path` is a file whose name ends in `suffix` (with its dot); where not, the reason is on stdout."""
    absolute = check_path_string(path)
    if os.path.exists(absolute) and not os.path.isfile(absolute):
        log.error(f"path: {absolute} is not a file")
        return False
    if os.path.splitext(absolute)[1] != suffix:
        log.error(f"path:{absolute}, file type not in {[suffix[1:]]}")
        return False
    return True


def make_folders(path: str) -> None:
    """Create `path` and its parents with mode 0750."""
    current = ""
    for name in filter(None, os.path.abspath(path).split("/")):
        current += "/" + name
        if not os.path.exists(current):
            os.mkdir(current, mode=FOLDER_MODE)


def read_bytes(path: str) -> bytes:
    """Content of a file that is no link; raises OpenError."""
    absolute = check_path_string(path)
    if os.path.isdir(absolute):
        raise OpenError(f"Expecting a file, but it's a folder. {path}")
    if os.path.islink(absolute):
        raise OpenError(f"Softlink is not allowed to be opened. {path}")
    if not os.path.exists(absolute):
        raise OpenError(f"No such file or directory {path}")
    with open(path, "rb") as file:
        return file.read()


def open_for_writing(path: str, mode: str = "wb") -> IO[Any]:
    """A new file with mode 0640 in place of the one that may be there; raises OpenError."""
    absolute = check_path_string(path)
    if os.path.isdir(absolute):
        raise OpenError(f"Expecting a file, but it's a folder. {path}")
    if os.path.exists(absolute):
        if os.path.islink(absolute):
            raise OpenError(f"Softlink is not allowed to be opened. {path}")
        if os.stat(absolute).st_uid != os.geteuid():
            raise OpenError(
                f"The file owner is inconsistent with the current process user and is not allowed to write. {path}"
            )
        os.remove(path)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, mode=FILE_MODE), mode)
