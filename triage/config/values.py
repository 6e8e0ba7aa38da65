"""The kinds of values that a key of the config may have, and what is said of one that is not of its kind."""

from __future__ import annotations

import re
from datetime import date, time
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Section(BaseModel):
    """A part of the config file: frozen, and a key that it doesn't know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


def listed(value: Any) -> Any:
    """`label: praise` says the same as `label: [praise]`."""
    return (value,) if isinstance(value, str | int) and not isinstance(value, bool) else value


def seconds(value: Any) -> Any:
    """`20s`, `5m`, `2h`, `7d`, `500ms` or a number of seconds, as seconds. Anything else is a `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time such as 20s, 5m, 2h or 7d")
    return float(match[1]) * UNITS[match[2]]


def _site(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}", value):
        raise ValueError("must be letters, digits and dashes, 32 at most, and begin with a letter or a digit")
    return value


def _origin(value: str) -> str:
    """An address without a path, as browsers write an origin. Passwords don't travel in the clear but to this machine itself."""
    try:
        parts = urlsplit(value.strip().lower().rstrip("/"))
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        raise ValueError("must be an address without a path, such as https://triage.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "[::1]"):
        raise ValueError("must begin with https://, or passwords travel in the clear; put a proxy with a certificate in front")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, {"http": 80, "https": 443}[parts.scheme]) else "")


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f'"{value}" is no address or network; write it like 127.0.0.1 or 10.0.0.0/8') from None
    return values


def _clock(value: Any) -> Any:
    """`9:00` to `24:00`, which is midnight."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", value) if isinstance(value, str) else None
    hour, minute = (int(match[1]), int(match[2])) if match else (99, 0)
    if (hour, minute) == (24, 0):
        return time(0)
    if hour > 23 or minute > 59:
        raise ValueError("must be a time of day such as 09:00 or 17:30")
    return time(hour, minute)


def _day(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("must be a day such as 2026-12-25") from None


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone that this machine knows; write one such as Europe/Berlin") from None
    return value


Text = Annotated[str, Field(min_length=1)]
Words = Annotated[tuple[Text, ...], BeforeValidator(listed)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Target = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]
Hold = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=600, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=1)]
Site = Annotated[str, AfterValidator(_site)]
Origin = Annotated[Text, AfterValidator(_origin)]
Networks = Annotated[Words, AfterValidator(_networks)]
Zone = Annotated[str, AfterValidator(_zone)]
Clock = Annotated[time, BeforeValidator(_clock)]
Day = Annotated[date, BeforeValidator(_day)]
