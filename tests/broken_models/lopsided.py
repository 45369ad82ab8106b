"""A GAN whose players are as unequal as is wanted: a tiny generator, or a discriminator of long steps."""

from pydantic.dataclasses import dataclass

from likelier.families.gan import GAN
from likelier.family import Player
from likelier.nn import vector_to_image


class Lopsided(GAN):
    @dataclass(frozen=True)
    class Config(GAN.Config):
        generator_hidden: int = 256
        discriminator_lr: float = 1e-3

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.generator = vector_to_image(config.latent, config.generator_hidden, shape=shape)

    def players(self) -> dict[str, Player]:
        return super().players() | {"discriminator": Player((self.discriminator,), self.config.discriminator_lr)}
