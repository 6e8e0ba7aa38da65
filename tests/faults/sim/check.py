"""Did the run keep the promise? Reads the ledgers of the simulated servers and the tables, like `tests.ledger_check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from tests import ledger_check
from tests.faults.sim import world as sim
from tests.faults.sim.store import engine
from tests.ledger_check import Checker, marker_of
from triage.store.schema import accounts, actions, alerts, mentions, meta


@dataclass(frozen=True)
class SimChecker(Checker):
    """The four rules over the ledgers of `world`."""

    world: Any = None

    def violations(self) -> list[str]:
        return [*self._lost(), *self._missed(), *self._twice(), *self._limbo(), *self._unaccounted(), *self._words(), *self._alerts()]

    @cached_property
    def posts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.posts.ledger
        return found

    @cached_property
    def tracker(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.tickets.ledger
        return found

    @cached_property
    def late(self) -> set[str]:
        """Markers (and keys of replies) of which the server carried out a request after every look that we promise."""
        return {request.marker for request in self.world.network.requests if request.beyond_the_promise}

    @cached_property
    def database(self) -> dict[str, list[dict[str, Any]]]:
        with engine().connect() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in (mentions, actions, accounts, alerts, meta)
            }

    def _missed(self) -> Iterator[str]:
        """Only what the server showed out of order may be left for the second reading."""
        found = sum(row["late_found"] for row in self.database["accounts"])
        if self.world.plan.rescan == "6h" and found > len(self.world.posts.late):
            yield f"I1: the polls missed {found} mentions, and the server had shown {len(self.world.posts.late)} out of order"

    def _twice(self) -> Iterator[str]:
        made = Counter((entry["kind"], marker_of(entry)) for entry in (*self.tickets, *self.comments))
        made += Counter(("reply", entry["idempotency_key"]) for entry in self.replies)
        for (kind, marker), count in sorted(made.items()):
            if count > 1 and marker not in self.late:
                yield f"I2: {count} of kind {kind} were made for {marker}"
        told = {row["subject"] for row in self.database["alerts"] if row["name"] == "DuplicateTickets"}
        tasks = {row["key"] for row in self.database["actions"] if row["kind"] == "task"}
        for (kind, marker), count in sorted(made.items()):
            name = f"triage/duplicates/{marker}"
            if kind == "ticket" and count > 1 and (name not in told or name not in tasks):
                yield f"I2: the audit did not find that {marker} is on {count} tickets"

    def _against(self, name: str, action: Mapping[str, Any] | None, kind: str, ids: set[str]) -> Iterator[str]:
        """As for real servers; what came later than every look may stand beside another, or beside none."""
        if action is not None and self._marker(action) in self.late:
            return
        yield from super()._against(name, action, kind, ids)

    def _marker(self, action: Mapping[str, Any]) -> str:
        return next(marker for marker, row in self.by_marker.items() if row is action)

    def _may_be_with_a_person(self, entry: ledger_check.Entry) -> bool:
        key = entry["idempotency_key"]
        return key in self.late or key in self.world.posts.unseen or super()._may_be_with_a_person(entry)

    def _is_paused(self, via: str) -> bool:
        now = self.world.scheduler.clock()
        return any(row["name"] == via and row["paused_until"] and row["paused_until"] > now for row in self.database["accounts"])

    def _limbo_of(self, action: Mapping[str, Any]) -> str:
        if (
            action["kind"] == "alert"
            and action["state"] == "planned"
            and any(entry["key"] == action["key"] for entry in self.world.pager.ledger)
        ):
            return ""
        return super()._limbo_of(action)

    def _words(self) -> Iterator[str]:
        """The words of a post that is gone are taken out of what was filed for it, or somebody has to look; of no other post."""
        actions_ = {row["id"]: row for row in self.database["actions"]}
        blanks = {row["after_id"]: row for row in actions_.values() if row["kind"] == "blank"}
        gone = {row["id"] for row in self.database["mentions"] if row["deleted_at"] is not None}
        for row in actions_.values():
            holds = row["kind"] == "ticket" or (row["kind"] == "comment" and row["payload"].get("what") in ("report", "edited"))
            if not holds or row["state"] != "done" or row["closed_by"] != "triage" or row["payload"].get("lifted"):
                continue
            blank, is_out = blanks.get(row["id"]), row["remote_id"] in self.world.tickets.blank
            if is_out and (blank is None or row["mention_id"] not in gone):
                yield f"I2: the words of {row['kind']} {row['id']} were taken out, and nothing asked for it"
            if blank is not None and blank["state"] == "done" and not is_out:
                yield f"I4: blank {blank['id']} is done, and {row['remote_id']} holds the words"
            if row["mention_id"] in gone and blank is None and not row["payload"].get("released"):
                yield f"I1: nobody takes the words of mention {row['mention_id']} out of {row['remote_id']}"

    def _alerts(self) -> Iterator[str]:
        """Whoever was told of an alert is told when it is over, if not in this order; and every alert was told."""
        by_id = {row["id"]: row for row in self.database["alerts"]}
        for row in self.database["actions"]:
            if row["kind"] != "alert" or row["alert_id"] is None or row["state"] in ("observed", "cancelled", "rejected"):
                continue
            alert = by_id[row["alert_id"]]
            since = alert["closed_at"] or alert["opened_at"]
            told = [entry for entry in self.world.pager.ledger if entry["key"] == row["key"]]
            if not told:
                yield f"I4: nobody was told of the alert {row['key']}"
            elif not any(entry["open"] == (alert["closed_at"] is None) and entry["at"] >= since for entry in told):
                is_now = "over" if alert["closed_at"] else "open"
                yield f"I4: the alert {row['key']} ({alert['name']}) is {is_now}, and the pager was not told so"


def violations(world: sim.World) -> list[str]:
    """Every broken promise of this run, in words."""
    found = SimChecker("", (), account="quayside", host="quayside.social", world=world).violations()
    return [*world.scheduler.failures, *found]


def edges(world: sim.World) -> Iterator[str]:
    """The edges of docs/delivery.md that the actions of this run took."""
    for row in world.rows("SELECT * FROM sim_moves ORDER BY id"):
        if row["old"] and row["via"] != "human":
            yield _edge(dict(row))


def _edge(row: Mapping[str, Any]) -> str:
    old, new, kind = row["old"], row["new"], row["kind"]
    by_person = row["closed_by"] not in ("", "triage")
    said = row["error"] != row["old_error"]
    match old, new:
        case "planned", "sending":
            return "a"
        case "sending", "done":
            return "b"
        case "sending", "rejected":
            return "c"
        case "sending", "planned":
            return "d"
        case "sending", "parked":
            return "e"
        case "sending", "doubt":
            return "f"
        case "doubt", "done":
            return "n" if by_person else "g"
        case "doubt", "planned":
            return "h"
        case "doubt", "parked":
            return "i" if said else "o"
        case "planned", "parked":
            return "j" if said and row["error"].startswith("the brake") else "o"
        case "planned", "observed":
            return "k"
        case "planned", "cancelled":
            return "p" if by_person else "l"
        case (("parked" | "rejected" | "observed"), "planned"):
            return "m"
        case (("parked" | "rejected" | "planned"), "done"):
            return "n" if by_person else "q"
        case (("parked" | "rejected" | "observed"), "cancelled"):
            return "p" if by_person else "l"
        case ("cancelled", "planned" | "doubt") | ("done", "planned"):
            return "again"  # planned again by a later verdict; an alert that is told again
        case _:
            return f"none: {kind} {old} -> {new}"


__all__ = ["SimChecker", "edges", "ledger_check", "violations"]
