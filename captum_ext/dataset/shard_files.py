"""One shard: a Parquet file with a digest of every column in its metadata, which is compared when a column is read.

What a file claims of itself is read first, from its footer and the headers of its pages, and compared with what it may
take of memory: so a file of some kilobytes cannot take gigabytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from captum_ext.core.atomic import replaced
from captum_ext.core.files import canonical, checked, json_of, opened
from captum_ext.core.optional import require
from captum_ext.dataset.parquet_claims import claims_of, groups_of
from captum_ext.exceptions import RunFolderError

if TYPE_CHECKING:
    import pyarrow as pa

    from captum_ext.dataset.row_maker import Columns

_ABOUT = b"captum_ext"  # name of our metadata
_SMALL, _RATIO = 1 << 27, 100  # bytes that any file may take, and times its size that a larger one may
_LIMITS = {"thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 100_000}
_WITHOUT_NULLS = ("index", "target", "prediction", "map", "map_scale")
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


def curve_of(metric: str) -> str:
    """The column with the points of a metric's curves, (2, S) in each row: shares of the pixels, and scores there."""
    return f"{metric}_curve"


class ShardDamagedError(RunFolderError):
    """A shard that is not what was written, or what no shard can be."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged ({self.reason}). Run again with the same settings: it is set aside, and its rows "
            "are computed again."
        )


class _About(Struct):
    """What a shard says of itself: the run that it belongs to, and a digest of every column."""

    run: _Digest
    columns: dict[str, _Digest]


def write_shard(path: Path, columns: Columns, run: str) -> str:
    """Write columns, whole or not at all; the digest of the shard.

    A shard that would unpack to more than readers allow is written without compression.
    """
    pq = require("pyarrow.parquet", "dataset")
    table = table_of(columns)
    about = {"run": run, "columns": {name: _digest_of(table[name]) for name in table.column_names}}
    table = table.replace_schema_metadata({_ABOUT: canonical(about)})
    options = {"use_dictionary": ["name"], "write_page_checksum": True}
    with replaced(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", **options)
        if table.num_rows * _width(table.schema) > _allowed(temporary.stat().st_size):
            pq.write_table(table, temporary, compression="none", **options)
    return _digest_of_about(about)


def table_of(columns: Columns) -> pa.Table:
    """Columns as an arrow table; maps and curves are tensors of one shape, numbers that are not defined are null."""
    pa = require("pyarrow", "dataset")
    arrays = {}
    for name, values in columns.items():
        if name == "map" or getattr(values, "ndim", 1) > 1:
            arrays[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
        else:
            arrays[name] = pa.array(values, from_pandas=True)
    return pa.table(arrays)


def indices_of_name(shard: Path) -> slice:
    """Where the rows of a shard lie, by its name; everywhere, if it has none that says so."""
    places = re.match(r"rows-(\d{1,18})-(\d{1,18})", shard.name)
    return slice(int(places[1]), int(places[2]) + 1) if places else slice(None)


@contextmanager
def opened_shard(
    path: Path, expected: Expected, max_bytes: int | None = None, verified: set[tuple[Any, ...]] | None = None
) -> Iterator[Shard]:
    """A shard, open for reading.

    Args:
        path: the file.
        expected: what is known of it.
        max_bytes: that its columns may take together; None: 128 MiB, or 100 times its size if that is more.
        verified: columns of files that need no comparison with their digest any more; those that are read are added.

    Raises:
        FileNotFoundError: there is none.
        RunFolderError: a link, or no file.
        ShardDamagedError: it is not what was expected.
    """
    with opened(path, RunFolderError, links=False) as file:
        yield Shard(path, file, expected, max_bytes, set() if verified is None else verified)


class Expected(Struct, frozen=True):
    """What is known of a shard before it is read: the samples of its run, the run, and its digest in the manifest."""

    n_samples: int
    run: str | None = None
    digest: str | None = None


class Shard:
    """An open shard, of which the footer fits what is expected; see `opened_shard`.

    Attributes:
        names: of its columns.
        curves: names of those with points of curves.
        map_shape: shape of its maps; None where it has none.
        digest: of what it says of itself; None in those of version 0.1.
        run: that it belongs to; None in those of version 0.1.
    """

    def __init__(
        self, path: Path, file: BinaryIO, expected: Expected, max_bytes: int | None, verified: set[tuple[Any, ...]]
    ) -> None:
        self.path, self._raw, self._expected, self._verified = path, file, expected, verified
        status = os.fstat(file.fileno())
        self._file_key = (path.name, status.st_ino, status.st_size, status.st_mtime_ns)
        self._allowed = _allowed(status.st_size) if max_bytes is None else max_bytes
        with self._damage():
            pa, pq = require("pyarrow", "dataset"), require("pyarrow.parquet", "dataset")
            self._groups = groups_of(file)
            once = ["name"] if any(chunk.path == ("name",) for chunk in self._groups[0].chunks) else []
            options = {"read_dictionary": once, "page_checksum_verification": True, "pre_buffer": False, **_LIMITS}
            self._file = pq.ParquetFile(pa.PythonFile(file, mode="r"), **options)
            self._schema = schema = self._file.schema_arrow
            self.names: list[str] = list(schema.names)
            self._about = _about_of(schema)
            self._check_footer()
        self.curves = [one.name for one in schema if one.name != "map" and _is_tensor(one.type)]
        self.map_shape = tuple(schema.field("map").type.shape) if "map" in self.names else None
        self.digest = None if self._about is None else _digest_of_about(self._about)
        self.run: str | None = None if self._about is None else self._about["run"]
        self._check_belongs()

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns, compared with their digests.

        Raises:
            ShardDamagedError: they are not what was written.
        """
        pa = require("pyarrow", "dataset")
        with self._damage():
            for name in columns:
                if name not in self.names:
                    raise ValueError(f"it has no `{name}`")
                self._check_pages(self.names.index(name))
            # No thread of Arrow's may outlive the interpreter, whose file it reads: the process would be aborted.
            table = self._file.read(columns=list(columns), use_threads=False)
            table.validate(full=True)
            if table.num_rows != self._n_rows:
                raise ValueError("its columns have another number of rows than it says")
            for place, name in enumerate(table.column_names):
                if (name in _WITHOUT_NULLS or name in self.curves) and table[name].null_count:
                    raise ValueError(f"`{name}` of some rows is missing")
                if pa.types.is_dictionary(table[name].type):
                    table = table.set_column(place, name, _texts(table[name], self._allowed))
                self._verify(name, table[name])
            return table.replace_schema_metadata(None)

    def indices(self) -> NDArray[np.int64]:
        """Which samples its rows are of, in the order of the rows.

        Raises:
            ShardDamagedError: not samples of this run, not those of the file's name, or one twice.
        """
        return self.indices_in(self.read(["index"]))

    def indices_in(self, table: pa.Table) -> NDArray[np.int64]:
        """The same of a table that was read from this shard, with its `index`.

        Raises:
            ShardDamagedError: as `indices`.
        """
        index: NDArray[np.int64] = table["index"].to_numpy()
        places = indices_of_name(self.path)
        first, stop = places.start or 0, self._expected.n_samples if places.stop is None else places.stop
        with self._damage():
            if index.min() < first or index.max() >= min(stop, self._expected.n_samples):
                raise ValueError(f"rows of samples {index.min()} to {index.max()}")
            if len(np.unique(index)) != len(index):
                raise ValueError("several rows of one sample")
        return index

    def maps(self, wanted: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Maps (n, ...) of some rows on their true scale, float32 or float64; None: of all.

        Raises:
            ShardDamagedError: they are not what was written.
        """
        stored, scale = self.stored_maps(wanted)
        maps: NDArray[Any] = stored.astype(np.float64 if stored.dtype == np.float64 else np.float32)
        if scale is not None:
            maps *= scale.astype(maps.dtype).reshape(-1, *(1,) * (maps.ndim - 1))
        return maps

    def stored_maps(self, wanted: NDArray[np.bool_] | None = None) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The same as they are stored, and the scale (n,) that they have been divided by, where there is one.

        Raises:
            ShardDamagedError: they are not what was written.
        """
        columns = ["map", *(["map_scale"] if "map_scale" in self.names else [])]
        table = self.read(columns)
        table = (table if wanted is None or wanted.all() else table.filter(wanted)).combine_chunks()
        scale = table["map_scale"].to_numpy() if "map_scale" in columns else None
        return table["map"].chunk(0).to_numpy_ndarray(), scale

    def points(self, wanted: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Points of curves (n, 2, S) of some rows, by the name of their column.

        Raises:
            ShardDamagedError: they are not what was written.
        """
        table = self.read(self.curves).filter(wanted).combine_chunks()
        return {name: table[name].chunk(0).to_numpy_ndarray() for name in self.curves}

    def verify(self, n_samples: int) -> NDArray[np.int64]:
        """Compare every column with its digest, one after another; the indices, which are below `n_samples`.

        Raises:
            ShardDamagedError: as `read` and `indices`.
        """
        index = self.indices()
        if index.max() >= n_samples:
            raise ShardDamagedError(self.path, f"a row of sample {index.max()}, of {n_samples} samples")
        for name in self.names:
            if name != "index":
                self.read([name])
        return index

    def _check_footer(self) -> None:
        """Raise a ValueError unless the columns are ours and not too large."""
        schema = self._schema
        if "index" not in self.names or len(set(self.names)) != len(self.names):
            raise ValueError("not the columns of a run")
        if any([chunk.name for chunk in group.chunks] != self.names for group in self._groups):
            raise ValueError("other columns than it says")
        if not 0 < self._n_rows <= self._expected.n_samples:
            raise ValueError(f"{self._n_rows} rows, of {self._expected.n_samples} samples")
        self._check_size(self._n_rows * _width(schema))

    @property
    def _n_rows(self) -> int:
        return sum(group.n_rows for group in self._groups)

    def _check_pages(self, column: int) -> None:
        """Raise a ValueError if the pages of a column hold more than its rows."""
        of_a_row = _values_of_a_row(self._schema.field(column))
        claimed = 0
        for group in self._groups:
            claims = claims_of(self._raw, group.chunks[column])
            if not claims.n_values == group.chunks[column].n_values == group.n_rows * of_a_row:
                raise ValueError(f"pages of {claims.n_values} values, where {group.n_rows * of_a_row} are expected")
            claimed += claims.n_bytes
        self._check_size(claimed)

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._allowed:
            raise ValueError(
                f"it unpacks to {n_bytes:,} bytes, more than the {self._allowed:,} that a file of its size may take; "
                "`DatasetAttributions(..., max_shard_bytes=...)` reads it if you trust it"
            )

    def _check_belongs(self) -> None:
        """Refuse a shard that the manifest knows as another one, or that is another run's."""
        expected = self._expected
        if expected.digest is not None and self.digest != expected.digest:
            raise ShardDamagedError(self.path, "it is not the one that the manifest tells of")
        if None not in (self.run, expected.run) and self.run != expected.run:
            raise ShardDamagedError(self.path, "it belongs to another run")

    def _verify(self, name: str, column: pa.ChunkedArray) -> None:
        key = (*self._file_key, name)
        if self._about is None or key in self._verified:
            return
        if self._about["columns"].get(name) != _digest_of(column):
            raise ValueError(f"`{name}` has not the digest that was written with it")
        self._verified.add(key)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Turn whatever reading meets in a bad file into an error that names the file."""
        try:
            yield
        except RunFolderError:
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ShardDamagedError(self.path, reason) from error


def _about_of(schema: pa.Schema) -> dict[str, Any] | None:
    """What a shard says of itself; None for those of version 0.1."""
    content = (schema.metadata or {}).get(_ABOUT)
    if content is None:
        return None
    about: dict[str, Any] = json_of(content)
    checked(about, _About)
    return about


def _digest_of_about(about: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(about)).hexdigest()[:32]


def _digest_of(column: pa.ChunkedArray) -> str:
    """A digest of values, however they are stored."""
    pa = require("pyarrow", "dataset")
    sha = hashlib.sha256()
    if pa.types.is_string(column.type):
        sha.update(json.dumps(column.to_pylist()).encode())
    elif _is_tensor(column.type):
        sha.update(f"{len(column)} {list(column.type.shape)} {column.type.value_type}".encode())
        for chunk in column.chunks:
            sha.update(_bytes_of(chunk.to_numpy_ndarray()))
    else:
        values = column.cast(pa.float64()) if pa.types.is_null(column.type) else column
        sha.update(f"{len(values)} {values.type}".encode())
        sha.update(_bytes_of(np.packbits(values.is_null().to_numpy())))
        sha.update(_bytes_of(values.fill_null(0).to_numpy()))
    return sha.hexdigest()[:32]


def _bytes_of(values: NDArray[Any]) -> memoryview:
    """The same memory as bytes."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _texts(column: pa.ChunkedArray, allowed: int) -> pa.ChunkedArray:
    """Texts that are stored once each, written out; refused if that would be too much."""
    pa, compute = require("pyarrow", "dataset"), require("pyarrow.compute", "dataset")
    length = 0
    for chunk in column.chunks:
        lengths = compute.binary_length(chunk.dictionary).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        length += int(lengths[chunk.indices.drop_null().to_numpy()].sum())
    if length > allowed:
        raise ValueError(f"names of {length:,} bytes")
    return column.cast(pa.string())


def _allowed(size: int) -> int:
    """Bytes that a file of this size may unpack to."""
    return max(_SMALL, _RATIO * size)


def _width(schema: pa.Schema) -> int:
    """Bytes of a row. Raises a ValueError for a column that no run has."""
    return sum(8 * _values_of_a_row(field) for field in schema)


def _values_of_a_row(field: pa.Field) -> int:
    """Numbers or texts of a row of a column. Raises a ValueError for a column that no run has."""
    pa = require("pyarrow", "dataset")
    kind, texts = field.type, {pa.string(), pa.dictionary(pa.int32(), pa.string())}
    expected = {"index": {pa.int64()}, "target": {pa.int64()}, "prediction": {pa.int64()}, "name": texts}
    expected["map_scale"] = {pa.float32(), pa.float64()}
    is_curve = field.name.endswith(curve_of("")) and _is_tensor(kind)
    if field.name == "map" or is_curve:
        if not _is_tensor(kind) or kind.value_type not in {pa.float16(), pa.float32(), pa.float64()}:
            raise ValueError(f"`{field.name}` of type {kind}")
        shape, order = list(kind.shape), kind.permutation
        if len(shape) > 32 or min(shape, default=1) < 1 or (order is not None and list(order) != sorted(order)):
            raise ValueError(f"`{field.name}` of shape {shape[:32]}")
        if is_curve and (len(shape) != 2 or shape[0] != 2 or kind.value_type != pa.float64()):
            raise ValueError(f"`{field.name}` of shape {shape}, which no curve has")
        return math.prod(shape)
    if kind not in expected.get(field.name, {pa.float64(), pa.int64(), pa.null()}):
        raise ValueError(f"`{field.name}` of type {kind}")
    return 1


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, require("pyarrow", "dataset").FixedShapeTensorType)
