"""`python -m tests.bench`: how fast and how large the service is, each figure beside what it is to be compared with.

report      a row of the table, and the table
stage       a service on a store of its own, with posts of the project's own writing, and its worker as a process
routing     from a stored page to the actions, beside one empty Celery task a message
classifying the classifier alone: its speed beside a baseline, and what it costs to load
fetching    from the server to the page, beside mastodon.py's own parsing
latency     from a post to its task or ticket at the default settings, and the requests that it costs
process     the memory of a worker, and the time that `triage --help` takes
noop        the Celery app with the empty task
"""
