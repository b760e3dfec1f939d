"""Pickles that mean harm, or are broken, for tests of the reader."""

import pickle
import struct
from collections.abc import Iterator

# What an attacker would call, with one argument each; CANARY stands for a file that must never appear.
CANARY = "canary"
FOREIGN: tuple[tuple[str, str, bytes], ...] = (
    *((module, "system", b"touch canary") for module in ("os", "posix")),
    *(("subprocess", name, b"touch canary") for name in ("getoutput", "call", "check_output", "Popen", "run")),
    *((module, name, b"open('canary', 'w')") for module in ("builtins", "__builtin__") for name in ("eval", "exec")),
    *(("builtins", name, b"canary") for name in ("getattr", "compile", "__import__", "open", "globals", "type")),
    ("io", "open", b"canary"),
    ("functools", "partial", b"canary"),
    ("functools", "reduce", b"canary"),
    ("operator", "attrgetter", b"system"),
    ("operator", "methodcaller", b"system"),
    ("importlib", "import_module", b"antigravity"),
    ("runpy", "run_path", b"canary"),
    ("pathlib", "Path", b"canary"),
    ("shutil", "rmtree", b"canary"),
    ("webbrowser", "open", b"canary"),
    ("pickle", "loads", b"cos\nsystem\n(S'touch canary'\ntR."),
    ("_pickle", "loads", b"canary"),
    ("codecs", "open", b"canary"),
    ("_codecs", "decode", b"canary"),
    ("numpy", "load", b"canary"),
    ("numpy", "fromfile", b"canary"),
    ("numpy", "memmap", b"canary"),
    ("numpy.f2py", "run_main", b"canary"),
    ("numpy.testing._private.utils", "runstring", b"canary"),
    ("numpy.core.multiarray", "fromfile", b"canary"),
    ("numpy._core.multiarray", "frombuffer", b"canary"),
    ("scipy.sparse", "load_npz", b"canary"),
    ("scipy.sparse._csc", "np.load", b"canary"),
    ("torch", "load", b"canary"),
    ("joblib.numpy_pickle", "load", b"canary"),
    ("copyreg", "__newobj__", b"canary"),
    ("copy_reg", "dispatch_table", b"canary"),
    ("chumpy_evil", "Ch", b"canary"),
    ("scipy.sparse_evil", "csc_matrix", b"canary"),
    ("aih_builder.hands.mano_pickle", "_Maker", b"canary"),
    ("__main__", "canary", b"canary"),
)


def text(value: bytes) -> bytes:
    """Opcodes that push a str."""
    return b"X" + struct.pack("<I", len(value)) + value


def integer(value: int) -> bytes:
    """Opcodes that push an int."""
    return b"I%d\n" % value


def named(module: str, name: str) -> bytes:
    """Opcodes that push a global."""
    return f"c{module}\n{name}\n".encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    """Opcodes that push the result of a call."""
    return function + b"(" + b"".join(arguments) + b"tR"


def built(made: bytes, state: bytes) -> bytes:
    """Opcodes that push an object with a state."""
    return made + state + b"b"


def dictionary(**entries: bytes) -> bytes:
    """Opcodes that push a dict."""
    return b"}(" + b"".join(text(key.encode()) + value for key, value in entries.items()) + b"u"


def tuple_of(*items: bytes) -> bytes:
    """Opcodes that push a tuple."""
    return b"(" + b"".join(items) + b"t"


def kind(code: bytes, order: bytes = b"<") -> bytes:
    """Opcodes that push a dtype."""
    made = called(named("numpy", "dtype"), text(code), integer(0), integer(1))
    return built(made, tuple_of(integer(3), text(order), b"NNN", integer(-1), integer(-1), integer(0)))


def array(shape: bytes, code: bytes, raw: bytes) -> bytes:
    """Opcodes that push an ndarray as protocols up to 4 spell it."""
    made = called(named("numpy.core.multiarray", "_reconstruct"), named("numpy", "ndarray"), tuple_of(integer(0)), b"N")
    return built(made, tuple_of(integer(1), shape, kind(code), b"I00\n", raw))


def record(module: str, name: str, **state: bytes) -> bytes:
    """Opcodes that push an object of a class, as protocol 2 makes it."""
    return built(named(module, name) + b")\x81", dictionary(**state))


def ints(*values: int) -> bytes:
    """Opcodes that push an int64 array (N,)."""
    raw = struct.pack(f"<{len(values)}q", *values)
    return array(tuple_of(integer(len(values))), b"i8", b"C" + bytes([len(raw)]) + raw)


def hand(value: bytes) -> bytes:
    """A whole pickle whose v_template is what these opcodes push."""
    return b"\x80\x02" + dictionary(v_template=value) + b"."


