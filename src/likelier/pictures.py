"""Images as PNG files."""

import io

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor


def grid(images: UInt8[Tensor, "n c h w"], columns: int, scale: int = 1) -> bytes:
    """The images as one PNG, row by row without gaps, each pixel `scale` × `scale`; places left over are black.

    >>> len(grid(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), columns=2)) > 0
    True
    """
    n, c, h, w = images.shape
    rows = -(-n // columns)
    canvas = torch.zeros(rows * columns, c, h, w, dtype=torch.uint8)
    canvas[:n] = images.cpu()
    tiled = canvas.reshape(rows, columns, c, h, w).permute(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    pixels = np.kron(tiled.numpy(), np.ones((scale, scale, 1), dtype=np.uint8))
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if c == 1 else pixels).save(out, format="PNG", optimize=False)
    return out.getvalue()
