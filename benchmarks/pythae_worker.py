"""pythae's VAE with the networks of `vae`, trained a stretch at a time; run by training.py with pythae's own Python.

The folder given holds images.npy, uint8 [n, c, h, w]. The first line written says that it is ready. Every line read is
a request in JSON, every further line written the seconds of its turns: those of pythae's own trainer with Adam and
without evaluation, from the beginning of its epoch to its last step, so that neither its start nor the copy of the best
model that ends an epoch counts.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn


class Encoder(BaseEncoder):
    def __init__(self, pixels, hidden, latent):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))

    def forward(self, x):
        mu, log_var = self.layers(x).chunk(2, dim=1)
        return ModelOutput(embedding=mu, log_covariance=log_var)


class Decoder(BaseDecoder):
    def __init__(self, shape, hidden, latent):
        super().__init__()
        pixels = int(np.prod(shape))
        self.layers = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Sigmoid())
        self.shape = shape

    def forward(self, z):
        return ModelOutput(reconstruction=self.layers(z).view(-1, *self.shape))


class Watch(TrainingCallback):
    def on_train_step_begin(self, training_config, **kwargs):  # once an epoch, whatever its name says
        self.begun = time.perf_counter()

    def on_train_step_end(self, training_config, **kwargs):
        self.ended = time.perf_counter()


def main():
    folder = Path(sys.argv[1])
    images = torch.from_numpy(np.load(folder / "images.npy")).float() / 255
    shape, models = tuple(images.shape[1:]), {}
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        kind = asked["hidden"], asked["latent"]
        if kind not in models:
            config = VAEConfig(input_dim=shape, latent_dim=asked["latent"])
            models[kind] = VAE(config, Encoder(images[0].numel(), *kind), Decoder(shape, *kind))
        # An epoch of so many turns, on images from all over the set: a small part of it could stay in the cache.
        wanted = asked["turns"] * asked["batch"]
        part = images[:: max(1, len(images) // wanted)][:wanted]
        settings = BaseTrainerConfig(
            output_dir=str(folder / "pythae"),
            num_epochs=1,
            learning_rate=asked["lr"],
            per_device_train_batch_size=asked["batch"],
            no_cuda=True,
        )
        watch = Watch()
        BaseTrainer(models[kind], BaseDataset(part, torch.ones(len(part))), None, settings, [watch]).train()
        print(watch.ended - watch.begun, flush=True)


if __name__ == "__main__":
    main()
