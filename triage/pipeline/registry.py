"""Which model acts in this process, and which one runs beside it. The store is asked every few seconds; a swap is made between batches.

The config's `model` pins one. Else it is the one that the store says is active, else the one that ships. A model that can't be used
never stops the service: what acted before goes on, and it is said in the log and in `triage status`.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from triage.clock import Clock
from triage.config import Config
from triage.errors import ModelError
from triage.store import Store
from triage.store.models import Standing

if TYPE_CHECKING:
    from triage.classifier import Classifier

log = structlog.get_logger()

LOOK_EVERY = timedelta(seconds=10)
AGAIN_AFTER = timedelta(minutes=5)  # a model that could not be used: it may have been the disk


class Registry:
    """The models in use. Safe to use from several threads: while one loads a model, the others go on with the one before."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._guard = Lock()
        self._wanted = Standing(None, None)
        self._looked_at: datetime | None = None
        self._acting: Classifier | None = None
        self._acts: str | None = None  # the active version that was loaded; None for the pinned one and the one that ships
        self._beside: Classifier | None = None
        self._failed: dict[str, datetime] = {}
        self._said: set[str] = set()

    def acting(self) -> Classifier:
        """The model that judges now. Raises ModelError when there is none: the pinned one, or the one that ships, can't be used."""
        wanted = self._look().active if self._config.model is None else None
        if (self._acting is None or wanted != self._acts) and self._guard.acquire(blocking=self._acting is None):
            try:
                if self._acting is None or wanted != self._acts:
                    self._let_act(wanted)
            finally:
                self._guard.release()
        assert self._acting is not None
        return self._acting

    def challenger(self) -> Classifier | None:
        """The model in the shadow; None while there is none that can be used."""
        wanted = self._look().shadow
        if wanted is None:
            self._beside = None
            return None
        known = self._beside
        if known is not None and known.card.version == wanted:
            return known
        if not self._guard.acquire(blocking=False):
            return None
        try:
            self._beside = self._tried(wanted)
        finally:
            self._guard.release()
        return self._beside

    def load(self, version: str, thresholds: Mapping[str, float] | None = None) -> Classifier:
        """A model that the store keeps, with the config's thresholds or other ones. Raises ModelError when it can't be used."""
        from triage.classifier import archive

        files, card = self._store.models.files(version, archive.LARGEST)
        return archive.load(files, version, card, self._config.folder / "models", self._thresholds if thresholds is None else thresholds)

    def shipped(self, thresholds: Mapping[str, float] | None = None) -> Classifier:
        """The model that ships."""
        from triage.classifier import Classifier, model_folder

        return Classifier.load(model_folder(), self._thresholds if thresholds is None else thresholds)

    def share(self, classifier: Classifier) -> None:
        """Let this loaded copy of the model that ships act until the store says otherwise."""
        self._acting, self._acts = classifier, None

    @property
    def _thresholds(self) -> dict[str, float]:
        return {str(label): value for label, value in self._config.thresholds.items()}

    def _look(self) -> Standing:
        now = self._clock.now()
        if self._looked_at is None or not timedelta(0) <= now - self._looked_at < LOOK_EVERY:
            found = self._store.models.standing()
            if found != self._wanted:
                self._failed.clear()  # a person has just acted: what failed before is tried at once
            self._wanted, self._looked_at = found, now
        return self._wanted

    def _let_act(self, wanted: str | None) -> None:
        """Load what should act; where it can't be used, what acted before stays, else the one that ships steps in."""
        found = self._tried(wanted) if wanted is not None else None
        if found is not None:
            self._store.models.clear_refusal(found.card.version, socket.gethostname())
        elif wanted is None or self._acting is None:
            found, wanted = self._plain(), None
            self._settle()
        else:
            return
        if self._acting is not None:
            log.info("another model acts", model=found.card.version, before=self._acting.card.version)
        self._acting, self._acts = found, wanted

    def _tried(self, version: str) -> Classifier | None:
        """A model of the store; None where it can't be used, which is said once and tried again after a while."""
        now = self._clock.now()
        if version in self._failed and now - self._failed[version] < AGAIN_AFTER:
            return None
        try:
            found = self.load(version)
        except ModelError as error:
            self._failed[version] = now
            if str(error) not in self._said:
                self._said.add(str(error))
                log.error("a model of the store can't be used", model=version, why=str(error))
            if version == self._wanted.active:
                self._store.models.note_refusal(version, str(error), socket.gethostname())
            return None
        self._failed.pop(version, None)
        self._settle()
        return found

    def _plain(self) -> Classifier:
        """The model that acts while none of the store does: the one that the config pins, else the one that ships."""
        from triage.classifier import Classifier

        return Classifier.load(self._config.model, self._thresholds) if self._config.model is not None else self.shipped()

    def _settle(self) -> None:
        """Some 300,000 objects that live as long as the model: to look through them again and again was an eighth of a worker's time."""
        gc.unfreeze()  # those of a model that has gone
        gc.collect()
        gc.freeze()
