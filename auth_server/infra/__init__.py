"""Plumbing that knows nothing of OAuth or of people: clock, cryptography, single-use secrets, limits, events and audit.

Every floor above may call it; it may call `database`, `errors` and `config` only.
"""
