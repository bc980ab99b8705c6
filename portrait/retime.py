"""Motion at another frame rate: smooth between its frames, with every blink and every closure of the lips kept."""

from collections.abc import Iterable, Iterator

import numpy as np

from mien.portrait.motion import REGIONS, MotionSpace, load_space

MET = 0.02  # IOD: lips less far apart than this are closed
SHUT = 0.7  # lids below this are in a blink


def retimed(windows: Iterable[np.ndarray], have: float, want: float, count: int) -> Iterator[np.ndarray]:
    """Windows (n, 36) of `have` frames a second to windows of `want`, `count` frames in all; the last row is held.

    A frame at a fractional time lies on a monotone cubic (Fritsch & Carlson 1980), which never passes beyond its
    neighbours: lips do not cross and eyes do not swing. The frame nearest to a blink's or a closure's lowest point takes
    that very point. Equal rates pass through.
    """
    if have == want:
        yield from windows
        return
    space, step = load_space(), have / want
    held, first, done = np.zeros((0, 36), np.float32), 0, 0  # rows that may be wanted again, from row `first` of the take
    for window in windows:
        held = np.concatenate([held, window])
        ready = min(int(np.ceil((first + len(held) - 3) / step)), count)  # a frame wants two rows after it
        if ready > done:
            yield _between(held, np.arange(done, ready) * step - first, step, space)
            done = ready
            passed = max(0, int(done * step) - first - 2)
            held, first = held[passed:], first + passed
    if count > done:
        yield _between(held, np.arange(done, count) * step - first, step, space)


def _between(rows: np.ndarray, times: np.ndarray, step: float, space: MotionSpace) -> np.ndarray:
    """Rows (n, 36) at fractional times (m,), counted in rows; step: between times."""
    rows = np.concatenate([rows, rows[-1:]])
    times = times.clip(0, len(rows) - 2)
    low = np.minimum(times.astype(int), len(rows) - 2)
    u = (times - low).astype(np.float32)[:, None]
    rise = np.diff(rows, axis=0)
    slope = np.zeros_like(rows)
    before, after = rise[:-1], rise[1:]
    product, total = before * after, before + after
    slope[1:-1] = np.where(product > 0, 2 * product / np.where(product > 0, total, 1), 0)
    a, b = rows[low], rows[low + 1]
    leave, arrive = slope[low], slope[low + 1]
    out = a + u * (leave + u * (3 * (b - a) - 2 * leave - arrive + u * (2 * (a - b) + leave + arrive)))
    nearest = np.round(times).astype(int)
    close = np.abs(times - nearest) <= step / 2
    for region, openness, limit in (("mouth", space.aperture(rows), MET), ("lids", rows[:, REGIONS["lids"]].min(1), SHUT)):
        padded = np.pad(openness, 1, constant_values=np.inf)
        lowest = (openness <= limit) & (openness <= padded[:-2]) & (openness <= padded[2:])
        kept = close & lowest[nearest]
        out[kept, REGIONS[region]] = rows[nearest[kept], REGIONS[region]]
    return out.astype(np.float32)
