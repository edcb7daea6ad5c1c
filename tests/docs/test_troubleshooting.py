"""Every message of an error leads to an entry of Troubleshooting, and every entry is of a message."""

from pathlib import Path

from message_pages import key_of, page, sections, slug
from messages import Message, error_names, messages

GUIDE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
HEADINGS = [line.lstrip("# ").strip() for line in GUIDE.splitlines() if line.startswith("#")]


def test_messages_are_found_in_the_source():
    found = messages()
    assert len(found) > 500
    assert any(one.error == "InferenceModeError" and "torch.inference_mode()" in one.text for one in found)
    assert any(one.argument == "references" and "at least two samples" in one.text for one in found)
    assert {one.error for one in found} <= error_names()


def test_every_message_has_an_entry():
    known = sections(GUIDE)
    without = sorted({key_of(one, known) for one in messages()} - set(known))
    assert without == []


def test_every_class_of_an_error_has_a_heading_or_names_an_argument():
    of_arguments = {"ArgumentError", "ArgumentTypeError", "CaptumExtError"}
    assert error_names() - of_arguments - set(HEADINGS) == set()


def test_no_entry_is_of_a_message_that_nothing_raises():
    known = sections(GUIDE)
    used = {key_of(one, known) for one in messages()}
    variables = {"tol"}  # checked by a function that is told the name
    stale = [name for name in known if name not in HEADINGS and name not in used and name not in variables]
    assert stale == []


def test_the_list_links_every_message_to_its_section():
    listed = page(GUIDE)
    anchors = {slug(heading) for heading in HEADINGS}
    links = {line.rpartition("troubleshooting.md#")[2].split(")")[0] for line in listed.splitlines() if "](" in line}
    assert links
    assert links <= anchors
    assert "torch.inference_mode()" in listed


def test_an_argument_with_a_place_has_the_entry_of_the_argument():
    known = {"scores": "Metrics", "…": "Everything else"}
    of_entry = Message("ArgumentError", "scores[…]", "", "", 1)
    assert key_of(of_entry, known) == "scores"
    assert key_of(Message("ArgumentError", "…", "", "", 1), known) == "…"
    assert key_of(Message("ArgumentError", "unheard", "", "", 1), known) == "unheard"
