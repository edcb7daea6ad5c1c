"""Folders of runs that were damaged, or that nobody vouches for: named errors or the right rows, and nothing else."""

import json
import os
import random
import warnings

import pyarrow.parquet as pq
import pytest
import torch

from captum_ext.core.atomic import replaced
from captum_ext.dataset import DatasetAttributions, shard_files
from captum_ext.dataset.manifest import checksum, read_manifest, write_manifest
from captum_ext.exceptions import ArgumentError, RunFolderError
from tests.dataset.test_run import run, same
from tests.dataset.toy import Images, linear


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(linear(), Images(12), tmp_path_factory.mktemp("whole"), shard_rows=4)


@pytest.fixture
def out(tmp_path):
    run(linear(), Images(12), tmp_path / "out", shard_rows=4)
    return tmp_path / "out"


def shard(out, place=1):
    return sorted(out.glob("rows-*.parquet"))[place]


def go_on(out):
    return run(linear(), Images(12), out, shard_rows=4)


def read_all(out):
    found = DatasetAttributions(out)
    return found.table(), found.maps()


def test_the_manifest_has_a_digest_of_every_shard_and_a_checksum_of_itself(out):
    manifest = json.loads((out / "manifest.json").read_text())
    assert list(manifest["shards"]) == [path.name for path in sorted(out.glob("rows-*.parquet"))]
    assert {len(digest) for digest in manifest["shards"].values()} == {32}
    manifest["n_samples"] = 13
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        RunFolderError, match=r"manifest\.json is damaged, or was changed by hand: its checksum .* Run again"
    ):
        DatasetAttributions(out)


DAMAGES = {
    "cut off": lambda content: content[:100],
    "empty": lambda content: b"",
    "other bytes": lambda content: content[:50] + bytes(20) + content[70:],
    "another format": lambda content: b"\x93NUMPY" * 100,
    "a wrong footer": lambda content: content[:-8] + (2**31).to_bytes(4, "little") + b"PAR1",
    "longer": lambda content: content + b"more",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_named_when_read_and_computed_again_by_the_next_run(out, whole, damage):
    path = shard(out)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=rf"{path.name} is damaged \(.+\)\. Run again with the same settings"):
        read_all(out)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged \(.+\); its rows are computed again"):
        assert same(go_on(out), whole)
    assert path.with_suffix(".damaged").exists()


def test_no_flipped_bit_gives_other_numbers_without_a_word(out, whole):
    chance, undetected = random.Random(0), 0
    expected = whole.table(), whole.maps()
    for path in (shard(out), out / "manifest.json"):
        content = path.read_bytes()
        for bit in chance.sample(range(8 * len(content)), 100):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            try:
                found = read_all(out)
            except RunFolderError as error:
                assert path.name in str(error)  # noqa: PT017
                continue
            undetected += 1
            assert found[0].equals(expected[0])
            assert torch.equal(found[1], expected[1])
        path.write_bytes(content)
    assert undetected < 60  # in what nothing depends on, such as statistics


def test_a_missing_shard_is_named_and_computed_again(out, whole):
    path = shard(out)
    path.unlink()
    with pytest.raises(RunFolderError, match=rf"{path.name} is missing, of which the manifest tells. Run again"):
        read_all(out)
    assert same(go_on(out), whole)


def test_shards_that_changed_places_are_noticed(out, whole):
    first, second = shard(out, 0), shard(out, 1)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(RunFolderError, match="it is not the one that the manifest tells of"):
        read_all(out)
    with pytest.warns(UserWarning, match="it is not the one that the manifest tells of"):
        assert same(go_on(out), whole)


def test_a_shard_of_another_run_is_noticed_under_any_name(out, whole, tmp_path):
    run(linear(), Images(12), tmp_path / "other", shard_rows=4, seed=1)
    (out / "rows-000000000-000000011-00000000.parquet").write_bytes(shard(tmp_path / "other").read_bytes())
    with pytest.raises(RunFolderError, match=r"rows-000000000-000000011-00000000.parquet .*belongs to another run"):
        read_all(out)
    with pytest.warns(UserWarning, match="it belongs to another run"):
        assert same(go_on(out), whole)