def foreign_forms() -> Iterator[tuple[str, bytes]]:
    """Every foreign name, in every way in which a pickle can call one."""
    for module, name, argument in FOREIGN:
        function, given = named(module, name), text(argument)
        stacked = text(module.encode()) + text(name.encode()) + b"\x93"
        forms = {
            "named": function,
            "called": called(function, given),
            "stacked": called(stacked, given),
            "instance": b"(" + given + f"i{module}\n{name}\n".encode(),
            "object": b"(" + function + given + b"o",
            "new": function + b"(" + given + b"t\x81",
            "reconstructed": called(named("copy_reg", "_reconstructor"), function, b"N", b"N"),
            "of kind": called(named("numpy", "dtype"), function),
            "in chumpy": record("chumpy.ch", "Ch", x=called(function, given)),
        }
        for form, opcodes in forms.items():
            yield f"{module}.{name} {form}", b"\x80\x04" + dictionary(v_template=opcodes) + b"."


def bombs() -> dict[str, bytes]:
    """Small pickles that ask for gigabytes, for ever, or for more stack than there is."""
    many = 10**6
    shape = tuple_of(integer(10**6), integer(10**6))
    empty = b"C\x00"
    deep_chumpy = b"".join([named("chumpy.ch", "Ch") + b")\x81}" + text(b"x")] * 15_000) + b"K\x01" + b"sb" * 15_000
    own_self = named("chumpy.ch", "Ch") + b")\x81q\x01}" + text(b"x") + b"h\x01sb"
    laughs = b"](K\x01K\x01eq\x00" + b"".join(b"0](h%ch%ceq%c" % (k, k, k + 1) for k in range(60))
    pointer = dictionary(
        data=tuple_of(integer(4096), b"I01\n"), shape=tuple_of(integer(778), integer(3)), typestr=text(b"<f8"),
        version=integer(3),
    )  # fmt: skip
    around = record("chumpy.ch", "Ch", __array_interface__=pointer)
    no_defaults = dictionary(__defaults__=tuple_of())
    sparse = {
        "indptr that counts to 10^12": (ints(0, 10**12), ints(0), ints(1), (16, 778)),
        "a matrix of 10^12": (ints(0, 1), ints(0), ints(1), (10**6, 10**6)),
        "an index outside": (ints(0, 1), ints(10**9), ints(1), (16, 778)),
        "a negative index": (ints(0, 1), ints(-5), ints(1), (16, 778)),
    }
    found = {
        "memo 4,294,967,294": b"\x80\x02}r\xfe\xff\xff\xff.",
        "memo 2,000,000,000 in text": b"}p2000000000\n.",
        "memo -1": b"}p-1\n.",
        "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "text of 2^32": b"\x80\x02X\xff\xff\xff\xffx.",
        "a frame of 2^62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
        "bytearray of 2^62": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        "an int of 10^5 digits": hand(b"I" + b"9" * 10**5 + b"\n"),
        "shape 10^6 x 10^6 without bytes": hand(array(shape, b"f8", empty)),
        "shape 10^6 x 10^6 of no size": hand(array(shape, b"S0", empty)),
        "a negative shape": hand(array(tuple_of(integer(-1), integer(3)), b"f8", empty)),
        "64 axes": hand(array(tuple_of(*[integer(1)] * 64), b"f8", b"C\x08" + bytes(8))),
        "lists, a million deep": b"\x80\x02" + b"]" * many + b"a" * (many - 1) + b".",
        "tuples, a million deep, as a key": b"})" + b"\x85" * many + b"K\x01s.",
        "tuples, 9,990 deep, as a key": b"}(" + b")" + b"\x85" * 9_990 + b"K\x01u.",
        "chumpy in chumpy, 15,000 deep": hand(deep_chumpy),
        "chumpy in itself": hand(own_self),
        "2^60 elements in lists of lists": hand(laughs),
        "a list of a long text, many times": hand(b"](" + text(b"a" * 1000) + b"q\x07" + b"h\x07" * 10_000 + b"e"),
        "any memory as an array": hand(record("chumpy.ch", "Ch", x=around)),
        "any memory as an array, at once": hand(record("numpy", "ndarray", __array_interface__=pointer)),
        "a set state of its own": hand(record("chumpy.ch", "Ch", __setstate__=named("builtins", "set"), x=integer(1))),
        "an array of objects": hand(array(tuple_of(integer(1)), b"O8", b"](K\x01e")),
        "a structured kind": hand(array(tuple_of(integer(1)), b"V8,f8,(1000000000,)f8", empty)),
        "a state for a function": b"\x80\x02" + built(named("_codecs", "encode"), no_defaults) + b".",
        "a state for a class": b"\x80\x02" + built(named("chumpy.ch", "Ch"), tuple_of(b"N", no_defaults)) + b".",
        "a codec that packs": hand(called(named("_codecs", "encode"), text(b"x" * 1000), text(b"zlib"))),
        "nothing": b"",
        "a pickle of None": pickle.dumps(None),
    }  # fmt: skip
    for name, (starts, indices, data, size) in sparse.items():
        size_tuple = tuple_of(*(integer(n) for n in size))
        made = record("scipy.sparse", "csc_matrix", indptr=starts, indices=indices, data=data, _shape=size_tuple)
        found[name] = b"\x80\x02" + dictionary(J_regressor=made) + b"."
    return found
