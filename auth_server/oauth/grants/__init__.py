"""Grant types: each proves one thing and returns an `Authorization`; the shared phases are in `base`.

A grant type knows no other.
"""
