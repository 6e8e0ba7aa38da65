"""label: one key a post, what teaches most first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triage.cli.common import KEYS, MEANINGS, by, key_of, label_words, opened, person, safe

if TYPE_CHECKING:
    from triage.app import App
    from triage.store.models import Unlabelled

PROMPT = " · ".join([*(f"{key} {label_words(label)}" for key, label in KEYS.items()), "s skip", "u undo", "o link", "q quit", "? help"])
MANUAL = f"""Say what the post is: the one label that tells what should be done next.
{MEANINGS}
  s                   you can't tell, or can't read it: it comes again another time
  u                   take the last answer back, and show its post again
  o                   show the post's link
  q                   end; what was answered is kept"""


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Stop after so many posts.")
@by
def label(limit: int | None, by: str | None) -> None:
    """Label posts that nobody has labelled, one key a post: 1 to 4, s skip, u undo the last one, o show the link, q quit, ? help.

    Those that teach the classifier most come first, and each fifth is drawn by lot. A label counts as `triage relabel` does: ticket
    and tasks follow, and the classifier learns from it. The last answer waits until the next key, so it can be undone without a trace.
    """
    from triage.cli.people import _send
    from triage.pipeline import labelling, learning

    with opened() as app:
        posts = app.store.models.unlabelled(labelling.NEWEST)
        if not posts:
            click.echo("every mention that was judged is labelled, or waits for an audit")
            return
        if app.config.mode == "act":
            click.echo("mode is act: a label has its consequences, as with triage relabel; a bug that was missed is filed")
        session = _Session(app, person(by))
        try:
            session.walk([one for one, _ in zip(labelling.ordered(posts), range(limit or len(posts)), strict=False)])
        except (KeyboardInterrupt, EOFError):
            session.undo()
            raise
        finally:
            _send(app, session.ready)
        new = learning.new_corrections(app)
    click.echo(f"{session.count} labelled")
    if new >= learning.WORTH_TRAINING:
        click.echo(f"today's model has not seen {new} corrections: it pays to train again (triage train)")
    else:
        click.echo(f"{new} corrections are new to today's model; from {learning.WORTH_TRAINING} on it pays to train again (triage train)")


class _Session:
    """A walk over posts. The last answer is `pending` until the next one, so that undoing it needs no undoing of what follows."""

    def __init__(self, app: App, by: str) -> None:
        self.ready: list[int] = []
        self.count = 0
        self._app = app
        self._by = by
        self._pending: tuple[Unlabelled, str] | None = None

    def walk(self, posts: list[tuple[Unlabelled, bool]]) -> None:
        """Show each and take an answer, until they end or the person does."""
        at = 0
        while at < len(posts):
            one, by_lot = posts[at]
            self._show(one, by_lot=by_lot, left=len(posts) - at)
            key = self._key(one)
            if key == "q":
                break
            if key == "u":
                if self._pending is None:
                    click.echo("nothing to undo: only the last answer can be taken back here; else triage relabel MENTION LABEL")
                else:
                    at = next(index for index, (post, _) in enumerate(posts) if self._pending and post.id == self._pending[0].id)
                    self.undo()
                continue
            self._commit()
            if key in KEYS:
                self._pending = (one, KEYS[key])
                self.count += 1
                click.echo(f"{label_words(KEYS[key])}  ({self.count} labelled)")
            at += 1
        self._commit()

    def undo(self) -> None:
        """Forget the last answer, which nobody has seen yet."""
        if self._pending is not None:
            self._pending = None
            self.count -= 1

    def _commit(self) -> None:
        from triage.errors import StoreError, UserError
        from triage.pipeline import judge

        if self._pending is None:
            return
        (one, chosen), self._pending = self._pending, None
        try:
            self.ready += judge.relabel(self._app, one.id, chosen, self._by)
        except StoreError:
            raise
        except UserError as error:  # it was edited or deleted while it was looked at
            self.count -= 1
            click.echo(f"not kept: {error}")

    def _show(self, one: Unlabelled, *, by_lot: bool, left: int) -> None:
        click.echo()
        private = f"  {one.mention.visibility}" if one.mention.visibility.is_private else ""
        head = f"mention {one.id}  {safe(one.mention.author.handle)}{private}  {left} to go{'  drawn by lot' if by_lot else ''}"
        click.echo(click.style(head, dim=True))
        parent = self._app.store.models.parent(one.mention.source, one.mention.parent_id) if one.mention.parent_id else None
        if parent is not None:
            click.echo(click.style(f"  answers {safe(parent[0])}: {' '.join(safe(parent[1]).split())[:300]}", dim=True))
        if one.mention.warning:
            click.echo(f"  [{safe(one.mention.warning)}]")
        for line in safe(one.mention.text).splitlines():
            click.echo(f"  {line}")
        likely = sorted(one.verdict.scores.items(), key=lambda pair: -pair[1])[:2]
        click.echo(click.style("  likely: " + ", ".join(f"{label_words(name)} {score:.0%}" for name, score in likely), dim=True))

    def _key(self, one: Unlabelled) -> str:
        """The next key that moves on."""
        click.echo(PROMPT)
        while (key := key_of((*KEYS, "s", "u", "o", "q"), PROMPT, MANUAL)) == "o":
            click.echo(safe(one.mention.url or one.mention.uri))
        return key
