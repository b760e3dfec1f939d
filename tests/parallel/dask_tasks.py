"""Tasks that a cluster's processes can import."""

import os
import time

from aih_builder.errors import ConfigError


def square(number: int) -> tuple[int, int]:
    time.sleep(0.05)
    return number**2, os.getpid()


def slow_square(number: int) -> tuple[int, int]:
    time.sleep(0.3)
    return number**2, os.getpid()


def fail_at_3(number: int) -> int:
    if number == 3:
        raise ConfigError("three")
    return number


def die(_: int) -> None:
    os._exit(9)
