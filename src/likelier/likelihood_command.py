"""`likelier measure --likelihood`: what is asked for, and how the figures are printed."""

from collections.abc import Mapping, Sequence
from typing import Any

from likelier.errors import InputError
from likelier.estimating import LEAST, effort_of, estimate_likelihood
from likelier.experiment import load
from likelier.progress import Terminal, table
from likelier.run import Run

PASSED_ON = ("observation", "variance", "device", "data", "data_root", "family")
ONLY_HERE = (*LEAST, "observation", "variance", "device", "full")
UNITS = {"ais": "moves of a chain", "iwae": "draws", "elbo": "draws"}


def likelihood_asked(given: Mapping[str, Any]) -> bool:
    """Whether the likelihood is to be measured; InputError for options that belong to it, but without it."""
    if "likelihood" in given:
        return True
    if idle := [name for name in ONLY_HERE if name in given]:
        raise InputError(f"--{idle[0]} without --likelihood: wanted `--likelihood ais`, iwae or elbo beside it")
    return False


def measure_likelihood(given: Mapping[str, Any], runs: Sequence[Run], audience: Terminal) -> dict[str, Any]:
    """The estimates of some runs, by the paths that they were given by."""
    method = given["likelihood"]
    setting = "full" if given.get("full") else "quick"
    numbers = {name: given[name] for name in LEAST if name in given}
    effort_of(method, setting, numbers, given.get("observation", "gaussian"), given.get("variance"))
    for run in runs:
        load(run, given.get("family"))  # what cannot be loaded is refused before anything is measured
    passed_on = {name: given[name] for name in PASSED_ON if name in given}
    results = {}
    for path, run in zip(given["runs"], runs, strict=True):
        audience.counting(f"{method} of {run.path.name}", UNITS[method])
        results[path] = estimate_likelihood(
            run, method, setting=setting, numbers=numbers, on_progress=audience.progress, **passed_on
        )
    return results


def print_likelihood(results: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each run, then what must be known to read it."""
    found = {path: result for path, result in results.items() if result["value"] is not None}
    for path, result in results.items():
        if result["value"] is None:
            print(f"{path}: no {result['estimator']}: {result['why_not']}")
    if not found:
        return
    rows = [
        [
            path,
            f"{result['value']:.1f} ± {result['standard_error']:.1f}",
            shown(result, "gap", ".2f"),
            shown(result, "variance", ".4g"),
            shown(result, "acceptance", ".2f"),
        ]
        for path, result in found.items()
    ]
    table("nats per image ± standard error", ["run", "log p(x)", "BDMC gap", "variance", "acceptance"], rows)
    for result in found.values():
        print(result["name"])
    if any(result["estimator"] == "ais" for result in found.values()):
        print("AIS is a lower bound in expectation; the gap is how far it was off on images that the model simulated.")
    else:
        print("A bound through an encoder hangs on that encoder: never set it beside the AIS of another model.")


def shown(result: Mapping[str, Any], key: str, form: str) -> str:
    """A figure, or a dash where the estimator has none."""
    return format(result[key], form) if key in result else "–"
