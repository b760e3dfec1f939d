"""Does HDR help? A study makes its data, trains the modules once per seed and variant, and compares them."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from aih_builder.config import load_manifest
from aih_builder.errors import ConfigError
from aih_builder.files import read_json, write_json, write_whole
from aih_builder.hdr.evaluate import (
    ALONE,
    NO_DEOCCLUSION,
    NO_REMOVAL,
    TRUE_MASKS,
    TRUE_PICTURE,
    VARIANTS,
    WITH_HDR,
    evaluate_samples,
)
from aih_builder.hdr.pipeline import HdrPipeline
from aih_builder.hdr.published import ABLATION_MM
from aih_builder.hdr.report import STUDY_FORMAT, study_page
from aih_builder.hdr.reporting import made_with, network_figures, sample_figures, subset_of, training_figures
from aih_builder.hdr.scores import Figures, Hands, gain_figures, scored
from aih_builder.hdr.settings import MODULES, Training
from aih_builder.hdr.study_settings import ROWS, Study
from aih_builder.hdr.train import train
from aih_builder.hdr.verdict import floors, verdict
from aih_builder.parallel.run import run_tasks
from aih_builder.shards.build import generate
from aih_builder.shards.reader import open_dataset

log = logging.getLogger(__name__)

RECORD, PAGE, SPENT = "study.json", "report.html", "spent_s.json"
_SEED = 1  # of the bootstrap
_ROWS = dict(zip(ROWS, (ALONE, NO_REMOVAL, NO_DEOCCLUSION, WITH_HDR, TRUE_MASKS, TRUE_PICTURE), strict=True))


class Run(NamedTuple):
    """One training run."""

    name: str
    training: Training
    folder: Path
    minutes_hint: float


class Test(NamedTuple):
    """One evaluation of three trained modules."""

    seed: int
    variant: str | None
    models: dict[str, Path]
    data: Path
    study: Study
    first: bool  # its pictures are measured and shown


class Result(NamedTuple):
    """What an evaluation gave."""

    hands: Hands
    figures: Figures


def run_study(study: Study, source: Path, out: Path, say: Callable[[str], None] = log.info) -> Path:
    """Run what is missing of a study and write out/study.json and out/report.html; returns the page.

    Goes on where it stopped: finished shards and steps that are in a checkpoint are kept. `source` is the study's file.
    Raises ConfigError where a run in `out` is of another configuration or dataset, or no test sample is hidden enough.
    """
    spent = _Spent(out / SPENT)
    data = out / "data"
    built = generate(load_manifest(study.data), data, jobs=study.jobs)
    say(f"data: {built.samples} samples made, {spent.add('data'):.1f} min")
    _require_occlusion(data, study.least_occlusion)
    runs, tests = _plan(study, source, out)
    runs.sort(key=lambda run: -run.minutes_hint)
    for position, minutes in run_tasks(_train_one, runs, study.jobs):
        spent.add("training")
        say(f"trained {runs[position].name}, {minutes:.1f} min")
    results: dict[int, Result] = {}
    for position, result in run_tasks(_evaluate_one, tests, study.jobs):
        results[position] = result
        say(f"evaluated seed {tests[position].seed}, {tests[position].variant or 'HDR'}")
    spent.add("evaluation", anew=True)
    record = _record(study, tests, [results[k] for k in range(len(tests))], spent.minutes())
    write_json(out / RECORD, _without_pictures(record))
    write_whole(out / PAGE, study_page(record).encode())
    return out / PAGE


class _Spent:
    """Minutes of a study by its stages, over all calls that it took; what a killed call did last is not in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = read_json(path) if path.is_file() else {}
        self.since = time.perf_counter()

    def add(self, stage: str, *, anew: bool = False) -> float:
        """Add what passed since the last call to a stage, or make it that; returns it in minutes."""
        now = time.perf_counter()
        passed, self.since = now - self.since, now
        self.seconds[stage] = passed + (0.0 if anew else self.seconds.get(stage, 0.0))
        write_json(self.path, self.seconds)
        return passed / 60

    def minutes(self) -> dict[str, float]:
        """By stage, and all."""
        found = {stage: seconds / 60 for stage, seconds in self.seconds.items()}
        return found | {"all": sum(found.values())}


def _require_occlusion(data: Path, least: float) -> None:
    """So that a study that can say nothing ends before its training, not after."""
    rates = [arrays["occlusion_rate"] for arrays in open_dataset(data, split="test").small_arrays()]
    if least and not any((rate > least).any() for rate in rates):
        most = max((float(rate.max(initial=0)) for rate in rates), default=0.0)
        raise ConfigError(
            f"least_occlusion: {least}, but no hand of the test samples is hidden by more than that (at most "
            f"{most:.2f}). Lower it, or ask for more occlusion in the manifest."
        )


