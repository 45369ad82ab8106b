"""What the likelihood of a run's model is estimated to be: ELBO and IWAE-K where it encodes, AIS for any decoder.

The test images are split in half by a fixed shuffle, as Wu et al. 2017 (arXiv 1611.04273) do: on the first the variance
of the observation model is tuned, on the second the figure is taken. Every figure goes into the run's
`likelihood.json` under a name that holds its conditions, beside those taken before under others.

The variance is tuned by the fixed point of

    σ² = E ‖x − decode(z)‖² / d,    z from the posterior at σ²

which is where the likelihood is stationary in σ² (expectation-maximisation). Posterior draws are the ends of a short
AIS, or the draws from the encoder, each by its weight: so what is maximised is the estimate that will be reported. The
fixed point is approached from above, from the variance of the pixels, at a rate of about latent/d a round.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from likelier import rng
from likelier.errors import InputError, unknown
from likelier.experiment import images_of, load
from likelier.family import Bounds, Decodes, Encodes, Family
from likelier.files import read_json, updating, write_atomically, write_json
from likelier.images import Images, as_float
from likelier.likelihood import (
    Annealing,
    Bernoulli,
    Gaussian,
    Joint,
    adapted_steps,
    binarise,
    dequantise,
    first_steps,
    importance_bound,
    joint,
    log_mean_exp,
    log_weights,
    sigmoid_schedule,
)
from likelier.loop import OnProgress, resolve_device
from likelier.run import Run, State

FORMAT = 1
SAVE_SECONDS = 30.0
ROWS = {"cpu": 512, "cuda": 16_384}
"""Codes that are decoded at a time."""
TUNED_ON, ROUNDS, TUNING_SAMPLES = 50, 5, 64
PILOT = 100, 1_000
"""Distributions of a pilot, at least and at most; between them it has a fifth of those of the annealing."""
LEAST_VARIANCE = 1e-6
"""About that of the dequantisation noise, 1/12·256²: below it there is nothing to describe."""

PIXELS = {"gaussian": "dequantised", "bernoulli": "binarised", "own": "raw"}


@dataclass(frozen=True)
class Effort:
    """How much is computed: what is None does not belong to the estimator."""

    images: int
    chains: int | None = None
    distributions: int | None = None
    leapfrogs: int | None = None
    simulated: int | None = None
    samples: int | None = None


EFFORTS = {
    "ais": {"quick": Effort(100, 4, 1_000, 5, 25), "full": Effort(1_000, 16, 10_000, 10, 100)},
    "iwae": {"quick": Effort(1_000, samples=100), "full": Effort(1_000, samples=5_000)},
    "elbo": {"quick": Effort(1_000, samples=1), "full": Effort(5_000, samples=1)},
}
"""`full` of AIS is that of Wu et al. 2017."""
LEAST = {"images": 2, "chains": 1, "distributions": 2, "leapfrogs": 1, "samples": 1}


def estimate_likelihood(
    run: str | Path | Run,
    method: str = "ais",
    *,
    data: Any = None,
    data_root: str | Path | None = None,
    family: str | None = None,
    setting: str = "quick",
    numbers: Mapping[str, int] | None = None,
    observation: str = "gaussian",
    variance: float | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress = lambda seen, total, record: None,
) -> dict[str, Any]:
    """Estimate log p(x) of a run's model on test images, and keep the figure in the run's `likelihood.json`.

    Args:
        run: a run directory with a checkpoint.
        method: `ais` for any decoder of continuous codes with a tractable prior; `iwae` or `elbo` where it encodes.
        data, data_root, family: as in `likelier.resume`.
        setting: `quick`, or `full`: for AIS 16 chains, 10,000 distributions and 10 leapfrogs on 1,000 images.
        numbers: of images, chains, distributions, leapfrogs (`ais`) or samples (`iwae`), over those of the setting.
        observation: `gaussian` on dequantised pixels, `bernoulli` on pixels drawn to be bits, or, for `iwae` and
            `elbo`, the family's `own` on the pixels that it was trained on.
        variance: of the Gaussian; None tunes it on the other half of the test images.
        seed: of the chains and the pixel noise.
        device: auto, cpu or cuda.
        on_progress: called with what is done, what there is to do, and an empty record. An AIS that is interrupted
            goes on from at most 30 s before when it is asked for again.

    Returns:
        `name`, `value` in nats per image with its `standard_error` over images, for AIS the BDMC `gap` on simulated
        images and the `acceptance` of HMC, `variance`, and the `conditions`. Where the likelihood is undefined, `value`
        is None and `why_not` says why.

    Raises:
        InputError: no run or checkpoint, data that are not found, or numbers that cannot be.

    >>> import likelier, tempfile
    >>> run = likelier.train("vae", "digits", images=512, out=tempfile.mkdtemp() + "/vae")
    >>> found = likelier.estimate_likelihood(run, "elbo", variance=0.05)
    >>> found["name"]
    'elbo_gaussian-v0.05_test_n300_dequantised'
    """
    run = run if isinstance(run, Run) else Run.open(run)
    effort = effort_of(method, setting, numbers or {}, observation, variance)
    model = load(run, family)
    images = images_of(run, data, data_root)
    chosen = resolve_device(device)
    if chosen.type == "mps":
        chosen = torch.device("cpu")  # weights are summed up in float64, which mps has none of
    why_not = why_undefined(model, method, observation)
    if why_not is not None:
        return {"estimator": method, "value": None, "why_not": why_not}
    halves = Halves(images, effort.images if numbers and "images" in numbers else None, effort.images)
    effort = replace(effort, images=len(halves.reported))
    began = time.monotonic()
    conditions = {
        **conditions_of(method, effort, observation, variance, seed),
        "model": run.state().digest()[:16],
        "device": chosen.type,
        "rows": ROWS[chosen.type],
    }
    subject = Subject(model.to(chosen), images, halves, observation, seed, chosen)
    if method == "ais":
        journal = Journal(run.path / "likelihood.partial.safetensors", {**conditions, "variance": variance})
        found = by_annealing(subject, effort, variance, journal, on_progress)
    else:
        found = by_importance(subject, effort, variance, on_progress)
    result = {
        "name": name_of(method, observation, found.get("variance"), effort),
        "estimator": method,
        **found,
        "unit": "nats/image",
        "why_not": None,
        "conditions": conditions,
        "seconds": round(time.monotonic() - began, 1),
    }
    if not all(math.isfinite(value) for value in found.values()):
        return {"estimator": method, "value": None, "why_not": "the estimate is not finite: look for a diverged run"}
    keep(run, result)
    return result


def effort_of(
    method: str, setting: str, numbers: Mapping[str, int], observation: str, variance: float | None
) -> Effort:
    """What is to be computed; InputError for what cannot be, or does not belong together."""
    if method not in EFFORTS:
        raise unknown("estimator", method, EFFORTS, "wanted ais, iwae or elbo")
    if setting not in EFFORTS[method]:
        raise unknown("setting", setting, EFFORTS[method], "wanted quick or full")
    if observation not in PIXELS:
        raise unknown("observation model", observation, PIXELS, "wanted gaussian, bernoulli or own")
    if observation == "own" and method == "ais":
        raise InputError("observation = own beside ais: wanted gaussian or bernoulli; own belongs to iwae and elbo")
    if variance is not None and observation != "gaussian":
        raise InputError(f"a variance beside observation = {observation}, which has none to set: leave it out")
    if variance is not None and not LEAST_VARIANCE <= variance <= 1e6:
        raise InputError(f"variance = {variance:g}: wanted a number from {LEAST_VARIANCE:g} to 1e6")
    effort = EFFORTS[method][setting]
    settable = [f.name for f in fields(Effort) if getattr(effort, f.name) is not None and f.name != "simulated"]
    if method == "elbo":
        settable.remove("samples")
    for name, value in numbers.items():
        if name not in settable:
            raise InputError(f"{name} beside {method}, which takes {', '.join(settable)}: leave it out")
        if not isinstance(value, int) or value < LEAST[name]:
            raise InputError(f"{name} = {value}: wanted a whole number of at least {LEAST[name]}")
    effort = replace(effort, **numbers)
    return effort if effort.simulated is None else replace(effort, simulated=min(effort.simulated, effort.images))


def conditions_of(method: str, effort: Effort, observation: str, variance: float | None, seed: int) -> dict[str, Any]:
    """What was asked for: two figures can be held against each other if these are the same."""
    return {
        "estimator": method,
        **{name: value for name, value in asdict(effort).items() if value is not None},
        "observation": observation,
        "pixels": PIXELS[observation],
        "variance_from": how_chosen(observation, variance, method),
        "split": "test, second half of a fixed shuffle",
        "seed": seed,
    }


def why_undefined(family: Family, method: str, observation: str) -> str | None:
    """Why there is no such estimate of this family, or None if there is one."""
    if not isinstance(family, Decodes):
        return (
            "it does not decode codes from a prior of known density, so there is no p(x|z) p(z) to integrate "
            "(vector-quantised latents, for one, have no continuous prior)"
        )
    z = family.prior().sample(rng.generator(0, "a look at the prior"), 2)
    if not z.is_floating_point() or z.ndim != 2:
        return "its latent codes are no continuous vectors (vector-quantised ones are indices), and have no gradient"
    if not bool(family.decode(z).isfinite().all()):
        return "the images that it decodes are not finite: its training diverged"
    if method != "ais" and not isinstance(family, Encodes):
        return f"it has no encoder, and {method} draws from one; ais does not"
    if observation == "own" and not isinstance(family, Bounds):
        return "it has no bound with an observation model of its own"
    return None


def how_chosen(observation: str, variance: float | None, method: str) -> str:
    """Where the variance came from, in words."""
    if observation != "gaussian":
        return "none"
    if variance is not None:
        return "stated"
    return f"tuned on {TUNED_ON} images of the first half of the test split by {ROUNDS} rounds of EM under {method}"


def name_of(method: str, observation: str, variance: float | None, effort: Effort) -> str:
    """The full name of a figure: figures of different names do not compare."""
    spread = f"-v{variance:.4g}" if observation == "gaussian" else ""
    parts = [method, observation + spread]
    if method == "ais":
        parts += [f"c{effort.chains}", f"t{effort.distributions}", f"l{effort.leapfrogs}"]
    if method == "iwae":
        parts.append(f"k{effort.samples}")
    return "_".join([*parts, "test", f"n{effort.images}", PIXELS[observation]])


class Halves:
    """The test images in two halves of a fixed shuffle, as indices: some to tune on, some to report on."""

    def __init__(self, images: Images, asked: int | None, wanted: int) -> None:
        n = len(images.test)
        order = torch.randperm(n, generator=rng.generator(0, "halves of the test images"))
        if asked is not None and asked > n - n // 2:
            raise InputError(f"images = {asked}: {images.name} has {n - n // 2} test images to report on, at most that")
        self.tuning, self.reported = order[: n // 2][:TUNED_ON], order[n // 2 :][:wanted]


class Subject:
    """A model on a device, with the pixels that its density is taken of."""

    def __init__(
        self, family: Family, images: Images, halves: Halves, observation: str, seed: int, device: torch.device
    ) -> None:
        assert isinstance(family, Decodes)
        self.family, self.decodes, self.device = family, family, device
        self.seed, self.shape, self.kind = seed, images.shape, observation
        self.d = math.prod(images.shape)
        self.tuning, self.reported = (
            self.pixels(images, index, purpose)
            for index, purpose in ((halves.tuning, "tuning"), (halves.reported, "reported"))
        )

    def pixels(self, images: Images, index: Tensor, purpose: str) -> Float[Tensor, "n d"]:
        """Test images as what the observation model is a density of."""
        chosen = images.test.images[index]
        generator = rng.generator(self.seed, "pixel noise", purpose)
        if self.kind == "own":
            observed = as_float(chosen)
        else:
            observed = (dequantise if self.kind == "gaussian" else binarise)(chosen, generator)
        return observed.flatten(1).to(self.device)

    def observation(self, variance: float | None) -> Gaussian | Bernoulli:
        """p(x|z)."""
        return Bernoulli() if variance is None else Gaussian(variance)

    def joint(self, x: Float[Tensor, "m d"], variance: float | None) -> Joint:
        """The two log-densities of a batch of images."""
        return joint(self.decodes.prior(), self.decodes.decode, self.observation(variance), x)

    def prior_codes(self, generator: torch.Generator, m: int, k: int) -> Float[Tensor, "m k latent"]:
        """k codes for each of m images."""
        return self.decodes.prior().sample(generator, m * k).reshape(m, k, -1)

    def first_variance(self) -> float:
        """The mean over pixels of their variance: that of a decoder which knows the mean image only."""
        return max(LEAST_VARIANCE, self.tuning.var(0).mean().item())

    def generator(self, *purpose: str | int) -> torch.Generator:
        """A stream of chance on the device."""
        return rng.generator(self.seed, *purpose, device=self.device)


def standard_error(values: Float[Tensor, " n"]) -> float:
    """Of the mean."""
    return (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else 0.0


# Importance sampling


def by_importance(subject: Subject, effort: Effort, variance: float | None, on_progress: OnProgress) -> dict[str, Any]:
    """ELBO and IWAE-K."""
    assert effort.samples is not None
    k, x = effort.samples, subject.reported
    if subject.kind == "gaussian" and variance is None:
        variance = tuned_with_encoder(subject, k)
    rows = ROWS[subject.device.type]
    per_batch = rows if subject.kind == "own" else rows // min(k, TUNING_SAMPLES)
    bounds = []
    for i, part in enumerate(torch.split(x, per_batch)):
        draw = importance_draws(subject, part, variance, subject.generator("importance", i))
        bounds.append(importance_bound(draw, k, max(1, rows // len(part))))
        on_progress(min(len(x), (i + 1) * per_batch) * k, len(x) * k, {})
    values = torch.cat(bounds)
    found = {"value": values.mean().item(), "standard_error": standard_error(values)}
    return found if variance is None else {**found, "variance": variance}


def importance_draws(
    subject: Subject, x: Float[Tensor, "b d"], variance: float | None, generator: torch.Generator
) -> Callable[[int], Float[Tensor, "b n"]]:
    """n → log-weights of n draws for each image; of the family's own bound the n are summed up already."""
    shaped = x.reshape(-1, *subject.shape)
    family = subject.family
    if subject.kind == "own":
        assert isinstance(family, Bounds)
        return lambda n: family.log_prob_bound(shaped, n, generator)[:, None] + math.log(n)
    assert isinstance(family, Encodes)
    q = family.encode(shaped)
    return lambda n: log_weights(subject.joint(x, variance), q, n, generator)[0]


