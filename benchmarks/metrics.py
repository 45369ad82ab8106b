"""Time the measures in feature space at N images of d features, beside their peers where these are installed.

    python benchmarks/metrics.py --n 10000 --d 64 --train 60000 --repeats 3 --json metrics.json

Ours and theirs run in turn, so that a busy machine is busy for both; the medians are printed. `cpu` is the time that
all threads of the process had, which other processes disturb less than the clock on the wall.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from likelier import metrics


def peers(x: torch.Tensor, y: torch.Tensor) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    try:
        from torchmetrics.image.fid import _compute_fid
        from torchmetrics.image.kid import poly_mmd

        a, b = x.double(), y.double()
        found["FD"] = lambda: _compute_fid(a.mean(0), torch.cov(a.mT), b.mean(0), torch.cov(b.mT))
        found["KID"] = lambda: poly_mmd(a, b, degree=3, gamma=None, coef=1.0)
    except ImportError:
        pass
    try:
        from prdc import compute_prdc

        found["PRDC"] = lambda: compute_prdc(x.double().numpy(), y.double().numpy(), nearest_k=5)
    except ImportError:
        pass
    return found


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("n", 10_000), ("d", 64), ("train", 60_000), ("repeats", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(chosen.n, chosen.d, generator=generator) for _ in range(2))
    train = torch.randn(chosen.train, chosen.d, generator=generator)
    theirs = peers(x, y)
    theirs["nearest"] = lambda: [torch.cdist(part.double(), train.double()).min(dim=1) for part in x.split(1000)]
    ours: dict[str, Callable[[], object]] = {
        "FD": lambda: metrics.frechet_distance(x, y),
        "KID": lambda: metrics.kernel_distance(x, y),
        "PRDC": lambda: metrics.precision_recall_density_coverage(x, y),
        "nearest": lambda: metrics.nearest_distances(x, train),
        "nearest other": lambda: metrics.nearest_other_distances(train),
    }
    rows = {}
    for name, function in ours.items():
        times = [(seconds(function), seconds(theirs[name]) if name in theirs else None) for _ in range(chosen.repeats)]
        columns = [[t[0] for t in times], [t[1] for t in times if t[1] is not None]]
        rows[name] = [[statistics.median(v) for v in zip(*side, strict=True)] for side in columns if side]
    print(f"{'seconds':15}{'ours wall':>12}{'cpu':>8}{'peer wall':>12}{'cpu':>8}")
    for name, sides in rows.items():
        print(f"{name:15}" + "".join(f"{wall:12.2f}{cpu:8.2f}" for wall, cpu in sides))
    if chosen.json:
        chosen.json.write_text(json.dumps({**vars(chosen), "json": None, "seconds": rows}, indent=1))


if __name__ == "__main__":
    main()
