"""One YAML file and the environment become one frozen `Config`; an error names file, line, key and the nearest valid key.

What stands later wins: the defaults below, the file, `DATABASE_URL` and `REDIS_URL`, then `TRIAGE_<KEY>__<KEY>`. Secrets
stand in neither: an option that is one is written `{env: NAME}` or `{file: PATH}`. What a platform's, tracker's or
notifier's own options may be is told by its manifest, so they are checked by `validate_options` when it is built.
"""

from triage.config.connectors import IMPORTED, Connector
from triage.config.options import no_such_type, renewed, secrets, validate_options
from triage.config.reading import load, parse, sample
from triage.config.rules import Answer, Confidence, Followers, Rule, Step, Style, When
from triage.config.secret import Secret
from triage.config.sections import Audit, Autonomy, Boosts, Config, Delivery, Log, Web
from triage.config.values import seconds

__all__ = [
    "IMPORTED",
    "Answer",
    "Audit",
    "Autonomy",
    "Boosts",
    "Confidence",
    "Config",
    "Connector",
    "Delivery",
    "Followers",
    "Log",
    "Rule",
    "Secret",
    "Step",
    "Style",
    "Web",
    "When",
    "load",
    "no_such_type",
    "parse",
    "renewed",
    "sample",
    "seconds",
    "secrets",
    "validate_options",
]
