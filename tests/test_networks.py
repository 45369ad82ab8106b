"""Networks of every kind: all families on images of all sizes, on tape, and what is refused."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import QUICK
from likelier import rng
from likelier.describe import family_in_words
from likelier.errors import InputError
from likelier.family import Decodes, build, configure, find, names
from likelier.images import Images, Shape, Split
from likelier.loop import Game
from likelier.models import settings_by_family
from likelier.nn import Crop, Network, Networks, Residual, halvings, he_initialise, seeded_weights
from likelier.rehearsal import rehearse
from likelier.run import State
from likelier.tape import TapedTurn

CPU = torch.device("cpu")
KINDS = ("mlp", "conv", "resnet")
SHAPES = [(1, 8, 8), (3, 20, 20), (1, 28, 28), (3, 37, 37), (3, 24, 128), (3, 64, 64), (1, 100, 100), (3, 128, 128)]
TWO_SHAPES = {(1, 8, 8), (3, 37, 37)}


def each_on_its_shapes() -> Iterator[object]:
    """Every family on two shapes, and one of each kind of game on all: networks do not know whose they are."""
    for name, kind, shape in product(names(), KINDS, SHAPES):
        marks = () if name in QUICK or shape in TWO_SHAPES else (pytest.mark.slow,)
        yield pytest.param(name, kind, shape, marks=marks, id=f"{name}-{kind}-{'×'.join(map(str, shape))}")


def noise(shape: Shape, n: int = 16) -> Images:
    pixels = torch.randint(0, 256, (n, *shape), generator=rng.generator(0, "noise"), dtype=torch.uint8)
    split = Split(pixels, torch.arange(n) % 2)
    return Images("noise", split, split, ("a", "b"))


def small(kind: str) -> dict[str, object]:
    return {"network": kind, **({"hidden": 16} if kind == "mlp" else {"width": 4}), "batch": 4, "latent": 3}


def game_of(name: str, kind: str, shape: Shape) -> Game:
    family = find(name)
    return Game(build(family, configure(family, small(kind)), shape, seed=0), noise(shape), 0, 1000, CPU)


@pytest.mark.parametrize(("name", "kind", "shape"), list(each_on_its_shapes()))
def test_every_family_plays_with_every_network_on_images_of_every_size(name: str, kind: str, shape: Shape, off_balance):
    family = find(name)
    few = small(kind) | {"lr": 1e-5}  # or units would soon fire for images and samples alike, which then cancel out
    model = build(family, configure(family, few), shape, seed=0)
    off_balance(model)
    game = rehearse(model, noise(shape), 0, CPU)
    for _ in range(2):  # a layer that begins at zero lets none pass in the first turn
        game.turn()
    for parameter_name, p in game.family.named_parameters():
        assert p.grad is not None, f"{parameter_name} gets no gradient"
        assert p.grad.isfinite().all()
        assert p.grad.any(), f"{parameter_name} gets a gradient of zero"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", names())
def test_a_tape_takes_every_network(name: str, kind: str):
    """And its course is the one of the turns as written."""
    shape = (1, 12, 12)
    taped, written = (game_of(name, kind, shape) for _ in range(2))
    written.moves = lambda: written.carry_out(written.step)
    for _ in range(5):
        assert taped.turn() == written.turn()
    assert isinstance(taped.moves, TapedTurn)
    assert taped.moves.tape is not None, taped.moves.why_not
    assert taped.state().digest() == written.state().digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_on_disk_brings_everything_back(kind: str, tmp_path: Path):
    """Whatever the layout of the weights in memory, which the file does not keep."""
    game, other = game_of("vae_gan", kind, (3, 12, 12)), game_of("vae_gan", kind, (3, 12, 12))
    for _ in range(4):
        game.turn()
    (tmp_path / "state").write_bytes(game.state().to_bytes())
    other.restore(State.read(tmp_path / "state"))
    for _ in range(4):
        assert game.turn() == other.turn()
    assert game.state().digest() == other.state().digest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", names())
def test_a_sample_does_not_depend_on_its_neighbours(name: str, kind: str):
    family = game_of(name, kind, (1, 8, 8)).family.eval()
    assert isinstance(family, Decodes)
    z = family.prior().sample(rng.generator(0, "z"), 6)
    torch.testing.assert_close(family.decode(z)[:3], family.decode(z[:3]))


def test_convolutional_networks_get_deeper_with_the_image():
    """The smallest map has a longer side of 5 to 8, unless two halvings are enough."""
    for side in range(17, 129):
        assert 5 <= -(-side // 2 ** halvings((1, side, side))) <= 8
    assert {halvings((1, side, side)) for side in range(1, 33)} == {2}
    assert halvings((1, 8, 128)) == halvings((1, 128, 8)) == 4


def test_a_residual_block_passes_its_input_on():
    """x + F(x): with F's last convolution at zero it is the identity."""
    trunk, _ = Networks(network="resnet", width=3).image_to_features((1, 8, 8))
    block = trunk[2]
    nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(2, 3, 4, 4, generator=rng.generator(0, "x"))
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", ["r3gan", "wgan_gp", "dragan"])
def test_signals_keep_their_size_without_normalisation(name: str):
    """He et al. 2015, eq. (10); Fixup, section 3.2: L blocks of m = 2 layers, for each network by itself."""
    family = find(name)
    config = configure(family, {"network": "resnet", "width": 16, "latent": 64})
    gan = build(family, config, (3, 64, 64), seed=0)  # three halvings
    for network in gan.children() if name == "r3gan" else [gan.discriminator]:
        blocks = [layer for layer in network.modules() if isinstance(layer, Residual)]
        within = {id(layer) for block in blocks for layer in block.modules()}
        assert len(blocks) == 3
        assert not any(block.branch[-1].weight.any() for block in blocks)
        for layer in network.modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear) or not layer.weight.any():
                continue
            scaled = layer.weight.detach() * (layer.weight[0].numel() / 2) ** 0.5
            if layer.weight.numel() > 1_000:
                wanted = 3**-0.5 if id(layer) in within else 1
                assert scaled.std().item() == pytest.approx(wanted, rel=0.1)
            assert layer.bias is None or not layer.bias.any()


