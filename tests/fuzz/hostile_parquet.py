"""Shards that no run wrote: columns of other types, claims of gigabytes, footers that are patched."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from captum_ext.dataset.manifest import run_of
from captum_ext.dataset.shard_files import write_shard
from tests.fuzz.damages import ODD_VALUES, json_edited
from tests.fuzz.engine import Broken


def written(random, path):
    """Write one to `path`; says what it is, and whether its own digests may be those of a run."""
    manifest = json.loads((path.parent / "manifest.json").read_text())
    run = run_of(manifest["configuration"], manifest["versions"])
    make = random.choice([of_other_types, large, patched, of_other_indices, of_other_metadata])
    return make(random, path, run)


def usual(n=4):
    """Columns as a run writes them."""
    return {
        "index": np.arange(n),
        "name": np.array([f"{place:02d}.txt" for place in range(n)], dtype=object),
        "target": np.arange(n) % 2,
        "prediction": np.zeros(n, dtype=np.int64),
        "score": np.ones(n),
        "delta": np.zeros(n),
        "map": np.ones((n, 2, 2), dtype=np.float16),
        "map_scale": np.ones(n, dtype=np.float32),
    }


def arrays(n=4):
    columns = {name: pa.array(values) for name, values in usual(n).items() if name != "map"}
    return {**columns, "map": pa.FixedShapeTensorArray.from_numpy_ndarray(usual(n)["map"])}


def of_other_types(random, path, run):
    """A column is of another type, missing, doubled or new."""
    columns = arrays()
    name = random.choice(list(columns))
    others = {
        "text": pa.array(list("abcd")),
        "null": pa.nulls(4),
        "list": pa.array([[1], [2, 3], [], None]),
        "struct": pa.array([{"a": 1}] * 4),
        "decimal": pa.array([1, 2, 3, 4]).cast(pa.decimal128(20)),
        "time": pa.array([1, 2, 3, 4], pa.timestamp("ns")),
        "bytes": pa.array([b"\xff"] * 4),
        "int32": pa.array([0, 1, 2, 3], pa.int32()),
        "uint64": pa.array([0, 1, 2, 2**64 - 1], pa.uint64()),
        "float": pa.array([0.0, 1.5, np.nan, np.inf]),
        "with nulls": pa.array([0, None, 2, 3]),
        "fixed list": pa.array([[1.0]] * 4, pa.list_(pa.float32(), 1)),
        "permuted": permuted(),
        "bool": pa.array([True] * 4),
    }
    kind = random.choice(["missing", "doubled", "new", *others])
    if kind == "missing":
        del columns[name]
    elif kind == "new":
        columns["\x1b]0;x\x07"] = others["text"]
    elif kind in others:
        columns[name] = others[kind]
    table = pa.table(columns)
    if kind == "doubled":
        table = table.append_column(name, columns[name])
    pq.write_table(table, path)
    return f"{name} {kind}", True


def permuted():
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=[1, 0])
    return pa.ExtensionArray.from_storage(kind, pa.array([[1.0] * 6] * 4, pa.list_(pa.float32(), 6)))


def large(random, path, run):
    """A small file that unpacks to gigabytes."""
    kind = random.choice(["maps of zeros", "long names", "rows", "one wide row", "front-coded names", "many columns"])
    if kind == "maps of zeros":
        columns = {"index": pa.array([0, 1]), "map": wide(2, 10_000)}
    elif kind == "long names":
        columns = {"index": pa.array(range(24)), "name": pa.array(["x" * 50_000_000] * 24)}
    elif kind == "front-coded names":
        columns = {"index": pa.array(range(24)), "name": pa.array([f"{'x' * 10_000_000}{i}" for i in range(24)])}
        pq.write_table(pa.table(columns), path, use_dictionary=False, column_encoding={"name": "DELTA_BYTE_ARRAY"})
        return kind, True
    elif kind == "rows":
        columns = {"index": pa.array(np.zeros(50_000_000, dtype=np.int64)), "score": pa.nulls(50_000_000, pa.float64())}
    elif kind == "one wide row":
        columns = {"index": pa.array([0]), "map": wide(1, 12_000)}
    else:
        columns = {"index": pa.array([0]), **{f"score{i}": pa.array([1.0]) for i in range(3000)}}
    pq.write_table(pa.table(columns), path, compression="zstd")
    return kind, True


def wide(n, side):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((n, side, side), dtype=np.float16))


def patched(random, path, run):
    """A shard of which some bytes of the footer, or of a page's header, are others."""
    write_shard(path, usual(), run)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    start = 4 if random.random() < 0.3 else len(content) - 8 - length
    for _ in range(random.choice([1, 1, 2, 5])):
        place = random.randrange(start, len(content))
        kind = random.choice(["ones", "random", "inserted"])
        if kind == "ones":  # numbers of as many bytes as they may have
            content[place : place + 9] = b"\xff" * random.randrange(1, 10)
        elif kind == "random":
            content[place] = random.randrange(256)
        else:
            content[place:place] = random.randbytes(random.choice([1, 4]))
    if random.random() < 0.3:
        content[-8:-4] = random.choice([0, 1, length + 3, len(content), 2**31, 2**32 - 1]).to_bytes(4, "little")
    path.write_bytes(content)
    return "patched footer", True


def of_other_indices(random, path, run):
    """Rows of samples that there are not, or of one twice; with digests of its own."""
    columns = usual()
    wrong = [[0, 1, 2, 24], [-1, 0, 1, 2], [0, 0, 1, 2], [0, 1, 2, 2**62], [20, 21, 22, 23], [-(2**63), 0, 1, 2]]
    columns["index"] = np.array(random.choice(wrong))
    write_shard(path, columns, random.choice([run, "0" * 32]))
    return f"indices {columns['index'].tolist()}", True


def of_other_metadata(random, path, run):
    """What the shard says of itself is another thing."""
    write_shard(path, usual(), run)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"captum_ext"])
    says = random.choice([json_edited(random, about), None])
    content = json.dumps(about) if says else json.dumps(random.choice(ODD_VALUES[:12]))
    pq.write_table(table.replace_schema_metadata({b"captum_ext": content.encode(errors="replace")}), path)
    if not path.stat().st_size:
        raise Broken("nothing was written")
    return f"metadata {says or content}"[:100], True
