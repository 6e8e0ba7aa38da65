"""What a connector's options are worth: checked against its manifest, read anew, and what of them is secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from triage.config import secret
from triage.config.connectors import KEYS, ROLES, Connector
from triage.config.errors import explain, key_of, nearest, refuse, unknown
from triage.config.lines import Key
from triage.config.secret import Secret, for_model, passwords_in, values_in
from triage.config.sections import Config
from triage.errors import ConfigError


def secrets(config: Config) -> list[str]:
    """Every secret value that the config holds, for `remote.keep_secret`: those pointed at, and the passwords in addresses."""
    connectors = [*config.sources.values(), *config.trackers.values(), *config.notifiers.values()]
    found = [value for connector in connectors for value in values_in(connector.options)]
    found += [*passwords_in(config.store), *passwords_in(config.broker)]
    return [value for value in dict.fromkeys(found) if value]


def renewed(connector: Connector, config: Config) -> Connector | None:
    """The connector with what its secret files hold now; None where that is what it has."""
    if not any(isinstance(value, Secret | dict | list) for value in connector.options.values()):
        return None
    base = (config.path.parent if config.path is not None else Path()).absolute()
    options = secret.renewed(dict(connector.options), base)
    return None if list(values_in(options)) == list(values_in(connector.options)) else replace(connector, options=options)


def no_such_type(connector: Connector, known: Sequence[str], config: Config) -> ConfigError:
    """The error for a connector of a type that does not exist, with file, line and the nearest that does."""
    role = ROLES[connector.section]
    found = [((connector.section, connector.name, role), f'"{connector.type}" is no {role}{nearest(connector.type, known)}')]
    return refuse(str(config.path or "config.yaml"), config._places, found)


def validate_options(connector: Connector, options: type[BaseModel], config: Config) -> BaseModel:
    """The options of a connector as its manifest's model, secrets as `SecretStr`.

    Raises `ConfigError` with file, line and nearest key: for unknown keys, wrong values, a secret that stands in the
    file itself, and one that is not where the file points.
    """
    prefix: Key = (connector.section, connector.name)
    found: list[tuple[Key, str]] = []
    values = for_model(connector.options, options, prefix, found)
    ours = list(KEYS[connector.section].model_fields)
    fields = {key for name, field in options.model_fields.items() for key in (name, key_of(name, field))}
    if options.model_config.get("extra", "ignore") == "ignore":
        valid = [key_of(name, field) for name, field in options.model_fields.items()] + ours
        found += [((*prefix, key), unknown(key, valid)) for key in values if key not in fields]
    checked = None
    try:
        checked = options.model_validate(values)
    except ValidationError as error:
        said = {key for key, _ in found}
        found += [(key, text) for key, text in explain(error, options, prefix, ours) if key not in said]
    if found or checked is None:
        raise refuse(str(config.path or "config.yaml"), config._places, found)
    return checked
