"""Labelled posts to train from: reading them, and refusing a corpus that would teach the wrong thing.

A corpus is a folder of `*.jsonl` files; docs/labelling-guide.md tells the fields of a line and what the labels mean. The check
looks for what makes a model's scores look better than the model: the same post twice, a sentence made from a template, a
topic that gives its label away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.errors import ModelError
from triage.mention import Label

LEAST_POSTS = 1_200
CORRECTION = "correction"
"""The kind of what people corrected."""
FORMS = ("post", "reply", "issue", "chat", "review")
FIELDS = ("id", "text", "label", "lang", "topic", "form")

_LONGEST_TEXT = 20_000  # characters
_LEAST_SHARE = 0.1  # of each label
_ALIKE = 80.0  # per cent of the letters; two posts that ask for the same thing in other words stay below
_FRAME_WORDS = 5
_FRAME_POSTS = 4  # this many posts may begin with the same words, or hold the same run of words; of a large corpus one in 1,000
_FINDINGS_OF_A_KIND = 10  # more are counted, not listed


@dataclass(frozen=True, slots=True)
class Post:
    """One labelled post. `topic` is what it is about: posts of one topic go to the same side of any split. `kind` is its file's name."""

    id: str
    text: str
    label: Label
    lang: str
    topic: str
    form: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The posts of a folder, the digest of each of its files (sha256), and what is wrong with its lines."""

    posts: tuple[Post, ...]
    files: dict[str, str]
    faults: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The sha256 of what the posts say, independent of the files that they stand in."""
        return digest_of((post.text, post.label) for post in self.posts)


def digest_of(pairs: Iterable[tuple[str, str]]) -> str:
    """The sha256 of (text, label) pairs, independent of their order."""
    lines = sorted(json.dumps([text, str(label)], ensure_ascii=False) for text, label in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def corpus_folder() -> Path:
    """The corpus that ships: in the installed package, or else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_models" / "corpus"
    return installed if installed.is_dir() else package.parent / "models" / "corpus"


def read_corpus(folder: Path) -> Corpus:
    """Read every `*.jsonl` file of `folder`, in the order of their names. Raises ModelError when there is none."""
    try:
        paths = sorted(folder.glob("*.jsonl"))
        contents = {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise ModelError(f"the corpus in {folder} can't be read: {error.strerror}. Next: check the path and your rights") from None
    if not contents:
        raise ModelError(f"there is no corpus in {folder}: no file ends in .jsonl. Next: name the right folder with --corpus")
    posts: list[Post] = []
    faults: list[str] = []
    for name, content in contents.items():
        for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), start=1):
            if not line.strip():
                continue
            post = _post(line, name.removesuffix(".jsonl"))
            if isinstance(post, Post):
                posts.append(post)
            else:
                faults.append(f"{name}, line {number}: {post}")
    return Corpus(tuple(posts), {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}, tuple(faults))


def _post(line: str, kind: str) -> Post | str:
    """The post of a line, or what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "is no JSON"
    if not isinstance(row, dict) or set(row) != set(FIELDS):
        return f"must be an object with the fields {', '.join(FIELDS)}"
    if not all(isinstance(row[name], str) and row[name].strip() for name in FIELDS):
        return "each field must be text and not empty"
    if row["label"] not in list(Label):
        return f"the label {row['label']!r} is none of {', '.join(Label)}"
    if not re.fullmatch(r"[a-z]{2}", row["lang"]):
        return f"the language {row['lang']!r} must be two small letters"
    if row["form"] not in FORMS:
        return f"the form {row['form']!r} is none of {', '.join(FORMS)}"
    if len(row["text"]) > _LONGEST_TEXT:
        return f"the text is longer than {_LONGEST_TEXT} characters"
    if "\ufffd" in row["text"]:
        return "the text is no UTF-8"
    return Post(**{**row, "label": Label(row["label"]), "kind": kind})


def check_corpus(corpus: Corpus, *, least: int = LEAST_POSTS) -> list[str]:
    """What is wrong with a corpus, in words; an empty list when nothing is. `least` is the number of posts that it must hold."""
    posts = corpus.posts
    findings = [*_shortened(list(corpus.faults))]
    if len(posts) < least:
        findings.append(f"the corpus holds {len(posts)} posts; at least {least} are needed")
    counts = Counter(post.label for post in posts)
    findings += [
        f"only {counts[label]} of {len(posts)} posts are {label}: each label needs a tenth"
        for label in Label
        if counts[label] < _LEAST_SHARE * len(posts)
    ]
    findings += _shortened(
        [f"the id {id_} is used {count} times" for id_, count in Counter(post.id for post in posts).items() if count > 1]
    )
    labels: dict[str, set[Label]] = defaultdict(set)
    for post in posts:
        labels[post.topic].add(post.label)
    findings += _shortened([f"the topic {topic!r} holds one label only: {min(found)}" for topic, found in labels.items() if len(found) < 2])
    findings += _shortened(list(_twins(posts)))
    findings += _shortened(list(_frames(posts)))
    return findings


def _shortened(findings: list[str]) -> list[str]:
    more = len(findings) - _FINDINGS_OF_A_KIND
    return findings if more <= 0 else [*findings[:_FINDINGS_OF_A_KIND], f"… and {more} more like the last one"]


def _bare(text: str) -> str:
    """The words alone: no case, no signs, each number the same."""
    return " ".join(re.findall(r"\w+", re.sub(r"\d+", "0", text.casefold())))


def _twins(posts: Sequence[Post]) -> Iterator[str]:
    """Pairs of posts that say the same in nearly the same letters."""
    import numpy as np
    from rapidfuzz import fuzz, process

    bare = [_bare(post.text) for post in posts]
    for start in range(0, len(posts), 500):  # a square of all pairs at once would not fit for a large corpus
        block = bare[start : start + 500]
        alike = process.cdist(block, bare[start:], scorer=fuzz.ratio, score_cutoff=_ALIKE, dtype=np.uint8)
        for row, column in zip(*np.nonzero(alike), strict=True):
            if column > row:
                one, other = posts[start + row], posts[start + column]
                yield f"{one.id} and {other.id} are nearly the same post ({int(alike[row, column])} % of the letters): {one.text[:60]!r}"


def _frames(posts: Sequence[Post]) -> Iterator[str]:
    """Beginnings and runs of words that many posts share: the mark of a template."""
    openings: dict[str, list[str]] = defaultdict(list)
    runs: dict[str, list[str]] = defaultdict(list)
    for post in posts:
        words = _bare(post.text).split()
        if len(words) > _FRAME_WORDS:
            openings[" ".join(words[: _FRAME_WORDS - 1])].append(post.id)
        for run in {" ".join(words[at : at + _FRAME_WORDS + 1]) for at in range(len(words) - _FRAME_WORDS)}:
            if len(re.findall(r"[^\W\d_]{2,}", run)) > _FRAME_WORDS // 2:  # rows of numbers in logs are no sentence
                runs[run].append(post.id)
    for kind, found in (("begin with", openings), ("hold", runs)):
        for words_, ids in found.items():
            if len(ids) > max(_FRAME_POSTS, len(posts) // 1_000):
                yield f"{len(ids)} posts {kind} {words_!r}: {', '.join(ids[:6])}"
