"""A cache that is bounded by bytes, so that a worker's memory does not depend on the size of a pool."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class ByteCache(Generic[_Value]):
    """Keeps what was used last. A value above the limit is kept too, but alone. `free` gets each value that goes."""

    def __init__(
        self,
        limit_bytes: int,
        size_of: Callable[[_Value], int],
        free: Callable[[_Value], None] = lambda _value: None,
    ) -> None:
        self._limit_bytes, self._size_of, self._free = limit_bytes, size_of, free
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The value of a key, made on first use."""
        if key not in self._values:
            self._values[key] = make()
            self._bytes += self._size_of(self._values[key])
            while self._bytes > self._limit_bytes and len(self._values) > 1:
                oldest = self._values.popitem(last=False)[1]
                self._bytes -= self._size_of(oldest)
                self._free(oldest)
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Let go of every value."""
        while self._values:
            self._free(self._values.popitem()[1])
        self._bytes = 0
