"""status, queue, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import ago, as_json, label_words, opened, print_json, safe, span

if TYPE_CHECKING:
    from triage.store.place import Stand


@click.command()
@as_json
def status(as_json: bool) -> None:
    """The service at a glance."""
    from triage.pipeline import learning

    with opened() as app:
        found = app.store.views.status(app.clock.now())
        found["mode"] = app.config.mode
        stand = app.store.place.stand(app.clock.now())
        found["copied"], found["restore_mode_until"] = stand.copied, stand.until
        found["audits_waiting"], found["earn"] = app.store.samples.count(), app.store.samples.acting()
        acts = learning.acting(app)
        found["model"] = {"version": acts.version, "origin": acts.origin, "fault": acts.fault}
    if as_json:
        print_json(found)
        return
    _print_stand(stand)
    mentions = found["mentions"]
    labels = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(mentions["labels"].items())) or "none judged yet"
    click.echo(f"mode      {found['mode']}" + ("  (shows what would be done, sends nothing)" if found["mode"] == "observe" else ""))
    click.echo(f"model     {acts.version}, {safe(acts.origin)}")
    if acts.fault:
        click.echo(f"          {safe(acts.fault)}")
    click.echo(f"mentions  {mentions['stored']} stored, {mentions['waiting']} waiting, {mentions['quarantined']} quarantined: {labels}")
    oldest = f", the oldest for {span(found['oldest_open_seconds'])}" if found["oldest_open_seconds"] is not None else ""
    click.echo(f"queue     {found['open_tasks']} open{oldest}")
    for kind in ("ticket", "comment", "reply"):
        states = found["actions"].get(kind)
        if states:
            click.echo(
                f"{kind + 's' if kind != 'reply' else 'replies':<9} "
                + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            )
    if found["in_doubt"] or found["parked"]:
        click.echo(f"attention {found['in_doubt']} in doubt, {found['parked']} parked or rejected: triage queue")
    if found["audits_waiting"] or found["earn"]:
        click.echo(f"trust     {_trust(found['audits_waiting'], found['earn'])}")
    for account in found["accounts"]:
        held = f", {account['held_back']} mentions held back by the server's policy" if account["held_back"] else ""
        late = f", {account['late_found']} found late" if account["late_found"] else ""
        why = f": {safe(account['why'])}" if account["state"] != "ok" and account["why"] else ""
        click.echo(
            f"{account['role']:<9} {account['name']} is {account['state']}, last success {ago(account['last_success'])} ago"
            f"{held}{late}{why}"
        )
        for what in ("requests", "posts"):
            budget = account[what]
            if budget is not None:
                whole = f", whole again at {budget['reset_at']:%H:%M:%S} UTC" if budget["reset_at"] is not None else ""
                click.echo(f"          {budget['left']} of {budget['limit']} {what} left{whole}")
    for alert in found["alerts"]:
        click.echo(f"alert     {alert['name']} since {ago(alert['since'])}: {safe(alert['summary'])}")
    if not found["workers"]:
        click.echo("workers   none is running; start one: triage up, or one pass: triage run --once")


def _trust(waiting: int, earn: dict[str, bool]) -> str:
    """Which rules act alone, and what waits to be audited."""
    words = [f"{waiting} posts wait for the blind audit" + (": triage audit" if waiting else "")]
    for what, acts in (("act alone", True), ("suggest until they have earned it", False)):
        names = [safe(name) for name, alone in earn.items() if alone is acts]
        words += [f"{what}: {', '.join(names)}"] if names else []
    return "; ".join(words)


@click.command()
@as_json
@click.option("--quarantined", is_flag=True, help="List what could not be read or judged instead.")
@click.option("--limit", default=200, show_default=True, help="How many at most.")
def queue(as_json: bool, quarantined: bool, limit: int) -> None:
    """Open human tasks, urgent first, then oldest first; and actions that wait for a decision."""
    with opened() as app:
        found = app.store.views.quarantined(limit) if quarantined else app.store.views.queue()
        stand = app.store.place.stand(app.clock.now())
    total, found = len(found), found[:limit]
    if as_json:
        print_json(found)
        return
    _print_stand(stand)
    if not found:
        click.echo("nothing is quarantined" if quarantined else "nothing waits for a person")
        return
    for row in found:
        _print_task(row) if not quarantined else click.echo(f"mention {row['id']}  {row['source']}  {safe(row['why'])}")
    if not quarantined:
        shown = f"{total} open" if total == len(found) else f"the first {len(found)} of {total}"
        click.echo(f'{shown}. Answer: triage answer ID "text" · close: triage close ID · why: triage show MENTION')


def _print_task(row: dict[str, Any]) -> None:
    flag = click.style("!", fg="red", bold=True) if row["urgent"] else " "
    verdict = f"{row['label']} {row['confidence']:.0%}" if row["label"] else "-"
    if row["likely"]:
        verdict = " or ".join(f"{label_words(one['label'])} {one['score']:.0%}" for one in row["likely"])
    if row["judged_language"] not in (None, "en"):
        verdict += f", in {safe(row['judged_language'])}"
    kind = row["what"] or row["kind"] if row["state"] == "open" else f"{row['kind']} {row['state']}"
    ticket = f"  {row['ticket']['key']}{' ' + row['ticket']['status'] if row['ticket']['status'] else ''}" if row["ticket"] else ""
    private = f"  {row['visibility']}" if row["visibility"] in ("private", "direct") else ""
    head = f"{flag} {row['id']:>5}  {click.style(f'{kind:<12}', bold=True)} {verdict:<22} {ago(row['since']):>7}"
    head += f"  {safe(row['author'])}{private}{ticket}"
    click.echo(head)
    if row["text"]:
        text = " ".join(safe(row["text"]).split())
        click.echo(
            "         " + (f"[{safe(row['warning'])}] " if row["warning"] else "") + (text if len(text) <= 200 else text[:199] + "…")
        )
    click.echo(click.style(f"         {safe(row['reason'])}", dim=True))
    if row["suggest"]:
        click.echo(f"         suggests {', '.join(row['suggest'])}: triage accept {row['id']}")
    if row["draft"]:
        click.echo(f"         text: {safe(row['draft'])}")
    where = f"  {row['url']}" if row["url"] else ""
    click.echo(click.style(f"         mention {row['mention']}{where}", dim=True))


@click.command()
@click.argument("mention")
@as_json
def show(mention: str, as_json: bool) -> None:
    """Everything that happened to MENTION (its number or link), and why."""
    with opened() as app:
        found = app.store.views.show(app.store.desk.mention_id(mention))
    if as_json:
        print_json(found)
        return
    click.echo(
        f"mention {found['id']}  {found['status']}  {found['visibility']}  {safe(found['author'])}  "
        f"{found['created_at']:%Y-%m-%d %H:%M} UTC"
    )
    click.echo(f"  {found['url'] or found['uri']}")
    if found["quarantined"]:
        click.echo(f"  quarantined: {safe(found['quarantined'])}\n  raw: {safe(found['raw'])}")
    if found["warning"]:
        click.echo(f"  [{safe(found['warning'])}]")
    for line in safe(found["text"]).splitlines():
        click.echo(f"  | {line}")
    if found["verdict"]:
        verdict = found["verdict"]
        scores = ", ".join(f"{name} {score:.0%}" for name, score in sorted(verdict["scores"].items(), key=lambda pair: -pair[1]))
        click.echo(f"  {verdict['label']}{'' if verdict['sure'] else ' (not sure)'} by {safe(verdict['by'])}: {scores}")
        if verdict["evidence"]:
            click.echo(f"  because of: {', '.join(safe(word) for word in verdict['evidence'])}")
        if verdict["signals"]:
            click.echo(f"  signals: {', '.join(verdict['signals'])}")
        click.echo(f"  words for and against it: triage why {found['id']}")
    for name, values in found["details"].items():
        click.echo(f"  {name}: {safe(values)}")
    if found["ticket"]:
        ticket = found["ticket"]
        more = "".join(f", {word}" for word in (ticket["status"], ticket["resolution"], *ticket["fix_versions"]) if word)
        click.echo(f"  ticket {ticket['key']}{more}  {ticket['url']}")
    if found["thread"]:
        click.echo(f"  problem {found['problem']}: {found['thread']} ({found['thread_why']})")
    click.echo("  what happened:")
    for event in found["events"]:
        click.echo(f"    {event['at']:%m-%d %H:%M:%S}  {safe(event['who']):<16} {event['what']}: {safe(event['detail'])}".rstrip(": "))


def _print_stand(stand: Stand) -> None:
    """What keeps things from being sent as ever."""
    if stand.copied:
        click.echo(f"copy      nothing is sent: {stand.copied}. When the original is off: triage adopt")
    if stand.until is not None:
        click.echo(f"restored  until {stand.until:%Y-%m-%d %H:%M} UTC the far side is asked before anything is sent")
