"""Runtime: what a run needs of the machine. It knows no config.

`parallel` (devices), `checkpoint`, `ledger` (rows of results on a disk), `writers` (the record of a run), `progress`,
`interruption` (signals) and `errors` are imported one by one, since some of them load heavy libraries.
"""
