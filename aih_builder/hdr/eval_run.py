"""`aih eval`: trained modules on our own samples and on foreign test sets, as one record and one page."""

import base64
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from aih_builder.drawing import write_text
from aih_builder.files import whole_file, write_json, write_whole
from aih_builder.hdr.benchmark_runs import interhand_figures, tzionas_figures
from aih_builder.hdr.evaluate import evaluate_samples
from aih_builder.hdr.pipeline import HdrPipeline
from aih_builder.hdr.report import EVALUATION_FORMAT, evaluation_page
from aih_builder.hdr.reporting import made_with, network_figures, sample_figures, training_figures
from aih_builder.hdr.scores import Figures, Hands
from aih_builder.hdr.study_settings import Evaluation
from aih_builder.imaging import ImageU8, decode_image, encode_png
from aih_builder.shards.reader import open_dataset

log = logging.getLogger(__name__)

RECORD, PAGE, HANDS, EXAMPLES = "evaluation.json", "report.html", "hands.npz", "examples.png"
_TITLE_PX = 20


def run_evaluation(
    evaluation: Evaluation, out: Path, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Figures:
    """Evaluate and write out/evaluation.json, out/report.html; of our own samples out/hands.npz and out/examples.png.

    Returns the record. Raises ConfigError, AssetError, ShardError or TrainingError, before anything is written.
    """
    pipeline = HdrPipeline.from_folder(evaluation.models, device=evaluation.device, batch=evaluation.batch)
    notes = [note for checkpoint in pipeline.checkpoints.values() for note in checkpoint.notes]
    record: Figures = {
        "format": EVALUATION_FORMAT,
        "title": evaluation.title,
        "made_with": made_with(str(pipeline.device)),
        "models": network_figures(pipeline.checkpoints),
    }
    hands = None
    if (test := evaluation.samples) is not None:
        samples = open_dataset(test.path, split=test.split)
        hands, examples, found = evaluate_samples(
            pipeline, samples, limit=test.limit, examples=evaluation.examples,
            least_occlusion=test.least_occlusion, progress=progress,
        )  # fmt: skip
        notes += [*found, "Intervals are 95 % bootstrap ones over images (2,000 resamples)."]
        record |= sample_figures(
            hands, pipeline, samples, test.split, least_occlusion=test.least_occlusion, seed=evaluation.seed
        )
        record["examples"] = examples
    benchmarks = []
    if evaluation.interhand is not None:
        benchmarks.append(interhand_figures(pipeline, evaluation.interhand, progress))
    if evaluation.tzionas is not None:
        benchmarks.append(tzionas_figures(pipeline, evaluation.tzionas, progress))
    record |= {"benchmarks": benchmarks, "notes": list(dict.fromkeys(notes))}
    record["training"] = training_figures(pipeline.checkpoints)
    if hands is not None:
        _write_hands(hands, out / HANDS)
        if record["examples"]:
            write_whole(out / EXAMPLES, encode_png(_examples_sheet(record["examples"])))
    write_json(out / RECORD, {name: value for name, value in record.items() if name != "examples"})
    write_whole(out / PAGE, evaluation_page(record).encode())
    return record


def _examples_sheet(examples: Sequence[Figures]) -> ImageU8:
    """The example pictures, a row each, below their titles."""
    rows = [[decode_image(base64.b64decode(p["png"])) for p in example["pictures"]] for example in examples]
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    head = np.full((_TITLE_PX, grid.shape[1], 3), 255, np.uint8)
    for k, picture in enumerate(examples[0]["pictures"]):
        write_text(head, picture["title"], (k * rows[0][0].shape[1] + 4, _TITLE_PX - 6), (40, 40, 40))
    return np.concatenate([head, grid])


def _write_hands(hands: Hands, path: Path) -> None:
    """The evaluated hands, a row each, for figures of one's own."""
    columns = {
        "sample": hands.sample, "side": hands.side, "occlusion_rate": hands.occlusion, "iou": hands.iou,
        "true_mm": hands.true_mm, "true_px": hands.true_px,
    }  # fmt: skip
    columns |= {f"found: {name}": values for name, values in hands.found.items()}
    columns |= {f"found_px: {name}": values for name, values in hands.found_px.items()}
    columns |= {f"pictures: {name}": values for name, values in hands.pictures.items()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)  # pyright: ignore[reportArgumentType]
