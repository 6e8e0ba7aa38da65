"""What a person sees in a browser: posts and answers, tickets, alerts. All text is escaped; no script runs."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from triage.sandbox.http import Reply, page
from triage.sandbox.jira_documents import plain

if TYPE_CHECKING:
    from triage.sandbox.jira import JiraServer
    from triage.sandbox.jira_state import Ticket
    from triage.sandbox.mastodon import MastodonServer
    from triage.sandbox.mastodon_state import Status
    from triage.sandbox.receiver import Receiver

REFRESH_SECONDS = 5
SHOWN_THREADS = 60
SHOWN_TICKETS = 200
DEEPEST_INDENT = 6
STYLE = """
:root{color-scheme:light dark;--line:#8883;--soft:#8882;--dim:#777}
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1.2rem}
h1{font-size:1.35rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}a{color:inherit}
.dim{color:var(--dim);font-size:.86rem}.card{border:1px solid var(--line);border-radius:.7rem;padding:.7rem .95rem;margin:.7rem 0}
.thread{border-top:1px solid var(--line);padding:.7rem 0}.post{margin:.45rem 0;padding:.35rem .7rem;border-left:3px solid var(--line)}
.ours{border-left-color:#3a7bd5;background:var(--soft)}.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:.15rem 0}
.tag{display:inline-block;border-radius:1rem;padding:0 .55rem;font-size:.78rem;background:var(--soft);margin-right:.25rem}
.todo{background:#8884}.doing{background:#3a7bd544}.done{background:#2a9d5544}.bad{background:#d2413a44}
table{width:100%;border-collapse:collapse}
td,th{text-align:left;padding:.4rem .5rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.82rem}
"""


def layout(title: str, about: str, body: Iterable[str]) -> Reply:
    """A whole page. `about` and `body` are HTML, `title` is text."""
    return page(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1><p class="dim">{about}</p>{"".join(body)}</body></html>'
    )


def tag(text: str, kind: str = "") -> str:
    """A small label."""
    return f'<span class="tag {kind}"><bdi>{escape(text)}</bdi></span>'


def ago(then: float, now: float) -> str:
    """How long ago that was."""
    seconds = max(0, int(now - then))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def mastodon_home(server: MastodonServer) -> Reply:
    """The newest threads, each with the answers in it."""
    instance = server.instance
    roots: dict[str, None] = {}
    for _, status_id in sorted((status.created, status.id) for status in instance.statuses.values())[::-1]:
        if len(roots) == SHOWN_THREADS:
            break
        status = instance.statuses[status_id]
        above = instance.ancestors(status)
        roots.setdefault((above[0] if above else status).id)
    answers = sum(1 for status in instance.statuses.values() if status.by_token)
    about = f"A stand-in for a Mastodon server. {len(instance.statuses)} posts, {answers} of them answers by @{escape(server.product)}."
    return layout(
        "Sandbox Mastodon", about, [_thread(server, instance.statuses[root]) for root in roots] or ["<p>Nobody has posted yet.</p>"]
    )


def mastodon_post(server: MastodonServer, status_id: str) -> Reply:
    """A post within its thread."""
    status = server.instance.statuses.get(status_id)
    if status is None:
        return page("<!DOCTYPE html><title>Gone</title><p>This post does not exist, or not any more.", 404)
    above = server.instance.ancestors(status)
    return layout("Sandbox Mastodon", '<a href="/">All posts</a>', [_thread(server, above[0] if above else status, status_id)])


def mastodon_profile(server: MastodonServer, acct: str) -> Reply:
    """An account and its newest posts."""
    account = server.instance.accounts.get(acct)
    if account is None:
        return page("<!DOCTYPE html><title>Gone</title><p>This account does not exist.", 404)
    newest = [server.instance.statuses[status_id] for _, status_id in server.instance.by_author[acct][: -SHOWN_THREADS - 1 : -1]]
    facts = f"{account.followers} followers" + (" · automatic" if account.bot else "")
    body = [f'<div class="card text"><bdi>{escape(account.bio) or "No description."}</bdi></div>']
    body += [_post(server, status, 0, marked=False) for status in newest]
    return layout(account.display_name or account.username, f'<a href="/">All posts</a> · @{escape(acct)} · {facts}', body)


def picture() -> Reply:
    """What stands for every attached image: a plain grey rectangle."""
    width, height = 320, 200

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xaa" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Reply(whole, content_type="image/png")


def _thread(server: MastodonServer, root: Status, marked: str = "") -> str:
    depths = {root.id: 0}
    posts = [root, *server.instance.descendants(root)]
    for post in posts[1:]:
        depths[post.id] = depths.get(post.in_reply_to or "", 0) + 1
    return '<div class="thread">' + "".join(_post(server, post, depths[post.id], marked=post.id == marked) for post in posts) + "</div>"


def _post(server: MastodonServer, status: Status, depth: int, *, marked: bool) -> str:
    author = server.instance.account(status.author)
    now = server.now()
    labels = [tag(status.visibility, "bad" if status.visibility in ("private", "direct") else "")] if status.visibility != "public" else []
    labels += [tag("our answer", "doing")] if status.by_token else []
    labels += [tag("edited")] if status.edited else []
    labels += [tag("this one")] if marked else []
    labels += [tag(f"image: {media.get('description') or 'no description'}") for media in status.media]
    labels += [tag(f"poll: {option}") for option in status.poll]
    warning = f'<div class="dim">Content warning: <bdi>{escape(status.spoiler)}</bdi></div>' if status.spoiler else ""
    name = f"<b><bdi>{escape(author.display_name or author.username)}</bdi></b> @{escape(author.acct)}"
    ours = "ours" if author.acct == server.product else ""
    return (
        f'<div class="post {ours}" style="margin-left:{min(depth, DEEPEST_INDENT) * 1.2}rem"><div class="dim">{name} · '
        f'<a href="/@{escape(author.acct)}/{escape(status.id)}">{ago(status.created, now)}</a> {"".join(labels)}</div>'
        f'{warning}<div class="text"><bdi>{escape(status.text)}</bdi></div></div>'
    )


def jira_home(server: JiraServer) -> Reply:
    """The tickets, newest first."""
    rows = "".join(
        f'<tr><td><a href="/browse/{escape(ticket.key)}">{escape(ticket.key)}</a></td><td>{_status(ticket)}</td>'
        f"<td><bdi>{escape(ticket.summary)}</bdi><br>{_labels(ticket)}</td>"
        f'<td class="dim">{ago(ticket.created, server.now())}<br>{len(ticket.comments)} comments</td></tr>'
        for ticket in server.tickets[: -SHOWN_TICKETS - 1 : -1]
    )
    table = f"<table><tr><th>Key<th>Status<th>Summary<th></tr>{rows}</table>" if rows else "<p>No tickets yet.</p>"
    kind = "Cloud" if server.is_cloud else "Data Center"
    return layout("Sandbox Jira", f"A stand-in for Jira {kind}. {len(server.tickets)} tickets.", [table])


def jira_ticket(server: JiraServer, key: str) -> Reply:
    """One ticket with its comments."""
    ticket = server.board.find(key)
    if ticket is None:
        return page("<!DOCTYPE html><title>Gone</title><p>This ticket does not exist, or not any more.", 404)
    facts = (ticket.issue_type, f"priority {ticket.priority}", ago(ticket.created, server.now()))
    about = f'<a href="/">All tickets</a> · {escape(" · ".join(facts))}'
    parts = [tag(f"component: {name}") for name in ticket.components] + [tag(f"fixed in {name}", "done") for name in ticket.fix_versions]
    body = [
        f"<p>{_status(ticket)} {_labels(ticket)} {''.join(parts)}</p>",
        f'<div class="card text"><bdi>{escape(plain(ticket.description)) or "No description."}</bdi></div>',
        f"<h2>{len(ticket.comments)} comments</h2>",
    ]
    body += [
        f'<div class="card"><div class="dim">{escape(comment.author)} · {ago(comment.created, server.now())}</div>'
        f'<div class="text"><bdi>{escape(plain(comment.body))}</bdi></div></div>'
        for comment in ticket.comments
    ]
    return layout(f"{ticket.key}: {ticket.summary}", about, body)


def _status(ticket: Ticket) -> str:
    kind = {"To Do": "todo", "Done": "done"}.get(ticket.status, "doing")
    return tag(ticket.status, kind) + (tag(ticket.resolution) if ticket.resolution else "")


def _labels(ticket: Ticket) -> str:
    return "".join(tag(label) for label in ticket.labels)


def alerts(receiver: Receiver) -> Reply:
    """What was raised and what was sent to the webhook."""
    found = sorted(receiver.alerts, key=lambda alert: (alert["open"], alert["updatedAt"]), reverse=True)
    open_ones = sum(1 for alert in found if alert["open"])
    body = ["<h2>Alerts</h2>", *(_alert(alert) for alert in found)] if found else ["<p>All is quiet: no alert yet.</p>"]
    calls = receiver.webhooks[-10:][::-1]
    body += ["<h2>Calls of the webhook</h2>"] if calls else []
    body += [f'<div class="card"><div class="dim">{escape(call["at"])}</div><pre>{escape(_pretty(call))}</pre></div>' for call in calls]
    return layout("Sandbox alerts", f"A stand-in for an Alertmanager and a webhook. {open_ones} open alerts.", body)


def _alert(alert: dict[str, Any]) -> str:
    state = tag("open", "bad") if alert["open"] else tag("over", "done")
    labels = "".join(tag(f"{name}: {value}") for name, value in sorted(alert["labels"].items()))
    notes = "".join(
        f'<div class="text"><span class="dim">{escape(name)}</span> <bdi>{escape(value)}</bdi></div>'
        for name, value in sorted(alert["annotations"].items())
    )
    return f'<div class="card"><div>{state}{labels}</div>{notes}<div class="dim">since {escape(alert["startsAt"])}</div></div>'


def _pretty(call: dict[str, Any]) -> str:
    text = str(call.get("body", "(bytes)"))
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
