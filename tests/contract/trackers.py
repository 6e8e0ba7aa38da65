"""The contract that every tracker keeps. A tracker's test subclasses `TrackerSuite` and fills in its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event
from typing import Any

import pytest

from triage.contracts import Blanks, Tracker
from triage.errors import Gone, Refused
from triage.mention import ActionKind, Attachment, Author, Label, Mention, Problem, Receipt, Ticket, Verdict, Visibility, Work

POSTED = datetime(2026, 3, 4, 9, 5, tzinfo=UTC)
NUMBERS = count(1)


def a_mention(**changes: Any) -> Mention:
    """A post that says that the export is broken."""
    mention = Mention(
        uri="https://tilde.example/users/mira/statuses/77",
        platform="mastodon",
        source="quay",
        remote_id="77",
        author=Author("mira@tilde.example", "Mira Lund", "https://tilde.example/@mira"),
        text="@quayside the export is empty since 3.2\nhere is what I did",
        created_at=POSTED,
        url="https://tilde.example/@mira/77",
        thread="https://tilde.example/users/mira/statuses/70",
        language="en",
        attachments=(Attachment("image", "https://tilde.example/media/1.png", "an empty table"),),
    )
    return replace(mention, **changes)


def a_verdict(**changes: Any) -> Verdict:
    """The model is sure that it is a bug report."""
    verdict = Verdict(Label.BUG_REPORT, 0.93, {"bug_report": 0.93}, True, "model-1", evidence=("export", "empty"))
    return replace(verdict, **changes)


def some_work(kind: ActionKind = ActionKind.TICKET, marker: str | None = None, **changes: Any) -> Work:
    """An action to carry out; each has a marker of its own unless told otherwise."""
    now = datetime.now(UTC)
    number = next(NUMBERS)
    work = Work(
        action_id=number,
        key=f"triage/{number}/{kind}",
        marker=marker or f"{number:020x}",
        kind=kind,
        via="tracker",
        attempt=1,
        intent_at=now,
        first_intent_at=now,
        reason="a sure bug report",
        mention=a_mention(),
        verdict=a_verdict(),
        problem=Problem(number, "https://tilde.example/users/mira/statuses/70"),
        payload={"mention_id": number},
    )
    return replace(work, **changes)


def a_comment(ticket: Receipt, what: str = "report", marker: str | None = None, text: str = "", **changes: Any) -> Work:
    """A comment on that ticket."""
    known = Ticket(ticket.remote_id, ticket.key, ticket.url)
    payload: Mapping[str, Any] = {"what": what, "mention_id": 5} | ({"text": text} if text else {})
    return some_work(ActionKind.COMMENT, marker, **{"problem": Problem(1, "thread", known), "payload": payload} | changes)


def a_blank(made: Receipt, of: str = "ticket", what: str = "deleted", **changes: Any) -> Work:
    """The post's words are to be taken out of that ticket or comment."""
    payload: dict[str, Any] = {"what": what, "of": of, "at": "2026-03-05", "mention_id": 5, "texts": [a_mention().text]}
    payload |= {"because": "a sure bug report"} | changes.pop("payload", {})
    return some_work(ActionKind.BLANK, previous=made, payload=payload, **changes)


def a_moment_later() -> datetime:
    """Trackers tell times in milliseconds: let one pass, so that what follows is later than what was."""
    Event().wait(0.005)
    return datetime.now(UTC)


