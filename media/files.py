"""Where media come from and go to: files that exist, and files that appear whole or not at all."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.media import limits


def source_name(source: object, kind: str) -> str:
    """What error messages call a source: a path's last part, else "the picture" (or whatever `kind` says)."""
    return Path(source).name if isinstance(source, str | os.PathLike) else f"the {kind}"


def open_source(source: str | os.PathLike | bytes, kind: str, max_bytes: int) -> Path | io.BytesIO:
    """The path of a file that exists and is neither empty nor too large, or bytes as a file.

    Raises FileNotFoundError or ValueError with one sentence.
    """
    if isinstance(source, bytes):
        limits.check_bytes(source_name(source, kind), len(source), max_bytes)
        return io.BytesIO(source)
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a {kind}: give the file itself.")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path of the {kind}.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} may not be read: ask for the right to read it.")
    limits.check_bytes(path.name, path.stat().st_size, max_bytes)
    return path


def check_writable(path: str | os.PathLike, suffixes: Iterable[str]) -> Path:
    """The path of a file that can be written there: to refuse before the work what could not be written after it.

    suffixes: the endings that can be written. Raises ValueError for another ending or a folder, FileNotFoundError for a
    folder that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        ending, known = path.suffix or "no ending", ", ".join(suffixes)
        raise ValueError(f"{path.name} has {ending}, what can be written here are {known}: choose one of them.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of the file to write.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it before {path.name} is written.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"nothing may be written in the folder {path.parent}: choose another for {path.name}.")
    return path


@contextmanager
def written_beside(path: str | os.PathLike, suffixes: Iterable[str]) -> Iterator[Path]:
    """Give the path of a partial file in the same folder; rename it at the end, or remove it if anything is raised.

    path: where the file shall appear. suffixes, errors: as in `check_writable`.
    """
    path = check_writable(path, suffixes)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:  # Ctrl-C too leaves nothing half-made
        part.unlink(missing_ok=True)
        raise
