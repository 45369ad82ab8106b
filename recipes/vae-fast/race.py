"""Time to quality: seconds until the lab's VAE is as good on held-out images as a student's script makes it.

    LIKELIER_DATA=DATA python recipes/vae-fast/race.py --seeds 10 --students 3 race.jsonl

Rules: the same network (784-256-20), the same loss (squared error summed over the pixels + KL), the same machine and
threads, in turn. Seconds are those of the whole command, from its start to its end: imports, data, training, saving.
Quality is that loss on the 10,000 test images, the mean over four draws of z, taken after the clock has stopped. The
settings were chosen on 5,000 images split off the training set; the test images are seen here for the first time.

Each contestant of each seed is one line of the file, and is not run again if it is there. The table ends with the
one-sided p-value of Welch's t-test that the held-out loss of `vae-fast` is not below the student's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from scipy.stats import ttest_ind
from torch import Tensor

import likelier
from likelier.experiment import processor
from likelier.images import as_float
from likelier.losses import kl_to_standard_normal
from likelier.nn import linear_layers

HERE = Path(__file__).parent
DRAWS = 4
Layer = tuple[Tensor, Tensor]


def student(seed: int, folder: Path) -> list[str]:
    """The command of the script."""
    return [sys.executable, str(HERE / "student.py"), str(seed), str(folder / "weights.pt")]


def student_layers(folder: Path) -> list[Layer]:
    """Its layers: x → h → (mu, log σ²), z → h → x."""
    w: Mapping[str, Tensor] = torch.load(folder / "weights.pt", weights_only=True)
    heads = (torch.cat([w["mu.weight"], w["log_var.weight"]]), torch.cat([w["mu.bias"], w["log_var.bias"]]))
    return [(w["fc1.weight"], w["fc1.bias"]), heads, *((w[f"fc{i}.weight"], w[f"fc{i}.bias"]) for i in (2, 3))]


def fast(seed: int, folder: Path) -> list[str]:
    """The command of the recipe."""
    options = ["--config", str(HERE / "vae-fast.yaml"), "--data", "mnist", "--seed", str(seed), "--quiet"]
    return [sys.executable, "-m", "likelier", "train", "vae", *options, "--out", str(folder / "run")]


def fast_layers(folder: Path) -> list[Layer]:
    """The layers of the run."""
    vae = likelier.load(folder / "run")
    return [(layer.weight, layer.bias) for layer in linear_layers(vae)]


@torch.no_grad()
def held_out_loss(layers: list[Layer], images: Tensor) -> float:
    """Squared error + KL in nats per image, without the Gaussian's constant; the same z noise for everyone."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = layers
    x, generator = as_float(images).flatten(1), torch.Generator().manual_seed(0)
    mu, log_var = ((x @ w1.T + b1).relu() @ w2.T + b2).chunk(2, dim=1)
    kl = kl_to_standard_normal(mu, log_var).sum(1).mean()
    errors = []
    for _ in range(DRAWS):
        z = mu + torch.exp(0.5 * log_var) * torch.randn(mu.shape, generator=generator)
        rebuilt = ((z @ w3.T + b3).relu() @ w4.T + b4).sigmoid()
        errors.append((rebuilt - x).square().sum(1).mean())
    return float(kl + torch.stack(errors).mean())


CONTESTANTS = {"student": (student, student_layers), "vae-fast": (fast, fast_layers)}


def run(who: str, seed: int, images: Tensor) -> dict[str, object]:
    """One contestant, timed, then judged."""
    command_of, layers_of = CONTESTANTS[who]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command_of(seed, Path(folder)), check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        loss = held_out_loss(layers_of(Path(folder)), images)
    where = {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    return {"who": who, "seed": seed, "seconds": round(seconds, 2), "loss": round(loss, 4), **where}


def race(path: Path, seeds: int, students: int) -> list[dict[str, object]]:
    """Whatever of the race is not in the file yet; the student takes part in the first rounds."""
    lines = path.read_text().splitlines() if path.exists() else []
    results: list[dict[str, object]] = [json.loads(line) for line in lines]
    images = likelier.load_images("mnist").test.images
    for seed in range(seeds):
        for who in CONTESTANTS if seed < students else ("vae-fast",):
            if not any((r["who"], r["seed"]) == (who, seed) for r in results):
                results.append(run(who, seed, images))
                with path.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
                print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    return results


def table(results: list[dict[str, object]]) -> str:
    """Medians, extremes, the ratio within each round, and what chance has to say."""
    rows = ["| | runs | seconds, median (least–most) | held-out loss, mean ± sd |", "|---|---|---|---|"]
    seconds: dict[str, dict[object, float]] = {}
    losses: dict[str, list[float]] = {}
    for who in CONTESTANTS:
        own = [r for r in results if r["who"] == who]
        seconds[who] = {r["seed"]: float(str(r["seconds"])) for r in own}
        losses[who] = [float(str(r["loss"])) for r in own]
        s, sd = list(seconds[who].values()), statistics.stdev(losses[who]) if len(own) > 1 else float("nan")
        loss = f"{statistics.mean(losses[who]):.3f} ± {sd:.3f}"
        rows.append(f"| {who} | {len(own)} | {statistics.median(s):.1f} ({min(s):.1f}–{max(s):.1f}) | {loss} |")
    ratios = [t / seconds["vae-fast"][seed] for seed, t in seconds["student"].items() if seed in seconds["vae-fast"]]
    p = ttest_ind(losses["vae-fast"], losses["student"], equal_var=False, alternative="less").pvalue
    rows.append(f"\nTimes as fast, within a round: {', '.join(f'{r:.1f}' for r in ratios)}; p = {p:.2g}.")
    return "\n".join(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--students", type=int, default=3)
    chosen = parser.parse_args()
    if not 2 <= chosen.students <= chosen.seeds:
        parser.error("students: wanted 2 or more, and no more than seeds")
    print(table(race(chosen.file, chosen.seeds, chosen.students)))


if __name__ == "__main__":
    main()
