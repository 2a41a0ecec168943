"""The schema's history; see `ledger.database.history`."""

from functools import partial

from ledger.database import history

read_sql = partial(history.read_sql, __name__)
run_sql = partial(history.run_sql, __name__)
