"""Files are read only if they are files, no larger than allowed, and say what a schema expects."""

import os

import pytest

from captum_ext.core.files import canonical, check_no_link, checked, json_of, opened, read
from captum_ext.exceptions import RunFolderError


def content_of(path, **changed):
    return read(path, RunFolderError, **{"links": False, "most": 10, **changed})


def test_a_file_up_to_the_limit_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    assert content_of(tmp_path / "file") == b"0123456789"
    with pytest.raises(RunFolderError, match=r"file has 10 bytes, more than the 9 that are read\. Ask for more\."):
        content_of(tmp_path / "file", most=9, hint=" Ask for more.")
    with pytest.raises(FileNotFoundError, match="nothing"):
        content_of(tmp_path / "nothing")


def test_a_file_that_says_that_it_is_large_is_not_read(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RunFolderError, match="file has 1,099,511,627,776 bytes"):
        content_of(tmp_path / "file")


@pytest.mark.parametrize(("make", "kind"), [(os.mkdir, "a folder"), (os.mkfifo, "a pipe")])
@pytest.mark.parametrize("links", [True, False])
def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path, make, kind, links):
    make(tmp_path / "odd")
    with pytest.raises(RunFolderError, match=f"odd is {kind}, where a file is expected. Move it away."):
        content_of(tmp_path / "odd", links=links)
    with pytest.raises(RunFolderError, match="/dev/zero is a device"):
        content_of(type(tmp_path)("/dev/zero"), links=links)


def test_a_link_is_followed_only_where_it_may_be(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert content_of(tmp_path / "link", links=True) == b"mine"
    for name in ("link", "loop"):
        with pytest.raises(RunFolderError, match=f"{name} is a link, which is not followed. Remove it, or put"):
            content_of(tmp_path / name)
        with pytest.raises(RunFolderError, match=f"{name} is a link"):
            check_no_link(tmp_path / name, RunFolderError)
    with pytest.raises(RunFolderError, match="loop is a link that leads to itself. Remove it."):
        content_of(tmp_path / "loop", links=True)
    check_no_link(tmp_path / "file", RunFolderError)
    check_no_link(tmp_path / "nothing", RunFolderError)


def test_a_link_that_comes_after_the_look_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    monkeypatch.setattr(type(tmp_path), "lstat", type(tmp_path).stat)
    with pytest.raises(RunFolderError, match="link is a link"), opened(tmp_path / "link", RunFolderError, links=False):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "JSON of too many levels|recursion"),
        (b"[" * 300 + b"]" * 300, "JSON of more than 200 levels"),
        (b"\xff", "codec can't decode"),
        (b"9" * 10_000, "digits"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_no_json_is_one_kind_of_error(content, message):
    with pytest.raises(ValueError, match=message):
        json_of(content)


def test_values_are_checked_against_a_type():
    assert checked([1, 2], list[int]) == [1, 2]
    with pytest.raises(ValueError, match=r"Expected `int`, got `str` - at `\$\[1\]`"):
        checked([1, "2"], list[int])


def test_json_has_one_canonical_spelling():
    assert canonical({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}'.encode()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical("\udc80")
