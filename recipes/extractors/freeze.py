"""Trains the frozen extractors anew and puts them into the package: `make extractors LIKELIER_DATA=DATA`.

Twelve trainings of one thread each: about three minutes for a set of 28×28 pixels, four for 32×32 in colour, half a
minute for the digits. With other versions of torch or another processor the weights differ in their last bits, hence in
their hash, and figures in their features are figures of another extractor: freeze again only for a new recipe.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from likelier.data import load
from likelier.features import SEEDS, train
from likelier.features.store import FROZEN, Facts, facts_of, to_bytes
from likelier.files import write_atomically, write_json

SETS = ("digits", "mnist", "fashion-mnist", "cifar10")


def freeze(name: str, seed: int) -> tuple[str, Facts]:
    """Train one extractor and write its file."""
    images = load(name)
    found = train(images, seed)
    facts = facts_of(found, images, seed)
    file = f"{name}-{found.recipe}-seed{seed}.safetensors"
    write_atomically(FROZEN / file, to_bytes(found, facts))
    return file, facts


def main() -> None:
    """Freeze the sets that are named, or all; the others in the index stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, help="which image sets (all)")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    jobs = [(name, seed) for name in given.sets for seed in SEEDS]
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for file, facts in pool.map(freeze, *zip(*jobs, strict=True)):
            index = FROZEN / "index.json"
            known = json.loads(index.read_text(encoding="utf-8"))
            write_json(index, dict(sorted({**known, file: facts}.items())))
            print(f"{file}: accuracy {facts['accuracy']:.4f}, sha256 {facts['sha256'][:16]}…", flush=True)


if __name__ == "__main__":
    main()
