"""Mixed precision: which numbers are short, that only they are, and that a run keeps to what it was begun with."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import likelier
from conftest import EACH_FAMILY
from likelier.arithmetic import arithmetic, check_mixed_precision, has_bfloat16
from likelier.cli import main
from likelier.comparison import command_of, job_of, read_plan
from likelier.errors import InputError
from likelier.exporting.card import command_of as command_of_run
from likelier.exporting.card import training
from likelier.families.gan import GAN
from likelier.family import Move, Step, build, find
from likelier.images import Images
from likelier.loop import Game
from likelier.models import Model
from likelier.nn import Networks
from likelier.rehearsal import rehearse
from likelier.run import Run
from likelier.side_by_side import train_side_by_side
from likelier.tape import Recorder

CPU = torch.device("cpu")
PRODUCTS = {"mm", "addmm", "convolution", "convolution_backward"}


@pytest.fixture(scope="module")
def digits() -> Images:
    return likelier.load_images("digits")


def game_of(name: str, images: Images, mixed_precision: bool) -> Game:
    model = build(find(name), find(name).Config(), images, seed=0)
    model.replays = False
    return Game(model, images, 0, 100_000, CPU, mixed_precision=mixed_precision)


def kept(game: Game) -> dict[str, Tensor]:
    """All that outlives a turn."""
    return {name: t for name, t in game.state().tensors.items() if t.is_floating_point()}


@pytest.mark.parametrize("mixed_precision", [False, True])
@pytest.mark.parametrize("name", EACH_FAMILY)
def test_products_are_in_bfloat16_and_what_adds_up_over_time_in_float32(
    name: str, mixed_precision: bool, digits: Images
):
    game = game_of(name, digits, mixed_precision)
    with Recorder() as recorder:
        scalars = game.turn()
    wanted = torch.bfloat16 if mixed_precision else torch.float32
    products = [call for call in recorder.calls if call.name in PRODUCTS]
    assert len(products) >= 6
    assert {t.dtype for call in products for t in call.reads()} == {wanted}
    assert {t.dtype for t in kept(game).values()} == {torch.float32}
    assert {t.dtype for t in game.gradient_norms().values()} == {torch.float32}
    assert {t.dtype for t in scalars.values()} <= {torch.float32, torch.int64}, "losses are taken in float32"


@pytest.mark.parametrize("name", EACH_FAMILY)
def test_a_turn_is_that_of_float32_but_for_its_rounding(name: str, digits: Images):
    """Eight digits are 1/256; a loss, a mean over a batch, is nearer than that."""
    plain, mixed = (game_of(name, digits, mixed_precision) for mixed_precision in (False, True))
    a, b = plain.turn(), mixed.turn()
    losses = [key for key in a if key.startswith("loss.")]
    assert a.keys() == b.keys()
    for key in losses:
        torch.testing.assert_close(a[key], b[key], rtol=0.03, atol=0.03)
    assert any(not torch.equal(a[key], b[key]) for key in losses), "nothing was rounded"
    for player, ps in plain.parameters.items():
        ours, theirs = (
            torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            for parameters in (ps, mixed.parameters[player])
        )
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.97, player


@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
def test_a_network_gives_float32(network: str):
    config = Networks(network=network)
    down, up = config.image_to_vector((1, 9, 8), 2), config.vector_to_image(2, (1, 9, 8))
    with arithmetic(CPU, True):
        code = down(torch.rand(4, 1, 9, 8))
        image = up(code)
        inner = down[0:2](torch.rand(4, 1, 9, 8))
    assert code.dtype == image.dtype == inner.dtype == torch.float32
    assert down.double()(torch.rand(4, 1, 9, 8, dtype=torch.float64)).dtype == torch.float64


def test_a_run_learns_and_says_in_what_numbers(tmp_path: Path):
    plain, run = (
        likelier.train("vae", epochs=10, mixed_precision=mixed, out=tmp_path / str(mixed)) for mixed in (False, True)
    )
    assert run.config["mixed_precision"] is True
    losses = [[line["loss.vae"] for line in each.metrics() if "loss.vae" in line] for each in (plain, run)]
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[1][-1] == pytest.approx(losses[0][-1], rel=0.01)
    assert losses[1] != losses[0]
    assert likelier.load(run).sample(4, torch.Generator().manual_seed(0)).dtype == torch.float32
    assert "--mixed-precision" in command_of_run(run, likelier.load(run))
    assert "- large products in: bfloat16" in training(run, likelier.load(run))
    assert "--mixed-precision" not in command_of_run(plain, likelier.load(plain))


@pytest.mark.parametrize("found", ["yes", 1, None, [True]])
def test_anything_but_a_truth_value_is_refused_in_one_line(found: object, tmp_path: Path):
    with pytest.raises(InputError, match=r"mixed_precision = .*: wanted true or false"):
        check_mixed_precision(found)
    run = likelier.train("vae", images=128, out=tmp_path / "run")
    (run.path / "done").unlink()
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, "mixed_precision": found}))
    with pytest.raises(InputError, match=r"mixed_precision = .*: wanted true or false"):
        likelier.resume(run.path)


def test_a_run_does_not_go_on_in_other_numbers(tmp_path: Path):
    run = likelier.train("vae", images=128, out=tmp_path / "run")
    (run.path / "done").unlink()
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, "mixed_precision": True}))
    with pytest.raises(InputError, match="mixed_precision is True and was False"):
        likelier.resume(run.path)


def test_a_comparison_keeps_its_numbers_and_its_workers_honour_them(tmp_path: Path):
    comparison = likelier.compare(["gan"], "digits", images=256, mixed_precision=True, out=tmp_path / "compared")
    plan = read_plan(comparison.path / "compare.json")
    assert plan["mixed_precision"] is comparison.runs[0].config["mixed_precision"] is True
    assert "--mixed-precision" in command_of(plan)
    job = job_of(tmp_path, plan, likelier.load_images("digits"), Model("gan", "gan"), 0)
    train_side_by_side([job], 1, torch.get_num_threads(), lambda job, news: None)
    digests = [run.state().digest_without_clock() for run in (Run.open(job["out"]), *comparison.runs)]
    assert digests[0] == digests[1]
    with pytest.raises(InputError, match="mixed_precision"):
        read_plan_with(comparison.path / "compare.json", mixed_precision="yes")


def read_plan_with(path: Path, **changed: object) -> Mapping[str, object]:
    """The plan, after somebody has changed it."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return read_plan(path)


