"""What is trained, on what and how: the configuration of `aih train`, YAML in, frozen models out."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from aih_builder.config.reading import read_mapping, validated
from aih_builder.config.scenes import Fraction, Model, Positive
from aih_builder.identity import EngineName, Split

ModuleName = Literal["hasm", "hdrm", "shpe"]
MODULES: tuple[ModuleName, ...] = get_args(ModuleName)
Count = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]

_HDRM_MULTIPLES = {"paper": 256, "tiny": 64}  # its levels each halve the crop's side


class HasmNet(Model):
    """HASM: a SegFormer encoder and the all-MLP head with four fusion branches."""

    encoder: Literal["tiny", "b0", "b1", "b2", "b3", "b4", "b5"] = "b0"
    # hub: ImageNet weights of nvidia/mit-bN, an error where they cannot be had; auto: the same, from scratch where they
    # cannot; none; or a folder that transformers' save_pretrained wrote.
    weights: Literal["auto", "hub", "none"] | Path = "auto"
    head_width: Count = 256
    drop_path: Fraction = 0.1
    dropout: Fraction = 0.1

    @model_validator(mode="after")
    def _tiny_has_no_weights(self) -> "HasmNet":
        if self.encoder == "tiny" and self.weights == "hub":
            raise ValueError("weights: nobody published any for the tiny encoder; use none")
        return self


class HdrmNet(Model):
    """HDRM: the partial-convolution U-Net with transformer blocks, and its discriminator."""

    size: Literal["paper", "tiny"] = "paper"
    transformer: bool = True


class ShpeNet(Model):
    """SHPE: DetNet."""

    size: Literal["paper", "tiny"] = "paper"


class HdrmLosses(Model):
    """Weights of HDRM's losses; 0 turns a term off."""

    valid: Annotated[float, Field(ge=0)] = 1.0
    hole: Annotated[float, Field(ge=0)] = 6.0
    tv: Annotated[float, Field(ge=0)] = 0.1
    perceptual: Annotated[float, Field(ge=0)] = 0.1
    style: Annotated[float, Field(ge=0)] = 250.0
    adversarial: Annotated[float, Field(ge=0)] = 0.1
    # released: the terms above. paper: L1 over the whole image, with the weight of `hole`, in place of valid, hole, tv.
    form: Literal["released", "paper"] = "released"
    # Where perceptual and style are taken: inside M_D and inside M_R, or on the whole output and on the composite.
    features_on: Literal["masked", "whole"] = "masked"
    # torchvision's vgg16 weight file (vgg16-397923af.pth or any with its keys); without it both terms are off.
    vgg16: Path | None = None


class ShpeLosses(Model):
    """Weights of SHPE's losses and how they are averaged."""

    heat: Annotated[float, Field(ge=0)] = 1.0
    delta: Annotated[float, Field(ge=0)] = 1.0
    location: Annotated[float, Field(ge=0)] = 5.0
    # norm: Frobenius norms over the batch / valid joints, as released; sum: cross-entropy of the heat maps and squared
    # errors, per valid joint.
    kind: Literal["norm", "sum"] = "norm"


class Data(Model):
    """Which samples are read."""

    path: Path  # a dataset folder
    split: Split = "train"
    engines: Annotated[tuple[EngineName, ...], Field(min_length=1)] = ("render", "sync")
    validation: Split | None = "val"  # None: no validation
    validation_items: Count = 256


class Augment(Model):
    """What the loader does to a sample. Shares and ranges; labels follow."""

    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.15  # of the crop's side, each way
    scale: Annotated[float, Field(ge=0, le=0.9)] = 0.25  # of the crop's side, each way
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 45.0
    rotation_share: Fraction = 0.6
    flip_share: Fraction = 0.5  # HASM's: swaps the sides. HDRM and SHPE see left hands mirrored, always
    gain: Annotated[float, Field(ge=0, le=0.9)] = 0.2  # of each colour channel, each way
    brightness: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    contrast: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    blur_share: Fraction = 0.1
    noise_share: Fraction = 0.1
    jpeg_share: Fraction = 0.3
    jpeg_quality: tuple[Annotated[int, Field(ge=5, le=100)], Annotated[int, Field(ge=5, le=100)]] = (40, 95)

    @model_validator(mode="after")
    def _qualities_rise(self) -> "Augment":
        if self.jpeg_quality[0] > self.jpeg_quality[1]:
            raise ValueError("jpeg_quality: lowest exceeds highest")
        return self


