"""Reading a configuration: YAML to a mapping, a mapping to a frozen model, and what is wrong with it in words."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from aih_builder.errors import ConfigError

_M = TypeVar("_M", bound=BaseModel)

# What PyYAML lets through of an impossible date, a tag that does not fit its value, or deep nesting.
_MISREAD = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class _UniqueKeys(yaml.SafeLoader):
    """YAML, where a key that stands twice in one mapping is an error: the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        merges = "tag:yaml.org,2002:merge"  # `<<`, whose keys may be set anew beside it
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merges]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key '{key}' stands twice")
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, example: str = "manifests/demo.yaml") -> dict[str, Any]:
    """A YAML file's top-level mapping. Raises ConfigError where it cannot be read or is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Name a file such as {example}.") from error
    try:
        content = yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, *_MISREAD) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(content).__name__}.")
    return content


def validated(model: type[_M], content: dict[str, Any], where: str) -> _M:
    """The content as a model. Raises ConfigError with a line for each key at fault; `where` names the source."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in _explain(model, error))) from error


def _explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}."
            lines.append(f"unknown key '{key}'; {hint}")
        elif item["type"] == "missing":
            lines.append(f"key '{key}' is missing.")
        else:
            message = item["msg"].removeprefix("Value error, ")
            value = item.get("input")
            shown = f", got {value!r}" if not isinstance(value, dict) else ""
            lines.append(f"key '{key}': {message}{shown}." if key else f"{message}.")
    return lines


def _keys_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue  # an item of a list, whose kind was found with the list's
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]
