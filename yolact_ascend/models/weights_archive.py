"""The zip archive of a `.pth`: what is checked of it before anything in it is used.

PyTorch writes checksums and does not compare them: one flipped bit loads as another weight.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.unreadable import explain_unreadable

SIGNATURE = b"PK\x03\x04"  # by which PyTorch knows its zip format: torch.serialization._is_zipfile
PICKLE = "data.pkl"  # names the tensors and the records with their values
VALUES = "data"  # the folder of these records
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what PyTorch's reader unpacks
BLOCK_BYTES = 1 << 20
ENCRYPTED = 0x1  # zip's flag
# Of a record that is read whole, and of the old format before its values. Seen: 80 kB for 660 tensors, 2 kB for the
# names of 80 classes.
MOST_BYTES = 4 << 20
MOST_INFLATION = 2  # float64 has twice the bytes of float32
REMEDY = "Compare its size or SHA-256 with the source, and copy or download it again."


def is_archive(path: Path) -> bool:
    """Tell whether a weights file has PyTorch's zip format."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read_record(path: Path, name: str) -> bytes | None:
    """Return the archive's record of that file name; None when there is none.

    Raises WeightsError when the archive or the record is damaged, or the record too large.
    """
    with _opened(path) as archive:
        for record in archive.infolist():
            if PurePosixPath(record.filename).name == name:
                if record.file_size > MOST_BYTES:
                    raise WeightsError(
                        f"{path}: its record {record.filename} unpacks to {record.file_size} bytes, expected at most "
                        f"{MOST_BYTES}. Save the weights alone: torch.save(model.state_dict(), FILE)."
                    )
                return b"".join(_blocks(path, archive, record))
    return None


def value_sizes(path: Path) -> dict[str, int]:
    """Return the bytes of each record with values, by the number under which `data.pkl` names it."""
    with _opened(path) as archive:
        paths = ((PurePosixPath(record.filename), record.file_size) for record in archive.infolist())
        return {path.name: size for path, size in paths if path.parent.name == VALUES}


def require_whole(path: Path, needed_bytes: int) -> None:
    """Read each record once and compare its checksum; `needed_bytes` is what the config's tensors take in float32.

    Raises WeightsError that names the first damaged record. An archive that unpacks to more than the file has, and to
    more than twice of what is needed, is refused before it is read.
    """
    with _opened(path) as archive:
        records = archive.infolist()
        _require_each_once(path, records)
        unpacked, size = sum(record.file_size for record in records), path.stat().st_size
        if unpacked > max(size, MOST_INFLATION * needed_bytes):
            raise WeightsError(
                f"{path} has {_mb(size)} MB and unpacks to {_mb(unpacked)} MB; its config needs {_mb(needed_bytes)} "
                "MB. It is not unpacked. Save the weights alone, without compression: "
                "torch.save(model.state_dict(), FILE)."
            )
        for record in records:
            for _ in _blocks(path, archive, record):
                pass


def _require_each_once(path: Path, records: list[zipfile.ZipInfo]) -> None:
    names = [record.filename for record in records]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WeightsError(f"{path} holds two records {twice}, expected each once. {REMEDY}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; raises WeightsError when its directory cannot be read."""
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except Exception as error:  # a broken directory fails in any of a dozen ways
            raise WeightsError(explain_unreadable(path, error)) from error
        if not any(record.CRC for record in archive.infolist()):
            # Saved without checksums, all are 0 (torch.serialization.set_crc32_options). Then zipfile compares none.
            for record in archive.infolist():
                del record.CRC
        yield archive


def _blocks(path: Path, archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> Iterator[bytes]:
    """Give a record's bytes, never more than it declares; at the end, its checksum is compared."""
    what = f"its record {record.filename}"
    if record.flag_bits & ENCRYPTED:
        raise WeightsError(f"{path}: {what} is encrypted, which PyTorch does not read. Save it without a password.")
    if record.compress_type not in METHODS:
        raise WeightsError(
            f"{path}: {what} is compressed by method {record.compress_type}, expected 0 (stored) or 8 (deflated), "
            "which PyTorch reads. Save the weights with torch.save."
        )
    try:
        with archive.open(record) as file:
            # In blocks: read as a whole, a record is unpacked beyond the size that it declares.
            while block := file.read(BLOCK_BYTES):
                yield block
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise WeightsError(f"{path} is damaged: {what} cannot be read ({reason}). {REMEDY}") from error


def _mb(size: int) -> str:
    return f"{size / 10**6:.1f}"
