"""The only place that knows SQL: dataclasses in and out, one transaction a method.

`Store` holds six rooms over one database: the inbox (what came in), the outbox (what goes out), the accounts (how those are
that we talk to), the desk (what people do), the views (what they look at) and the history (what was, to be judged again). Beside
them stand the alerts, the turns, the place (where the store is and belongs), the markers, the tickets, the models, the samples of
the blind audit, the answers with their drafts and approvals, the people who use the queue, their sessions, the list that they work
through, what they do with an item, and privacy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from triage.delivery import Pace
from triage.store.accounts import Accounts
from triage.store.alerts import Alerts
from triage.store.approvals import Approvals
from triage.store.boosts import Boosts
from triage.store.claims import Claims
from triage.store.coverage import Coverage
from triage.store.database import Database
from triage.store.desk import Desk
from triage.store.drafts import Drafts
from triage.store.history import History
from triage.store.inbox import Inbox
from triage.store.insights import Insights
from triage.store.items import Items
from triage.store.links import Links
from triage.store.markers import Markers
from triage.store.models import Models
from triage.store.outbox import Outbox
from triage.store.owners import Owners
from triage.store.people import People
from triage.store.place import Place
from triage.store.presence import Presence
from triage.store.privacy import Privacy
from triage.store.queue import Queue
from triage.store.replies import Replies
from triage.store.samples import Samples
from triage.store.saved import SavedLists
from triage.store.sessions import Sessions
from triage.store.tickets import Tickets
from triage.store.totals import keep
from triage.store.turns import Turns
from triage.store.views import Views
from triage.targets import Targets
from triage.trust import Policy


class Store:
    """An open store, migrated to this version's schema.

    `folder` is the state folder, in which its heartbeat is noted. `policy` tells what is audited, nothing without it. `claim` is
    after how many seconds a claim on an item is over whose owner does not have it open. `targets` tells by
    when people should have answered, never without them.
    """

    def __init__(
        self,
        url: str,
        *,
        site: str = "triage",
        observe: bool = False,
        notifiers: Sequence[str] = (),
        brake: Mapping[str, int] | None = None,
        role: str = "cli",
        folder: Path | None = None,
        pace: Pace | None = None,
        drain: float = 1.0,
        policy: Policy | None = None,
        claim: float = 600.0,
        targets: Targets | None = None,
    ) -> None:
        self.database = Database(url)
        self.database.migrate()
        self.place = Place(self.database, folder)
        self.owners = Owners(self.database, role)
        self.turns = Turns(self.database)
        self.alerts = Alerts(self.database, site=site, notifiers=notifiers, observe=observe)
        self.accounts = Accounts(self.database, self.alerts, pace=pace, drain=drain)
        self.samples = Samples(self.database, self.alerts, site=site, policy=policy or Policy())
        self.inbox = Inbox(self.database, self.samples, site=site, observe=observe)
        self.outbox = Outbox(self.database, self.owners, self.accounts, self.alerts, self.place, observe=observe, brake=brake or {})
        self.place.furnish()
        self.markers = Markers(self.database, self.place)
        self.tickets = Tickets(self.database)
        self.models = Models(self.database)
        self.desk = Desk(self.database, site=site)
        self.items = Items(self.database, site=site, observe=observe)
        self.replies = Replies(self.database, site=site)
        self.drafts = Drafts(self.database)
        self.approvals = Approvals(self.database)
        self.boosts = Boosts(self.database, site=site)
        self.links = Links(self.database)
        self.people = People(self.database)
        self.sessions = Sessions(self.database)
        self.privacy = Privacy(self.database, self.place, site=site)
        self.presence = Presence(self.database)
        self.claims = Claims(self.database, lapse=claim)
        self.views = Views(self.database)
        self.coverage = Coverage(self.database)
        self.insights = Insights(self.database)
        self.queue = Queue(self.database, targets or Targets())
        self.saved = SavedLists(self.database)
        self.history = History(self.database)

    def count(self, now: datetime) -> bool:
        """Count what a large store holds, for those who look at it later; False when it is small."""
        return keep(self.database, now)

    def close(self) -> None:
        """Let go of the lock and of the connections."""
        self.owners.close()
        self.database.close()
