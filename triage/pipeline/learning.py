"""The life of a model: trained from corrections, through the gate, beside today's model in the shadow, promoted, rolled back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from triage.classifier import archive, checked_card, gate, model_folder
from triage.classifier.card import Card, read_card
from triage.classifier.gate import Example, Gate
from triage.config import Config
from triage.errors import ModelError, StoreError, UserError
from triage.mention import Label
from triage.pipeline.parts import Parts
from triage.store.board import Judged
from triage.store.models import Kept, Models, looked_into
from triage.text import classifier_input

if TYPE_CHECKING:
    from triage.classifier import Classifier

log = structlog.get_logger()

DEFAULT = "default"
"""The name of the model that ships, wherever a version is asked for."""

WORTH_TRAINING = 50
"""So many new corrections that may be learned from make it worth to train again."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Acting:
    """The model that should act: its version, and in words where it comes from. `fault` tells why it can't, and what is done meanwhile."""

    version: str
    origin: str
    fault: str = ""


def acting(parts: Parts) -> Acting:
    """Which model should act, by its card and its digest: scikit-learn is not loaded."""
    config, models = parts.config, parts.store.models
    active = models.standing().active if config.model is None else None
    if active is None:
        return _in_folder(config)
    refused = models.refusal()
    if refused is not None and refused["version"] == active:
        return Acting(active, _promoted(models, active), f"another one stands in on {refused['host']}: {refused['why']}")
    try:
        archive.check(*models.files(active, archive.LARGEST), active)
    except ModelError as error:
        return Acting(active, _promoted(models, active), f"who starts now takes {_STAND_IN}: {error}")
    return Acting(active, _promoted(models, active))


def in_use(config: Config | None, folder: Path | None = None) -> tuple[Classifier, Acting]:
    """The model of `folder`, else the one that acts by this config, loaded, for who only asks it. No config: the one that ships.

    Nothing is written, and no store is made. Where the promoted one can't be had, the one that ships stands in and `fault` says why.
    Raises ModelError for a folder that can't be used.
    """
    from triage.classifier import Classifier

    thresholds = {str(label): value for label, value in config.thresholds.items()} if config is not None else {}
    if folder is not None:
        found = Classifier.load(folder, thresholds)
        return found, Acting(found.card.version, f"out of {folder}")
    fault = ""
    if config is not None and config.model is None:
        try:
            with looked_into(config.store) as models:
                if models is not None and (active := models.standing().active) is not None:
                    files, card = models.files(active, archive.LARGEST)
                    found = archive.load(files, active, card, Path(tempfile.gettempdir()), thresholds)
                    return found, Acting(active, _promoted(models, active))
        except ModelError as error:
            fault = f"the promoted model can't be used, so {_STAND_IN} judges: {error}"
        except StoreError as error:
            fault = f"the store can't be asked which model was promoted, so {_STAND_IN} judges: {error}"
    found = Classifier.load((config.model if config is not None else None) or model_folder(), thresholds)
    return found, replace(_in_folder(config), fault=fault)


_STAND_IN = "the one that ships"


def _in_folder(config: Config | None) -> Acting:
    """The model that the config pins, else the one that ships."""
    folder = config.model if config is not None else None
    origin = f"pinned by the config to {folder}" if folder is not None else _STAND_IN
    try:
        return Acting(checked_card(folder or model_folder()).version, origin)
    except ModelError as error:
        return Acting("none", origin, f"nothing is judged: {error}" + (_UNPIN if folder is not None else ""))


_UNPIN = ", or take the line `model` out of the config, and restart the workers"


def _promoted(models: Models, version: str) -> str:
    kept = models.get(version)
    return f"promoted by {kept.changed_by} on {kept.changed_at:%Y-%m-%d}" if kept is not None else "promoted"


