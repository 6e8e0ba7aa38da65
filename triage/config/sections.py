"""The sections of the config file, each key with its default and what it means, and `Config`, which holds them all."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from triage.config.connectors import Connector
from triage.config.lines import Places
from triage.config.rules import Answer, Rule, Style
from triage.config.values import (
    Clock,
    Count,
    Day,
    Duration,
    Flag,
    Hold,
    Networks,
    Origin,
    Section,
    Share,
    Site,
    Target,
    Text,
    Whole,
    Words,
    Zone,
    listed,
)
from triage.mention import Label


class Delivery(Section):
    """How actions are carried out, retried and doubted. The defaults suit real servers; tests scale them down."""

    settle: Duration = Field(
        default=60.0,
        description="How long the far side may take to show what it accepted. Doubts are looked into at 1, 3 and 10 times this for "
        "tracker tickets, at 0.5, 2 and 10 times for posts.",
    )
    retry_first: Duration = Field(default=5.0, description="The wait after the first attempt that was not accepted. It doubles each time.")
    retry_longest: Duration = Field(default=900.0, description="The longest wait between two attempts.")
    attempts_before_parking: Whole = Field(default=40, description="After so many attempts an action is parked for a person.")
    brake_per_hour: Whole = Field(default=30, description="More tickets an hour than this for one source are parked, with an alert.")
    sweep: Duration = Field(default=1.0, description="How often a worker looks for work that is due and that nobody rang for.")
    rescan: Duration = Field(default=86400.0, description="How often a source is read again from further back, for what came late.")
    reread_open: Duration = Field(
        default=3600.0, description="How often posts that are open or younger than a week are read again, for edits and deletions."
    )
    reread_old: Duration = Field(default=86400.0, description="How often older posts are read again.")
    poison_attempts: Whole = Field(default=2, description="A post whose worker died so many times while it was processed is quarantined.")
    claim_seconds: Duration = Field(default=120.0, description="How long a worker may hold a claim before others ask whether it is alive.")
    batch: Whole = Field(default=500, description="How many mentions are processed together, at most.")
    threads: Whole = Field(default=8, description="How many far sides a worker talks to at once, each in a lane of its own.")
    hang: Duration = Field(
        default=120.0,
        description="A process of `triage up` that gives no sign of life for so long is replaced. Make it longer than any call (30s).",
    )
    drain: Duration = Field(
        default=1.0, description="The time between two of the actions that a long outage kept waiting, when their account is back."
    )


class Audit(Section):
    """How much of what a machine handled alone people are shown blind."""

    share: Share = Field(
        default=0.05, description="The share of what is handled without a person, drawn by lot, that `triage audit` shows; 0 shows nothing."
    )


class Autonomy(Section):
    """What a rule with `mode: earn` must show before it acts alone, and how many of its posts are drawn for that."""

    target: Target = Field(default=0.95, description="The precision that must be shown. A rule may have its own `target`.")
    confidence: Target = Field(default=0.95, description="How sure the one-sided lower bound of the precision is.")
    window: Whole = Field(default=300, description="How many of a rule's last audits count.")
    least: Whole = Field(default=20, description="With fewer audits than this no rule acts alone.")
    earning: Share = Field(default=1.0, description="The share of a rule's posts that is drawn for the audit while it suggests.")
    keeping: Share = Field(default=0.2, description="The same while it acts alone; at least `audit.share`.")


class Web(Section):
    """Where the pages are served."""

    host: Text = Field(default="127.0.0.1", description="The address to listen at.")
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = Field(default=8321, description="The port to listen at; 0 is any free one.")
    url: Origin | None = Field(
        default=None,
        description="The address under which people reach the pages, behind a proxy. https:// makes the cookies secure. Without it "
        "the pages work on this machine alone.",
    )
    proxies: Networks = Field(default=(), description="Addresses of proxies in front, whose word on a caller's address is taken.")
    idle: Duration = Field(default=43200.0, description="A session that nobody used for so long is over.")
    longest: Duration = Field(default=1209600.0, description="A session is over after so long, however much it is used.")
    claim: Duration = Field(default=600.0, description="Who answers an item and does not have it open for so long no longer holds it.")
    hold: Hold = Field(
        default=15.0, description="How long an answer waits before it is sent, so that it can be taken back; 0s sends at once."
    )
    deputy: Duration = Field(
        default=14400.0, description="An answer that waited so long for its approval may be let go by any approver or admin but its writer."
    )


class Boosts(Section):
    """Whose praise is shown to those who follow our account, and how often."""

    allies: Words = Field(
        default=(),
        description="Whole handles (`name@host`, `*` stands for anything) of those who agreed to be boosted: theirs go with one key. "
        "Of all others it is asked first.",
    )
    daily: Count = Field(default=5, description="The most boosts by one source within 24 hours; 0 boosts nothing.")


class TargetTimes(Section):
    """How soon mentions of a label and source should be answered and done. Times count working time alone."""

    label: Annotated[tuple[Label, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="One label or a list. Left out: any."
    )
    source: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="One of the `sources` or a list. Left out: any."
    )
    first_response: Duration | None = Field(default=None, description="The time until the first answer. Without it there is no target.")
    resolution: Duration | None = Field(
        default=None, description="The time until nothing about it is open any more. Without it there is no target."
    )


class Hours(Section):
    """When people work, which is the time that targets count."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), description="The working days, mon to sun."
    )
    begins: Clock = Field(default=time(0), alias="from", description="When work begins, such as 09:00.")
    ends: Clock = Field(default=time(0), alias="to", description="When it ends, such as 17:30; 24:00 is midnight.")
    zone: Zone = Field(default="UTC", description="The time zone of these times, such as Europe/Berlin.")
    holidays: Annotated[tuple[Day, ...], BeforeValidator(listed)] = Field(default=(), description="Days off, such as 2026-12-25.")

    @model_validator(mode="after")
    def _forwards(self) -> Hours:
        if self.ends != time(0) and self.ends <= self.begins:
            raise ValueError("`to` must be later than `from`; a day's work ends at 24:00 at the latest")
        return self


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level that is written.")
    format: Literal["text", "json"] = Field(default="text", description="text for people, json (one object a line) for machines.")


