"""triage: what people say about a developer product becomes a ticket, a person's task, or a reviewable archive."""

__version__ = "0.1.0"
