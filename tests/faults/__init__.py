"""The delivery promise under attack: real processes, real kills, servers that misbehave, and a checker that reads their ledgers.

`make test` runs every case with a few seeds (test_cases*.py); `make faults` runs them at length (__main__.py).
"""
