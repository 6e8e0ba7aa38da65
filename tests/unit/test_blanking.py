"""What is taken out of a ticket, and what is left: the decisions alone, in both languages of Jira."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.trackers import a_blank, a_mention, some_work
from triage.mention import Receipt
from triage.trackers import blanking, wording
from triage.trackers.markup import Fact, Facts, Quote, Words, document, document_text, escape, fit, unescape, wiki

TICKET = Receipt("7", "QUAY-7")
TEXT = a_mention().text
Render = Any


def said(body: Any) -> str:
    """A text as its reader sees it."""
    return document_text(body) if isinstance(body, dict) else unescape(body)


def take_out(body: Any, what: str = "deleted", texts: tuple[str, ...] = (TEXT,), of: str = "ticket") -> blanking.Held:
    work = a_blank(TICKET, of, what)
    return blanking.held(work, blanking.Prints(blanking.prints("{{ text }}", "", work, texts)), TICKET, body)


@pytest.mark.parametrize(
    "text", ["[~a] {quote} &amp; &#58; \\", "h1. x\nbq. y", "mailto:a@b :D ://", "\\\\* &#92;&amp;#92;", "a: b | c !d!"]
)
def test_what_was_escaped_is_read_as_it_was(text: str) -> None:
    """Letter by letter, also what looks like an escape of ours."""
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("render", [document, wiki])
def test_a_list_that_is_not_ours_stays(render: Render) -> None:
    """It may say Version, too."""
    theirs = Facts((Fact("Version", "seen in 3.1, says sam"), Fact("Error", "E-12")))
    ours = Facts((Fact("Post", url="https://x.example/1"), Fact("Version", "3.2"), Fact("Sam's note", "mine")))
    held = take_out(render([theirs, Words("between"), Quote(TEXT), ours]))
    assert held.missing == ()
    for kept in ("seen in 3.1, says sam", "E-12", "between", "x.example/1", "mine"):
        assert kept in said(held.body)
    assert "3.2" not in said(held.body)


@pytest.mark.parametrize("render", [document, wiki])
def test_each_copy_of_the_quote_goes_and_one_notice_stands(render: Render) -> None:
    """Somebody quoted it again below; another quote is not touched."""
    body = render([Quote(TEXT), Words("as it says:"), Quote(TEXT), Quote("another one")])
    text = said(take_out(body).body)
    assert text.count("The post was deleted by its author") == 1
    assert "export is empty" not in text
    assert "another one" in text


@pytest.mark.parametrize("render", [document, wiki])
def test_only_a_cut_quote_is_known_by_its_beginning(render: Render) -> None:
    """A long one whose end was changed is somebody's; one that ends where ours was cut is ours."""
    long = "it is empty and I can't tell why " * 40
    assert take_out(render([Quote(long[:900] + "…")]), texts=(long,)).missing == ()
    assert take_out(render([Quote(long[:900] + " (cut by sam)")]), texts=(long,)).missing
    assert take_out(render([Quote(TEXT[:20] + "…")])).missing, "a short one is never cut"


@pytest.mark.parametrize("render", [document, wiki])
@pytest.mark.parametrize("text", ["Post deleted by its author (mention 5)", "[The post was deleted by its author on 2026-03-05]"])
def test_a_post_that_says_what_stands_in_its_place_is_taken_out_once(render: Render, text: str) -> None:
    """As the title, as the quote and above it: what was written once is not to be changed again."""
    work = a_blank(TICKET, "ticket", "deleted")
    assert (work.payload["mention_id"], work.payload["at"]) == (5, "2026-03-05")
    known = blanking.Prints(blanking.prints("{{ text }}", "{{ text }}", work, (text,)))
    first = blanking.held(work, known, TICKET, render([Words(text), Quote(text)]), text)
    again = blanking.held(work, known, TICKET, first.body, first.title or text)
    assert again.is_written
    assert again.missing == ()


@pytest.mark.parametrize("line", [" " * 200_000, "x" * 200_000, "wrote on " * 20_000, "{quote} " * 20_001, "* *" * 60_000])
def test_a_long_line_costs_no_more_than_its_length(line: str) -> None:
    """A description may hold whatever somebody pasted; one that takes longer than the suite's limit fails."""
    assert take_out(f"{line}\n{line}", "erased").body is None


@pytest.mark.parametrize("render", [document, wiki])
def test_a_changed_line_that_names_the_author_is_a_persons_matter(render: Render) -> None:
    """For an erasure; for a deletion it stays as it is."""
    body = render([Words("sam: Mira Lund (@mira@x.example) wrote on 2026-03-04 09:05 UTC: see"), Quote(TEXT)])
    assert take_out(body, "erased").missing == ("the line that names the author was changed by hand",)
    assert take_out(body).missing == ()


@pytest.mark.parametrize("render", [document, wiki])
def test_a_notice_that_a_post_plants_is_none(render: Render) -> None:
    """Else a quote that somebody changed would be taken for one that is out already."""
    assert take_out(render([Quote("[The post was deleted by its author on 2026-01-01] x")])).missing


@pytest.mark.parametrize("body", [None, "", document([]), wiki([Words("rewritten")])])
def test_where_nothing_is_found_nothing_is_changed(body: Any) -> None:
    """An empty description, and one that was written anew."""
    held = take_out(body)
    assert held.body is None
    assert held.missing == ("the quoted post was changed by hand, or is not there any more",)
    assert take_out(body, of="relabelled").is_blank


def test_what_is_left_of_a_wiki_text_is_left_letter_by_letter() -> None:
    """Blanks, macros and line ends that people typed; only the line ends of Windows become ours."""
    above, below = "h1. Notes\n\n\n{code}\n* *Version:* 1\n{code}  ", "|a|b|\n\n * x\n"
    ours = fit(wording.ticket("", some_work()), wiki, len, 32_000)
    body = take_out(f"{above}\n\n{ours}\n\n{below}".replace("\n", "\r\n")).body
    assert body.startswith(f"{above}\n\n")
    assert body.endswith(f"\n\n{below}")
