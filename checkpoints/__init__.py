"""Weights by name: safetensors files, each with its config inside, a card beside and a line in index.json.

    weights = load("animator-nano")          # or a path: load("runs/mine/last.safetensors")
    weights.tensors, weights.config

A file that has a name is checked against the sha256 of index.json before it is used. After a file has changed,
`python -m mien.checkpoints FILE` brings its line up to date.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Config = TypeVar("Config")
FOLDER = Path(__file__).parent
INDEX = "index.json"


@dataclass(frozen=True)
class Entry:
    """What is known of one file of weights.

    file, card: names in this folder; the card (Markdown) tells data, method, figures and limits.
    figures: what was measured, by name, for a table.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    licence: str
    card: str
    figures: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Weights by parameter name, on the CPU, and the config that builds their model."""

    tensors: "dict[str, Tensor]"
    config: dict[str, Any]
    path: Path

    def built(self, kind: "type[Config]") -> "Config":
        """The config as the dataclass of its model. Raises ValueError where the checkpoint is of another model."""
        try:
            return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in self.config.items()})
        except TypeError as error:
            wanted = kind.__name__.removesuffix("Config").lower()
            raise ValueError(f"{self.path} holds another network, not the {wanted}: give the right file.") from error


def index(folder: Path = FOLDER) -> list[Entry]:
    """Return the entries of index.json, in the order of their names."""
    lines = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [Entry(name=name, **lines[name]) for name in sorted(lines)]


def load(name_or_path: str | Path, folder: Path = FOLDER) -> Checkpoint:
    """Load weights by a name of the index or from a safetensors file written by `save`.

    Raises ValueError for an unknown name, for a named file whose sha256 is not the listed one and for a file that is no
    checkpoint; FileNotFoundError for a file that is not there.
    """
    path = _find(name_or_path, folder)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "config" not in metadata:
                raise ValueError(f"{path} holds tensors but no config: give a file written by mien.checkpoints.save.")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a safe_open is no dict
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}): give a checkpoint of mien.") from error
    return Checkpoint(tensors, json.loads(metadata["config"]), path)


def save(path: str | Path, tensors: "dict[str, Tensor]", config: dict[str, Any]) -> None:
    """Write tensors and their config (what JSON can hold) to a safetensors file, beside it first and then renamed."""
    from safetensors.torch import save_file

    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    metadata = {"config": json.dumps(config, sort_keys=True)}
    try:
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, beside, metadata)
        beside.chmod(0o644)  # safetensors keeps its files to the owner
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def register(
    path: str | Path,
    name: str | None = None,
    licence: str | None = None,
    card: str | None = None,
    figures: dict[str, float | str] | None = None,
) -> Entry:
    """Write the line of a file that lies beside an index.json, and return it.

    name: the file's stem if None. card: `<stem>.md` if None; it has to exist.
    What is None and was listed before stays as it was; a new file needs its licence.
    Raises ValueError without a licence, FileNotFoundError without the file, its card or the index.
    """
    path = Path(path)
    folder, name = path.parent, name or path.stem
    old = next((entry for entry in index(folder) if entry.name == name), None)
    licence = licence or (old.licence if old else None)
    card = card or (old.card if old else f"{path.stem}.md")
    if licence is None:
        raise ValueError(f"{name} is new and has no licence yet: say under which one it may be used.")
    for needed in (path, folder / card):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is not there, and {name} needs it: write it first.")
    if figures is None:
        figures = old.figures if old else {}
    entry = Entry(name, path.name, _sha256(path), path.stat().st_size, licence, card, figures)

    entries = sorted([known for known in index(folder) if known.name != name] + [entry], key=lambda entry: entry.name)
    lines = {entry.name: {key: value for key, value in asdict(entry).items() if key != "name"} for entry in entries}
    beside = folder / f".{INDEX}.{os.getpid()}"
    beside.write_text(json.dumps(lines, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(folder / INDEX)
    return entry


def _find(name_or_path: str | Path, folder: Path) -> Path:
    """Return the file of a listed name, its sum checked, or the path itself if it is a file."""
    entries = {entry.name: entry for entry in index(folder)}
    if str(name_or_path) not in entries:
        path = Path(name_or_path)
        if path.is_file():
            return path
        if path.suffix or path.name != str(name_or_path):
            raise FileNotFoundError(f"{path} is not there: give a checkpoint file or a name: {', '.join(entries)}.")
        near = get_close_matches(str(name_or_path), entries, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"no weights are called '{name_or_path}': {hint}known names: {', '.join(entries)}.")

    entry = entries[str(name_or_path)]
    path = folder / entry.file
    if not path.is_file():
        raise FileNotFoundError(f"the weights '{entry.name}' are listed but {path} is missing: install mien again.")
    if _sha256(path) != entry.sha256:
        raise ValueError(f"{path} is not what is listed as '{entry.name}' (its sha256 differs): install mien again.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
