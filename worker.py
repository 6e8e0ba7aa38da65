"""`celery -A worker worker` and `celery -A worker beat`, run where the config is. Installed users have `triage worker`."""

from triage.tasks import app

__all__ = ["app"]
