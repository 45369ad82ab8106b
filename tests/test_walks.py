"""Walks, neighbours and confusions with known answers; and every family's, whatever the shape of codes and images."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from likelier.confusion import confusion
from likelier.distributions import Normal
from likelier.evidence import Evidence, NoFigure
from likelier.experiment import train
from likelier.family import Encodes, Family, Player, build, configure, find, names
from likelier.features import Extractor
from likelier.images import Images, Split
from likelier.measuring import measure, shared_noise
from likelier.neighbourhood import nearest_few, neighbours
from likelier.portrait import portrait
from likelier.reference import Reference
from likelier.report.reading import read_run
from likelier.walks import (
    REACH,
    SIDE,
    STEPS,
    STOPS,
    Ground,
    first_layer,
    ground_of,
    interpolations,
    leading_directions,
    manifold,
    slerp,
    traversals,
)

CLASSES = 5


class Brightness(Extractor):
    """The class is read off the first pixel; features are the first pixel and the mean."""

    name, dimension, accuracy = "brightness", 2, 1.0

    def features_and_classes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first = images[:, 0, 0, 0]
        return torch.stack([first.float(), images.flatten(1).float().mean(1)], dim=1), (first // 50).long().clamp(
            max=CLASSES - 1
        )


def image_set(shape: tuple[int, int, int] = (1, 8, 8), n: int = 60) -> Images:
    """Images of which no two are equal; the class is in the first pixel."""
    generator = torch.Generator().manual_seed(0)
    splits = []
    for _ in range(2):
        pixels, labels = torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8), torch.arange(n) % 5
        pixels[:, 0, 0, 0] = (50 * labels + 25).to(torch.uint8)
        splits.append(Split(pixels, labels))
    return Images("bright", *splits, tuple("abcde"))


def evidence_of(family: Family, images: Images) -> Evidence:
    return Evidence(family, family, Reference(images, Brightness(), ()))


@dataclass(frozen=True)
class Nothing:
    batch: int = 1


class Plain(Family):
    """What every family here has, which is never trained."""

    Config = Nothing

    def __init__(self, shape: tuple[int, int, int] = (1, 8, 8)) -> None:
        super().__init__(Nothing(), shape)

    def players(self) -> dict[str, Player]:
        return {}

    def turns(self, step):
        return iter(())

    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        return self.decode(self.prior().sample(generator, n))


class Dials(Plain):
    """Each coordinate z of N(1, 2²) is the brightness .5 + z/20 of a pixel of its own, and is read off it again."""

    def __init__(self, latent: int, spoilt: float = 0.0) -> None:
        super().__init__()
        self.latent, self.spoilt = latent, spoilt

    def prior(self) -> Normal:
        return Normal(torch.ones(self.latent), torch.full((self.latent,), 2 * math.log(2)))

    def decode(self, z: Tensor) -> Tensor:
        x = torch.full((len(z), 64), 0.25) + self.spoilt
        x[:, 1 : 1 + self.latent] = 0.5 + z / 20
        return x.view(-1, 1, 8, 8)


class Readable(Dials):
    """The same, and it encodes."""

    def encode(self, x: Tensor) -> Normal:
        mu = 20 * (x.flatten(1)[:, 1 : 1 + self.latent] - 0.5)
        return Normal(mu, torch.zeros_like(mu))


def dials(w: np.ndarray) -> np.ndarray:
    """The pixels that codes in standard deviations are decoded to."""
    return np.rint(255 * np.clip(0.5 + (1 + 2 * w) / 20, 0, 1)).astype(int)


def noise(n: int, latent: int) -> np.ndarray:
    return shared_noise(n, latent).numpy()


def test_traversals_of_units_turn_one_dial_and_leave_the_others():
    images = image_set()
    pixels = images.train.images, images.test.images
    for split in pixels:  # unit 1 never moves, unit 2 moves most
        split[:, 0, 0, 1] = 200
        split[:, 0, 0, 3] = torch.where(split[:, 0, 0, 3] > 127, 255, 0).to(torch.uint8)
    evidence = evidence_of(Readable(3), images)
    found = traversals(evidence, shared_noise)
    assert found["traversal_units"].tolist() == [2, 1, 0]
    values = evidence.probe_test.images.flatten(1)[:, 1:4].numpy() / 255
    variances = (10 * values).var(axis=0, ddof=1)  # w = (20 (x − ½) − 1)/2
    assert found["traversal_weight"] == pytest.approx(variances[[2, 1, 0]], rel=1e-4, abs=1e-9)
    shown = found["traversal_images"].reshape(3, STEPS, 64)[:, :, 1:4].astype(int)
    image, rebuilt = found["traversal_start"].reshape(2, 64)[:, 1:4].astype(int)
    assert np.abs(image - rebuilt).max() <= 1
    turned = dials(np.linspace(-REACH, REACH, STEPS))
    for row, unit in enumerate((2, 1, 0)):
        others = [k for k in range(3) if k != unit]
        assert np.abs(shown[row, :, unit] - turned).max() <= 1
        assert np.abs(shown[row][:, others] - image[others]).max() <= 1


def test_directions_are_the_eigenvectors_of_the_first_layer():
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(7, 4, generator=generator)
    shares, v = leading_directions(a)
    values, vectors = np.linalg.eigh((a.T @ a).double().numpy())
    assert shares.numpy() == pytest.approx(values[::-1] / values.sum())
    assert np.abs((v.numpy() * vectors.T[::-1]).sum(1)) == pytest.approx(np.ones(4))
    assert all(row[row.abs().argmax()] > 0 for row in v)


def test_the_first_layer_is_found_wherever_it_is_and_without_the_classes():
    told = build(find("gan"), configure(find("gan"), {"latent": 6, "classes": 5}), (1, 8, 8), 0)
    ground = ground_of(told, shared_noise)
    assert ground.free == 6
    assert torch.equal(first_layer(ground, ground.draws(1)[0]), told.generator[0].weight[:, :6])
    wide = Normal(torch.zeros(7), 2 * torch.arange(1, 8).log())
    assert torch.allclose(
        first_layer(Ground(told, wide, 6, shared_noise), torch.zeros(7)),
        told.generator[0].weight[:, :6] * torch.arange(1, 7),
    )
    with pytest.raises(NoFigure, match="not a linear one"):
        ground = ground_of(Dials(3), shared_noise)
        first_layer(ground, ground.draws(1)[0])


def test_a_traversal_of_a_direction_moves_along_it_alone():
    family = Dials(3)
    family.first = nn.Linear(3, 3, bias=False)
    family.first.weight.data = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
    turn = family.decode
    family.decode = lambda z: (family.first(z), turn(z))[1]
    found = traversals(evidence_of(family, image_set()), shared_noise)
    assert found["traversal_kind"] == ["directions"]
    assert found["traversal_weight"] == pytest.approx(np.array([9, 4, 1]) / 14)
    shown = found["traversal_images"].reshape(3, STEPS, 64)[:, :, 1:4].astype(int)
    start, t = noise(1, 3)[0], np.linspace(-REACH, REACH, STEPS)
    for row, coordinate in enumerate((1, 2, 0)):
        w = np.tile(start, (STEPS, 1))
        w[:, coordinate] = t
        assert np.abs(shown[row] - dials(w)).max() <= 1


def test_the_manifold_has_the_quantiles_of_the_prior():
    found = manifold(evidence_of(Dials(2), image_set()), shared_noise)["manifold"]
    assert found.shape == (SIDE, SIDE, 1, 8, 8)
    q = dials(norm.ppf((np.arange(SIDE) + 0.5) / SIDE))
    assert np.abs(found[:, :, 0, 0, 1].astype(int) - q[None]).max() <= 1
    assert np.abs(found[:, :, 0, 0, 2].astype(int) - q[::-1, None]).max() <= 1
    with pytest.raises(NoFigure, match="3 dimensions, not two"):
        manifold(evidence_of(Dials(3), image_set()), shared_noise)


def test_interpolations_go_straight_and_along_the_arc():
    images = image_set()
    found = interpolations(evidence_of(Readable(3), images), shared_noise)
    t = np.linspace(0, 1, STOPS)[:, None]
    for name, codes in (("path_noise", noise(6, 3)), ("path_codes", None)):
        if codes is None:
            ends = found["path_codes_ends"].reshape(-1, 64)
            assert (ends[::2, 0] // 50 != ends[1::2, 0] // 50).all()
            assert all((images.test.images.flatten(1).numpy() == end).all(1).any() for end in ends)
            codes = (20 * (ends[:, 1:4] / 255 - 0.5) - 1) / 2
        shown = found[name].reshape(len(codes) // 2, 2, STOPS, 64)[..., 1:4].astype(int)
        for i, (a, b) in enumerate(zip(codes[::2], codes[1::2], strict=True)):
            theta = np.arccos(a @ b / np.sqrt(a @ a * (b @ b)))
            arc = (np.sin((1 - t) * theta) * a + np.sin(t * theta) * b) / np.sin(theta)
            for kind, path in enumerate(((1 - t) * a + t * b, arc)):
                assert np.abs(shown[i, kind] - dials(path)).max() <= 1
                lengths = np.sqrt((path**2).sum(1))
                assert found[f"{name}_lengths"][i, kind] == pytest.approx(lengths, rel=1e-3)


def test_an_arc_keeps_its_length_and_its_pace():
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    b = b * a.norm() / b.norm()
    arc = slerp(a, b, t)
    assert torch.allclose(arc.norm(dim=1), a.norm())
    steps = (arc[1:] - arc[:-1]).norm(dim=1)
    assert torch.allclose(steps, steps[0])
    assert torch.equal(slerp(a, 2 * a, t), torch.lerp(a, 2 * a, t[:, None]))  # one line through the origin: no arc
    assert bool(slerp(a, -a, t).isfinite().all())
    assert bool(slerp(a, 0 * a, t).isfinite().all())


def test_codes_of_one_dimension_have_no_arc():
    found = interpolations(evidence_of(Readable(1), image_set()), shared_noise)
    assert found["path_noise"].shape[:3] == found["path_codes"].shape[:3] == (3, 1, STOPS)


def test_a_walk_stays_in_its_class():
    """A model that is told of five classes, and writes the class into its first pixel."""
    family = build(find("gan"), configure(find("gan"), {"latent": 2, "classes": 5}), (1, 8, 8), 0).requires_grad_(False)
    family.generate = lambda z, y: (
        (y.float()[:, None] / 5 + 0 * family.generator[0](torch.cat([z, z, z, z[:, :1]], 1))[:, :1])
        .expand(-1, 64)
        .reshape(-1, 1, 8, 8)
    )
    evidence = evidence_of(family, image_set())
    walked = traversals(evidence, shared_noise)["traversal_images"]
    assert len(np.unique(walked)) == 1
    assert len(np.unique(manifold(evidence, shared_noise)["manifold"])) == 1
    paths = interpolations(evidence, shared_noise)["path_noise"]
    assert all(len(np.unique(path)) == 1 for path in paths)
    assert len(np.unique(paths)) > 1


class Obedient(Plain):
    """Makes the class that it is asked for, or one that is `off` by as many."""

    def __init__(self, off: int = 0) -> None:
        super().__init__()
        self.classes, self.off = CLASSES, off

    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        labels = torch.zeros(n, dtype=torch.long) if labels is None else labels
        return (((labels + self.off) % CLASSES * 50 + 25) / 255)[:, None, None, None].expand(n, 1, 8, 8)


@pytest.mark.parametrize("off", [0, 1])
def test_label_agreement_is_1_for_who_obeys_and_0_for_who_never_does(off: int):
    found = confusion(evidence_of(Obedient(off), image_set()))
    assert found["confusion_kind"] == ["asked"]
    assert np.array_equal(found["confusion"], np.roll(np.diag([200] * CLASSES), off, axis=1))
    assert np.array_equal(found["confusion_real"], np.diag([12] * CLASSES))


def test_reconstructions_have_the_classes_that_they_are_taken_for():
    """These lose the first pixel, which has the class: all are taken for the second class, as .25 · 255 // 50."""
    found = confusion(evidence_of(Readable(3), image_set()))
    assert found["confusion_kind"] == ["rebuilt"]
    assert found["confusion"][:, 1].tolist() == [12] * CLASSES
    assert found["confusion"].sum() == 60
    with pytest.raises(NoFigure, match="neither told of classes nor does it encode"):
        confusion(evidence_of(Dials(3), image_set()))


