"""MakeHuman's parametric body: phenotype in, vertices out."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from aih_builder.geometry import FloatArray
from tools.open_hand.makehuman import BaseMesh, MakeHuman

_NEGLIGIBLE = 1e-4
_RACES = ("african", "asian", "caucasian")
_CHILD_AGE, _YOUNG_AGE = 0.1875, 0.5


@dataclass(frozen=True)
class Phenotype:
    """MakeHuman's sliders, 0 to 1; `hand` holds signed strengths of the hand's own targets."""

    gender: float = 0.5
    age: float = 0.5
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    race: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    hand: dict[str, float] = field(default_factory=dict)


def random_phenotype(rng: np.random.Generator) -> Phenotype:
    """An adult or a grown child; sliders far from their ends, where MakeHuman's hands look drawn."""

    def strength(sigma: float, limit: float = 1.0) -> float:
        return float(np.clip(rng.normal(0, sigma), -limit, limit))

    def slider(sigma: float) -> float:
        return float(np.clip(rng.normal(0.5, sigma), 0, 1))

    grown_up = rng.random() < 0.9
    return Phenotype(
        age=float(rng.uniform(0.5, 0.95) if grown_up else rng.uniform(0.38, 0.5)),
        gender=float(rng.beta(0.6, 0.6)),
        muscle=slider(0.2),
        weight=slider(0.2),
        height=slider(0.05),
        race=tuple(rng.dirichlet([1.0, 1.0, 1.0])),
        hand={
            "scale": strength(0.10, 0.3),
            "fingers-length": strength(0.35),
            "fingers-diameter": strength(0.35),
            "fingers-distance": strength(0.3),
            "wrist": strength(0.4),
        },
    )


class Body:
    """The base mesh restricted to some of its vertices, under MakeHuman's macro targets."""

    def __init__(self, source: MakeHuman, base: BaseMesh, vertex_ids: np.ndarray) -> None:
        self._source = source
        self._n_vertices = len(base.vertices)
        self._vertices = base.vertices[vertex_ids]
        self._ids = vertex_ids
        self._targets: dict[str, FloatArray] = {}

    def vertices(self, person: Phenotype) -> FloatArray:
        """(N, 3), in decimetres."""
        out = self._vertices.copy()
        for name, amount in _target_amounts(person):
            if amount > _NEGLIGIBLE:
                out += amount * self._target(name)
        return out

    def _target(self, name: str) -> FloatArray:
        if name not in self._targets:
            self._targets[name] = self._source.target(name, self._n_vertices)[self._ids]
        return self._targets[name]


def _target_amounts(person: Phenotype) -> list[tuple[str, float]]:
    """Names and strengths of all targets that the phenotype turns on."""
    genders = {"male": person.gender, "female": 1 - person.gender}
    heights = {"minheight": 1 - 2 * person.height, "maxheight": 2 * person.height - 1}
    amounts: list[tuple[str, float]] = []
    for (gender, a), (age, b) in product(genders.items(), _age_weights(person.age).items()):
        amounts += [
            (f"macrodetails/{race}-{gender}-{age}", a * b * share)
            for race, share in zip(_RACES, person.race, strict=True)
        ]
        muscles = _three_steps(person.muscle, "muscle").items()
        for (muscle, c), (weight, d) in product(muscles, _three_steps(person.weight, "weight").items()):
            build, amount = f"{gender}-{age}-{muscle}-{weight}", a * b * c * d
            amounts.append((f"macrodetails/universal-{build}", amount))
            amounts += [(f"macrodetails/height/{build}-{height}", amount * share) for height, share in heights.items()]
    for name, signed in person.hand.items():
        stem = "measure-wrist-circ" if name == "wrist" else f"r-hand-{name}"
        amounts.append((f"hands/{stem}-{'incr' if signed > 0 else 'decr'}", abs(signed)))
    return amounts


def _age_weights(age: float) -> dict[str, float]:
    if age < _CHILD_AGE:
        share = age / _CHILD_AGE
        return {"baby": 1 - share, "child": share}
    if age < _YOUNG_AGE:
        share = (age - _CHILD_AGE) / (_YOUNG_AGE - _CHILD_AGE)
        return {"child": 1 - share, "young": share}
    share = (age - _YOUNG_AGE) / (1 - _YOUNG_AGE)
    return {"young": 1 - share, "old": share}


def _three_steps(value: float, name: str) -> dict[str, float]:
    if value < 0.5:
        return {f"min{name}": 1 - 2 * value, f"average{name}": 2 * value}
    return {f"average{name}": 2 - 2 * value, f"max{name}": 2 * value - 1}
