"""The links of prepared answers: which there are, which are due to be looked at, and what follows where one is gone (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import SplitResult, urlsplit

from triage import text

EVERY = timedelta(days=1)
SOONER = timedelta(hours=1)  # after a look that found it gone, or that failed: it may be mended
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Look:
    """What the last look at a link showed. `gone`: there is no such page, or no more. `problem` is empty where it is there."""

    at: datetime
    gone: bool = False
    problem: str = ""


def links_of(template: str) -> list[str]:
    """The links that stand whole in a prepared answer's text, each once; one that is filled in only when it is used is left out."""
    held = _TEMPLATE.sub("\0", template)
    return list(dict.fromkeys(link for link in text.links(held) if "\0" not in link))


def due(links: Iterable[str], known: Mapping[str, Look], now: datetime) -> list[str]:
    """Those that should be looked at now: never looked at first, then the longest ago."""
    wanted = [link for link in dict.fromkeys(links) if link not in known or now - known[link].at >= _after(known[link])]
    return sorted(wanted, key=lambda link: known[link].at.timestamp() if link in known else 0.0)


def _after(look: Look) -> timedelta:
    return SOONER if look.problem else EVERY


def moved(link: str, to: str) -> bool:
    """Whether a redirect for good, from `link` to `to`, means that the page is not there any more.

    So it does where it leads to another host (`www.` before it makes none), or from a page to the front page.
    """
    here, there = urlsplit(link), urlsplit(to)
    return _host(here) != _host(there) or (_is_front(there) and not _is_front(here))


def _host(address: SplitResult) -> str:
    return (address.hostname or "").removeprefix("www.")


def _is_front(address: SplitResult) -> bool:
    return address.path in ("", "/") and not address.query


def gone(template: str, known: Mapping[str, Look]) -> str:
    """Why an answer must not be used: a link of it is gone. Empty where none is."""
    found = next(((link, look) for link in links_of(template) if (look := known.get(link)) is not None and look.gone), None)
    return f"its link {found[0]} is gone ({found[1].problem}, looked at {_clock(found[1].at)}): mend it in the config" if found else ""


def doubtful(template: str, known: Mapping[str, Look]) -> str:
    """What to say beside an answer of which a link could not be looked at; empty where there is none."""
    looks = ((link, known.get(link)) for link in links_of(template))
    found = next(((link, look) for link, look in looks if look is not None and look.problem and not look.gone), None)
    return f"its link {found[0]} could not be looked at ({found[1].problem}, {_clock(found[1].at)}): try it first" if found else ""


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
