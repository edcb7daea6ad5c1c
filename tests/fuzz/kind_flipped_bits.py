"""One flipped bit in a file of a finished run, or in a file of references."""

import warnings

from captum_ext.references import ReferenceDistribution
from tests.fuzz.base_folders import base, copied, judged, refused_by_name
from tests.fuzz.damages import with_one_bit_flipped
from tests.fuzz.engine import Broken, Case, Outcome, in_child
from tests.fuzz.kind_reference_files import content_of_references, same_references

NAME = "flipped-bits"
SAYS = "one bit of a manifest, a shard, marks or a file of references is another"
MEGABYTES = 1500


def case(random, folder):
    """One of the kinds of files, one of its bits."""
    base()  # in this process, not in every child
    if random.random() < 0.25:
        bit, content = with_one_bit_flipped(random, content_of_references())
        path = folder / "references.safetensors"
        return Case(f"bit {bit} of references", lambda: in_child(lambda: loaded(path, content), MEGABYTES))
    out = copied(folder)
    kind = random.choice(["manifest.json", ".file_marks.npy", "rows-*.parquet", "rows-*.parquet"])
    path = random.choice(sorted(out.glob(kind)))
    bit, content = with_one_bit_flipped(random, path.read_bytes())
    path.write_bytes(content)
    return Case(f"bit {bit} of {path.name}", lambda: in_child(lambda: judged(out), MEGABYTES))


def loaded(path, content):
    """Right, or refused by name."""
    path.write_bytes(content)
    with warnings.catch_warnings(), refused_by_name(path) as refused:
        warnings.simplefilter("error")
        if not same_references(ReferenceDistribution.load(path)):
            raise Broken("other references without a word")
    return Outcome.REFUSED if refused else Outcome.RIGHT
