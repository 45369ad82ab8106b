"""Any other network as an extractor: an ONNX file, and beside it a declaration of what it wants to be given.

`--extractor dinov2.onnx` reads `dinov2.yaml` (or `.json`) beside it:

    name: dinov2-vits14        # how figures call it; the hash of both files is added
    size: [224, 224]           # height and width that images are resized to; leave it out to take them as they are
    resize: bicubic            # or bilinear; antialiased
    channels: 3                # grey images are repeated to 3 channels
    scale: 1                   # what the largest byte, 255, becomes (255: bytes as they are)
    mean: [0.485, 0.456, 0.406]   # subtracted after scaling, one a channel; leave out for none
    std: [0.229, 0.224, 0.225]    # divided by after that
    output: features           # which output; leave it out if there is one
    batch: 64                  # images at a time

Nothing is downloaded: whoever has the weights of Inception or DINOv2 exports them, declares them, and has figures whose
names say so. A published figure binds only if the network, its weights *and* its preprocessing are those published.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.errors import InputError
from likelier.features.network import Extractor
from likelier.files import yaml_of
from likelier.images import Images

Side = Annotated[int, Field(strict=True, ge=1, le=4096)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Preprocessing:
    """What is declared beside the network; the module's docstring has an example."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
    channels: Annotated[int, Field(strict=True)]
    size: tuple[Side, Side] | None = None
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    scale: Positive = 1.0
    mean: tuple[Finite, ...] = ()
    std: tuple[Positive, ...] = ()
    output: str | None = None
    batch: Side = 64

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError("channels wants 1 or 3")
        for values in (self.mean, self.std):
            if values and len(values) != self.channels:
                raise ValueError("mean and std want one number a channel")

    def __call__(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Images as they are stored → what the network is given."""
        c = images.shape[1]
        if c not in (1, self.channels):
            raise InputError(f"images of {c} channels for {self.name}, which takes {self.channels}: wanted as many")
        x = images.float().expand(-1, self.channels, -1, -1)
        if self.size and self.size != tuple(x.shape[2:]):
            x = F.interpolate(x, self.size, mode=self.resize, antialias=True, align_corners=False).clamp(0, 255)
        x = x * (self.scale / 255)
        for values, change in ((self.mean, torch.sub), (self.std, torch.div)):
            if values:
                x = change(x, torch.tensor(values)[:, None, None])
        return x


class ONNX(Extractor):
    """A network in an ONNX file; it knows no classes.

    Raises:
        InputError: no such file, no or a wrong declaration beside it, a file that onnxruntime cannot run, or the extra
            `export` is not installed.
    """

    accuracy = None

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        content = read(path)
        declared = declaration_beside(path)
        self.prepare = read_declaration(declared)
        self.session = session_of(path, content)
        inputs = [(found.name, found.type) for found in self.session.get_inputs()]
        if [kind for _, kind in inputs] != ["tensor(float)"]:
            raise InputError(f"{path} has the inputs {inputs}: wanted one, of 32-bit floats")
        self.output = output_of(path, self.session, self.prepare.output)
        self.pinned = hashlib.sha256(content + read(declared)).hexdigest()
        self.name = f"{self.prepare.name}-onnx-{self.pinned[:6]}"
        self.dimension = 0  # known when it has seen an image

    @property
    def digest(self) -> str:
        """Of both files, and the version of what runs them."""
        import onnxruntime

        return f"{self.pinned} {onnxruntime.__version__}"

    def features_and_classes(
        self, images: UInt8[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"] | None]:
        """As `Extractor`, on the CPU; maps [n, d, h, w] are averaged over positions, as Inception's last one is."""
        parts = [self.run(self.prepare(x.cpu())) for x in torch.split(images, self.prepare.batch)]
        if len(widths := {part.shape[1] for part in parts}) > 1:
            raise InputError(f"{self.name} gives {sorted(widths)} features by the size of the batch: wanted one number")
        features = torch.cat(parts)
        if bad := int((~features.isfinite()).any(dim=1).sum()):
            raise InputError(
                f"{self.name} gives NaN or infinity for {bad} of {len(features)} images: look at scale, mean and std"
            )
        self.dimension = features.shape[1]
        return features, None

    def check(self, images: Images) -> None:
        """InputError unless the network gives features of these images that are finite and differ."""
        few = images.test.images[: self.prepare.batch + 1]  # a whole batch, and one of another size
        if not bool(self.features(few).std(dim=0).any()):
            raise InputError(f"{self.name} gives the same features for {len(few)} images: wanted some that differ")

    def run(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The network's output for one batch, one row an image."""
        inputs = {self.session.get_inputs()[0].name: x.numpy()}
        try:
            (found,) = self.session.run([self.output], inputs)
        except Exception as error:  # onnxruntime raises its own kinds, which are not exported
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self.name} cannot be given images of {tuple(x.shape[1:])}: {reason}; declare its size"
            ) from None
        features = torch.from_numpy(np.array(found, dtype=np.float32))
        if features.ndim not in (2, 4) or len(features) != len(x) or features.numel() == 0:
            raise InputError(
                f"{self.name} gives {tuple(features.shape)} for {len(x)} images: wanted [n, d], or maps [n, d, h, w]; "
                "tokens [n, positions, d] have to be pooled in the network, or another output be declared"
            )
        return features.mean((2, 3)) if features.ndim == 4 else features


def read(path: Path) -> bytes:
    """The content of a file; InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; --extractor takes an ONNX file") from None


def declaration_beside(path: Path) -> Path:
    """The file with the preprocessing."""
    for suffix in (".yaml", ".yml", ".json"):
        if (found := path.with_suffix(suffix)).is_file():
            return found
    raise InputError(
        f"{path.with_suffix('.yaml')} is missing: wanted the preprocessing of {path.name} declared beside it, at least "
        "`name: …` and `channels: 1` or 3; docs/measures.md has an example"
    )


def read_declaration(path: Path) -> Preprocessing:
    """The preprocessing, checked."""
    try:
        content = yaml_of(read(path))
        return TypeAdapter(Preprocessing).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise InputError(f"{path}: {where}: {first['msg']}; docs/measures.md has an example") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not YAML or JSON: {' '.join(str(error).split())}") from None


def session_of(path: Path, content: bytes) -> Any:
    """The network, ready to be run."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs onnxruntime, which is not installed: pip install 'likelier[export]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is said by the error
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is no ONNX network that can be run: {reason}") from None


def output_of(path: Path, session: Any, wanted: str | None) -> str:
    """The name of the output that has the features."""
    names = [output.name for output in session.get_outputs()]
    if wanted is None and len(names) == 1:
        return str(names[0])
    if wanted is None or wanted not in names:
        raise InputError(f"{path} has the outputs {', '.join(names)}: declare one of them as `output`, not {wanted}")
    return wanted