class Config(Section):
    """Everything that can be set. Paths are absolute, times are in seconds."""

    site: Site = Field(
        default="triage",
        description="The name of this installation: letters, digits and dashes, 32 at most. It is part of every key, so set it once.",
    )
    mode: Literal["observe", "act"] = Field(
        default="observe", description="observe shows what would be done and sends nothing; act does it."
    )
    folder: Path = Field(
        default=Path(".state"),
        alias="state",
        description="The folder for the database, locks and sockets. A relative path starts at the config file's folder.",
    )
    store: str = Field(
        default="",
        repr=False,
        description="The database: `sqlite:///file` or `postgresql://…`. Without it `triage.db` in the state folder. "
        "`DATABASE_URL` overrides it.",
    )
    broker: str | None = Field(
        default=None,
        repr=False,
        description="The Redis-protocol server: `redis://…`, `rediss://…` or `redis+socket:///path`. Without it an embedded one. "
        "`REDIS_URL` overrides it.",
    )
    model: Path | None = Field(
        default=None,
        description="The folder of a classifier, which then acts whatever was promoted. "
        "Without it the promoted one, else the one that ships.",
    )
    thresholds: dict[Label, Share] = Field(
        default_factory=dict,
        description="The confidence from which a label counts as sure, by label, 0 to 1. Without it those on the classifier's card.",
    )
    components: dict[str, Words] = Field(
        default_factory=dict,
        description="The parts of the product, each with the words that speak of it: whole words, whatever their case; a `*` at the end "
        "takes every word that begins so. Rules ask for them by `component`.",
    )
    sources: dict[str, Connector] = Field(default_factory=dict, description="Where mentions come from.")
    trackers: dict[str, Connector] = Field(default_factory=dict, description="Where tickets go. The first one gets the tickets.")
    notifiers: dict[str, Connector] = Field(default_factory=dict, description="Where alerts go. Each one gets every alert.")
    rules: tuple[Rule, ...] = Field(default=(), description="What to do with what; the first match wins. Without it those of the sample.")
    groups: dict[str, Words] = Field(
        default_factory=dict, description="Groups of people, by the names that they log in with, for `rules[].approve`: `legal: [ana, bo]`."
    )
    product: str = Field(default="", description="What you call what you make, for prepared answers.")
    answers: tuple[Answer, ...] = Field(default=(), description="Answers that were written beforehand.")
    check_links: Flag = Field(
        default=True, description="Whether the links of prepared answers are looked at once a day, so that none is sent that is gone."
    )
    style: tuple[Style, ...] = Field(default=(), description="What the team's guide to writing advises against.")
    boosts: Boosts = Field(default=Boosts(), description="Praise that is boosted.")
    audit: Audit = Field(default=Audit(), description="The blind audit.")
    autonomy: Autonomy = Field(default=Autonomy(), description="When a rule with `mode: earn` acts alone.")
    retention: dict[Label, Duration] = Field(
        default_factory=dict,
        description="How long what was posted is kept, by label: later the text, the author and all that was written about it are erased, "
        "unless something of it is open. Without it everything is kept.",
    )
    delivery: Delivery = Field(default=Delivery(), description="How actions are carried out.")
    targets: tuple[TargetTimes, ...] = Field(default=(), description="How soon people should answer what; the first one that fits counts.")
    hours: Hours = Field(default=Hours(), description="When people work. Without it all time counts.")
    web: Web = Field(default=Web(), description="Where the pages are served.")
    log: Log = Field(default=Log(), description="What is logged.")

    _path: Path | None = PrivateAttr(None)
    _places: Places = PrivateAttr(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """The file that this was read from; None where there was none."""
        return self._path
