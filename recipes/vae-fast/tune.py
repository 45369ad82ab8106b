"""Held-out loss of settings of the lab's VAE, on images split off the training set: how `vae-fast` was chosen.

    LIKELIER_DATA=DATA python recipes/vae-fast/tune.py --epochs 3 --seeds 3 lr=1e-2 batch=256 schedule=linear

The 5,000 images are always the same. The loss is squared error + KL in nats per image, without the Gaussian's constant,
the mean over four draws of z. The test images are not looked at.
"""

import argparse
import statistics

import torch
from race import held_out_loss

import likelier
from likelier.family import build, configure, find
from likelier.images import Images, Split
from likelier.loop import Game
from likelier.nn import linear_layers

HELD_OUT = 5_000


def split_off(images: Images) -> tuple[Images, torch.Tensor]:
    """The set without 5,000 of its training images, and these; always the same ones."""
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(12345))
    kept, held_out = order[:-HELD_OUT], order[-HELD_OUT:]
    train = Split(images.train.images[kept], images.train.labels[kept])
    return Images("training part", train, images.test, images.classes), images.train.images[held_out]


def loss_of(settings: dict[str, str], epochs: float, seed: int, images: Images, held_out: torch.Tensor) -> float:
    """Train as `likelier train` does, without looks and checkpoints; the held-out loss."""
    family = find("vae")
    vae = build(family, configure(family, settings), images, seed)
    game = Game(vae, images, seed, round(epochs * len(images.train)), torch.device("cpu"))
    while game.seen < game.budget:
        game.turn()
    return held_out_loss([(layer.weight, layer.bias) for layer in linear_layers(game.shown())], held_out)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in chosen.settings)
    images, held_out = split_off(likelier.load_images("mnist"))
    losses = [loss_of(settings, chosen.epochs, seed, images, held_out) for seed in range(chosen.seeds)]
    each = " ".join(f"{loss:.3f}" for loss in losses)
    print(f"{chosen.epochs:g} epochs, {' '.join(chosen.settings)}: {each}, mean {statistics.mean(losses):.3f}")


if __name__ == "__main__":
    main()
