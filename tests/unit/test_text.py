"""Text: from hostile HTML to something that can be printed, counted and sent."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from triage import text
from triage.mention import Attachment, Author, Mention

INVISIBLE = regex.compile(r"[[\p{Cc}\p{Cf}\p{Cs}\p{DI}\u2800]--[\n\u200c\u200d\ufe0f\p{PCM}]]", regex.VERSION1)
ANYTHING = st.text(st.characters(codec=None, exclude_categories=())) | st.text(
    st.sampled_from("a é\u0301\u200d\u200c\u200b\u202e\ufe0f\u2028\r\n\t\x00\x1b👩🏽❤🇩🇪سل\u3164\U000e0061#1@.:/"), max_size=60
)
PROSE = st.text(st.sampled_from(string.ascii_letters + "  \n.,!?…é日👩"), max_size=3_000)


@given(ANYTHING)
def test_neutralised_text_holds_nothing_that_cant_be_seen(given_text: str) -> None:
    """Controls, bidi marks, zero-width characters and half surrogates go, whatever the text."""
    harmless = text.neutralise(given_text)
    assert not INVISIBLE.search(harmless)
    harmless.encode()


@given(ANYTHING)
def test_neutralising_twice_changes_nothing(given_text: str) -> None:
    """What is harmless stays as it is."""
    harmless = text.neutralise(given_text)
    assert text.neutralise(harmless) == harmless


@given(ANYTHING)
def test_letters_and_digits_survive(given_text: str) -> None:
    """Nothing visible is lost."""
    visible = regex.compile(r"[[\p{L}\p{N}\p{P}\p{S}]--[\p{DI}\u2800]]", regex.VERSION1)
    assert visible.findall(text.neutralise(given_text)) == visible.findall(given_text)


@pytest.mark.parametrize(
    ("given_text", "harmless"),
    [
        ("pay \u202egnp.exe", "pay gnp.exe"),
        ("a\u200bb\u2060c\ufeffd", "abcd"),
        ("one\r\ntwo\u2028three\x0bfour", "one\ntwo\nthree\nfour"),
        ("\x1b[31mred\x07", "[31mred"),
        ("👩\u200d👩\u200d👧 ok \u200d", "👩\u200d👩\u200d👧 ok "),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 8),
        ("half \ud800 pair", "half  pair"),
        ("\u3164\u115f", ""),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4"),
    ],
)
def test_what_is_made_harmless(given_text: str, harmless: str) -> None:
    """Each kind of invisible character, by example."""
    assert text.neutralise(given_text) == harmless


@given(ANYTHING)
def test_one_line_is_one_line(given_text: str) -> None:
    """No line end of any kind is left, nor blanks at the ends."""
    line = text.one_line(given_text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


@given(st.text(st.sampled_from("<>/apbrecodspanhref=\"' &;#@é\n!-[]classinvisible"), max_size=400) | ANYTHING)
def test_any_html_becomes_harmless_text(html: str) -> None:
    """Broken markup neither raises nor leaves control characters."""
    plain = text.from_html(html)
    assert not INVISIBLE.search(plain)
    assert "\n\n\n" not in plain


@pytest.mark.parametrize(
    ("html", "plain"),
    [
        ("<p>one<br>two</p><p>three</p>", "one\ntwo\n\nthree"),
        ("<p>a</p>\n<p>b</p>", "a\n\nb"),
        ("<ul><li>x</li><li>y</li></ul>z", "x\ny\n\nz"),
        ('<p><span class="h-card"><a href="https://a.example/@b" class="u-url mention">@<span>bob</span></a></span> hi</p>', "@bob hi"),
        ('<a href="https://a.example/tags/x" class="mention hashtag">#<span>x</span></a>', "#x"),
        (
            '<a href="https://www.shop.example/a/very/long/way"><span class="invisible">https://www.</span>'
            '<span class="ellipsis">shop.example/a/very</span><span class="invisible">/long/way</span></a>',
            "https://www.shop.example/a/very/long/way",
        ),
        ('<a href="https://evil.example/login">https://bank.example</a>', "https://bank.example (https://evil.example/login)"),
        ('<a href="https://evil.example">e</a>', "e (https://evil.example)"),
        ('<a href="javascript:alert(1)">click</a> <a href="data:text/html,x">or this</a>', "click or this"),
        ('<a href="https://a.example/x"><img src="y"></a>', "https://a.example/x"),
        ("<pre><code>if x:\n    y()\n</code></pre>", "if x:\n    y()"),
        ("<p>use <code>--force</code> now</p>", "use --force now"),
        ("<p>a   b\n c</p>", "a b c"),
        ('<p>:blobcat: <img class="custom-emoji" alt=":fox:" src="f"> <img alt="a cat"></p>', ":blobcat: :fox:"),
        ('<p class="quote-inline">RE: <a href="https://a.example/1">a</a></p><p>same here</p>', "same here"),
        ("<script>alert(1)</script><style>p{}</style>seen", "seen"),
        ("1 &lt; 2 &amp;amp; 3", "1 < 2 &amp; 3"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_html_as_a_reader_sees_it(html: str, plain: str) -> None:
    """Paragraphs, links, mentions, code, emoji and what tries to be clever."""
    assert text.from_html(html) == plain


@pytest.mark.parametrize("html", ["<b>" * 2_000_000, "<a href=x>" * 800_000, "<p>" + "word " * 2_000_000, "<table><tr><td>" * 500_000])
@pytest.mark.timeout(60)
def test_ten_mebibytes_are_cut_before_they_are_parsed(html: str) -> None:
    """A huge post costs what a small one costs, and says that it was cut."""
    plain = text.from_html(html)  # it takes milliseconds; without the cut it takes minutes, and the test's time limit ends it
    assert len(plain) <= text.HTML_CHARACTERS + 1
    assert plain.endswith("…")


@given(ANYTHING, st.integers(0, 80))
def test_a_shortened_text_keeps_to_its_limit(given_text: str, limit: int) -> None:
    """Never longer than asked for, and untouched where it fits."""
    short = text.shorten(given_text, limit)
    assert len(short) <= limit
    assert short == given_text or len(given_text) > limit


def test_shortening_cuts_between_letters_as_people_see_them() -> None:
    """A family of four is one letter; words are kept whole where a blank is near."""
    family = "👩\u200d👩\u200d👧\u200d👦"
    assert text.shorten(family * 3, len(family) + 2) == family + "…"
    assert text.shorten("the ferry is late again today", 24) == "the ferry is late again…"
    assert text.shorten("e\u0301" * 10, 4) == "e\u0301…"


@given(PROSE, st.integers(40, 500))
def test_a_split_answer_fits_and_loses_no_word(given_text: str, limit: int) -> None:
    """Every part is within the limit, and the words come out as they went in."""
    parts = text.split_post(given_text, limit)
    assert all(text.counted_length(part) <= limit for part in parts)
    bare = [regex.sub(rf" \({number}/{len(parts)}\)\Z", "", part) if len(parts) > 1 else part for number, part in enumerate(parts, 1)]
    assert "".join("".join(bare).split()) == "".join(text.neutralise(given_text).split())


def test_a_split_answer_breaks_at_paragraphs_and_is_numbered() -> None:
    """The reader sees how many parts there are, and no sentence is torn where it need not be."""
    first, second = "First things first. " * 8, "Then the second part. " * 6
    parts = text.split_post(f"{first.strip()}\n\n{second.strip()}", 200)
    assert parts == [f"{first.strip()} (1/2)", f"{second.strip()} (2/2)"]
    assert text.split_post("short", 200) == ["short"]
    assert text.split_post("  ", 200) == []


def test_an_answer_that_no_number_of_posts_can_hold_is_refused() -> None:
    """A limit without room for words, and a novel, are errors rather than loops."""
    with pytest.raises(ValueError, match="no room"):
        text.split_post("word " * 20, 20)
    with pytest.raises(ValueError, match="more than"):
        text.split_post("word " * 5_000, 60)


def test_a_link_is_never_torn() -> None:
    """A link longer than a post counts as 23 and stays whole."""
    link = "https://shop.example/" + "a" * 600
    parts = text.split_post(f"{'Look here please. ' * 10}{link} {'and there. ' * 10}", 120)
    assert sum(link in part for part in parts) == 1


@pytest.mark.parametrize(
    ("post", "length"),
    [
        ("hello", 5),
        ("https://shop.example/" + "a" * 200, 23),
        ("see https://a.example.", 4 + 23 + 1),
        ("@mira@tilde.example hi", 8),
        ("@mira hi", 8),
        ("mail me@tilde.example", 21),
        ("👩\u200d👩\u200d👧\u200d👦!", 2),
        ("http://localhost/" + "a" * 100, 117),
    ],
)
def test_a_post_is_counted_as_mastodon_counts(post: str, length: int) -> None:
    """Links are 23, remote names lose their host, letters are graphemes."""
    assert text.counted_length(post) == length


@pytest.mark.parametrize(
    ("display_name", "greeting"),
    [
        ("Ana María", "Ana María"),
        ("  Kim 👩\u200d🚀 ", "Kim"),
        (":verified: Zoë", "Zoë"),
        ("李明", "李明"),
        ("Dr. Who", "Dr. Who"),
        ("", ""),
        ("🦊🦊", ""),
        (":fox:", ""),
        ("12345", ""),
        ("@everyone", ""),
        ("a@b", ""),
        ("https://evil.example", ""),
        ("evil.example", ""),
        ("www.evil", ""),
        ("<b>Bob</b>", ""),
        ("[Bob](x)", ""),
        ("Bob\u202etsop", ""),
        ("Bo\u200bb", ""),
        ("Bob\nSubject: hi", ""),
        ("#winning", ""),
        ("z" * 41, ""),
        ("a" + "\u0301" * 9, ""),
    ],
)
def test_a_name_to_greet_with(display_name: str, greeting: str) -> None:
    """Names are kept, tricks get the neutral greeting."""
    assert text.safe_name(display_name) == greeting


@given(ANYTHING)
def test_no_name_smuggles_anything(display_name: str) -> None:
    """Whatever people call themselves: one line, short, no @, no link, nothing invisible."""
    name = text.safe_name(display_name)
    assert len(name) <= 10 * text.NAME_CHARACTERS
    assert not set(name) & set("@#<>[]{}\n")
    assert text.counted_length(name) <= text.NAME_CHARACTERS
    assert not INVISIBLE.search(name)


@given(ANYTHING)
def test_normalising_twice_changes_nothing(given_text: str) -> None:
    """Two spellings of one text have one normal form, and that is its own."""
    once = text.normalised(given_text)
    assert text.normalised(once) == once


def test_typography_does_not_count() -> None:
    """Case, dashes, quotes and blanks make no difference; words and addresses do."""
    assert text.normalised("It’s  GONE — “really”!") == text.normalised("it's gone - 'really'")
    assert text.normalised("see https://a.example/x") != text.normalised("see https://a.example/y")


def test_what_the_classifier_reads() -> None:
    """Warning, text without the @names in front, poll, alt texts; names inside stay, and there is an end to it."""
    mention = Mention(
        uri="https://tilde.example/1",
        platform="memory",
        source="acme",
        remote_id="1",
        author=Author("mira@tilde.example"),
        text="@quayside @bob@b.example: it crashes, ask @eve",
        created_at=datetime.now(UTC),
        warning="angry",
        attachments=(Attachment("image", "https://a.example/1.png", "a stack trace"), Attachment("image", "https://a.example/2.png")),
        poll=("yes", "no"),
    )
    assert text.classifier_input(mention) == "angry\nit crashes, ask @eve\nyes\nno\na stack trace"


@given(ANYTHING, ANYTHING)
def test_the_classifiers_input_is_bounded(body: str, warning: str) -> None:
    """However long the post."""
    mention = Mention("u", "memory", "acme", "1", Author("a@b"), body * 400, datetime.now(UTC), warning=warning)
    assert len(text.classifier_input(mention)) <= text.CLASSIFIER_CHARACTERS
