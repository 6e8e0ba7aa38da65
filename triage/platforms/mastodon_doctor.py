"""What `triage doctor` says about a Mastodon account: each finding with the next step. Changes nothing on the server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from triage import remote
from triage.contracts import Finding
from triage.errors import Refused, RemoteError, Unauthorized
from triage.platforms.mastodon_server import Facts, Server, account_of
from triage.platforms.mastodon_stream import opened
from triage.platforms.mastodon_wire import WireAccount

SKEW_SECONDS = 60.0
NEEDED = "read:accounts read:notifications read:search read:statuses write:statuses"


def examine(server: Server, hashtags: Sequence[str], words: Sequence[str]) -> Iterator[Finding]:
    """Everything worth knowing before the service acts; stops early where nothing else could work."""
    try:
        facts = server.facts()
    except RemoteError as error:
        yield Finding("fail", str(error), f"look at {server.url} in a browser, and at `url` in the config")
        return
    yield Finding("ok", f"{facts.host} runs {facts.version or 'an unnamed version'}; a post may have {facts.max_characters} characters")
    yield from _way(server)
    if server.token is None:
        yield Finding("warn", "no token: only public hashtags are read, and nothing is answered", "set `token` to read mentions")
    else:
        account = yield from _account(server, facts)
        if account is None:
            return
        yield from _rights(server, account)
        yield from _notifications(server)
        yield from _streaming(server)
        yield from _words(server, words)
    for tag in hashtags:
        yield from _try(
            partial(_newest_with, server, tag),
            f"#{tag} can be read",
            f"#{tag} can't be read",
            "set a token, or take the hashtag out of `hashtags`",
        )


def _newest_with(server: Server, tag: str) -> object:
    return server.read_list(lambda client: client.timeline_hashtag(tag, limit=1))


def _way(server: Server) -> Iterator[Finding]:
    """The connection: encryption, and whether both clocks agree."""
    address = urlsplit(server.url)
    if address.scheme == "http" and address.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield Finding("warn", "the token travels without encryption", f"set `url` to https://{address.netloc}")
    if server.time is None:
        return
    skew = (server.time - datetime.now(UTC)).total_seconds()
    if abs(skew) > SKEW_SECONDS:
        where = "ahead of" if skew > 0 else "behind"
        yield Finding("warn", f"the server's clock is {abs(skew):.0f} s {where} ours", "let this machine's clock be set by NTP")
    else:
        yield Finding("ok", "the server's clock agrees with ours")


def _account(server: Server, facts: Facts) -> Generator[Finding, None, WireAccount | None]:
    """Whose the token is. Returns the account, None where the token does not work."""
    try:
        payload = server.read(lambda client: client.account_verify_credentials())
        account = account_of(payload, server.source)
    except RemoteError as error:
        yield Finding(
            "fail",
            f"the token does not work: {error}",
            f"make one on {server.url} under Preferences, Development, with the rights {NEEDED}",
        )
        return None
    yield Finding("ok", f"the token is that of @{account.acct}@{facts.host}")
    if not account.bot:
        yield Finding(
            "warn",
            f"@{account.acct} is not marked as automated",
            "if rules answer by themselves, tick “This is an automated account” in its profile; answers by people need nothing",
        )
    return account


def _rights(server: Server, account: WireAccount) -> Iterator[Finding]:
    """The scopes, each by what it is for."""
    again = f"make a new token with the rights {NEEDED}"
    yield from _try(
        lambda: server.read_list(lambda client: client.account_statuses(account.id, limit=1)),
        "our own posts can be read",
        "our own posts can't be read, so answers without our @name are missed",
        again,
    )
    try:
        with remote.talking(server.source):
            server.client.status_post("", visibility="direct")
    except Refused:
        yield Finding("ok", "the token may post (an empty text was refused, nothing was posted)")
    except Unauthorized:
        yield Finding("fail", "the token may not post", again)
    except RemoteError as error:
        yield Finding("warn", f"whether the token may post is not known: {error}", "run `triage doctor` again")
    else:
        yield Finding("warn", "the server accepted an empty post, to nobody", f"delete it on {server.url}")


def _notifications(server: Server) -> Iterator[Finding]:
    """Whether mentions can be read, and how many the account's policy holds back."""
    try:
        server.read_list(lambda client: client.notifications(limit=1))
    except RemoteError as error:
        yield Finding("fail", f"mentions can't be read: {error}", f"make a new token with the rights {NEEDED}")
        return
    yield Finding("ok", "mentions can be read")
    try:
        policy = server.read(lambda client: client.notifications_policy())
        summary = policy["summary"]
        held, modes = int(summary["pending_notifications_count"]), [name for name, mode in policy.items() if mode == "drop"]
    except Refused:
        yield Finding("ok", "this server holds no mentions back")
        return
    except (RemoteError, KeyError, TypeError, ValueError) as error:
        yield Finding(
            "warn", f"the notification policy can't be read: {remote.redact(str(error))[:200]}", "look under Preferences, Notifications"
        )
        return
    where = f"look at {server.url}/settings/preferences/notifications"
    if modes:
        yield Finding("warn", f"the policy throws notifications away ({', '.join(modes)}): those mentions are never seen", where)
    grouped = _works(lambda: server.read(lambda client: client.grouped_notifications(limit=1, include_filtered=True)))
    if held and not grouped:
        yield Finding("warn", f"the policy holds back {held} mentions, and this server does not show them to us", where)
    else:
        yield Finding(
            "ok", f"the policy holds back {held} mentions; we read them all the same" if held else "the policy holds no mentions back"
        )


def _streaming(server: Server) -> Iterator[Finding]:
    """Whether edits and deletions come at once."""

    if _works(lambda: opened(server).close()):
        yield Finding("ok", "edits and deletions come by stream")
    else:
        yield Finding("warn", "no event stream: edits and deletions are found by reading posts again, up to an hour later", "nothing to do")


def _words(server: Server, words: Sequence[str]) -> Iterator[Finding]:
    """Whether the server's search finds posts."""
    if not words:
        return
    how = {"resolve": False, "result_type": "statuses", "exclude_unreviewed": False, "limit": 1}
    try:
        found = server.read(lambda client: client.search_v2(f'"{words[0]}"', **how))
    except RemoteError as error:
        yield Finding("warn", f"words can't be searched: {error}", "add the right read:search, or watch hashtags instead of words")
        return
    if isinstance(found, dict) and found.get("statuses"):
        yield Finding("ok", "the server's search finds posts")
    else:
        yield Finding(
            "warn", f"the search found no post with “{words[0]}”; many servers search no posts at all", "watch hashtags instead of words"
        )


def _try(call: Callable[[], object], good: str, bad: str, next_step: str) -> Iterator[Finding]:
    try:
        call()
    except RemoteError as error:
        yield Finding("fail", f"{bad}: {error}", next_step)
    else:
        yield Finding("ok", good)


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except RemoteError:
        return False
    return True
