"""What a person does with a source, a tracker or a notifier: renew its token, let in what its server holds back."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from triage.config import Connector, Secret
from triage.config.secret import absolute, put
from triage.contracts import LetsIn
from triage.errors import Refused, Unauthorized, UserError
from triage.pipeline.parts import Parts
from triage.pipeline.spending import spending

LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where an account's token comes from: `file` is set where it is a file that we may replace, `words` tell a person how to change it."""

    words: str
    file: Path | None = None


def token_place(parts: Parts, name: str) -> TokenPlace | None:
    """Where the token of a configured account comes from; None where it has none."""
    token = _connector(parts, name).options.get("token")
    if not isinstance(token, Secret):
        return None
    if "file" not in token.pointer:
        variable = token.pointer.get("env", "")
        named = f"the environment variable {variable}" if re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) else "an environment variable"
        return TokenPlace(f"The token comes from {named}. Change it where triage is started, then restart triage; a file needs no restart.")
    base = (parts.config.path.parent if parts.config.path is not None else Path()).absolute()
    path = absolute(token.pointer["file"], base)
    target = path.resolve()
    if os.access(target.parent, os.W_OK) and (not target.exists() or os.access(target, os.W_OK)):
        return TokenPlace(f"The token is in the file {path}.", path)
    return TokenPlace(
        f"The token is in the file {path}, which this process may not replace. Write the new one there; no restart is needed."
    )


def renew_token(parts: Parts, name: str, token: str, by: str) -> str:
    """Put a new token in place of an account's old one, if its server takes it; in a word, what the server said of it.

    It is asked before anything is written, and the token is shown and logged nowhere. `UserError` when it is refused.
    """
    place = token_place(parts, name)
    if place is None:
        raise UserError(f"{name} has no token in the config; set `token: {{file: PATH}}` there")
    if place.file is None:
        raise UserError(place.words)
    token = token.strip()
    if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError("this is no token: it must be one word of letters, digits and signs; copy it again")
    with spending(parts):
        found = list(parts.candidate(name, token).check())
    wrong = next((one for one in found if one.level == "fail"), None)
    if wrong is not None:
        raise UserError(f"nothing was changed: {wrong.what}; {wrong.next_step}".replace(token, "***"))
    try:
        put(place.file, token)
    except OSError as error:
        raise UserError(f"the file {place.file} can't be replaced ({error.strerror}); write the token there by hand") from None
    parts.store.accounts.has_new_token(name, by, parts.clock.now())
    whose = next((one.what for one in found if "token is that of" in one.what), "")
    return f"the new token of {name} works and is in use" + (f": {whose}" if whose else "")


def let_in(parts: Parts, name: str, by: str) -> int:
    """Tell a source's server to hand over what its policy holds back; how many authors. Raises `UserError` and `RemoteError`."""
    platform = parts.platform(name)
    if not isinstance(platform, LetsIn):
        raise UserError(f"{name} is on a platform whose server holds nothing back that we could let in")
    try:
        with spending(parts):
            count = platform.let_in()
    except Unauthorized as error:
        raise UserError(f"{name}: the token may not do that ({error}); it needs the right write:notifications too") from None
    except Refused as error:
        raise UserError(f"{name}: the server has no way to let them in ({error}); look under Preferences, Notifications there") from None
    parts.store.accounts.was_let_in(name, by, count, parts.clock.now())
    return count


def _connector(parts: Parts, name: str) -> Connector:
    for section in (parts.config.sources, parts.config.trackers, parts.config.notifiers):
        if name in section:
            return section[name]
    raise UserError(f"the config has no source, tracker or notifier {name!r} (any more)")
