"""The VAE of the lab as a student writes it: what `vae-fast` races against. It knows nothing of likelier.

    LIKELIER_DATA=DATA python student.py SEED WEIGHTS.pt

torchvision's MNIST turns every image into a PIL picture and ToTensor turns that into a tensor; where torchvision is not
to be had, `Digits` does the same work step by step.
"""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

EPOCHS, BATCH, LATENT = 20, 128, 20


def read(name: str, offset: int) -> Tensor:
    """The bytes of an IDX file after its header."""
    path = Path(os.environ["LIKELIER_DATA"], "mnist", name)
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=offset).copy())


def to_tensor(picture: Image.Image) -> Tensor:
    """What ToTensor does with a picture."""
    pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(picture.height, picture.width, 1)
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Digits(Dataset[tuple[Tensor, int]]):
    """What torchvision's MNIST does for an image."""

    def __init__(self) -> None:
        self.images = read("train-images-idx3-ubyte", 16).view(-1, 28, 28)
        self.labels = read("train-labels-idx1-ubyte", 8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return to_tensor(Image.fromarray(self.images[i].numpy())), int(self.labels[i])


class VAE(nn.Module):
    """784-256-20-256-784."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.mu, self.log_var = nn.Linear(256, LATENT), nn.Linear(256, LATENT)
        self.fc2, self.fc3 = nn.Linear(LATENT, 256), nn.Linear(256, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction, and the posterior of the code."""
        h = F.relu(self.fc1(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return torch.sigmoid(self.fc3(F.relu(self.fc2(z)))), mu, log_var


def main() -> None:
    """Train, and save the weights."""
    torch.manual_seed(int(sys.argv[1]))
    loader = DataLoader(Digits(), batch_size=BATCH, shuffle=True)
    model = VAE()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        total = 0.0
        for images, _ in loader:
            x = images.view(-1, 784)
            rebuilt, mu, log_var = model(x)
            kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
            loss = (F.mse_loss(rebuilt, x, reduction="sum") + kl) / len(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1}: {total / 60_000:.3f}", flush=True)
    torch.save(model.state_dict(), sys.argv[2])


if __name__ == "__main__":
    main()
