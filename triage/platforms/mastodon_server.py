"""One Mastodon server as one account sees it: raw reads through mastodon.py, and what the server says about itself.

mastodon.py builds the requests; its typed parsing sees an empty document, because it handles 400 notifications a second
where JSON handles 32,000, and one field of a wrong type can spoil a page. What we learn once is kept for the life of the process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from mastodon import Mastodon
from pydantic import ValidationError

from triage import remote
from triage.errors import NotAccepted, OutcomeUnknown, Refused
from triage.platforms.mastodon_wire import WireAccount
from triage.text import URL_LENGTH

MAX_CHARACTERS = 500  # where a server does not say


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says about itself. `host` is the one in its accounts' names, which need not be that of its address."""

    host: str
    version: str = ""
    max_characters: int = MAX_CHARACTERS
    url_length: int = URL_LENGTH
    streaming: str = ""

    @property
    def is_mastodon(self) -> bool:
        """True for Mastodon itself and its forks, which keep an Idempotency-Key for an hour.

        Others tell a version below 1 (GoToSocial) or add in brackets what they are: `2.7.2 (compatible; …)`.
        """
        return re.fullmatch(r"[1-9]\d*\.\d+\.\d+[\w.+-]*", self.version) is not None


class Server:
    """The way to it. `source` names it in errors; `token` is None for what nobody needs to log in for."""

    def __init__(self, source: str, url: str, token: str | None) -> None:
        self.source = source
        self.url = url
        self.token = token
        if token is not None:
            remote.keep_secret(token)
        self.session: requests.Session = remote.session(source)
        self.client: Any = Mastodon(
            access_token=token,
            api_base_url=url,
            session=self.session,
            user_agent=remote.AGENT,
            request_timeout=remote.DEADLINE_SECONDS,
            version_check_mode="none",
            ratelimit_method="throw",
        )
        self.time: datetime | None = None  # the server's clock at its last answer
        self._facts: Facts | None = None
        self._account: WireAccount | None = None

    def answer(self, call: Callable[[Any], object]) -> remote.Answer:
        """The raw answer to a read: `call` gets the client. Raises NotAccepted and Refused; a read is never in doubt."""
        with remote.raw() as answers:
            try:
                with remote.talking(self.source):
                    call(self.client)
            except OutcomeUnknown as error:  # the client did not like the answer (a header, say), or we made a wrong call
                if not answers:
                    raise NotAccepted(str(error)) from None
        if not answers:
            raise NotAccepted(f"{self.source}: no request was made")
        self.time = time_of(answers[-1])
        return answers[-1]

    def read(self, call: Callable[[Any], object]) -> Any:
        """The parsed JSON of the answer to a read."""
        return self.answer(call).json()

    def read_list(self, call: Callable[[Any], object]) -> list[Any]:
        """The same where a list is due; NotAccepted for anything else."""
        found = self.read(call)
        if not isinstance(found, list):
            raise NotAccepted(f"{self.source}: the server answered with a {type(found).__name__} where a list is due")
        return found

    def facts(self) -> Facts:
        """What the server says about itself, asked once: API v2, else v1, else the defaults."""
        if self._facts is None:
            self._facts = self._ask()
        return self._facts

    def _ask(self) -> Facts:
        for call in (lambda client: client.instance_v2(), lambda client: client.instance_v1()):
            try:
                found = self.read(call)
            except Refused:
                continue
            if isinstance(found, dict):
                return facts_of(found, self.url)
        return facts_of({}, self.url)

    def account(self) -> WireAccount | None:
        """The token's account, asked once; None without a token."""
        if self.token is None:
            return None
        if self._account is None:
            self._account = account_of(self.read(lambda client: client.account_verify_credentials()), self.source)
        return self._account


def account_of(payload: Any, source: str) -> WireAccount:
    """An account; NotAccepted for an answer that is none."""
    try:
        return WireAccount.model_validate(payload)
    except ValidationError as error:
        where = ", ".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise NotAccepted(f"{source}: the server's answer is no account ({where})") from None


def facts_of(instance: Mapping[str, Any], url: str) -> Facts:
    """From either version of the instance document; Pleroma and its like say `max_toot_chars`."""
    configuration = _mapping(instance.get("configuration"))
    statuses = _mapping(configuration.get("statuses"))
    urls = {**_mapping(instance.get("urls")), **_mapping(configuration.get("urls"))}
    named = str(instance.get("domain") or instance.get("uri") or "")
    host = (urlsplit(named).netloc if "://" in named else named.strip("/")) or urlsplit(url).netloc
    streaming = urls.get("streaming") or urls.get("streaming_api") or url
    return Facts(
        host=host,
        version=str(instance.get("version") or "")[:100],
        max_characters=_positive(statuses.get("max_characters")) or _positive(instance.get("max_toot_chars")) or MAX_CHARACTERS,
        url_length=_positive(statuses.get("characters_reserved_per_url")) or URL_LENGTH,
        streaming=re.sub(r"\Aws(s?)://", r"http\1://", str(streaming)).rstrip("/"),
    )


def time_of(answer: remote.Answer) -> datetime | None:
    """The server's clock, from the Date header."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _positive(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