def _plan(study: Study, source: Path, out: Path) -> tuple[list[Run], list[Test]]:
    """Every different training run, and every evaluation. A variant shares the runs in which it does not differ."""
    runs: dict[str, Run] = {}
    tests = []
    for seed in study.seeds:
        base = {module: study.training(module, seed, None, out / "data", source) for module in MODULES}
        for variant in (None, *study.variants):
            models = {}
            for module in MODULES:
                training = study.training(module, seed, variant, out / "data", source)
                own = variant is not None and training != base[module]
                name = f"{module}-{seed}" + (f"-{variant.slug}" if own and variant else "")
                folder = out / "runs" / name
                runs[name] = Run(name, training, folder, getattr(study, module).minutes_hint)
                models[module] = folder
            first = variant is None and seed == study.seeds[0]
            tests.append(Test(seed, variant and variant.name, models, out / "data", study, first))
    return list(runs.values()), tests


def _train_one(run: Run) -> float:
    """Minutes that a run took; its log is beside its checkpoint."""
    started = time.perf_counter()
    run.folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(run.folder / "log.txt")
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        train(run.training, run.folder)  # of a finished run it only checks that it is the one meant
    finally:
        root.removeHandler(handler)
        handler.close()
    return (time.perf_counter() - started) / 60


def _evaluate_one(test: Test) -> Result:
    study = test.study
    if study.jobs > 1:
        torch.set_num_threads(1)
    pipeline = HdrPipeline(**test.models, device=study.device, batch=study.batch)
    samples = open_dataset(test.data, split="test")
    variants = tuple(VARIANTS) if test.variant is None else (ALONE, WITH_HDR)
    hands, examples, notes = evaluate_samples(
        pipeline, samples, limit=study.limit, variants=variants, pictures=test.variant is None,
        examples=study.examples if test.first else 0, least_occlusion=study.least_occlusion,
    )  # fmt: skip
    figures = sample_figures(
        hands, pipeline, samples, "test", least_occlusion=study.least_occlusion, seed=_SEED
    )  # fmt: skip
    trained = [note for checkpoint in pipeline.checkpoints.values() for note in checkpoint.notes]
    figures |= {
        "format": "aih-evaluation 1",
        "title": f"Seed {test.seed}" + (f", {test.variant}" if test.variant else ""),
        "notes": list(dict.fromkeys([*trained, *notes])),
        "models": network_figures(pipeline.checkpoints),
        "training": training_figures(pipeline.checkpoints),
        "examples": examples,
    }
    return Result(hands, figures)


def _record(study: Study, tests: list[Test], results: list[Result], minutes: Figures) -> Figures:
    base = {t.seed: r for t, r in zip(tests, results, strict=True) if t.variant is None}
    rows = {name: [_seed_row(study, seed, base[seed], variant) for seed in base] for name, variant in _ROWS.items()}
    for test, result in zip(tests, results, strict=True):
        if test.variant is not None:
            row = _seed_row(study, test.seed, result, WITH_HDR, against=base[test.seed].hands)
            rows.setdefault(test.variant, []).append(row)
    first = next(iter(base.values()))
    chosen = scored(first.hands, study.least_occlusion)
    record: Figures = {
        "format": STUDY_FORMAT,
        "title": study.title,
        "notes": [*study.notes, "Intervals are 95 % bootstrap ones over images (2,000 resamples)."],
        "made_with": made_with(study.device if study.device != "auto" else _device()),
        "minutes": minutes,
        "data": _data(study, first, int(chosen.sum())),
        "models": first.figures["models"],
        "floors": [floor for seed, result in base.items() for floor in floors(seed, result.figures)],
        "rows": [
            {
                "name": name,
                "paper_mm": ABLATION_MM.get(name),
                "mean_mm": float(np.mean([seed["mpjpe_mm"] for seed in seeds])),
                "seeds": seeds,
            }
            for name, seeds in rows.items()
        ],
        "mean_pose_mm": first.figures["pose"]["mean_pose_mm"],
        "evaluations": [result.figures for result in results],
    }
    record["verdict"] = verdict(record)
    return record


def _seed_row(study: Study, seed: int, result: Result, variant: str, against: Hands | None = None) -> Figures:
    """A row's figures for one seed; differences are paired with SHPE alone of the modules without changes."""
    hands = result.hands
    chosen = scored(hands, study.least_occlusion)
    found = next(row for row in result.figures["pose"]["rows"] if row["name"] == variant)
    row = {"seed": seed, "mpjpe_mm": found["mpjpe_mm"], "interval_mm": found["interval_mm"]}
    if against is not None:
        hands.found["base"] = against.found[ALONE]
        return row | gain_figures(hands, chosen, variant, "base", _SEED)
    return row if variant == ALONE else row | gain_figures(hands, chosen, variant, ALONE, _SEED)


def _data(study: Study, first: Result, hands: int) -> Figures:
    manifest = load_manifest(study.data)
    counts = [count.train for count in manifest.streams.counts().values()]
    return {
        "train": sum(counts),
        "test": first.figures["data"]["samples"],
        "image_size_px": manifest.image_size_px,
        "subset": subset_of(study.least_occlusion),
        "hands": hands,
    }


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _without_pictures(record: Figures) -> Figures:
    evaluations = [{k: v for k, v in e.items() if k != "examples"} for e in record["evaluations"]]
    return record | {"evaluations": evaluations}
