"""The tracker's training: do labels stay on their faces, does the detector's target say where they are, does it learn?"""

import dataclasses
import gzip

import numpy as np
import pytest
import torch

from mien.media import load_image
from mien.portrait import geometry
from mien.portrait.tracking import BLENDSHAPES, Face, Track
from mien.portrait.tracking.crops import Crop
from mien.portrait.tracking.network import STRIDE, TrackerConfig
from mien.training import faces
from mien.training.faces import Picture, telling_frames
from mien.training.tracker import MIRRORED_SHAPES, TrackerTask, TrackerTraining, _targets

SMALL = TrackerConfig(
    face_px=32, eye_px=16, mouth_px=16, face=(4, 8), eye=(4, 8), mouth=(4, 8), hidden=32, detector=(4, 4, 8, 8, 8)
)


@pytest.fixture(scope="module")
def shards(astronaut_path, tmp_path_factory):
    """The astronaut as a photograph and in a film, and a picture of nobody, of both splits."""
    face = Face.load(astronaut_path.with_suffix(".json"))
    jpeg = astronaut_path.read_bytes()
    pictures = [
        Picture(jpeg, group, split, [face] if group != "none" else [])
        for split in ("train", "val")
        for group in ("photo", "film", "none")
    ]
    folder = tmp_path_factory.mktemp("shards")
    faces.save(folder / "all.npz", pictures)
    return folder


@pytest.fixture(scope="module")
def task(shards):
    return TrackerTask(SMALL, TrackerTraining(canvas_px=96, no_face=0.1), shards)


def test_pictures_survive_their_shard(shards, astronaut_path):
    pictures = faces.load(shards)
    assert [p.group for p in pictures] == ["photo", "film", "none"] * 2 and [len(p.faces) for p in pictures] == [1, 1, 0] * 2
    shipped = Face.load(astronaut_path.with_suffix(".json"))
    np.testing.assert_allclose(pictures[4].faces[0].landmarks, shipped.landmarks, atol=1e-3)
    assert pictures[0].pixels.shape == (512, 512, 3)


def test_no_shards_say_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `python -m mien.training prepare-tracker` first"):
        faces.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="has no manifest.csv.gz: give the folder of face tars with --faces"):
        list(faces.prepare(tmp_path, [], tmp_path, tmp_path / "out"))


def test_test_people_are_never_read(tmp_path):
    with gzip.open(tmp_path / "manifest.csv.gz", "wt") as file:
        file.write("shard,name,group,split\nabsent.tar,a.jpg,photo,test\n")
    assert list(faces.prepare(tmp_path, [], tmp_path, tmp_path / "out")) == []


def test_the_frames_kept_are_the_telling_ones():
    shapes = np.zeros((60, 52), np.float32)
    shapes[17, BLENDSHAPES.index("jawOpen")] = 0.9
    shapes[40:43, BLENDSHAPES.index("eyeBlinkLeft")] = 0.8
    track = Track(np.zeros((60, 478, 3)), shapes, np.tile(np.eye(4), (60, 1, 1)), np.ones(60, bool), (1, 1))
    chosen = telling_frames(track, 10)
    assert chosen == [17, 40], "frames that show nothing new were kept"


def test_a_mirror_changes_the_sides_of_blendshapes():
    names = [BLENDSHAPES[i] for i in MIRRORED_SHAPES]
    assert names[BLENDSHAPES.index("eyeBlinkLeft")] == "eyeBlinkRight" and names[BLENDSHAPES.index("jawOpen")] == "jawOpen"
    assert [MIRRORED_SHAPES[i] for i in MIRRORED_SHAPES] == list(range(52))


def test_labels_stay_on_their_face_through_mirror_and_stretch(task):
    """A dark dot on the left pupil (the picture's right) must lie where the label says it does."""
    sample, rng = task.samples[0], np.random.default_rng(3)
    x, y = sample.landmarks[473, :2]
    image = np.full_like(sample.image, 255)
    image[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5] = 0
    marked = dataclasses.replace(sample, image=image)
    for changed, point in ((task.augmenter.mirrored(marked), 468), (task.augmenter.stretched(marked, rng), 473)):
        rows, columns = np.nonzero(changed.image[..., 0] < 100)
        np.testing.assert_allclose(changed.landmarks[point, :2], [columns.mean() + 0.5, rows.mean() + 0.5], atol=1.5)
    assert geometry.EYES[0][2][0] == 468


def test_the_detectors_target_says_where_the_face_is():
    crop = Crop(50.0, 33.0, 0.3, 40.0)
    said = _targets([crop, Crop(-20.0, 5.0, 0.0, 30.0)], 96)
    ((row, column),) = np.argwhere(said["heat"] == 1)
    dx, dy, size, cos, sin = said["where"][:, row, column]
    assert said["inside"][row, column] == 1 and said["heat"].shape == (12, 12)
    place = (column + 0.5 + dx) * STRIDE, (row + 0.5 + dy) * STRIDE
    assert place == pytest.approx((50, 33), abs=0.01)
    assert np.exp(size) * 8 * STRIDE == pytest.approx(40, rel=1e-3) and np.arctan2(sin, cos) == pytest.approx(0.3, abs=1e-3)


def test_a_batch_is_a_function_of_its_seed(task):
    first, again = (task.batch(torch.Generator().manual_seed(5), 4) for _ in range(2))
    other = task.batch(torch.Generator().manual_seed(6), 4)
    for name in first:
        torch.testing.assert_close(first[name], again[name], equal_nan=True)
    assert not torch.equal(first["face"], other["face"])
    assert float(first["face"].min()) >= -0.5 and float(first["face"].max()) <= 0.5


def test_the_networks_learn(task):
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    batch = task.batch(torch.Generator().manual_seed(0), 12)
    task.model.train()
    totals = []
    for _ in range(30):
        losses = task.losses(task.model, batch)
        total = torch.stack([task.weights[name] * value for name, value in losses.items()]).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]
    figures = task.evaluate(task.model.eval())
    assert {"all", "eyes", "lips", "shapes", "is_face", "score"} <= set(figures) and np.isfinite(figures["score"])


def test_what_is_saved_tracks(task, tmp_path, astronaut_path):
    """The checkpoint of a run is what the tracker reads, and the same network; what it saw is not judged here."""
    from mien.portrait.tracking.mien import MienTracker

    task.save(task.model, tmp_path / "small.safetensors")
    tracker = MienTracker(tmp_path / "small.safetensors")
    assert tracker.config == SMALL
    assert isinstance(tracker.detect(load_image(astronaut_path)), list)
