"""The weights that samples are drawn from, in one file that needs nothing else of its run.

`likelier export RUN --format safetensors` writes it, and `likelier.load` reads it. Its metadata say which family and
which settings the weights belong to; the digest of both is checked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likelier.errors import InputError
from likelier.family import Family, build, configure, find, names
from likelier.images import Images, Shape
from likelier.loop import load_weights
from likelier.run import State, require

FORMAT = 1
KEPT = ("family", "settings", "shape", "seed", "images", "data_name", "classes")
"""What of the configuration of a run goes with the weights."""


def weights_in_a_file(model: Family, config: Mapping[str, Any], data_digest: str) -> bytes:
    """A safetensors file with every tensor of a model, and in its metadata what is needed to build it again."""
    about = {name: config[name] for name in KEPT if name in config}
    tensors = {name: x.clone() for name, x in model.state_dict().items()}  # one that has two names is kept under both
    return State(tensors, {"model": {"format": FORMAT, **about, "data_digest": data_digest}}).to_bytes()


def read_weights(path: Path, named: str | None) -> Family:
    """The model in such a file; InputError if it is none, or not whole. `named` as in `built_again`."""
    try:
        state = State.read(path)
    except InputError as error:
        reason = str(error).replace("checkpoint", "file of weights").removesuffix("; train the run anew")
        raise InputError(f"{reason}; wanted what `likelier export RUN --format safetensors` writes") from None
    config = state.scalars.get("model") if isinstance(state.scalars, dict) else None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(
            f"{path} holds no exported model of format {FORMAT}: wanted what `likelier export RUN --format "
            "safetensors` writes; a checkpoint is loaded by the folder of its run"
        )
    require(path, config, {"family": str, "settings": dict, "shape": list, "seed": int})
    if len(config["shape"]) != 3 or not all(type(n) is int and n > 0 for n in config["shape"]):
        raise InputError(f"{path} has shape = {config['shape']}: wanted [channels, height, width]; export it anew")
    c, h, w = config["shape"]
    try:
        model = built_again(config, path, (c, h, w), named)
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the model that {path} tells of cannot be built ({reason:.200}); export it anew") from None
    load_weights(model, state, "")
    return model


def built_again(config: Mapping[str, Any], path: Path, images: Images | Shape, named: str | None) -> Family:
    """The family of a configuration that stands in `path`, with initial weights; see `build`.

    Args:
        config: with `family`, `settings` and `seed`.
        path: the run or the file, for messages.
        images: the image set, or the shape alone, to be loaded.
        named: the dotted path of a family that is not likelier's own, whose code the caller trusts.
    """
    if config["family"] not in names() and named != config["family"]:
        raise InputError(
            f"{path} was trained with the family {config['family']}, which is not likelier's own: "
            f"if you trust that code, pass --family {config['family']} (`likelier train {config['family']} --resume` "
            "to go on with it, family= in Python)"
        )
    cls = find(config["family"])
    return build(cls, configure(cls, config["settings"]), images, config["seed"])
