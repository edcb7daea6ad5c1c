"""Files are written whole or not at all, and what killed processes leave is removed, but nothing that is in use."""

import errno
import os
import stat

import pytest

from captum_ext.core.atomic import remove_unfinished, replaced


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    target = tmp_path / "cat.png"
    target.write_text("before")
    with replaced(target) as temporary:
        temporary.write_text("after")
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_good_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("before")

    def half(temporary):
        temporary.write_text("half")
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"), replaced(target) as temporary:
        half(temporary)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"No space left on device: '.*figure\.pdf'"),
        (OSError("disk full"), r"figure\.pdf could not be written: disk full"),
        (OSError(errno.EIO, "Input/output error", "another.txt"), r"Input/output error: 'another\.txt'"),
    ],
)
def test_a_full_disk_names_the_file_and_another_error_keeps_its_own(tmp_path, error, message):
    def failing():
        raise error

    with pytest.raises(OSError, match=message) as caught, replaced(tmp_path / "figure.pdf"):
        failing()
    assert caught.value.errno == error.errno
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_written_takes_no_place(tmp_path):
    target = tmp_path / "cat.png"
    target.write_text("before")
    with pytest.raises(FileNotFoundError, match=r"Nothing was written: '.*cat\.png'"), replaced(target):
        pass
    assert target.read_text() == "before"
    with replaced(target) as temporary:
        temporary.write_text("")  # an empty file is one
    assert target.read_text() == ""


def test_a_missing_folder_names_the_file_that_was_to_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere.cat\.png'"), replaced(tmp_path / "nowhere" / "cat.png"):
        pass


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(tmp_path, make):
    make(tmp_path / "cat.png")
    with pytest.raises(FileExistsError, match=r"something that is no file; choose another name: '.*cat\.png'"):  # noqa: SIM117
        with replaced(tmp_path / "cat.png"):
            pass


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "cat.png").symlink_to(tmp_path / "precious")
    with replaced(tmp_path / "cat.png") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "cat.png").is_symlink()


def test_a_file_may_be_read_by_whom_a_plain_open_lets(tmp_path):
    before = os.umask(0o027)
    try:
        with replaced(tmp_path / "cat.png") as temporary:
            temporary.write_text("new")
            temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cat.png").stat().st_mode) == 0o640


def test_a_long_name_has_a_temporary_one_that_fits(tmp_path):
    target = tmp_path / f"{'ä' * 120}.png"
    with replaced(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_what_killed_processes_left_is_removed_but_not_what_is_in_use(tmp_path):
    names = [".cat.0123456789ab.tmp.png", ".dog.0123456789ab.tmp", ".dog.png.0123456789ab.tmp"]
    for name in names:
        (tmp_path / name).write_text("half")
    for name in (".mine.tmp", "cat.0123456789ab.tmp.png", ".cat.0123456789AB.tmp.png"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".link.0123456789ab.tmp.png").symlink_to(tmp_path / ".mine.tmp")
    remove_unfinished(tmp_path, "cat")
    assert sorted(name for name in names if (tmp_path / name).exists()) == names[1:]
    with replaced(tmp_path / "cat.png") as temporary:
        temporary.write_text("new")
        remove_unfinished(tmp_path)
    assert (tmp_path / "cat.png").read_text() == "new"
    left = {
        ".mine.tmp",
        "cat.0123456789ab.tmp.png",
        ".cat.0123456789AB.tmp.png",
        ".link.0123456789ab.tmp.png",
        "cat.png",
    }
    assert {path.name for path in tmp_path.iterdir()} == left