class Optimiser(Model):
    """Adam, or AdamW where weight_decay is over 0. Norms, biases and position encodings are not decayed."""

    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # SHPE: the paper's L_reg
    head_gain: Positive = 1.0  # HASM: learning rate of the head / that of the encoder
    discriminator_gain: Positive = 0.1  # HDRM: learning rate of the discriminator / that of the generator
    warmup_steps: Natural = 0
    schedule: Literal["constant", "poly", "cosine", "steps"] = "constant"
    drops: tuple[Fraction, ...] = ()  # steps: shares of the run at which the rate falls to a tenth
    clip_norm: Annotated[float, Field(ge=0)] = 0.0  # of the gradient; 0: none


class Training(Model):
    """One run of `aih train`."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    module: ModuleName
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    data: Data
    input_px: Annotated[int, Field(strict=True, ge=64, le=1024, multiple_of=32)] = 256
    crop_factor: Annotated[float, Field(ge=1, le=4)] = 2.0  # side of a crop / longer side of the hand's, or hands', box
    hasm: HasmNet = HasmNet()
    hdrm: HdrmNet = HdrmNet()
    shpe: ShpeNet = ShpeNet()
    hdrm_losses: HdrmLosses = HdrmLosses()
    shpe_losses: ShpeLosses = ShpeLosses()
    # SHPE: how often the picture is the whole one, other hand included, instead of the hand alone (SH+AIH: over 0).
    two_hand_share: Fraction = 0.0
    augment: Augment = Augment()
    batch: Annotated[int, Field(strict=True, ge=2)] = 16  # per process
    steps: Count
    optimiser: Optimiser
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu"] = "auto"
    threads: Natural = 0  # of torch on the CPU; 0: as many as it likes
    workers: Natural = 2
    log_every: Count = 50
    pictures_every: Count = 1000
    checkpoint_every: Count = 1000
    validate_every: Count = 1000

    @model_validator(mode="after")
    def _precision_fits(self) -> "Training":
        if self.precision == "float16" and self.device == "cpu":
            raise ValueError("precision: float16 needs a GPU; on the CPU use float32 or bfloat16")
        step = _HDRM_MULTIPLES[self.hdrm.size]
        if self.module == "hdrm" and self.input_px % step:
            raise ValueError(f"input_px: HDRM of size {self.hdrm.size} takes multiples of {step}, got {self.input_px}")
        return self

    def to_json(self) -> dict[str, Any]:
        """The resolved configuration, plain JSON types."""
        return self.model_dump(mode="json", by_alias=True)


def load_training(path: Path) -> Training:
    """Read a configuration; relative paths in it count from its own folder. Raises ConfigError naming file and key."""
    return parse_training(read_mapping(path), where=str(path), folder=path.resolve().parent)


def parse_training(content: dict[str, Any], *, where: str, folder: Path) -> Training:
    """Check a configuration's content. `where` names it in errors; `folder` is where relative paths start."""
    training = validated(Training, content, where)
    hasm, losses = training.hasm, training.hdrm_losses
    weights = folder / hasm.weights if isinstance(hasm.weights, Path) else hasm.weights
    return training.model_copy(
        update={
            "data": training.data.model_copy(update={"path": folder / training.data.path}),
            "hasm": hasm.model_copy(update={"weights": weights}),
            "hdrm_losses": losses.model_copy(update={"vgg16": losses.vgg16 and folder / losses.vgg16}),
        }
    )
