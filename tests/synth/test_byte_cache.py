from aih_builder.synth.byte_cache import ByteCache


def test_a_value_is_made_once_while_it_is_kept() -> None:
    made: list[str] = []
    cache: ByteCache[str] = ByteCache(10, len)
    for key in ("a", "b", "a", "b"):
        cache.get(key, lambda key=key: made.append(key) or key * 5)
    assert made == ["a", "b"]


def test_what_was_used_longest_ago_goes_first() -> None:
    made: list[str] = []
    cache: ByteCache[str] = ByteCache(10, len)
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: made.append(key) or key * 5)
    assert made == ["a", "b", "c", "b"]


def test_a_value_above_the_limit_is_kept_alone() -> None:
    cache: ByteCache[str] = ByteCache(10, len)
    assert cache.get("small", lambda: "x") == "x"
    assert cache.get("large", lambda: "y" * 50) == "y" * 50
    assert cache.get("large", lambda: "made again") == "y" * 50
    assert cache.get("small", lambda: "made again") == "made again"


def test_what_goes_is_freed_once() -> None:
    freed: list[str] = []
    cache: ByteCache[str] = ByteCache(10, len, freed.append)
    for key in "abca":
        cache.get(key, lambda key=key: key * 5)
    assert freed == ["aaaaa", "bbbbb"]
    cache.clear()
    assert sorted(freed) == ["aaaaa", "aaaaa", "bbbbb", "ccccc"]
    assert cache.get("d", lambda: "d" * 10) == "d" * 10
    assert len(freed) == 4
