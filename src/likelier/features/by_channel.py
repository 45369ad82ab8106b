"""The extractor of a set whose channels are images of another set: that set's own, on each channel by itself.

An extractor of the 1,000 classes of `stacked-mnist` would have to be trained, and would tell them worse: as the
channels are drawn independently of each other, whoever knows each digit knows all of the class.
"""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier.errors import InputError
from likelier.features.network import Extractor


class ByChannel(Extractor):
    """The features of all channels beside each other, and the class that the classes of the channels make together.

    Args:
        below: takes the images that the channels are, of one channel.
        channels: how many of them an image has.
        classes: how many a channel can have.

    Its accuracy is that of `below` to the power of the channels: what to expect where they are drawn independently.
    """

    def __init__(self, below: Extractor, channels: int, classes: int) -> None:
        self.below, self.channels, self.classes = below, channels, classes
        self.name = f"{below.name}-by-channel"
        self.dimension = channels * below.dimension
        self.accuracy = None if below.accuracy is None else below.accuracy**channels

    @property
    def digest(self) -> str | None:
        """That of the extractor below: for the images of one set, all else follows."""
        return None if self.below.digest is None else f"{self.below.digest} by channel"

    def features_and_classes(
        self, images: UInt8[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"] | None]:
        """As `Extractor`."""
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise InputError(
                f"images are of shape {tuple(images.shape)}: {self.name} wants {self.channels} channels, "
                f"[n, {self.channels}, h, w]"
            )
        features, classes = self.below.features_and_classes(images.flatten(0, 1).unsqueeze(1))
        if classes is not None:
            classes = together(classes.reshape(-1, self.channels), self.classes)
        return features.reshape(len(images), -1), classes


def together(classes: Int64[Tensor, "n c"], k: int) -> Int64[Tensor, " n"]:
    """The number whose digits to the base k the classes are.

    >>> together(torch.tensor([[3, 7, 4]]), 10).tolist()
    [374]
    """
    places = torch.tensor([k**i for i in reversed(range(classes.shape[1]))], device=classes.device)
    return (classes * places).sum(dim=1)
