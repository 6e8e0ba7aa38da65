"""Stand-in servers on loopback: a Mastodon, a Jira and a receiver of alerts, with ledgers and faults.

The real clients talk to them over HTTP. Each server writes what it accepted into an append-only ledger and reads it
back when it starts. The demo shows them; the tests break them. Nothing else in the product imports this package.
"""