def version_of(parts: Parts, name: str) -> str | None:
    """The version that a person means: whole, or a part of it that no other one has; None for `default`, the one that ships."""
    if name == DEFAULT:
        return None
    versions = [kept.version for kept in parts.store.models.all()]
    if name in versions:
        return name
    found = [version for version in versions if name.strip() and name in version]
    if len(found) != 1:
        several = f"{name!r} is part of {len(found)} versions" if found else f"there is no model {name!r}"
        raise UserError(f"{several}. Next: triage models lists them; {DEFAULT} is the one that ships")
    return found[0]


def pinned(parts: Parts) -> None:
    """Refuse what would have no effect while the config names the model."""
    if parts.config.model is not None:
        raise UserError(
            f"the config pins the model to {parts.config.model}, so nothing else would act. "
            "Next: take the line `model` out of the config and restart the workers, then ask again"
        )


# Training


def train(
    parts: Parts,
    corpus: Path,
    by: str,
    *,
    corrections: bool = True,
    seed: int = 0,
    least: int | None = None,
    encoder: bool = False,
    progress: Progress | None = None,
) -> Card:
    """Train a model from the corpus and what people labelled in this store, less what is held back, and keep it as a candidate.

    Raises ModelError for a corpus that would teach the wrong thing. `least` is the number of posts that it must hold. With `encoder` it
    is joined with the encoder that is installed.
    """
    from triage.classifier import train as run

    learn, _ = gate.split(parts.store.views.corrections() if corrections else [])
    more: dict[str, Any] = {} if least is None else {"least": least}
    parts.config.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="training-", dir=parts.config.folder) as folder:
        card = run(corpus, Path(folder), corrections=learn, seed=seed, encoder=encoder, progress=_but_for_the_last(progress), **more)
        parts.store.models.add(card.version, card.model_dump(mode="json"), archive.pack(Path(folder)), by, parts.clock.now())
    return card


def _but_for_the_last(progress: Progress | None) -> Progress:
    """The steps as they are told, but for the last one, which names a folder that is gone in a moment."""

    def tell(done: int, steps: int, what: str) -> None:
        if progress is not None:
            progress(done, steps, what if done < steps else "the model is made")

    return tell


def new_corrections(parts: Parts) -> int:
    """How many corrections may be learned from that the model that should act has not seen, as far as their numbers tell."""
    learn, _ = gate.split(parts.store.views.corrections())
    if parts.config.model is not None:
        seen = read_card(parts.config.model).data.corrections
    elif (active := parts.store.models.standing().active) is not None:
        seen = int(_kept(parts, active).card.get("data", {}).get("corrections", 0))
    else:
        seen = read_card(model_folder()).data.corrections
    return max(len(learn) - seen, 0)


# The gate


def examine(parts: Parts, version: str, by: str, reference: Path | None = None) -> Gate:
    """Let a model of the store through the gate against the one that acts, and keep what it says: a refused one is refused for good."""
    found = compared(parts, parts.registry.acting(), parts.registry.load(version), reference)
    parts.store.models.judged(version, found.as_json(), refused=found.outcome == "refused", by=by, now=parts.clock.now())
    return found


def compare(parts: Parts, one: str | None, other: str | None, reference: Path | None = None) -> Gate:
    """The gate's table for any two models (None: the one that ships); nothing is kept."""
    first, second = (parts.registry.load(name) if name else parts.registry.shipped() for name in (one, other))
    return compared(parts, first, second, reference)


def compared(parts: Parts, today: Classifier, challenger: Classifier, reference: Path | None = None) -> Gate:
    """Both models on the held-back corrections of this store, and on the project's reference set (`reference`, else the one that ships)."""
    _, held = gate.split(parts.store.views.corrections())
    folder = reference or gate.reference_folder()
    posts = gate.read_reference(folder)
    notes = []
    if not held:
        notes.append(f"no correction is held back in this store yet: of {gate.HELD_BACK:.0%} of what people label the gate learns")
    if not posts:
        notes.append(f"there is no reference set in {folder}: the corrections of this store decide alone")
    sets: dict[str, list[Example]] = {gate.CORRECTIONS: [(text, Label(label), None) for text, label in held], gate.REFERENCE: posts}
    told = {name: gate.answers(today, challenger, examples) for name, examples in sets.items() if examples}
    return gate.decide(told, today=today.card.version, challenger=challenger.card.version, notes=notes)


