"""Damages to files of any format, and to JSON."""

import json
import pickle

ODD_VALUES = [
    None, True, False, -1, 0, 1, 7, 2**31, 2**63, 10**30, -(10**400), 0.5, float("nan"), float("inf"), "", "x", "1",
    "x" * 100_000, "\ud800", "\x1b]0;title\x07\n", "../../precious", [], {}, [[]], [None], ["map"], [[0, 23]], [[5, 3]],
    {"": None}, {"a": {"b": 1}}, [[0]] * 50, [0, 1, 2],
]  # fmt: skip


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def json_edited(random, value):
    """A JSON value with one part of it changed, removed or added; says what."""
    parent, key = None, None
    node, path = value, []
    while isinstance(node, dict | list) and node and (parent is None or random.random() < 0.75):
        parent, key = node, random.choice(list(node) if isinstance(node, dict) else range(len(node)))
        node = node[key]
        path.append(key)
    kind = random.choice(["changed", "changed", "changed", "removed", "added", "renamed"])
    odd = random.choice([*ODD_VALUES, nested(random.choice([10, 150, 250, 600]))])
    if kind == "changed":
        parent[key] = odd
    elif kind == "removed":
        del parent[key]
    elif isinstance(parent, dict):
        parent[str(random.choice(["", "x", "rows-../x.parquet", "fields", "n_done"]))] = (
            odd if kind == "added" else parent.pop(key)
        )
    else:
        parent.append(odd)
    return f"{'.'.join(map(str, path))} {kind} ({str(odd)[:40]!r})"


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def spoiled(random, content, folder):
    """Bytes in place of `content`, and what they are."""
    pieces = {
        "nothing": lambda: b"",
        "random": lambda: random.randbytes(random.choice([1, 8, 100, 5000])),
        "cut off": lambda: content[: random.randrange(len(content))],
        "cut off at its beginning": lambda: content[random.randrange(1, len(content)) :],
        "longer": lambda: content + random.randbytes(random.choice([1, 8, 1000])),
        "twice": lambda: content * 2,
        "zeros": lambda: bytes(random.choice([1, 8, 100_000])),
        "overwritten": lambda: overwritten(random, content),
        "a picture": lambda: b"\x89PNG\r\n\x1a\n" + random.randbytes(50),
        "a pickle": lambda: pickle.dumps(Code(folder / "executed")),
        "deep JSON": lambda: random.choice([b"[", b'{"a":', b'{"format":[']) * 100_000,
        "a huge number": lambda: b"9" * 10_000,
        "UTF-16": lambda: content.decode("latin-1").encode("utf-16"),
        "no UTF-8": lambda: content.replace(b"a", b"\xff"),
        "JSON of another kind": lambda: json.dumps(random.choice(ODD_VALUES[:20]), ensure_ascii=True).encode(),
    }
    name = random.choice(list(pieces))
    return name, pieces[name]()


def overwritten(random, content):
    """Some bytes in it are others."""
    start = random.randrange(len(content))
    return content[:start] + random.randbytes(random.choice([1, 2, 4, 16, 100])) + content[start + 4 :]


def with_one_bit_flipped(random, content):
    """One bit is another; says which."""
    bit = random.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bit, bytes(changed)


def sparse(path, size):
    """A file that says it is large, and takes no space."""
    with path.open("rb+") as file:
        file.truncate(size)