class Own(GAN):
    """A family with networks that are not likelier's."""

    def __init__(self, config: GAN.Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.discriminator = nn.Sequential(*self.discriminator)
        self.register_buffer("memory", torch.zeros(config.batch, 1))


class Mixes(Own):
    """One that puts what its networks give into a memory of another type."""

    def turns(self, step: Step) -> Iterator[Move]:
        """One move of D."""
        score = self.discriminator(step.images())
        self.memory[torch.arange(len(score))] = score.detach()
        yield Move({"discriminator": score.float().mean()})


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (Own, "is a bfloat16, too short for a loss; wanted its networks made of likelier.nn.Network, or"),
        (Mixes, "cannot be played in mixed precision, leave that out: Index put requires"),
    ],
)
def test_a_family_of_ones_own_is_told_what_it_needs(family: type[Own], said: str, digits: Images):
    rehearse(build(family, family.Config(batch=8), digits.shape, 0), digits, 0, CPU)
    with pytest.raises(InputError, match=said):
        rehearse(build(family, family.Config(batch=8), digits.shape, 0), digits, 0, CPU, mixed_precision=True)


def test_too_little_memory_is_not_put_down_to_it(digits: Images):
    def turns(self: GAN, step: Step) -> Iterator[Move]:
        torch.empty(10**15)
        yield Move({})

    family = type("Large", (GAN,), {"turns": turns})
    with pytest.raises(RuntimeError, match="allocate memory"):
        rehearse(build(family, GAN.Config(batch=8), digits.shape, 0), digits, 0, CPU, mixed_precision=True)


@pytest.mark.parametrize("call", [likelier.train, likelier.compare])
def test_a_family_is_rehearsed_in_the_numbers_that_are_asked_for(
    call: Callable[..., object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("likelier.nn.Network.__call__", nn.Sequential.__call__)
    asked = "gan" if call is likelier.train else ["gan"]
    with pytest.raises(InputError, match="too short for a loss"):
        call(asked, "digits", images=64, mixed_precision=True, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_command_line_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert main(["train", "vae", "--images", "128", "--mixed-precision", "--out", str(out), "-q"]) == 0
    assert json.loads((out / "config.json").read_text())["mixed_precision"] is True
    assert main(["runs", "show", str(out)]) == 0
    assert "numbers   large products in bfloat16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("capabilities", "there"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx2": True}, True),
    ],
)
def test_a_processor_without_instructions_for_it_is_warned_of(
    capabilities: dict[str, bool], there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """One that does not say is taken to have them."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16(CPU) is there
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        likelier.train("vae", images=128, mixed_precision=True, out=tmp_path / "run")
    told = ["has no bfloat16: mixed precision will be slower here" in str(each.message) for each in said]
    assert any(told) is not there