def test_neighbours_of_copies_are_what_was_copied():
    images = image_set()

    class Copier(Plain):
        def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
            return images.train.images[7 : 7 + n] / 255

    evidence = evidence_of(Copier(), images)
    found = neighbours(evidence)
    for name in ("features", "pixels"):
        assert found[f"neighbour_{name}_index"][:, 0].tolist() == list(range(7, 15))
        assert np.array_equal(found[f"neighbour_{name}"][:, 0], found["neighbour_samples"])
    differences = images.train.images[7:15, None].flatten(2).double() - images.train.images.flatten(1).double()
    nearest = differences.square().sum(2).argsort(dim=1, stable=True)[:, :3]
    assert np.array_equal(found["neighbour_pixels_index"], nearest.numpy())


def test_of_equal_neighbours_the_first_comes_first():
    parts = [torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0]])]
    assert nearest_few(torch.zeros(1, 1), parts, 9).tolist() == [[0, 1, 2]]


def test_what_is_not_finite_has_reasons_in_place_of_figures():
    found = portrait(evidence_of(Readable(2, math.nan), image_set()), shared_noise)
    reasons = dict(found.pop("figures_missing").tolist())
    assert not found
    assert reasons["neighbours"] == "its samples are not finite"
    assert {reasons[name] for name in ("traversals", "manifold", "interpolations")} == {
        "the images that it decodes are not finite"
    }
    assert reasons["confusion"] == "the images that it makes are not finite"