def test_a_shard_that_is_newer_than_the_manifest_is_used(out, whole):
    path, manifest = shard(out, 2), read_manifest(out / "manifest.json")
    del manifest["shards"][path.name]
    write_manifest(out / "manifest.json", {**manifest, "n_done": 8, "done": [[0, 7]]})
    written = path.stat().st_mtime_ns
    assert read_all(out)[0].equals(whole.table())
    assert same(go_on(out), whole)
    assert path.stat().st_mtime_ns == written
    assert path.name in read_manifest(out / "manifest.json")["shards"]


def as_version_1(out):
    """The folder as version 0.1 wrote it."""
    for path in out.glob("rows-*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path, compression="zstd")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest = {name: value for name, value in manifest.items() if name not in ("shards", "checksum")}
    (out / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))


def test_a_folder_of_version_1_is_read_and_continued(out, whole):
    as_version_1(out)
    assert same(DatasetAttributions(out), whole)
    shard(out).unlink()
    kept = shard(out, 0).stat().st_mtime_ns
    assert same(go_on(out), whole)
    assert shard(out, 0).stat().st_mtime_ns == kept
    manifest = read_manifest(out / "manifest.json")
    assert manifest["version"] == 2
    assert [digest is None for digest in manifest["shards"].values()] == [True, False, True]


def edited(**changes):
    return lambda manifest: {**manifest, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited(n_samples="12"), r"Expected `int`, got `str` - at `\$\.n_samples`"),
        (edited(n_samples=10**30), r"\$\.n_samples"),
        (edited(n_done=11), "`done` has not as many samples as `n_done` says"),
        (edited(done=[[0, 12]], n_done=13), r"`done` has \[0, 12\], of 12 samples"),
        (edited(done=[[5, 3]]), r"`done` has \[5, 3\]"),
        (edited(failures=[{"index": 12, "error": "x"}]), "`failures` has a sample that the data set does not have"),
        (edited(failures=[{"index": 3}]), "missing required field `error`"),
        (edited(configuration=7), r"\$\.configuration"),
        (edited(configuration={"fields": {}}), r"\$\.fields"),
        (edited(shards={"../../precious": None}), "shards"),
        (edited(versions=None), r"\$\.versions"),
        (edited(version="1"), "Expected `int`, got `str`"),
        (edited(configuration={"fields": ["\ud800"]}), "surrogates not allowed"),
        (edited(checksum=None), "its checksum is that of another content"),
        (lambda manifest: {name: value for name, value in manifest.items() if name != "done"}, "missing .* `done`"),
    ],
)
def test_a_manifest_that_no_run_wrote_is_one_named_error_and_written_anew(out, whole, change, message):
    manifest = change(read_manifest(out / "manifest.json"))
    if "checksum" in manifest and manifest["checksum"] is not None and "surrogates" not in message:
        write_manifest_as_it_is(out / "manifest.json", manifest)
    else:
        (out / "manifest.json").write_text(json.dumps(manifest))
    message = rf"manifest\.json is damaged, or was changed by hand: .*{message}"
    with pytest.raises(RunFolderError, match=message):
        DatasetAttributions(out)
    with pytest.warns(UserWarning, match=message + r".* Its shards are of this run: it is written anew\."):
        assert same(go_on(out), whole)
    assert (out / "manifest.damaged").exists()


def write_manifest_as_it_is(path, manifest):
    path.write_text(json.dumps({**manifest, "checksum": checksum(manifest)}))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"9" * 10_000, b"", b"[]"], ids=range(5))
def test_what_is_no_manifest_is_one_named_error_and_written_anew(out, whole, content):
    (out / "manifest.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json is not the manifest of a run"):
        DatasetAttributions(out)
    with pytest.warns(UserWarning, match=r"manifest\.json is not the manifest of a run.* it is written anew"):
        assert same(go_on(out), whole)


