"""The command line: parse, call one verb, print. Slow imports stay inside the commands, so that `triage --help` answers at once."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from triage import __version__
from triage.errors import TriageError

# Where each command lives, in the order in which help lists them, with its one line of help.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("setup", "Write a commented config.yaml and ask the few things that matter."),
    "doctor": ("setup", "Check the config against the real servers; every finding ends with the next step."),
    "demo": ("service", "Start everything embedded, with a sandbox Mastodon and Jira, and show what it does."),
    "up": ("service", "Run everything on this machine, supervised."),
    "run": ("service", "One full pass in this process, with no broker."),
    "worker": ("service", "A Celery worker with its own sweep; needs REDIS_URL."),
    "beat": ("service", "Celery's beat, which rings the workers; needs REDIS_URL."),
    "web": ("service", "Serve the human queue, /metrics and /healthz."),
    "status": ("look", "The service at a glance."),
    "queue": ("look", "Open human tasks, and actions that wait for a decision."),
    "show": ("look", "Everything that happened to a mention, and why."),
    "why": ("why", "Why a mention was judged and routed so: words, nearest labelled posts, rules."),
    "replay": ("replay", "What changed rules or another model would have done with the past; sends and stores nothing."),
    "answer": ("people", "Answer a task: posts the reply in the thread."),
    "boost": ("people", "Boost praise to those who follow us."),
    "accept": ("people", "Carry out what a rule suggested."),
    "relabel": ("people", "Say what a mention really is; ticket and tasks follow."),
    "file": ("people", "File a post by hand, a private one too: its ticket then holds only our number of it."),
    "close": ("people", "Close a task without an answer."),
    "retry": ("people", "It is not there: send a parked, rejected or observed action."),
    "park": ("people", "Leave a planned or doubtful action alone until somebody decides."),
    "found": ("people", "It exists: settle a parked, rejected or doubtful action with its key."),
    "drop": ("people", "A planned, parked, rejected or observed action is not wanted any more."),
    "dismiss": ("people", "A quarantined mention was looked at, and nothing is to be done."),
    "people": ("roster", "Who has a log-in: list, invite, role, password, logout, disable, enable."),
    "privacy": ("privacy", "What is held of one person: preview, export, erase."),
    "audit": ("trust", "Say what posts are that were drawn by lot, without seeing what triage made of them."),
    "autonomy": ("trust", "Which rules with mode: earn act alone, and what the others still have to show."),
    "backup": ("keep", "Write the store, its secret and the model into one file, while everything runs."),
    "restore": ("keep", "Put a backup back, and turn restore mode on."),
    "restored": ("keep", "The store was put back by other means: turn restore mode on."),
    "adopt": ("keep", "This copy of a store is the one that sends from now on."),
    "rotate": ("keep", "Make a new install secret; what was sent keeps its marker."),
    "classify": ("data", "Judge texts from a file or standard input; stores nothing."),
    "listen": ("data", "Read a public hashtag without an account and print verdicts."),
    "backfill": ("data", "Store what a source still shows from some time on; only observes unless --act."),
    "import": ("data", "Store posts from a JSONL or CSV file: the way in for channels without an API."),
    "export": ("data", "Write all mentions as JSONL or CSV."),
    "train": ("model", "Train a classifier from a corpus and people's corrections, and let the gate judge it."),
    "evaluate": ("model", "The classifier's scores."),
    "label": ("label", "Label posts, one key a post; those that teach most come first."),
    "models": ("model", "The models that were trained here: list, show, compare, promote, rollback."),
    "shadow": ("model", "A challenger beside today's model: start, stop, list where they disagree."),
}


class _Lazy(click.Group):
    """Loads a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        found = getattr(import_module(f"triage.cli.{module}"), "import_" if cmd_name == "import" else cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from rapidfuzz.process import extractOne

            near = extractOne(args[0], list(COMMANDS), score_cutoff=60)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The config file; else TRIAGE_CONFIG, else ./config.yaml.")
@click.version_option(__version__, prog_name="triage")
def cli(config: Path | None) -> None:
    """What people say about your product becomes a ticket, a person's task, or a reviewable archive."""
    if config is not None:
        os.environ["TRIAGE_CONFIG"] = str(config.absolute())


def main() -> None:
    """The entry point: a mistake of the user's ends with one message and exit code 2, never with a traceback."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TriageError as error:
        click.echo(f"triage: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:  # `triage export | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