# Promotion


def promote(parts: Parts, version: str, by: str, reference: Path | None = None) -> Gate:
    """Let a model act that has passed the gate against the one that acts now; the gate is asked again where it was another one.

    What it returns says whether the model acts now. Raises UserError for one that can't be promoted at all.
    """
    pinned(parts)
    kept = _kept(parts, version)
    standing = parts.store.models.standing()
    if kept.state == "active":
        raise UserError(f"{version} acts already. Next: nothing; to go back: triage models rollback")
    if kept.state == "refused":
        raise UserError(
            f"{version} was refused by the gate, and stays so. Next: see why (triage models show {version}), "
            "label more posts of the labels on which it was worse (triage label), and train again (triage train)"
        )
    if not kept.has_files:
        raise UserError(f"the files of {version} are not kept any more. Next: train again (triage train)")
    today = parts.registry.acting().card.version
    found = Gate.from_json(kept.gate) if kept.gate else None
    if found is None or not found.passed or found.today != today:
        found = examine(parts, version, by, reference)
    if found.passed:
        parts.store.models.activate(version, over=standing.active, by=by, now=parts.clock.now(), what="promoted a model")
    return found


def rollback(parts: Parts, by: str, to: str = "") -> str:
    """Let the model act that acted before today's was promoted, or at once the one that ships (`to`: default). Returns its version."""
    pinned(parts)
    active = parts.store.models.standing().active
    if active is None:
        raise UserError("the model that ships acts, and there is none before it. Next: triage models promote VERSION")
    kept = _kept(parts, active)
    # It was promoted over the model that its gate knows as today's; a version without a row is one that shipped.
    before = parts.store.models.get(Gate.from_json(kept.gate).today) if kept.gate and to != DEFAULT else None
    if before is not None and (before.state == "refused" or not before.has_files):
        why = "the gate has refused it since" if before.state == "refused" else "its files are not kept any more"
        raise UserError(
            f"{before.version} acted before, but {why}. "
            f"Next: triage models rollback {DEFAULT} takes the one that ships; triage train makes a new one"
        )
    version = before.version if before is not None else None
    parts.store.models.activate(version, over=active, by=by, now=parts.clock.now(), what="rolled a model back")
    return version or read_card(model_folder()).version


def _kept(parts: Parts, version: str) -> Kept:
    found = parts.store.models.get(version)
    if found is None:
        raise UserError(f"there is no model {version!r}. Next: triage models lists those that there are")
    return found


# The shadow


def shadow(parts: Parts, judged: Sequence[Judged]) -> None:
    """Let the model in the shadow judge posts that were judged and stored just now; where it thinks something else is kept.

    Nothing hangs on it: whatever fails here is said once.
    """
    try:
        challenger = parts.registry.challenger()
        mine = [one for one in judged if not one.verdict.by_person]
        if challenger is None or not mine:
            return
        mentions = [one.claimed.mention for one in mine]
        verdicts = challenger.classify([classifier_input(mention) for mention in mentions], [mention.language for mention in mentions])
        others = [
            (one.claimed.id, verdict)
            for one, verdict in zip(mine, verdicts, strict=True)
            if (verdict.label, verdict.sure) != (one.verdict.label, one.verdict.sure)
        ]
        parts.store.models.compare(challenger.card.version, len(mine), others, parts.clock.now())
    except StoreError as error:
        log.debug("a comparison was not kept", why=str(error))
    except Exception as error:  # noqa: BLE001 - the posts are judged and stored, whatever the challenger makes of them
        if (why := f"{type(error).__name__}: {error}") not in _said:
            _said.add(why)
            log.error("the model in the shadow failed; today's goes on", why=why[:300])


_said: set[str] = set()
