"""The fully connected decoders of Wu, Burda, Salakhutdinov, Grosse 2017, arXiv 1611.04273: "-10" and "-50"."""

from torch import nn

from likelier.nn import Network, image_to_vector, vector_to_image

HIDDEN = {10: (64, 256, 256, 1024), 50: (1024, 1024, 1024)}
"""Hidden layers by the dimension of the code."""


def decoder(latent: int, shape: tuple[int, int, int]) -> Network:
    """Codes → logits of the pixels, tanh between the layers."""
    return vector_to_image(latent, *HIDDEN[latent], shape=shape, activation=nn.Tanh)


def encoder(latent: int, shape: tuple[int, int, int], out: int) -> Network:
    """Images → `out` numbers, through the decoder's layers in reverse order."""
    return image_to_vector(shape, *reversed(HIDDEN[latent]), out, activation=nn.Tanh)
