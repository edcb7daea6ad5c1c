"""The shell around the commands: help, version, completion, Ctrl-C, output that nobody reads, and messages."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import Annotated

import pytest
import typer

from captum_ext import __version__
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, RunFolderError
from captum_ext.selection import CANDIDATES, CONTROLS, CRITERIA, ChooseOptions
from captum_ext_integrations.cli import messages, names
from captum_ext_integrations.cli.app import app
from captum_ext_integrations.cli.methods import CALLERS_CLASS, DEFAULT_STEPS, METHODS, METRICS
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS
from tests.integrations.cli.calls import call, fail, succeed

PROGRAM = [sys.executable, "-c", "from captum_ext_integrations.cli import main; main()"]


def shell(*arguments, **how):
    """The command in a process of its own."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, **how)


def test_what_the_help_says_without_torch_is_what_there_is():
    assert tuple(METHODS) == names.METHOD_NAMES
    assert tuple(METRICS) == names.METRIC_NAMES
    assert tuple(CANDIDATES) == names.CANDIDATE_NAMES
    assert tuple(CONTROLS) == names.CONTROL_NAMES
    assert tuple(CRITERIA) == names.CRITERION_NAMES
    assert tuple(name for name, one in CRITERIA.items() if one.on_masks) == names.MASK_CRITERION_NAMES
    assert ChooseOptions().decide_by == names.DECIDING_NAMES
    assert tuple(UPSAMPLERS) == names.UPSAMPLER_NAMES
    assert (DEFAULT_STEPS, DEFAULT_UPSAMPLER) == (names.STEPS, names.UPSAMPLER)
    assert CALLERS_CLASS.split(";")[0] in names.OWN_CLASS


def test_the_version_is_that_of_the_package():
    assert succeed("--version") == f"captum-ext {__version__}\n"


@pytest.mark.parametrize("command", [(), ("explain",), ("run",), ("list",)])
def test_the_help_has_a_short_name(command):
    assert succeed(*command, "-h") == succeed(*command, "--help")


def test_every_option_of_every_command_keeps_its_help():
    commands = typer.main.get_command(app).commands
    parameters = [(name, one) for name, command in commands.items() for one in command.params]
    options = {(name, one.name): one for name, one in parameters if one.param_type_name == "option"}
    assert len(options) > 100
    assert [name for name, one in options.items() if not one.help] == []


def test_help_version_and_completion_do_not_load_torch():
    code = "import sys; from captum_ext_integrations.cli.app import app; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("captum-ext exp", ["explain"]),
        ("captum-ext run --method samp", ["samp", "samp++"]),
        ("captum-ext evaluate --metric d", ["deletion", "diff_id"]),
        ("captum-ext upsample --upsampler bi", ["bilinear", "bicubic"]),
    ],
)
def test_the_tab_key_completes_names(line, expected):
    words = line.split(" ")
    asked = {"_CAPTUM_EXT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv[0] = 'captum-ext'; from captum_ext_integrations.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert sorted(found.stdout.split()) == sorted(expected)


def test_the_completion_can_be_installed():
    assert "--install-completion" in succeed("--help")


def test_the_help_says_what_runs_code():
    text = " ".join(succeed("explain", "--help").split())
    assert text.count("this runs the code of MODULE, for which the current folder is searched last") == 2
    assert "no code in it is run" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explian"], "No such command 'explian'."),
        (["explian"], "There are: explain, upsample, evaluate, choose, fit-references, run, view, diff, list. See: "),
        (["explain", "cat.png"], "Missing option '--model' / '-m'. See: "),
        (["explain", "cat.png", "dog.png", "--model", "x:y"], "Got unexpected extra argument"),
        (["explain", "cat.png", "--model", "x:y", "--n-steps", "0"], "Invalid value for '--n-steps'"),
        (["run", "photos", "--model", "x:y", "--engine", "spark"], "'local', 'ray'"),
    ],
)
def test_a_wrong_word_is_one_line_with_a_way_out(arguments, message):
    assert message in fail(*arguments)


@pytest.mark.parametrize("name", ["\x1b]0;title\x07", "two\nError: lines", "gpj.\u202eexe", "caf\udce9"])
@pytest.mark.parametrize("arguments", [["explain"], ["explain", "x", "--model"], ["explain", "x", "--model", "y:z"]])
def test_names_are_shown_as_escapes_in_every_error(arguments, name):
    output = call(*arguments, name).output
    assert "x --model" not in " ".join(arguments) or any(word in output for word in ("title", "two", "exe", "caf"))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]", output)
    assert len([line for line in output.splitlines() if line.startswith("Error: ")]) == 1


def test_a_terminal_of_80_columns_gets_whole_words():
    text = messages.fitted("Error: " + "Expected --n-steps to be a positive integer, but got 0. " * 4 + "/a" * 60, 80)
    first, *others = text.split("\n")
    assert first.startswith("Error: Expected --n-steps")
    assert len(others) >= 3
    assert all(line.startswith("    ") for line in others)
    assert all(len(line) <= 80 for line in (first, *others[:-1]))
    assert others[-1] == "    " + "/a" * 60  # a path in one piece can be copied
    assert " ".join(text.split()) == " ".join(messages.fitted(text.replace("\n", " "), None).split())