def test_a_transposed_convolution_keeps_the_size_of_signals():
    """Each output is reached from a quarter of the places of a kernel of stride 2."""
    layer = nn.ConvTranspose2d(64, 256, 4, stride=2, padding=1)
    with seeded_weights(0):
        he_initialise(layer)
    x = torch.randn(8, 64, 8, 8, generator=rng.generator(0, "x")).relu()
    found = layer(x)[..., 1:-1, 1:-1].square().mean()  # the rim is reached from fewer
    assert found.item() == pytest.approx(2 * x.square().mean().item(), rel=0.05)


def layers(network: Network, *kinds: type[nn.Module]) -> str:
    """The layers of these kinds, a letter each, in their order."""
    return "".join(type(layer).__name__[0] for layer in network if isinstance(layer, kinds))


def test_layers_are_those_of_the_papers():
    """Batch normalisation behind every convolution of DCGAN but the first one of D and the last one of G; in a residual
    network, a block beside each change of size."""
    shape = (3, 64, 64)  # three halvings
    conv, resnet = Networks(network="conv", width=4), Networks(network="resnet", width=4)
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    assert layers(conv.image_to_features(shape)[0], *convolutions, nn.BatchNorm2d) == "CCBCB"
    assert layers(conv.vector_to_image(2, shape), *convolutions, nn.BatchNorm2d) == "BCBCBC"
    assert layers(resnet.image_to_features(shape)[0], nn.Conv2d, Residual) == "CRCRCR"
    assert layers(resnet.vector_to_image(2, shape), nn.Upsample, Residual) == "RURURU"


def test_a_crop_is_the_middle():
    x = torch.arange(42).view(1, 1, 6, 7).float()
    assert torch.equal(Crop(2, 3)(x), x[..., 2:4, 2:5])
    assert torch.equal(Crop(6, 1)(x), x[..., 3:4])
    assert torch.equal(Crop(5, 4)(x), x[..., :5, 1:5])  # the odd pixel goes below and on the right


def test_a_residual_network_has_its_channels_last_in_memory():
    config = Networks(network="resnet", width=4)
    for network in (config.image_to_vector((3, 16, 16), 2), config.vector_to_image(2, (3, 16, 16))):
        kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert len(kernels) > 5
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_as_many_as_is_said(kind: str):
    trunk, n = Networks(network=kind).image_to_features((3, 33, 17))
    assert trunk(torch.zeros(2, 3, 33, 17)).shape == (2, n)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("vae", {"network": "transformer"}, "network = 'transformer': wanted 'mlp', 'conv' or 'resnet'"),
        ("vae", {"width": 8}, "no width beside network=mlp, the size of which is hidden"),
        ("vae", {"network": "conv", "hidden": 8}, "no hidden beside network=conv, the size of which is width"),
        ("dcgan", {"hidden": 8}, "no hidden beside network=conv"),
        ("dcgan", {"network": "mlp", "width": 8}, "no width beside network=mlp"),
        ("gan", {"network": "resnet", "batch": 1}, "batch > 1 beside network=resnet"),
        ("vae", {"network": "resnet", "start": "mean"}, "no start=mean beside network=resnet"),
        ("r3gan", {"normalise": True}, "no normalise beside network=mlp"),
        ("r3gan", {"r1": "no", "r2": "no", "gamma": 2}, "no gamma beside r1=false and r2=false"),
        ("r3gan", {"r1": False, "r2": False, "every": 1}, "no every beside r1=false and r2=false"),
        ("r3gan", {"gamma": 0, "every": 1}, "no every beside gamma=0"),
        ("r3gan", {"gamma": 0, "r1": False}, "no r1 beside gamma=0"),
        ("vae", {"network": "conv", "width": 0}, "width = .0.: wanted a number greater than or equal to 1"),
    ],
)
def test_what_a_network_does_not_have_is_refused(name: str, settings: dict[str, object], said: str):
    with pytest.raises(InputError, match=said) as refusal:
        configure(find(name), settings)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", names())
def test_the_settings_say_what_they_mean(name: str):
    told = {s["name"]: s for s in family_in_words(name, find(name))["settings"]}
    assert told["network"]["wanted"] == "mlp, conv or resnet"
    assert "mlp" in told["hidden"]["meaning"]
    assert "conv and resnet" in told["width"]["meaning"]


def test_a_size_that_is_given_to_all_goes_to_those_that_have_it():
    families = ["vae", "dcgan"]
    assert settings_by_family(families, {"width": 4}) == {"vae": {}, "dcgan": {"width": 4}}
    assert settings_by_family(families, {"hidden": 4}) == {"vae": {"hidden": 4}, "dcgan": {}}
    both = {"network": "resnet", "width": 4}
    assert settings_by_family(families, both) == {"vae": both, "dcgan": both}
    own = settings_by_family(families, {"width": 4, "vae.width": 8})
    assert own == {"vae": {"width": 8}, "dcgan": {"width": 4}}
    with pytest.raises(InputError, match="no width beside network=mlp"):
        configure(find("vae"), own["vae"])
    with pytest.raises(InputError, match="no hidden beside network=resnet"):
        configure(find("dcgan"), settings_by_family(families, {"network": "resnet", "hidden": 4})["dcgan"])
