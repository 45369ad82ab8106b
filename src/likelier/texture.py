"""What pictures tell without a network: whether neighbouring pixels are alike, and how steep the edges are.

Pictures are arrays of bytes [n, h, w, c].
"""

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
STEEPEST = 0.1
"""The share of an image's pixels whose slopes are its edges."""


def neighbour_correlation(pictures: Pictures) -> float | None:
    """The correlation of pixels with their right and lower neighbours, over all of the pictures.

    0 for white noise, in which no pixel knows of another, and near 1 for smooth pictures; −1 for a chequerboard.

    Returns:
        None for pictures without neighbours or of one grey.

    >>> stripes = np.zeros((1, 4, 4, 1), np.uint8)
    >>> stripes[:, :2] = 255
    >>> round(neighbour_correlation(stripes), 3), neighbour_correlation(stripes[:, :2])
    (0.714, None)
    """
    x = pictures.astype(np.float64)
    pairs = [(x[:, :-1], x[:, 1:]), (x[:, :, :-1], x[:, :, 1:])]
    a, b = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    if a.size == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def edge_steepness(pictures: Pictures) -> float:
    """How steep the steepest tenth of the pixels of each picture is, on average; in greys a pixel.

        g = √((x_{i+1,j} − x_{i,j})² + (x_{i,j+1} − x_{i,j})²)

    Blur flattens edges first. The mean slope of *all* pixels would not do: the faint noise that an untrained decoder
    makes everywhere adds up to as much as the edges of a few strokes do, though nothing in it is sharp. Whether the
    edges are where they should be is another question, which an error answers.

    >>> edge = np.zeros((1, 5, 5, 1), np.uint8)
    >>> edge[:, :, 2:] = 100
    >>> edge_steepness(edge)
    100.0
    """
    if pictures.size == 0 or min(pictures.shape[1:3]) < 2:
        return 0.0
    x = pictures.astype(np.float64)
    down, right = np.diff(x, axis=1)[:, :, :-1], np.diff(x, axis=2)[:, :-1]
    slopes = np.sort(np.sqrt((down**2 + right**2).sum(axis=3)).reshape(len(x), -1), axis=1)
    edges = max(1, round(STEEPEST * slopes.shape[1]))
    return float(slopes[:, -edges:].mean())


def cut(picture: npt.NDArray[np.uint8], height: int, width: int) -> Pictures | None:
    """The images of a picture that holds them in rows; None if it does not hold images of this size.

    To the right of each image and below it there may be a line of one grey.

    >>> cut(np.zeros((18, 27), np.uint8), 8, 8).shape, cut(np.zeros((17, 27), np.uint8), 8, 8)
    ((6, 8, 8, 1), None)
    """
    x = picture if picture.ndim == 3 else picture[..., None]
    for gap in (1, 0):
        step = (height + gap, width + gap)
        if x.size and not x.shape[0] % step[0] and not x.shape[1] % step[1]:
            lines = [x[height :: step[0]], x[:, width :: step[1]]] if gap else []
            if any(np.ptp(line) for line in lines):
                continue
            tiles = x.reshape(x.shape[0] // step[0], step[0], x.shape[1] // step[1], step[1], x.shape[2])
            return tiles[:, :height, :, :width].swapaxes(1, 2).reshape(-1, height, width, x.shape[2])
    return None
