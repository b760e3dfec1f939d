"""The configurations of `aih eval` and `aih study`, YAML in, frozen models out."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aih_builder.config.reading import read_mapping, validated
from aih_builder.config.scenes import Fraction, Model
from aih_builder.hdr.settings import MODULES, Count, ModuleName, Training, parse_training
from aih_builder.identity import Split

Keys = dict[str, Any]
# The rows that one set of modules gives, by the names of the paper's where it has them.
ROWS = (
    "SHPE only", "without removal", "without de-occlusion", "full", "full, true masks", "true single-hand picture",
)  # fmt: skip


class SamplesTest(Model):
    """Test samples of our own shards."""

    path: Path
    split: Split = "test"
    limit: Count | None = None  # evenly spaced samples; None: all
    least_occlusion: Fraction = 0.0  # poses are scored over hands hidden by more than this


class InterhandTest(Model):
    """InterHand2.6M, the folder that holds annotations/ and images/."""

    root: Path
    split: Split = "test"
    every: Count = 1
    annotation: Literal["all", "human", "machine"] = "all"


class TzionasTest(Model):
    """Tzionas et al., the folder that holds the sequences."""

    root: Path


class Evaluation(Model):
    """One run of `aih eval`."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    title: Annotated[str, Field(min_length=1, max_length=200)] = "HDR"
    models: Path  # a folder that holds hasm, hdrm and shpe
    samples: SamplesTest | None = None
    interhand: InterhandTest | None = None
    tzionas: TzionasTest | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch: Count = 16
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0  # of the bootstrap
    examples: Annotated[int, Field(strict=True, ge=0, le=200)] = 12

    @model_validator(mode="after")
    def _something_to_test(self) -> "Evaluation":
        if self.samples is None and self.interhand is None and self.tzionas is None:
            raise ValueError("nothing to evaluate on: give samples, interhand or tzionas")
        return self


class ModuleStudy(Model):
    """How a study trains one module; what is left out has Training's default."""

    minutes_hint: Annotated[float, Field(gt=0)] = 1.0  # how long it takes: the longest begin first
    training: Keys


class Variant(Model):
    """A way of training HDR that is compared: keys of modules' configurations that differ."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    hasm: Keys = Field(default_factory=dict)
    hdrm: Keys = Field(default_factory=dict)
    shpe: Keys = Field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as part of a folder's."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower())


class Study(Model):
    """One run of `aih study`."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    notes: tuple[str, ...] = ()
    data: Path  # the manifest of the samples
    seeds: Annotated[tuple[Annotated[int, Field(strict=True, ge=0, lt=2**32)], ...], Field(min_length=1)]
    jobs: Count = 2
    hasm: ModuleStudy
    hdrm: ModuleStudy
    shpe: ModuleStudy
    variants: tuple[Variant, ...] = ()
    limit: Count | None = None  # test samples
    least_occlusion: Fraction = 0.2
    batch: Count = 16
    device: Literal["auto", "cpu", "cuda"] = "auto"
    examples: Annotated[int, Field(strict=True, ge=0, le=200)] = 12

    @model_validator(mode="after")
    def _names_differ(self) -> "Study":
        slugs = [variant.slug for variant in self.variants]
        if len(set(slugs)) < len(slugs):
            raise ValueError("variants: two have one name, or names that give one folder")
        if taken := [variant.name for variant in self.variants if variant.name in ROWS]:
            raise ValueError(f"variants: {taken[0]} is a row that every study has; name it otherwise")
        return self

    def training(self, module: ModuleName, seed: int, variant: Variant | None, data: Path, source: Path) -> Training:
        """The resolved configuration of one run on the dataset `data`; paths in it count from the folder of `source`,
        the study's file. Raises ConfigError.
        """
        content = _merged(getattr(self, module).training, {} if variant is None else getattr(variant, module))
        content = _merged(content, {"schema": 1, "module": module, "seed": seed, "data": {"path": str(data.resolve())}})
        name = f"{source}: {module}" if variant is None else f"{source}: {variant.name}: {module}"
        return parse_training(content, where=name, folder=source.resolve().parent)


def load_evaluation(path: Path) -> Evaluation:
    """Read a configuration; relative paths in it count from its own folder. Raises ConfigError naming file and key."""
    found = validated(Evaluation, read_mapping(path, "manifests/train/eval.yaml"), str(path))
    folder = path.resolve().parent
    update: dict[str, Any] = {"models": folder / found.models}
    if found.samples is not None:
        update["samples"] = found.samples.model_copy(update={"path": folder / found.samples.path})
    if found.interhand is not None:
        update["interhand"] = found.interhand.model_copy(update={"root": folder / found.interhand.root})
    if found.tzionas is not None:
        update["tzionas"] = found.tzionas.model_copy(update={"root": folder / found.tzionas.root})
    return found.model_copy(update=update)


def load_study(path: Path) -> Study:
    """Read a study; `data` and `base` count from its own folder. Raises ConfigError naming file and key.

    base: another study, whose keys count where this one does not give them.
    """
    content = read_mapping(path, "manifests/train/study_cpu.yaml")
    if "base" in content:
        base = path.resolve().parent / str(content.pop("base"))
        content = _merged(read_mapping(base, "manifests/train/study_cpu.yaml"), content)
    study = validated(Study, content, str(path))
    study = study.model_copy(update={"data": path.resolve().parent / study.data})
    for module in MODULES:  # so that a wrong key is told before the data are made
        for variant in (None, *study.variants):
            study.training(module, study.seeds[0], variant, study.data, path)
    return study


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with the changes, nested mappings merged."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
