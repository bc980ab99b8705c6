"""The house stands: imports point one way, importing is light, the wheel holds what the rooms need."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest

import mien

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {package: ROOT / folder for package, folder in PYPROJECT["tool"]["setuptools"]["package-dir"].items()}

# A room may import itself and what stands before it; no room may import training, which may import any.
ORDER = [{"layers", "media", "checkpoints"}, {"codec", "emotion"}, {"tts", "portrait"}, {"mien"}, {"demo"}, {"cli"}]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# Where a package is called otherwise than what it imports as.
PACKAGE = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml", "dlib": "dlib-bin"}
HEAVY = {"torch", "torchaudio", "transformers", "diffusers", "gradio", "mediapipe", "av", "cv2", "accelerate"}


def sources() -> list[Path]:
    return sorted(path for folder in set(FOLDERS.values()) for path in folder.glob("*.py"))


def room_of(path: Path) -> str:
    if path.name == "cli.py" or (path.parent.name == "mien" and path.name == "__main__.py"):
        return "cli"  # commands, a room's own as well, stand above all: they also open the app
    return path.relative_to(ROOT).parts[0]


def imports_of(path: Path) -> list[str]:
    """Return the full names of the modules that a file imports, wherever in the file it does so."""
    package = next(package for package, folder in FOLDERS.items() if folder == path.parent)
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names += [f"mien.{alias.name}" for alias in node.names] if module == "mien" else [module]
    return names


def may_import(room: str, name: str) -> bool:
    first, *rest = name.split(".")
    if first in LEVEL.keys() - {"mien"} | {"training"}:
        return False  # works in the checkout alone: rooms are imported as mien.<room>
    if first != "mien" or room == "training" or rest == ["__version__"]:
        return True
    other = rest[0] if rest and rest[0] in LEVEL.keys() | {"training"} else "mien"
    return other == room or (other != "training" and LEVEL[other] < LEVEL[room])


def test_imports_point_one_way():
    found = [(path, name) for path in sources() for name in imports_of(path)]
    wrong = [f"{path} imports {name}" for path, name in found if not may_import(room_of(path), name)]
    assert not wrong


def test_what_is_imported_is_there():
    absent = []
    for path in sources():
        for name in (name for name in imports_of(path) if name.startswith("mien.")):
            package, _, module = name.rpartition(".")
            public = package == "mien" and module in mien.__all__
            if not (public or name in FOLDERS or (FOLDERS.get(package, ROOT) / f"{module}.py").is_file()):
                absent.append(f"{path} imports {name}")
    assert not absent


@pytest.mark.parametrize(
    ("room", "name", "allowed"),
    [
        ("codec", "mien.layers.device", True),
        ("codec", "mien.codec.config", True),
        ("layers", "mien.codec", False),
        ("codec", "mien.emotion", False),
        ("portrait", "mien.tts", False),
        ("portrait", "mien.animate", False),
        ("portrait", "mien.__version__", True),
        ("mien", "mien.portrait", True),
        ("mien", "mien.demo", False),
        ("cli", "mien.demo", True),
        ("demo", "mien.training", False),
        ("training", "mien.portrait", True),
        ("training", "portrait", False),
    ],
)
def test_the_rule_itself(room, name, allowed):
    assert may_import(room, name) is allowed


def declared(*extras: str) -> set[str]:
    """Return the names of the packages that the core and these extras ask for."""
    project = PYPROJECT["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {re.split("[<>=~! ]", line)[0].lower().replace("_", "-") for line in lines}


def test_what_is_imported_is_declared():
    """At the head of a file stands only what the core installs (or `train`, for training); extras inside functions."""
    undeclared = []
    for path in sources():
        training = room_of(path) == "training"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = ["mien" if node.level else node.module or ""]
            optional = () if node in tree.body else ("eval", "mediapipe", "fan", "export", "espeak")
            allowed = declared("train") if training else declared(*optional)
            for first in {name.split(".")[0] for name in names} - {"mien", *sys.stdlib_module_names}:
                if PACKAGE.get(first, first).lower().replace("_", "-") not in allowed:
                    undeclared.append(f"{path} imports {first}")
    assert not undeclared


def test_what_is_public_says_what_it_does():
    silent = []
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        silent += [f"{path}: {getattr(n, 'name', 'the file')}" for n in [tree, *public] if not ast.get_docstring(n)]
    assert not silent


def test_importing_is_light(tmp_path):
    code = "import json, sys, time; start = time.perf_counter(); import mien; spent = time.perf_counter() - start\n"
    code += "".join(f"import {package}\n" for package in FOLDERS)
    code += "print(json.dumps([spent, sorted({name.split('.')[0] for name in sys.modules})]))"
    answers = []
    for _ in range(3):
        child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        answers.append(json.loads(child.stdout))
    assert not HEAVY & set(answers[0][1]), "a room's __init__ imports something heavy"
    assert min(spent for spent, _ in answers) <= 0.5, "import mien takes more than half a second"


def test_every_folder_of_code_is_packaged():
    rooms = [init.parent for init in ROOT.glob("*/__init__.py")]
    found = {init.parent for room in rooms for init in room.rglob("__init__.py")}
    assert found == set(FOLDERS.values())
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == set(FOLDERS)


def test_every_file_a_room_needs_is_packaged():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    nested = set(FOLDERS.values())
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            owner = next(parent for parent in path.parents if parent in nested)
            if owner != folder or path.is_dir() or path.name.startswith(".") or path.suffix in (".py", ".pyc"):
                continue
            name = str(path.relative_to(folder))
            assert any(fnmatch(name, pattern) for pattern in patterns.get(package, [])), f"{path} is not in the wheel"


def test_shipped_portrait_and_its_landmarks_belong_together(astronaut_path):
    face = json.loads(astronaut_path.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(face["landmarks"]) == 478 and len(face["blendshapes"]) == 52
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(astronaut_path) as image:
        assert image.size == (512, 512)
    right, left = face["landmarks"][33], face["landmarks"][263]
    assert 40 < left[0] - right[0] < 120, "the outer eye corners of the face in the picture are some 80 pixels apart"


def test_assets_are_small():
    sizes = {path.name: path.stat().st_size for path in (Path(str(files("mien"))) / "assets").iterdir()}
    assert sizes["astronaut.jpg"] < 200_000
    assert all(size <= 60_000 for name, size in sizes.items() if name.endswith((".ogg", ".opus", ".flac", ".wav")))


def test_opencv_is_whole_beside_face_alignment():
    """face-alignment brings opencv-python, which writes over the files of opencv-python-headless."""
    pytest.importorskip("face_alignment", reason="needs the extra `fan`")
    import cv2
    import numpy as np

    picture = np.arange(7 * 11 * 3, dtype=np.uint8).reshape(7, 11, 3)
    x, y = np.meshgrid(np.arange(11, dtype=np.float32), np.arange(7, dtype=np.float32))
    np.testing.assert_array_equal(cv2.remap(picture, x, y, cv2.INTER_LINEAR), picture)
