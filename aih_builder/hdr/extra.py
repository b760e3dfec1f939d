"""Whether the extra `train` is installed. Loads none of it."""

from importlib.util import find_spec

from aih_builder.errors import ConfigError

PREDICTING = ("torch", "transformers")


def require_training_libraries(asked_by: str, libraries: tuple[str, ...] = PREDICTING) -> None:
    """Raises ConfigError where one of the libraries is not installed. `asked_by` is what needs them."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{asked_by} needs {' and '.join(missing)}: pip install 'aih-builder[train]'.")
