"""Images as PNG files."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

GAP = 64
"""The grey of the line, one pixel wide, to the right of each image and below it: 8×8 digits fill their square."""


def grid(images: UInt8[Tensor, "n c h w"], columns: int, scale: int = 1) -> bytes:
    """The images as one PNG, row by row, each pixel `scale` × `scale`; places left over are black.

    >>> png = grid(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), columns=2)
    >>> Image.open(io.BytesIO(png)).size
    (18, 27)
    """
    n = len(images)
    rows = -(-n // columns)
    canvas = torch.zeros(rows * columns, *images.shape[1:], dtype=torch.uint8)
    canvas[:n] = images.cpu()
    canvas = F.pad(canvas, (0, 1, 0, 1), value=GAP)
    c, h, w = canvas.shape[1:]
    tiled = canvas.reshape(rows, columns, c, h, w).permute(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    pixels = np.kron(tiled.numpy(), np.ones((scale, scale, 1), dtype=np.uint8))
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if c == 1 else pixels).save(out, format="PNG", optimize=False)
    return out.getvalue()
