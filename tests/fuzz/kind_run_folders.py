"""Folders of runs that are damaged, incomplete, hostile, or hold what is no file."""

import json
import os
import shutil

from captum_ext.dataset.manifest import checksum
from tests.fuzz import hostile_parquet
from tests.fuzz.base_folders import base, copied, judged, no_file
from tests.fuzz.damages import json_edited, sparse, spoiled
from tests.fuzz.engine import Broken, Case, in_child

NAME = "run-folders"
SAYS = "a run's folder with damaged, missing, swapped or hostile files, links, pipes and folders in their place"
MEGABYTES = 1500


def case(random, folder):
    """One damage, in a copy of a finished run."""
    base()
    out = copied(folder)
    make = random.choice([edited_manifest, spoiled_file, put_in_place, moved_shards, hostile_shard, odd_folder])
    about, ours, out = make(random, out, folder)

    def tried():
        outcome = in_child(lambda: judged(out, ours=ours), MEGABYTES)
        if (folder / "executed").exists():
            raise Broken("code of the file was executed")
        return outcome

    return Case(about, tried)


def files(out):
    return [out / "manifest.json", out / ".file_marks.npy", *sorted(out.glob("rows-*.parquet"))]


def edited_manifest(random, out, folder):
    """Its JSON is another, perhaps with a checksum that fits, or of the version that had none."""
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())
    about = json_edited(random, manifest)
    seal = random.choice(["", ", checksum renewed", ", version 1"])
    if seal:
        manifest["checksum"] = sealed(manifest)
    if seal == ", version 1":
        manifest["version"] = 1
    path.write_text(json.dumps(manifest))
    return f"manifest: {about}{seal}", not seal, out


def sealed(manifest):
    try:
        return checksum(manifest)
    except ValueError:  # not every text has one
        return "0" * 32


def spoiled_file(random, out, folder):
    """The bytes of a file are others."""
    path = random.choice(files(out))
    if random.random() < 0.1:
        size = random.choice([2**29, 2**34])
        sparse(path, size)
        return f"{path.name}: {size} bytes", True, out
    name, content = spoiled(random, path.read_bytes(), folder)
    path.write_bytes(content)
    return f"{path.name}: {name}", True, out


def put_in_place(random, out, folder):
    """A link, a pipe, a folder or a socket where a file of ours is expected."""
    path = random.choice([out / ".lock", out / ".lock", *files(out)])
    if path.name == ".lock" and random.random() < 0.2:
        path.unlink(missing_ok=True)
        os.link(folder / "precious", path)
        return "hard link: .lock", True, out
    return f"{no_file(random, path, folder)}: {path.name}", True, out


def moved_shards(random, out, folder):
    """Shards are missing, swapped, doubled or another run's."""
    first, second = random.sample(sorted(out.glob("rows-*.parquet")), 2)
    kind = random.choice(["deleted", "swapped", "copied over", "copied beside", "renamed", "another run's", "all gone"])
    if kind == "deleted":
        first.unlink()
    elif kind == "swapped":
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
    elif kind == "copied over":
        shutil.copy(second, first)
    elif kind == "copied beside":
        name = random.choice(["rows-000000000-000000003-00000000", "rows-x", "rows-000000008-000000011", "rows-9-1"])
        shutil.copy(first, out / f"{name}.parquet")
    elif kind == "renamed":
        first.rename(out / f"rows-{'9' * random.choice([1, 9, 18, 50])}.parquet")
    elif kind == "another run's":
        strange = random.choice(sorted(base()[3].glob("rows-*.parquet")))
        shutil.copy(
            strange, random.choice([first, out / strange.name, out / "rows-000000000-000000023-strange0.parquet"])
        )
    else:
        for path in out.glob("rows-*.parquet"):
            path.unlink()
    return f"{kind}: {first.name}", True, out


def hostile_shard(random, out, folder):
    """A shard that no run wrote: of the manifest's digest, of its own, or of none."""
    path = random.choice([*sorted(out.glob("rows-*.parquet")), out / "rows-000000000-000000023-0000000a.parquet"])
    about, trusts = hostile_parquet.written(random, path)
    listed = json.loads((out / "manifest.json").read_text())["shards"]
    return f"{path.name}: {about}", path.name in listed or not trusts, out


def odd_folder(random, out, folder):
    """The folder itself is odd."""
    kind = random.choice(
        ["link to it", "links to itself inside", "files of others", "link to itself", "a file", "empty"]
    )
    if kind == "link to it":
        (folder / "link").symlink_to(out)
        return kind, True, folder / "link"
    if kind == "links to itself inside":
        (out / "inside").symlink_to(out)
        (out / "rows-inside.parquet").mkdir()
        (out / "rows-inside.parquet" / "again").symlink_to(out)
    elif kind == "files of others":
        (out / "notes.txt").write_text("mine")
        (out / f".manifest.{random.randbytes(6).hex()}.tmp.json").write_text("half")
    else:
        shutil.rmtree(out)
        if kind == "link to itself":
            out.symlink_to(out)
        elif kind == "a file":
            out.write_text("mine")
        else:
            out.mkdir()
    return kind, True, out