def tuned_with_encoder(subject: Subject, k: int) -> float:
    """The variance at which IWAE-k is stationary; for k = 1, E_q ‖x − decode(z)‖² / d, it is found in one round."""
    assert isinstance(subject.family, Encodes)
    q = subject.family.encode(subject.tuning.reshape(-1, *subject.shape))
    variance = subject.first_variance()
    for _ in range(ROUNDS):
        draws = log_weights(
            subject.joint(subject.tuning, variance), q, min(k, TUNING_SAMPLES), subject.generator("tuning")
        )
        variance = next_variance([draws], variance, subject.d)
    return variance


def next_variance(draws: list[tuple[Tensor, Tensor]], variance: float, d: int) -> float:
    """E ‖x − decode(z)‖² / d over the images, from (log weight, log p(x|z)) of weighted posterior draws."""
    errors = [
        (log_weight.softmax(1) * Gaussian(variance).squared_error(log_likelihood, d)).sum(1)
        for log_weight, log_likelihood in draws
    ]
    return max(LEAST_VARIANCE, torch.cat(errors).mean().item() / d)


# Annealed importance sampling


class Journal:
    """What an AIS has come to so far, in one file, so that it can be killed and go on.

    Every annealing has a name. One that is in the journal is not run again, one that was under way goes on where it
    was; since all the rest is computed afresh from them, nothing else needs to be kept.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any]) -> None:
        self.path, self.conditions = path, dict(conditions)
        self.results: dict[str, dict[str, Tensor]] = {}
        self.current: tuple[str, dict[str, Tensor]] | None = None
        self.saved = time.monotonic()
        with suppress(InputError):  # one that is not there, or harmed, is as good as none
            state = State.read(path)
            if state.scalars.get("conditions") == self.conditions:
                self._read(state)

    def _read(self, state: State) -> None:
        current = state.scalars["current"]
        for key, tensor in state.tensors.items():
            name, _, part = key.rpartition("/")
            self.results.setdefault(name, {})[part] = tensor
        if current is not None:
            self.current = current, self.results.pop(current)

    def carry_out(self, name: str, make: Callable[[], Annealing], on_moves: Callable[[int], None]) -> dict[str, Tensor]:
        """The annealing of that name at its end; `on_moves` hears of each chain's moves, those made before included."""
        if name not in self.results:
            annealing = make()
            if self.current is not None and self.current[0] == name:
                annealing.restore(self.current[1])
            chains = annealing.log_weight.numel()
            on_moves(annealing.at * chains)
            while not annealing.done:
                annealing.advance()
                on_moves(chains)
                if time.monotonic() - self.saved >= SAVE_SECONDS:
                    self.save(name, annealing.state())
            self.current = None
            self.results[name] = {
                "log_weight": annealing.log_weight.cpu(),
                "log_likelihood": annealing.point.log_likelihood.cpu(),
                "acceptance": annealing.acceptance.cpu(),
                "steps": annealing.steps.cpu(),
            }
        else:
            found = self.results[name]
            on_moves(found["log_weight"].numel() * (len(found["steps"]) - 1))
        return self.results[name]

    def save(self, name: str, state: dict[str, Tensor]) -> None:
        """Write the file anew."""
        everything = {**self.results, name: state}
        tensors = {f"{of}/{part}": tensor for of, parts in everything.items() for part, tensor in parts.items()}
        content = State(tensors, {"conditions": self.conditions, "current": name}).to_bytes()
        write_atomically(self.path, content)
        self.saved = time.monotonic()

    def close(self) -> None:
        """Remove the file: all is done."""
        self.path.unlink(missing_ok=True)