def test_a_damaged_manifest_is_not_written_anew_for_other_settings(out):
    (out / "manifest.json").write_text("{")
    before = {path: path.read_bytes() for path in out.glob("*")}
    with pytest.raises(RunFolderError, match=r"manifest\.json is not the manifest of a run"):
        run(linear(), Images(12), out, shard_rows=4, seed=1)
    assert before == {path: path.read_bytes() for path in out.glob("*")}


def test_a_wrong_number_of_samples_costs_no_memory(out):
    manifest = read_manifest(out / "manifest.json")
    write_manifest_as_it_is(out / "manifest.json", {**manifest, "n_samples": 10**9})
    assert read_all(out)[1].shape == (12, 2, 1)
    with pytest.raises(ArgumentError, match=r"samples that have a row, but got \[999999999\]"):
        DatasetAttributions(out).maps([999_999_999])


def test_errors_in_the_manifest_are_no_longer_than_it_can_hold(tmp_path):
    def bad(inputs, target):
        raise AssertionError("not reached")

    class Long(Images):
        def __getitem__(self, index):
            raise OSError("\udc80" + "x" * 10_000)

    with pytest.warns(UserWarning, match=r"2 of 2 samples have no row.*\.\.\."):
        found = run(bad, Long(2), tmp_path, forward_func=torch.nn.Identity())
    assert {len(failure["error"]) for failure in found.failures} == {503}
    assert found.failures[0]["error"].startswith("OSError: \\udc80xxx")


LINKED = ["manifest.json", ".file_marks.npy", ".lock", "rows"]


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("target", ["precious", "nothing", "itself"])
def test_a_link_in_place_of_a_file_is_refused_and_what_it_names_is_left_alone(out, tmp_path, name, target):
    (tmp_path / "precious").write_text("mine")
    path = shard(out) if name == "rows" else out / name
    path.unlink(missing_ok=True)
    path.symlink_to(path if target == "itself" else tmp_path / target)
    with pytest.raises(RunFolderError, match=rf"{path.name} is a link, which is not followed\. Remove it"):
        go_on(out)
    if name in ("manifest.json", "rows"):
        with pytest.raises(RunFolderError, match=rf"{path.name} is a link"):
            read_all(out)
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_at_once(out, name, make, kind):
    path = shard(out) if name == "rows" else out / name
    path.unlink(missing_ok=True)
    make(path)
    with pytest.raises(RunFolderError, match=rf"{path.name} is {kind}, where a file is expected"):
        go_on(out)


def test_a_lock_that_is_a_second_name_of_another_file_is_refused(out, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (out / ".lock").unlink(missing_ok=True)
    os.link(tmp_path / "precious", out / ".lock")
    with pytest.raises(RunFolderError, match=r"\.lock is a file that has another name, too.* Remove it"):
        go_on(out)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_where_the_folder_has_to_be_is_named(tmp_path, inside):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunFolderError, match="out.* is not a folder, and cannot be made one. Choose another"):
        run(linear(), Images(2), tmp_path / "out" / inside)


def test_a_folder_that_links_to_itself_is_read(out, whole):
    (out / "again").symlink_to(out)
    assert same(DatasetAttributions(out), whole)


def test_a_column_is_compared_with_its_digest_once(out, monkeypatch):
    counted, real = [], shard_files._digest_of

    def counting(column):
        counted.append(len(column))
        return real(column)

    monkeypatch.setattr(shard_files, "_digest_of", counting)
    found = DatasetAttributions(out)
    found.table()
    found.maps()
    first = len(counted)
    found.table()
    found.maps([3])
    assert len(counted) == first > 0
    os.utime(shard(out, 0))  # another file, for all that is known
    found.maps([3])
    assert len(counted) > first


def test_a_reader_of_a_folder_that_goes_on_sees_what_is_there(out, whole):
    reader = DatasetAttributions(out)
    shard(out).unlink()
    go_on(out)
    assert torch.equal(reader.maps(), whole.maps())


def test_unfinished_files_that_a_living_process_writes_are_left_alone(out):
    with replaced(out / "rows-000000099-000000099-00000000.parquet") as temporary:
        temporary.write_text("under way")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            go_on(out)
        assert temporary.exists()
