"""The keys, told once: the help on `?`, the hints beside buttons and the documentation come from here."""

from __future__ import annotations

LIST = "In the list"
ITEM = "With the item"
ALWAYS = "Everywhere"

KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        LIST,
        (
            ("j", "the next item"),
            ("k", "the one before"),
            ("x", "select it, to do something with many"),
            ("/", "search"),
        ),
    ),
    (
        ITEM,
        (
            ("1", "it is a bug"),
            ("2", "it is a question"),
            ("3", "it is praise"),
            ("4", "it is noise"),
            ("y", "accept what a rule suggests"),
            ("t", "file a ticket"),
            ("r", "reply"),
            ("p", "thank for praise with a prepared answer"),
            ("b", "boost praise to those who follow us"),
            ("e", "archive it: done, without an answer"),
            ("h", "snooze it until a time, or until they answer"),
            ("a", "assign it"),
            ("n", "write a note for colleagues"),
            ("m", "it is the same problem as another"),
            ("w", "why it was judged so"),
            ("z", "take back what you did last"),
        ),
    ),
    (
        ALWAYS,
        (
            ("?", "show these keys"),
            ("Esc", "close what is open, leave a field"),
        ),
    ),
)
"""Groups of (key, what it does)."""