def test_who_cannot_decode_or_has_another_prior_is_told_why():
    class Odd(Dials):
        def prior(self):
            return Heavy()

    class Heavy:
        mean = torch.zeros(2)

        def sample(self, generator: torch.Generator, n: int | None = None) -> Tensor:
            return torch.zeros(n or 1, 2)

        def log_prob(self, z: Tensor) -> Tensor:
            return z.sum(-1)

    for family, why in ((Odd(2), "its prior is not normal"), (Obedient(), "it makes no images of codes")):
        reasons = dict(portrait(evidence_of(family, image_set()), shared_noise)["figures_missing"].tolist())
        assert {reasons[name] for name in ("traversals", "manifold", "interpolations")} == {why}


SHAPES = {1: (1, 8, 8), 2: (3, 12, 19), 64: (1, 12, 12)}
"""Of images, by the size of codes."""


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("latent", SHAPES)
def test_every_family_can_be_walked_through(name: str, latent: int):
    """Of any latent size, told of classes or not."""
    cls, images = find(name), image_set(SHAPES[latent], 24)
    settings = {"latent": latent}
    if hasattr(cls.Config(), "classes") and latent > 1:
        settings["classes"] = CLASSES
    family = build(cls, configure(cls, settings), images, 0).eval().requires_grad_(False)
    state = torch.get_rng_state()
    found = portrait(evidence_of(family, images), shared_noise)
    assert torch.equal(torch.get_rng_state(), state)
    missing = dict(found.pop("figures_missing", np.empty((0, 2))).tolist())
    assert ("manifold" in missing) == (latent != 2)
    assert ("confusion" in missing) == (not isinstance(family, Encodes) and not family.classes)
    assert not {"neighbours", "traversals", "interpolations"} & set(missing)
    assert len(found["traversal_images"]) == min(latent, 8)
    assert ("path_codes" in found) == isinstance(family, Encodes)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 128, 100)])
def test_what_is_kept_of_large_images_is_small(shape: tuple[int, int, int]):
    images = image_set(shape, 24)
    family = build(find("vae"), configure(find("vae"), {"latent": 2}), images, 0).requires_grad_(False)
    found = portrait(evidence_of(family, images), shared_noise)
    assert max(found["neighbour_samples"].shape[2:]) <= 64
    assert sum(array.nbytes for array in found.values()) < 2.5e6


def test_a_measured_run_is_read_with_its_walks_and_measures_the_same_again(tmp_path):
    run = train("vae", "digits", images=1_000, settings={"latent": 2}, out=tmp_path / "run")
    measure(run)
    first = (run.path / "figures.npz").read_bytes()
    read = read_run(run.path)
    assert {"neighbour_samples", "traversal_images", "manifold", "path_codes", "confusion"} <= set(read.figures)
    assert read.notes == ()
    measure(run)
    assert (run.path / "figures.npz").read_bytes() == first
