"""Flask's side of every request: transaction, cookies, sessions, forgery checks, headers, error answers, probes.

`oauth` and `pages` stand on it; the domain below does not know Flask.
"""
