"""why: what spoke for a verdict and against it, and which rule took the mention."""

from __future__ import annotations

import sys
from typing import Any

import click

from triage.cli.common import as_json, config_if_any, config_or_sample, opened, print_json, safe

LONGEST_LINE = 100  # characters of a labelled post


@click.command()
@click.argument("mention", required=False)
@click.option("--text", default=None, help="A text that is not stored, in place of MENTION; as MENTION, - reads one from standard input.")
@as_json
def why(mention: str | None, text: str | None, as_json: bool) -> None:
    """Why MENTION (its number or link) was judged and routed so: words for and against, the nearest labelled posts, the rules."""
    from triage.errors import UserError
    from triage.pipeline import why as pipeline

    if (mention is None) == (text is None):
        raise UserError('name a mention or give a text: triage why 12, triage why --text "it crashes", or triage why - < post.txt')
    if mention == "-":
        text = sys.stdin.buffer.read(1024 * 1024).decode("utf-8", "replace")
    if text is not None and not text.strip():
        raise UserError('there is no text to judge; give some: triage why --text "it crashes", or triage why - < post.txt')
    if text is None:
        assert mention is not None
        with opened() as app:
            found = pipeline.why(app, app.store.desk.mention_id(mention))
    elif config_if_any() is None:
        from triage.classifier import Classifier, model_folder

        found = pipeline.why_text(Classifier.load(model_folder()), config_or_sample(), text)
    else:
        with opened() as app:
            found = pipeline.why_text(app.classifier(), app.config, text, app.store.history.corrections())
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    verdict, model = found["verdict"], found["model"]
    _print_verdict(found, verdict, model)
    _print_evidence(found["evidence"])
    _print_nearest(found["nearest"])
    _print_rule(found["rule"])
    for one in found["signals"]:
        click.echo(f'  signal {one["signal"]}: "{safe(one["words"])}"')
    for kind, details in found["details"].items():
        for one in details:
            words = "" if one["words"] == one["value"] else f': "{_short(one["words"])}"'
            click.echo(f"  {kind.removesuffix('s')} {_short(one['value'])}{words}")


def _print_verdict(found: dict[str, Any], verdict: dict[str, Any], model: dict[str, Any]) -> None:
    if found.get("deleted"):
        click.echo("its author has deleted it since: nothing more is done with it, and this is what it was")
    name = f"mention {found['mention']}  " if found["mention"] is not None else ""
    click.echo(f"{name}{click.style(verdict['label'], bold=True)}")
    if verdict["by_person"]:
        click.echo(f"  labelled by {safe(verdict['by'])} on {verdict['at']:%Y-%m-%d %H:%M} UTC; below is what the model makes of it")
    elif verdict["at"] is not None and (verdict["by"], verdict["label"]) != (model["by"], model["label"]):
        click.echo(
            f"  judged {verdict['label']} at {verdict['confidence']:.0%} by {safe(verdict['by'])} on {verdict['at']:%Y-%m-%d %H:%M} UTC; "
            "below is what the model of today makes of it"
        )
    scores = ", ".join(f"{label} {score:.0%}" for label, score in sorted(model["scores"].items(), key=lambda pair: -pair[1]))
    click.echo(f"  {model['by']} says {model['label']}: {scores}; language {safe(model['language']) if model['language'] else 'unknown'}")
    if model["doubts"]:
        click.echo(f"  not sure: {'; '.join(model['doubts'])}")
    else:
        click.echo(f"  sure: {model['confidence']:.2f} reaches the threshold of {model['label']}, {model['threshold']:.2f}")


def _print_evidence(evidence: dict[str, Any]) -> None:
    for side, heading in (
        ("for", f"spoke for {evidence['label']}"),
        ("against", f"spoke against it (the likeliest other is {evidence['other']})"),
    ):
        click.echo(f"  {heading}:" + ("" if evidence[side] else " nothing"))
        for one in evidence[side]:
            what = f'"{safe(one["what"])}"' if one["kind"] == "word" else f"it {one['what']}" if one["what"][:3] != "its" else one["what"]
            click.echo(f"    {one['log_odds']:+5.2f}  {one['share']:4.0%}  {what}")


def _print_nearest(nearest: dict[str, Any]) -> None:
    for side, heading in (("label", "nearest labelled posts"), ("others", "near, with another label")):
        if nearest[side]:
            click.echo(f"  {heading}:")
        for one in nearest[side]:
            click.echo(f"    {one['alike']:.2f}  {one['label']}  {safe(one['where'])}  {_short(one['text'])}")


def _print_rule(rule: dict[str, Any]) -> None:
    steps = ", ".join(rule["then"]) + (", suggested" if rule["mode"] == "suggest" else "")
    click.echo(f'  rule "{safe(rule["name"])}" takes it ({steps}): {safe(rule["reason"])}')
    if rule["recorded"] not in (None, rule["name"]):
        click.echo(f'    it was taken by "{safe(rule["recorded"])}" when it was judged')
    for one in rule["skipped"]:
        click.echo(f'    not "{safe(one["rule"])}": {safe(one["because"])}')


def _short(text: str) -> str:
    line = " ".join(safe(text).split())
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
