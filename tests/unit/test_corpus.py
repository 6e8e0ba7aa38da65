"""The corpus: the shipped one passes its check, and the check finds what would flatter a model."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from triage.classifier import check_corpus, corpus_folder, read_corpus
from triage.classifier.corpus import LEAST_POSTS, Corpus, Post, digest_of
from triage.errors import ModelError
from triage.mention import Label

LABELS = list(Label)
SYLLABLES = ["ba", "ko", "ri", "tu", "me", "sol", "pan", "dri", "lex", "fo", "gun", "wi"]


def different(number: int) -> str:
    """A text like no other one: eight made-up words."""
    draw = random.Random(number)
    return " ".join("".join(draw.choices(SYLLABLES, k=4)) for _ in range(8))


def post(number: int, **changes: Any) -> Post:
    """A post without fault; each topic holds two labels."""
    row = {
        "id": f"p-{number}",
        "text": different(number),
        "label": LABELS[number % 4],
        "lang": "en",
        "topic": f"t{number // 8 % 10}",
        "form": "post",
    }
    return Post(**{**row, **changes})


def of(*posts: Post) -> Corpus:
    """A corpus of these posts."""
    return Corpus(posts, {}, ())


def write(folder: Path, *rows: Any) -> Path:
    """A folder with one file that holds these rows, a string as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "some.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


GOOD = {"id": "a-1", "text": "works", "label": "praise", "lang": "en", "topic": "t", "form": "post"}


def test_the_shipped_corpus_passes() -> None:
    """The corpus that ships has no finding."""
    assert check_corpus(read_corpus(corpus_folder())) == []


def test_the_shipped_corpus_is_large_and_in_several_languages() -> None:
    """It holds the promised number of posts, every label, and at least four languages worth measuring."""
    posts = read_corpus(corpus_folder()).posts
    assert len(posts) >= LEAST_POSTS
    assert set(Counter(post.label for post in posts)) == set(Label)
    assert {lang for lang, count in Counter(post.lang for post in posts).items() if count >= 50} >= {"en", "fr", "de", "es"}


def test_a_faultless_corpus_has_no_finding() -> None:
    """Posts that differ pass: what the other tests find is due to what they change."""
    assert check_corpus(of(*map(post, range(80))), least=80) == []


def test_too_few_posts_are_found() -> None:
    """A corpus below the number that is asked for is refused with both numbers."""
    assert check_corpus(of(*map(post, range(80))), least=81) == ["the corpus holds 80 posts; at least 81 are needed"]


def test_a_rare_label_is_found() -> None:
    """A label below a tenth is named."""
    posts = [post(number, label=LABELS[number % 3]) for number in range(80)]
    assert any("only 0 of 80 posts are noise" in finding for finding in check_corpus(of(*posts), least=80))


def test_an_id_used_twice_is_found() -> None:
    """Two posts with one id are told by that id."""
    assert check_corpus(of(*map(post, range(80)), post(80, id="p-3")), least=80) == ["the id p-3 is used 2 times"]


def test_a_topic_with_one_label_is_found() -> None:
    """A topic that gives its label away is named."""
    extra = [post(80 + number, topic="lone", label=Label.NOISE) for number in range(3)]
    assert check_corpus(of(*map(post, range(80)), *extra), least=80) == ["the topic 'lone' holds one label only: noise"]


@pytest.mark.parametrize(
    "twin",
    [
        different(5),
        different(5).upper() + "!!!",
        different(5).replace(different(5).split()[2], "word", 1),
    ],
)
def test_a_post_told_twice_is_found(twin: str) -> None:
    """The same post is found again in capitals, with other signs, and with one word changed."""
    findings = check_corpus(of(*map(post, range(80)), post(80, text=twin)), least=80)
    assert len(findings) == 1
    assert findings[0].startswith("p-5 and p-80 are nearly the same post")


def test_posts_that_differ_in_numbers_alone_are_the_same() -> None:
    """A template filled with other numbers is found as the same post."""
    same = [post(80 + number, text=f"version {number}.4 dies after {number * 13} seconds on my machine here") for number in range(2)]
    assert any("nearly the same post" in finding for finding in check_corpus(of(*map(post, range(80)), *same), least=80))


def test_a_recurring_opening_is_found() -> None:
    """Five posts that begin with the same four words are a template."""
    framed = [post(80 + number, text="i just wanted to " + different(80 + number)) for number in range(5)]
    assert any("5 posts begin with 'i just wanted to'" in finding for finding in check_corpus(of(*map(post, range(80)), *framed), least=80))


def test_a_recurring_run_of_words_is_found() -> None:
    """Five posts that share six words in a row, wherever they stand, are a template."""
    framed = [
        post(80 + number, text=f"{different(80 + number)} as far as the eye sees {different(200 + number)} {number}") for number in range(5)
    ]
    findings = check_corpus(of(*map(post, range(80)), *framed), least=80)
    assert any("5 posts hold 'as far as the eye sees'" in finding for finding in findings)


def test_many_findings_of_a_kind_are_counted() -> None:
    """A corpus with hundreds of faults of one kind doesn't fill the screen with them."""
    findings = check_corpus(of(*(post(number, topic=f"t{number}") for number in range(80))), least=80)
    assert len(findings) == 11
    assert findings[-1] == "… and 70 more like the last one"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "must be an object"),
        ({**GOOD, "mood": "x"}, "must be an object with the fields"),
        ({key: value for key, value in GOOD.items() if key != "topic"}, "must be an object with the fields"),
        ({**GOOD, "text": 3}, "must be text"),
        ({**GOOD, "text": "  "}, "must be text and not empty"),
        ({**GOOD, "label": "bug"}, "the label 'bug' is none of"),
        ({**GOOD, "lang": "english"}, "two small letters"),
        ({**GOOD, "form": "poem"}, "the form 'poem' is none of"),
        ({**GOOD, "text": "long " * 5_000}, "is longer than"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: Any, fault: str) -> None:
    """A line that breaks the schema is told by file, number and reason, and the others are read."""
    corpus = read_corpus(write(tmp_path, GOOD, line))
    assert len(corpus.posts) == 1
    (finding,) = corpus.faults
    assert finding.startswith("some.jsonl, line 2: ")
    assert fault in finding


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    """A file in another encoding is a fault of the line, not a crash."""
    (tmp_path / "some.jsonl").write_bytes(json.dumps(GOOD).replace("works", "né").encode("latin-1").replace(b"\\u00e9", b"\xe9"))
    assert "the text is no UTF-8" in read_corpus(tmp_path).faults[0]


@pytest.mark.parametrize("missing", [True, False])
def test_a_folder_without_a_corpus_is_refused(tmp_path: Path, missing: bool) -> None:
    """A folder that isn't there, or holds no such file, is refused with the next step."""
    with pytest.raises(ModelError, match=r"no file ends in \.jsonl\. Next: "):
        read_corpus(tmp_path / "nowhere" if missing else tmp_path)


def test_the_digest_tells_the_content_not_the_order() -> None:
    """Two orders have one digest; another label or another text has another."""
    pairs = [("one", "praise"), ("two", "noise")]
    assert digest_of(pairs) == digest_of(pairs[::-1])
    assert len({digest_of(pairs), digest_of([("one", "noise"), ("two", "noise")]), digest_of([("on", "praise"), ("two", "noise")])}) == 3
