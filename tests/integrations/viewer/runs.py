"""Runs that are written without a model: what is in them is known."""

import numpy as np

from captum_ext.dataset.shards import RunFolder


def columns_of(index, maps, names=None, **numbers):
    """Columns as a run writes them, its maps in float16 with a scale."""
    maps = np.asarray(maps, dtype=np.float32)
    scale = np.abs(maps.reshape(len(maps), -1)).max(1)
    divisor = np.where(scale > 0, scale, 1).reshape(-1, *(1,) * (maps.ndim - 1))
    columns = {"index": np.asarray(index, dtype=np.int64)}
    if names is not None:
        columns["name"] = np.array(names, dtype=object)
    for name, values in numbers.items():
        kind = np.int64 if name in ("target", "prediction") else np.float64
        columns[name] = np.asarray(values, dtype=kind)
    return {**columns, "map": (maps / divisor).astype(np.float16), "map_scale": scale}


def configuration(**more):
    """What a run says of itself; `dataset` and `given` are those of the shell unless they are given."""
    fields = ["prediction", "score", "map"]
    dataset = {"class": "ImageFolder", "n_samples": 0, "files": "0123456789abcdef"}
    base = {
        "method": {"class": "captum_ext.attr.IntegratedGradients"},
        "model": "Net 1 2",
        "target": "label",
        "seed": 0,
    }
    return {**base, "fields": fields, "dataset": dataset, "given": {"method": "ig", "model": "net"}, **more}


def write_run(out, columns, n_samples, *, shard_rows=4, failures=(), **more):
    """A run in a folder, its rows in files of `shard_rows`."""
    folder = RunFolder(out)
    done = folder.begin(configuration(**more), n_samples, True)
    for start in range(0, len(columns["index"]), shard_rows):
        part = {name: values[start : start + shard_rows] for name, values in columns.items()}
        folder.write(part)
        done[part["index"]] = True
    folder.finish_manifest(done, list(failures))
    return out


def small_run(out, n=12, *, seed=0, names=None, size=(4, 4), curves=False, **more):
    """Random maps of small images, two classes, of which every third is predicted wrongly; with `curves` in some."""
    chance = np.random.default_rng(seed)
    names = [f"{'ab'[k % 2]}/{k}.png" for k in range(n)] if names is None else names
    target = np.arange(n) % 2
    wrong = np.arange(n) % 3 == 0
    numbers = {"target": target, "prediction": np.where(wrong, 1 - target, target), "score": chance.normal(size=n)}
    if curves:  # from the number of the sample to 1 more, bent by the seed
        shares = np.linspace(0, 1, 5)
        scores = np.arange(n)[:, None] + shares ** (seed + 1)
        numbers["insertion"] = scores.mean(1)
        numbers["insertion_curve"] = np.stack([np.broadcast_to(shares, scores.shape), scores], 1)
    columns = columns_of(range(n), chance.normal(size=(n, *size)), names, **numbers)
    return write_run(out, columns, n, **more)