def test_where_nobody_looks_a_message_is_one_line():
    assert messages.fitted("word " * 100, None) == "word " * 100


def test_a_table_of_80_columns_breaks_no_name(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    messages.say_table(["method", "line"], [["input-x-gradient", "long words " * 20]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "input-x-gradient"
    assert max(map(len, lines)) <= 80
    assert set(" ".join(lines).split()) == {"method", "line", "input-x-gradient", "long", "words"}


def _command(
    n_steps: int = 1,
    batch: Annotated[int, typer.Option("--batch-size", "-b")] = 1,
    image: Annotated[str, typer.Argument()] = "",
    maps: Annotated[bool, typer.Option()] = True,
    model: Annotated[str, typer.Option()] = "",
    num_gpus: Annotated[int, typer.Option()] = 1,
) -> int:
    return 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ArgumentError("num_gpus", "one", "2"), "Expected --num-gpus to be one, but got 2."),
        (ArgumentError("batch", "one", "2"), "Expected --batch-size to be one, but got 2."),
        (ArgumentError("maps", "on", "off"), "Expected --maps to be on, but got off."),
        (ArgumentError("image", "a file", "none"), "Expected IMAGE to be a file, but got none."),
        (ArgumentError("dataset", "one", "2"), "Expected argument `dataset` to be one, but got 2."),
        (ArgumentError("num_gpus[0]", "one", "2"), "Expected --num-gpus to be one, but got 2."),
        (ArgumentsConflictError(("batch", "maps"), "no"), "The arguments --batch-size and --maps do not fit each "),
        (
            RunFolderError("attribute_kwargs.num_gpus was int 4, now int 5, given.batch was str 'a', now str 'b'"),
            "--num-gpus was int 4, now int 5, --batch-size was str 'a', now str 'b'",
        ),
        (RunFolderError("dataset.transform.batch was int 4, now int 5"), "--batch-size was int 4, now int 5"),
        (RunFolderError("maps was bool True, now bool False"), "--maps was bool True, now bool False"),
        (RunFolderError("model was str 'a', now str 'b'"), "model was str 'a', now str 'b'"),
        (RunFolderError("dataset.files was str 'a', now str 'b'"), "dataset.files was str 'a', now str 'b'"),
        (FileNotFoundError(2, "No such file or directory", "dog.png"), "dog.png: No such file or directory"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ValueError("one\n\n two \n"), "ValueError: two (CAPTUM_EXT_TRACEBACK=1 shows where)"),
        (ValueError(), "ValueError:  (CAPTUM_EXT_TRACEBACK=1 shows where)"),
    ],
)
def test_errors_name_options_as_they_are_written(error, expected):
    assert messages.explained(error, messages.names_of_options(_command)).startswith(expected)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("'blocks.7.cnv'", "one of 40 names, such as blocks.7.conv, blocks."),
        ("'foo'", "one of 40 names, such as blocks.34.conv, blocks.35.conv, "),
    ],
)
def test_of_many_names_the_close_ones_are_listed_or_the_last(received, expected):
    known = [f"blocks.{place}.conv" for place in range(40)]
    text = messages.explained(ArgumentError("layer", "one of " + ", ".join(known), received), {"layer": "--layer"})
    assert text.startswith(f"Expected --layer to be {expected}")
    assert text.endswith(f", but got {received}.")
    assert text.count("blocks") == 6 + ("blocks" in received)


def test_few_names_are_all_listed():
    error = ArgumentError("layer", "one of " + ", ".join("abc"), "'d'")
    assert messages.explained(error, {}) == str(error)


def test_a_warning_of_the_library_is_one_line_without_its_place_in_the_code(capsys):
    import warnings

    def command() -> int:
        warnings.simplefilter("always")
        warnings.warn("first\nsecond", UserWarning, stacklevel=1)
        return 3

    with pytest.raises(typer.Exit) as ended:
        messages.with_messages(command)()
    assert ended.value.exit_code == 3
    assert capsys.readouterr().err == "Warning: first\\nsecond\n"


def test_output_that_nobody_reads_any_more_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    for arguments in (["list"], ["--help"], ["--version"]):
        found = subprocess.run([*PROGRAM, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True)
        assert found.stderr == ""
        assert found.returncode in (1, messages.CLOSED)
    os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_to_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        found = subprocess.run([*PROGRAM, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (found.returncode, found.stderr) == (2, "Error: standard output: No space left on device\n")


def test_a_terminal_without_unicode_gets_escapes():
    found = shell("explain", "猫", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert found.returncode == 2
    assert "Traceback" not in found.stderr


def test_without_a_terminal_nothing_is_said_of_loading():
    assert shell("list").stderr == ""


def test_at_a_terminal_it_is_said_that_torch_is_loaded_and_ctrl_c_ends_it_quietly():
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*PROGRAM, "list"], stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    while b"Loading torch" not in said:
        said += os.read(ours, 100)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    rest = b""
    while True:
        try:
            part = os.read(ours, 1000)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        rest += part
    os.close(ours)
    assert b"Traceback" not in said + rest
    assert (said + rest).replace(b"Loading torch ...", b"").strip() == b""