class TrackerSuite:
    """What is promised of `file`, `update`, `blank`, `find`, `changed`, `duplicates` and `check`."""

    def again(self, tracker: Tracker) -> Tracker:
        """The same tracker as another process would have it."""
        raise NotImplementedError

    def text_of(self, tracker: Tracker, key: str) -> str:
        """Summary, text and comments of a ticket as people read them."""
        raise NotImplementedError

    def resolve(self, tracker: Tracker, key: str, resolution: str, fix_versions: list[str]) -> None:
        """Somebody closes a ticket."""
        raise NotImplementedError

    def delete(self, tracker: Tracker, key: str) -> None:
        """Somebody deletes a ticket."""
        raise NotImplementedError

    def add_by_hand(self, tracker: Tracker, made: Receipt, above: str, below: str) -> None:
        """Somebody writes above and below what a ticket or comment says."""
        raise NotImplementedError

    def replace_by_hand(self, tracker: Tracker, made: Receipt, old: str, new: str) -> None:
        """Somebody changes words of a ticket's title, description or comments."""
        raise NotImplementedError

    def edits(self, tracker: Tracker) -> int:
        """How many changes the tracker took from us."""
        raise NotImplementedError

    def blank(self, tracker: Tracker, work: Work) -> Receipt:
        """What is asked for, of a tracker that can do it."""
        assert isinstance(tracker, Blanks)
        return tracker.blank(work)

    def test_a_receipt_names_the_ticket(self, tracker: Tracker) -> None:
        """Filing gives an id that never changes, a key for people, and where to look."""
        receipt = tracker.file(some_work())
        assert receipt.remote_id
        assert "-" in receipt.key
        assert receipt.key in receipt.url

    def test_a_ticket_is_found_by_its_marker(self, tracker: Tracker) -> None:
        """What was filed is found again, and nothing else is."""
        tracker.file(some_work())
        work = some_work()
        receipt = tracker.file(work)
        tracker.file(some_work())
        assert list(tracker.find(work)) == [receipt]

    def test_nothing_is_found_for_what_was_never_filed(self, tracker: Tracker) -> None:
        """Another marker finds nothing, on an empty tracker and on a full one."""
        assert list(tracker.find(some_work())) == []
        tracker.file(some_work())
        assert list(tracker.find(some_work())) == []

    def test_a_restarted_process_finds_it_too(self, tracker: Tracker) -> None:
        """Nothing that only the first process remembered is needed."""
        work = some_work()
        receipt = tracker.file(work)
        assert list(self.again(tracker).find(work)) == [receipt]

    def test_a_ticket_made_twice_is_found_twice(self, tracker: Tracker) -> None:
        """A tracker hides no duplicate, and the audit names them by their marker."""
        work = some_work()
        receipts = [tracker.file(work), tracker.file(work)]
        tracker.file(some_work())
        assert sorted(r.key for r in tracker.find(work)) == sorted(r.key for r in receipts)
        twice = tracker.duplicates(datetime.now(UTC) - timedelta(hours=1))
        assert {marker: sorted(r.key for r in found) for marker, found in twice.items()} == {work.marker: sorted(r.key for r in receipts)}

    def test_no_duplicates_means_an_empty_answer(self, tracker: Tracker) -> None:
        """Tickets of different problems are no duplicates."""
        tracker.file(some_work())
        tracker.file(some_work())
        assert dict(tracker.duplicates(datetime.now(UTC) - timedelta(hours=1))) == {}

    def test_a_ticket_says_what_a_developer_needs(self, tracker: Tracker) -> None:
        """The post, who wrote it and when, links to it, its thread and its pictures, and what spoke for its label."""
        receipt = tracker.file(some_work())
        text = self.text_of(tracker, receipt.key)
        for wanted in (
            "Mira Lund: the export is empty since 3.2",
            "here is what I did",
            "Mira Lund (@mira@tilde.example)",
            "2026-03-04 09:05 UTC",
            "https://tilde.example/@mira/77",
            "https://tilde.example/users/mira/statuses/70",
            "https://tilde.example/media/1.png",
            "an empty table",
            "bug report, 93%",
            "export, empty",
            "a sure bug report",
        ):
            assert wanted in text

    def test_hostile_text_is_shown_letter_by_letter(self, tracker: Tracker) -> None:
        """What would be a mention, an image, a macro, a table or a heading arrives as the characters that were typed."""
        hostile = "[~admin] !https://evil.example/x.png! {macro} {code}x{code} |a| h1. big ---- \\\\ &lt;b> *x* ~y~\nbq. z"
        receipt = tracker.file(some_work(mention=a_mention(text=hostile, author=Author("e@x.example", "[~admin]{macro}"))))
        text = self.text_of(tracker, receipt.key)
        for line in hostile.splitlines():
            assert line in text
        assert "[~admin]{macro}:" in text.splitlines()[0]

    def test_a_long_post_is_filed(self, tracker: Tracker) -> None:
        """A post beyond every limit is shortened, and the ticket is still found by its marker."""
        work = some_work(mention=a_mention(text="🦀[~x]\n" * 20_000, author=Author("a@b.example", "N" * 5_000)))
        receipt = tracker.file(work)
        assert list(tracker.find(work)) == [receipt]

    def test_a_post_without_text_is_filed(self, tracker: Tracker) -> None:
        """A picture without a word has a title and a text all the same."""
        receipt = tracker.file(some_work(mention=a_mention(text="", author=Author("mira@tilde.example")), verdict=None))
        assert "(no text)" in self.text_of(tracker, receipt.key)

    @pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.DIRECT])
    def test_a_private_post_files_nothing_by_itself(self, tracker: Tracker, visibility: Visibility) -> None:
        """Neither as a ticket nor as a later report."""
        receipt = tracker.file(some_work())
        private = a_mention(visibility=visibility)
        with pytest.raises(Refused, match="private"):
            tracker.file(some_work(mention=private))
        with pytest.raises(Refused, match="private"):
            tracker.update(a_comment(receipt, mention=private))

    def test_a_lifted_private_post_is_filed_by_its_number_alone(self, tracker: Tracker) -> None:
        """A person may file it; then nothing of the post, its author or its label's words is in it."""
        payload = {"lifted": True, "mention_id": 4711}
        private = a_mention(visibility=Visibility.DIRECT, warning="secret matter")
        receipt = tracker.file(some_work(mention=private, payload=payload, reason="it says export"))
        tracker.update(a_comment(receipt, mention=private, payload={"what": "report", **payload}))
        tracker.update(a_comment(receipt, mention=private, payload={"what": "edited", **payload}))
        text = self.text_of(tracker, receipt.key).lower()
        assert text.count("4711") >= 4
        for hidden in ("mira", "tilde", "export", "empty", "secret matter", "bug report"):
            assert hidden not in text

    @pytest.mark.parametrize(
        ("what", "wanted"),
        [
            ("report", "Another report in this thread."),
            ("edited", "The post was edited."),
            ("deleted", "Its author deleted the post."),
            ("relabelled", "The post was labelled anew."),
        ],
    )
    def test_a_comment_lands_on_the_ticket(self, tracker: Tracker, what: str, wanted: str) -> None:
        """Each kind of comment says what happened, with our own words where there are some, and is found by its marker."""
        ticket = tracker.file(some_work())
        work = a_comment(ticket, what, text="sam said so.")
        tracker.update(a_comment(ticket, "report"))
        receipt = tracker.update(work)
        text = self.text_of(tracker, ticket.key)
        assert wanted in text
        assert "sam said so." in text
        assert [found.remote_id for found in tracker.find(work)] == [receipt.remote_id]
        assert receipt.key == ticket.key
        assert receipt.remote_id != ticket.remote_id

    def test_a_deleted_post_is_not_repeated(self, tracker: Tracker) -> None:
        """The comment about a deletion holds no word of the post."""
        ticket = tracker.file(some_work(mention=a_mention(text="first words")))
        tracker.update(a_comment(ticket, "deleted", mention=a_mention(text="regretted words")))
        assert "regretted" not in self.text_of(tracker, ticket.key)

    def test_a_comment_may_know_its_ticket_by_the_action_before(self, tracker: Tracker) -> None:
        """A comment that waited for its ticket is given the ticket's receipt."""
        ticket = tracker.file(some_work())
        work = some_work(ActionKind.COMMENT, previous=ticket, payload={"what": "report"})
        receipt = tracker.update(work)
        assert [found.remote_id for found in tracker.find(work)] == [receipt.remote_id]

    def test_a_ticket_and_a_comment_are_not_taken_for_each_other(self, tracker: Tracker) -> None:
        """The same marker on a ticket does not make its comment found, nor the reverse."""
        work = some_work()
        ticket = tracker.file(work)
        assert list(tracker.find(a_comment(ticket, marker=work.marker))) == []
        comment = a_comment(ticket)
        tracker.update(comment)
        assert list(tracker.find(some_work(marker=comment.marker))) == []

    def test_a_comment_without_a_ticket_is_refused(self, tracker: Tracker) -> None:
        """So is one of a kind that does not exist, and a ticket about nothing."""
        with pytest.raises(Refused):
            tracker.update(some_work(ActionKind.COMMENT, payload={"what": "report"}))
        ticket = tracker.file(some_work())
        with pytest.raises(Refused, match="gossip"):
            tracker.update(a_comment(ticket, "gossip"))
        with pytest.raises(Refused):
            tracker.file(some_work(mention=None))

    def test_a_deleted_ticket_is_gone(self, tracker: Tracker) -> None:
        """It is not found, can't be commented on, and is never made again by itself."""
        work = some_work()
        ticket = tracker.file(work)
        comment = a_comment(ticket)
        tracker.update(comment)
        self.delete(tracker, ticket.key)
        assert list(tracker.find(work)) == []
        assert list(tracker.find(comment)) == []
        with pytest.raises(Gone):
            tracker.update(a_comment(ticket))

    # Taking words out

    THEIRS = ("export is empty", "here is what I did", "secret matter", "an empty table", "export, empty", "blue or green")

    def a_full_ticket(self, tracker: Tracker) -> Receipt:
        return tracker.file(some_work(mention=a_mention(warning="secret matter", poll=("blue or green", "red"))))

    def test_the_words_of_a_deleted_post_go_and_the_rest_stays(self, tracker: Tracker) -> None:
        """Text, warning, poll, alt texts and evidence; who wrote, links and label stay, and what people wrote above and below."""
        ticket = self.a_full_ticket(tracker)
        self.add_by_hand(tracker, ticket, "Seen by sam, too.", "Fixed by a* [restart].")
        work = a_blank(ticket)
        assert list(tracker.find(work)) == []
        assert self.blank(tracker, work) == ticket
        text = self.text_of(tracker, ticket.key)
        assert not [word for word in self.THEIRS if word in text]
        for kept in (
            "[The post was deleted by its author on 2026-03-05]",
            "Post deleted by its author (mention 5)",
            "Mira Lund (@mira@tilde",
        ):
            assert kept in text
        for kept in ("Seen by sam, too.", "Fixed by a* [restart].", "https://tilde.example/@mira/77", "bug report, 93%"):
            assert kept in text
        assert list(tracker.find(work)) == [ticket]

    def test_of_an_erased_author_the_name_and_the_links_go_too(self, tracker: Tracker) -> None:
        """By digests alone, from which nothing can be read; also after the post was deleted, and the ticket is still known."""
        filed = some_work(mention=a_mention(warning="secret matter"))
        ticket = tracker.file(filed)
        assert isinstance(tracker, Blanks)
        prints = tracker.prints(some_work(reason="a sure bug report"), [a_mention().text, "what it said later"])
        assert not [word for word in ("export", "mira", "Mira", "tilde") if word in repr(prints)]
        comments = {what: tracker.update(a_comment(ticket, what)) for what in ("report", "edited", "deleted", "relabelled")}
        self.blank(tracker, a_blank(ticket))
        forgotten = a_mention(text="", author=Author(""), uri="erased:1", url="")
        for what, made in {"ticket": ticket, **comments}.items():
            work = a_blank(made, what, "erased", mention=forgotten, payload={"prints": prints, "texts": None})
            assert self.blank(tracker, work) == made
            assert list(tracker.find(work)) == [made]
        text = self.text_of(tracker, ticket.key)
        assert not [word for word in (*self.THEIRS, "ira", "tilde", "wrote on") if word in text]
        assert "bug report" in text
        assert "The post was labelled anew." in text
        assert list(tracker.find(filed)) == [ticket]

    @pytest.mark.parametrize("what", ["report", "edited"])
    def test_a_comment_loses_the_words_alone(self, tracker: Tracker, what: str) -> None:
        """The ticket and other comments are not touched."""
        ticket = tracker.file(some_work())
        other = tracker.update(a_comment(ticket, mention=a_mention(text="another post")))
        made = tracker.update(a_comment(ticket, what, mention=a_mention(text="the *regretted* words")))
        assert self.blank(tracker, a_blank(made, what, payload={"texts": ["the *regretted* words"]})) == made
        text = self.text_of(tracker, ticket.key)
        assert "regretted" not in text
        assert "another post" in text
        assert "the export is empty" in text
        assert other != made

    def test_what_is_blank_already_is_not_written_again(self, tracker: Tracker) -> None:
        """Neither the same nor another process changes anything a second time."""
        ticket = tracker.file(some_work())
        self.blank(tracker, a_blank(ticket))
        edits = self.edits(tracker)
        assert edits > 0
        assert self.blank(tracker, a_blank(ticket)) == ticket
        assert self.blank(self.again(tracker), a_blank(ticket)) == ticket
        assert self.edits(tracker) == edits

    def test_every_text_that_a_post_ever_had_is_known_again(self, tracker: Tracker) -> None:
        """It was edited after it was filed; one that was cut to fit is known by its beginning."""
        for text in ("the first words", "🦀[~x] {quote}\n\n" * 8_000, "", "{quote} a {quote}", "&#92; \\* a:D h1. x"):
            ticket = tracker.file(some_work(mention=a_mention(text=text)))
            self.blank(tracker, a_blank(ticket, payload={"texts": [text, "what it says now"]}))
            shown = self.text_of(tracker, ticket.key)
            assert "[The post was deleted by its author on 2026-03-05]" in shown
            assert not text.strip() or text.split()[0] not in shown

    def test_a_quote_that_somebody_changed_is_left_alone(self, tracker: Tracker) -> None:
        """Nothing of the description is touched; the refusal says why."""
        ticket = tracker.file(some_work())
        self.replace_by_hand(tracker, ticket, "here is what", "I replaced what")
        work = a_blank(ticket)
        with pytest.raises(Refused, match="the quoted post was changed by hand"):
            self.blank(tracker, work)
        assert "I replaced what I did" in self.text_of(tracker, ticket.key)
        assert "an empty table" in self.text_of(tracker, ticket.key)
        assert list(tracker.find(work)) == []

    def test_a_title_that_somebody_changed_is_left_alone(self, tracker: Tracker) -> None:
        """The rest is taken out, and the refusal tells what is left to do."""
        ticket = tracker.file(some_work())
        self.replace_by_hand(tracker, ticket, "Mira Lund: the export is", "Export:")
        with pytest.raises(Refused, match="title was changed by hand"):
            self.blank(tracker, a_blank(ticket))
        assert "here is what I did" not in self.text_of(tracker, ticket.key)
        assert self.text_of(tracker, ticket.key).startswith("Export: empty")

    def test_what_is_gone_can_not_be_blanked(self, tracker: Tracker) -> None:
        """A ticket, a comment's ticket; and one that never was."""
        ticket = tracker.file(some_work())
        comment = tracker.update(a_comment(ticket))
        self.delete(tracker, ticket.key)
        for work in (a_blank(ticket), a_blank(comment, "report")):
            with pytest.raises(Gone):
                self.blank(tracker, work)
            assert list(tracker.find(work)) == []
        with pytest.raises(Refused):
            self.blank(tracker, some_work(ActionKind.BLANK, payload={"of": "ticket", "texts": []}))

    def test_what_happened_to_a_ticket_is_read_back(self, tracker: Tracker) -> None:
        """Status, resolution and fix versions come back, the latest change last."""
        first, second = tracker.file(some_work()), tracker.file(some_work())
        a_moment_later()
        self.resolve(tracker, first.key, "Fixed", ["3.3", "3.2.1"])
        tickets = list(tracker.changed(None))
        assert [ticket.id for ticket in tickets] == [second.remote_id, first.remote_id]
        assert (tickets[1].key, tickets[1].status, tickets[1].resolution) == (first.key, "Done", "Fixed")
        assert sorted(tickets[1].fix_versions) == ["3.2.1", "3.3"]
        assert tickets[0].resolution == ""
        assert all(ticket.updated_at is not None and ticket.updated_at.tzinfo is not None for ticket in tickets)

    def test_a_change_after_the_last_look_is_seen(self, tracker: Tracker) -> None:
        """`changed` may show more than what changed since then, never less."""
        tracker.file(some_work())
        receipt = tracker.file(some_work())
        since = a_moment_later()
        self.resolve(tracker, receipt.key, "Fixed", [])
        assert list(tracker.changed(since))[-1].resolution == "Fixed"

    def test_a_good_configuration_passes_the_check(self, tracker: Tracker) -> None:
        """`triage doctor` finds nothing to mend, and changes nothing."""
        assert [finding for finding in tracker.check() if finding.level != "ok"] == []
        assert list(tracker.changed(None)) == []
