"""Where the `train` extra is not installed, test modules that load its libraries are left out."""

from importlib.util import find_spec

collect_ignore = (
    []
    if all(map(find_spec, ("torch", "accelerate", "transformers")))
    else [
        "test_evaluation.py",
        "test_losses.py",
        "test_networks.py",
        "test_optimisers.py",
        "test_overfitting.py",
        "test_partial_conv.py",
        "test_pipeline.py",
        "test_pretrained.py",
        "test_read_out.py",
        "test_study.py",
        "test_torch_loader.py",
        "test_training.py",
    ]
)
