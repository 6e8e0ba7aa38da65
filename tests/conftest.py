"""Fixtures for every tier. The servers are real processes or real sockets; each is started once a session where it can be shared."""

pytest_plugins = ["tests.fixtures_sandbox", "tests.fixtures_services"]