class Work:
    """Counts what is done of what there is to do, in moves of a chain from one distribution to the next."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self.done, self.total, self.on_progress = 0, total, on_progress

    def __call__(self, more: int) -> None:
        """So many more moves are made."""
        self.done += more
        self.on_progress(self.done, self.total, {})


@dataclass(frozen=True)
class Chains:
    """The numbers of an AIS."""

    k: int
    distributions: int
    leapfrogs: int
    pilot: int


def chains_of(effort: Effort) -> Chains:
    """With the length of the pilots, those of the tuning included."""
    assert effort.chains is not None and effort.distributions is not None and effort.leapfrogs is not None
    least, most = PILOT
    pilot = min(most, max(least, effort.distributions // 5))
    return Chains(effort.chains, effort.distributions, effort.leapfrogs, pilot)


def by_annealing(
    subject: Subject, effort: Effort, variance: float | None, journal: Journal, on_progress: OnProgress
) -> dict[str, Any]:
    """AIS on test images, and forwards and backwards on images that the model simulated itself."""
    assert effort.simulated is not None
    chains = chains_of(effort)
    tunes = subject.kind == "gaussian" and variance is None
    moves = chains.pilot - 1 + chains.distributions - 1
    total = (effort.images + 2 * effort.simulated) * moves
    total += ROUNDS * len(subject.tuning) * (chains.pilot - 1) if tunes else 0
    work = Work(total * chains.k, on_progress)
    if tunes:
        variance = tuned_by_annealing(subject, chains, journal, work)
    forward = list(annealed(subject, "test", subject.reported, variance, chains, journal, work))
    values = torch.cat([log_mean_exp(chain["log_weight"]) for chain in forward])
    gaps = gaps_on_simulated(subject, effort.simulated, variance, chains, journal, work)
    journal.close()
    found = {
        "value": values.mean().item(),
        "standard_error": standard_error(values),
        "gap": gaps.mean().item(),
        "gap_standard_error": standard_error(gaps),
        "acceptance": torch.cat([chain["acceptance"] for chain in forward]).mean().item(),
    }
    return found if variance is None else {**found, "variance": variance}


def pilot(
    subject: Subject, name: str, m: int, likelihood: Joint, chains: Chains, journal: Journal, work: Work
) -> dict[str, Tensor]:
    """A shorter annealing of m images, which adapts its step sizes as it goes."""
    generator, n = subject.generator(name), chains.pilot

    def make() -> Annealing:
        z = subject.prior_codes(generator, m, chains.k)
        steps = first_steps(n, m, subject.device)
        return Annealing(likelihood, z, sigmoid_schedule(n), steps, chains.leapfrogs, generator, adapt=True)

    return journal.carry_out(name, make, work)


def annealed(
    subject: Subject,
    name: str,
    images: Float[Tensor, "n d"],
    variance: float | None,
    chains: Chains,
    journal: Journal,
    work: Work,
    codes: Float[Tensor, "n latent"] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """The forward chains of some images at a time; from exact `codes`, the backward ones."""
    size = max(1, ROWS[subject.device.type] // chains.k)
    for i, x in enumerate(torch.split(images, size)):
        m, likelihood = len(x), subject.joint(x, variance)
        # Backward chains take the step sizes of the forward ones: the same kernels, in the opposite order.
        piloted = pilot(subject, f"{name}-{i}-pilot", m, likelihood, chains, journal, work)
        steps = adapted_steps(piloted["steps"].to(subject.device), chains.distributions)
        schedule = sigmoid_schedule(chains.distributions)
        generator = subject.generator(name, i, "forward" if codes is None else "backward")
        if codes is None:
            start = subject.prior_codes(generator, m, chains.k)
        else:
            start = codes[i * size : i * size + m, None].expand(-1, chains.k, -1)
            steps, schedule = steps.flip(0), schedule[::-1]
        make = partial(Annealing, likelihood, start, schedule, steps, chains.leapfrogs, generator)
        yield journal.carry_out(f"{name}-{i}-{'forward' if codes is None else 'backward'}", make, work)


def tuned_by_annealing(subject: Subject, chains: Chains, journal: Journal, work: Work) -> float:
    """The variance at which a short AIS is stationary, on images that are not reported on."""
    variance = subject.first_variance()
    size = max(1, ROWS[subject.device.type] // chains.k)
    for round in range(ROUNDS):
        ends = [
            pilot(subject, f"tuning-{round}-{i}", len(x), subject.joint(x, variance), chains, journal, work)
            for i, x in enumerate(torch.split(subject.tuning, size))
        ]
        variance = next_variance([(end["log_weight"], end["log_likelihood"]) for end in ends], variance, subject.d)
    return variance


def gaps_on_simulated(
    subject: Subject, n: int, variance: float | None, chains: Chains, journal: Journal, work: Work
) -> Float[Tensor, " n"]:
    """Upper minus lower bound on images drawn from the model, whose codes are exact samples of their posterior."""
    generator = subject.generator("simulated")
    codes = subject.prior_codes(generator, n, 1)[:, 0]
    decoded = subject.decodes.decode(codes).flatten(1)
    images = subject.observation(variance).sample(decoded, generator)
    run_chains = partial(annealed, subject, "simulated", images, variance, chains, journal, work)
    lower = torch.cat([log_mean_exp(chain["log_weight"]) for chain in run_chains()])
    upper = torch.cat([-log_mean_exp(chain["log_weight"]) for chain in run_chains(codes=codes)])
    return upper - lower


# The file of a run


def keep(run: Run, result: Mapping[str, Any]) -> None:
    """Put one figure into the run's `likelihood.json`, beside those of other names."""
    path = run.path / "likelihood.json"
    with updating(path):
        estimates = {**read_likelihoods(run.path), result["name"]: result}
        write_json(path, {"format": FORMAT, "estimates": estimates})


def read_likelihoods(path: Path) -> dict[str, Any]:
    """The estimates that were kept in the run at `path`, by their full names; none if the file is not whole."""
    try:
        found = read_json(path / "likelihood.json")
        estimates: dict[str, Any] = found["estimates"] if found["format"] == FORMAT else {}
        whole = all({"name", "value", "conditions"} <= each.keys() for each in estimates.values())
        return estimates if whole else {}
    except (InputError, TypeError, KeyError, AttributeError):
        return {}
