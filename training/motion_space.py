"""Fit the motion space on tracked films and stills: `python -m mien.training fit-motion`.

Order: mean face -> blendshape directions (what each ARKit shape does to the landmarks) -> every person's rest ->
principal components of the displacement from rest, a set per region -> the map to ARKit-52 -> statistics.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mien.portrait import geometry
from mien.portrait.motion import (
    CHANNELS,
    PCA_REGIONS,
    REGIONS,
    MotionSpace,
    region_weights,
    without_eyes,
)
from mien.portrait.tracking import BLENDSHAPES, Track

RIDGE = 1e-2
# Lips are seen best and move most: errors there count more in the components.
LIP_WEIGHT = 3.0
DEPTH_WEIGHT = 0.5  # z of a monocular tracker is the noisiest coordinate
MAX_FRAMES = 400  # of one film, evenly spread, so that long films do not own the space


def fit(films: list[Track], stills: list[Track]) -> MotionSpace:
    """Fit a `MotionSpace`.

    films: tracks of one person each. stills: tracks whose frames are different people (for rare expressions).
    """
    films = [_thinned(film) for film in films]
    template, partner = mean_face([film.landmarks for film in films])
    canonical = [geometry.canonicalise(film.landmarks, template)[0] for film in films]
    shapes = _shape_directions(canonical, films, stills, template, partner)
    space = MotionSpace(
        template, partner, shapes, *_empty_bases(), lids=_lid_direction(canonical),
        mean=np.zeros(CHANNELS, np.float32), std=np.ones(CHANNELS, np.float32), arkit=np.zeros((31, 52), np.float32),
    )  # fmt: skip
    displacement = []
    for points, film in zip(canonical, films, strict=True):
        displacement.append(points - space.rest_of(points, film.blendshapes))
    for still in stills:  # people of one frame each: rest is known less well, but expressions are wide
        points, _ = geometry.canonicalise(still.landmarks, template)
        rest = geometry.seal(points - np.einsum("tb,bpc->tpc", without_eyes(still.blendshapes), shapes))
        displacement.append((points - rest)[::4])
    bases, encoders = _components(np.concatenate(displacement), template)
    space = _replaced(space, bases=bases, encoders=encoders)
    motions = [space.encode(film).values for film in films]
    arkit = _arkit_map(np.concatenate(motions), np.concatenate([film.blendshapes for film in films]))
    mean, std = _statistics(motions)
    return _replaced(space, arkit=arkit, mean=mean, std=std)


def mean_face(landmarks: Iterable[np.ndarray], rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Generalised Procrustes mean of films (T, 478, 3): a symmetric canonical face (478, 3) and each point's partner."""
    from scipy.optimize import linear_sum_assignment

    landmarks = list(landmarks)
    template, partner = landmarks[0][0], np.arange(geometry.N_POINTS)
    for _ in range(rounds):
        faces = [geometry.canonicalise(film[:: max(1, len(film) // 20)], template)[0].mean(0) for film in landmarks]
        template = np.mean(faces, 0)
        outer = template[list(geometry.EYE_CORNERS)]
        template = (template - outer.mean(0)) / np.linalg.norm(outer[0] - outer[1])
        # The best one-to-one match of the face with its mirror image, not the nearest points: lids and lips lie dense.
        distance = np.linalg.norm(template[:, None] * [-1, 1, 1] - template[None], axis=-1)
        _, partner = linear_sum_assignment(distance**2)
        assert (partner[partner] == np.arange(len(partner))).all(), "the mean face is too lopsided to be matched"
        template = ((template + geometry.mirrored(template, partner)) / 2).astype(np.float32)
    return template, partner


def _thinned(track: Track) -> Track:
    keep = np.flatnonzero(track.tracked)
    keep = keep[np.linspace(0, len(keep) - 1, min(len(keep), MAX_FRAMES)).astype(int)]
    return Track(track.landmarks[keep], track.blendshapes[keep], track.matrix[keep], track.tracked[keep], track.size)


def _empty_bases() -> tuple[np.ndarray, np.ndarray]:
    n = sum(REGIONS[name].stop - REGIONS[name].start for name in PCA_REGIONS)
    return np.zeros((n, geometry.N_POINTS, 3), np.float32), np.zeros((n, geometry.N_POINTS, 3), np.float32)


def _shape_directions(canonical, films, stills, template, partner) -> np.ndarray:
    """Ridge regression of landmark change on blendshape change, within films and (weaker) across stills: (52, 478, 3)."""
    gram, cross = np.zeros((52, 52)), np.zeros((52, geometry.N_POINTS * 3))
    for points, film in zip(canonical, films, strict=True):
        b = film.blendshapes - film.blendshapes.mean(0)
        x = (points - points.mean(0)).reshape(len(points), -1)
        gram += b.T @ b
        cross += b.T @ x
    for still in stills:
        points, _ = geometry.canonicalise(still.landmarks, template)
        b = still.blendshapes - still.blendshapes.mean(0)
        x = (points - points.mean(0)).reshape(len(points), -1)
        gram += b.T @ b
        cross += b.T @ x
    scale = np.trace(gram) / 52
    directions = np.linalg.solve(gram + RIDGE * scale * np.eye(52), cross).reshape(52, geometry.N_POINTS, 3)
    return (_symmetric(directions, partner) + _drawn(template)).astype(np.float32)


def _drawn(template: np.ndarray) -> np.ndarray:
    """Shapes that the tracker never or hardly reports, drawn by hand as soft pushes at a landmark: (52, 478, 3)."""
    out = np.zeros((52, geometry.N_POINTS, 3))
    pushes = {  # landmark on the image's left, the person's right: (right, down) IOD, radius IOD
        "mouthFrownRight": [(61, (0.01, 0.07), 0.09), (146, (0, 0.02), 0.07)],
        "cheekSquintRight": [(117, (0, -0.05), 0.13), (50, (-0.01, -0.05), 0.16)],
        "noseSneerRight": [
            (48, (-0.01, -0.06), 0.07),
            (55, (0.02, 0.03), 0.08),
            (39, (-0.01, -0.04), 0.07),
            (36, (0, -0.03), 0.1),
        ],
    }
    for name, fields in pushes.items():
        for landmark, (right, down), radius in fields:
            near = np.exp(-((template[:, :2] - template[landmark, :2]) ** 2).sum(-1) / (2 * radius**2))
            out[BLENDSHAPES.index(name), :, :2] += near[:, None] * [right, down]
            mirrored = np.exp(-((template[:, :2] - template[landmark, :2] * [-1, 1]) ** 2).sum(-1) / (2 * radius**2))
            out[BLENDSHAPES.index(name.replace("Right", "Left")), :, :2] += mirrored[:, None] * [-right, down]
    return out


def _symmetric(directions: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """A left shape mirrors its right twin: average both."""
    swapped = [name.replace("Left", "#").replace("Right", "Left").replace("#", "Right") for name in BLENDSHAPES]
    twin = [BLENDSHAPES.index(name) for name in swapped]
    return (directions + geometry.mirrored(directions[twin], partner)) / 2


def _lid_direction(canonical: list[np.ndarray]) -> np.ndarray:
    """How lid-edge landmarks move per unit of lid opening (1 = the person's open eye): (2, 478, 3)."""
    out = np.zeros((2, geometry.N_POINTS, 3))
    for eye, (upper, lower, _) in enumerate(geometry.EYES):
        edge = [*upper[1:-1], *lower[1:-1]]
        gram, cross = 1e-6, np.zeros((len(edge), 3))
        for points in canonical:
            openness = geometry.lid_openness(points)[:, eye]
            openness = openness / max(np.percentile(openness, 75), 0.05)
            change = openness - openness.mean()
            gram += (change**2).sum()
            cross += np.einsum("t,tpc->pc", change, points[:, edge] - points[:, edge].mean(0))
        out[eye, edge] = cross / gram
    return out.astype(np.float32)


def _components(displacement: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of each region's share of the displacement: bases and encoders (26, 478, 3)."""
    regions = region_weights(template)
    importance = np.ones((geometry.N_POINTS, 3))
    importance[sorted({*geometry.UPPER_LIP, *geometry.LOWER_LIP, *geometry.INNER_UPPER, *geometry.INNER_LOWER})] = (
        LIP_WEIGHT
    )
    importance[:, 2] *= DEPTH_WEIGHT
    bases = []
    for name in PCA_REGIONS:
        count = REGIONS[name].stop - REGIONS[name].start
        share = regions[name][:, None] * np.ones(3)
        x = (displacement * share * importance).reshape(len(displacement), -1)
        covariance = x.T @ x / len(x)
        values, vectors = np.linalg.eigh(covariance)
        components = vectors[:, ::-1][:, :count].T.reshape(count, geometry.N_POINTS, 3)
        spread = np.sqrt(np.maximum(values[::-1][:count], 1e-12))
        bases.append(components / importance * spread[:, None, None])
    basis = np.concatenate(bases)
    # Regions overlap, so all channels are read together: weighted least squares, the ridge a thousandth of a spread.
    free = np.sum(list(regions.values()), axis=0)[:, None]
    weighted = (basis * importance**2 * free).reshape(len(basis), -1)
    gram = weighted @ basis.reshape(len(basis), -1).T
    encoders = np.linalg.solve(gram + 1e-3 * np.diag(np.diag(gram)), weighted).reshape(basis.shape)
    return basis.astype(np.float32), encoders.astype(np.float32)


def _arkit_map(motion: np.ndarray, blendshapes: np.ndarray) -> np.ndarray:
    """Ridge regression of blendshapes on motion, then widened to the real spread, which regression shrinks: (31, 52)."""
    mean, spread = blendshapes.mean(0), blendshapes.std(0)
    x = motion[:, 6:] - motion[:, 6:].mean(0)
    gram = x.T @ x
    slope = np.linalg.solve(gram + 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ (blendshapes - mean))
    slope *= spread / np.maximum((x @ slope).std(0), 1e-6) * (spread > 1e-3)
    offset = mean - motion[:, 6:].mean(0) @ slope
    return np.concatenate([slope, offset[None]]).astype(np.float32)


def _statistics(motions: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of every channel over people, for z-scores; lids count as open."""
    everything = np.concatenate(motions)
    return everything.mean(0).astype(np.float32), np.maximum(everything.std(0), 1e-3).astype(np.float32)


def _replaced(space: MotionSpace, **fields: np.ndarray) -> MotionSpace:
    return MotionSpace(**{**space.__dict__, **fields})


def reconstruction_error(space: MotionSpace, films: list[Track]) -> dict[str, float]:
    """Encode and decode held-out films: mean landmark distance (x, y) in IOD of all, lips, brows; aperture correlation."""
    lips = sorted({*geometry.OUTER_UPPER, *geometry.OUTER_LOWER, *geometry.INNER_UPPER, *geometry.INNER_LOWER})
    brows = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
    errors, openings = {"all": [], "lips": [], "brows": []}, ([], [])
    for film in films:
        canonical, _ = geometry.canonicalise(film.landmarks, space.template)
        rest = space.rest_of(canonical, film.blendshapes)
        back = space.landmarks(space.encode(film).values, rest)
        distance = np.linalg.norm((back - canonical)[..., :2], axis=-1)
        errors["all"].append(distance[:, :468].mean())
        errors["lips"].append(distance[:, lips].mean())
        errors["brows"].append(distance[:, brows].mean())
        openings[0].append(geometry.aperture(back))
        openings[1].append(geometry.aperture(canonical))
    figures = {name: float(np.mean(values)) for name, values in errors.items()}
    figures["aperture_r"] = float(np.corrcoef(np.concatenate(openings[0]), np.concatenate(openings[1]))[0, 1])
    return figures


def load_tracks(paths: Iterable[Path]) -> list[Track]:
    """Prepared tracks; those that are not there are left out."""
    return [Track.load(path) for path in paths if path.is_file()]
