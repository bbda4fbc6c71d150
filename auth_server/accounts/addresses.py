"""Every address at which a person can be reached."""

from __future__ import annotations

from auth_server.accounts import users


def all_of(user_id: str) -> list[str]:
    """Return the addresses of a person; [] for nobody."""
    person = users.find_person(user_id)
    return [person.email] if person else []
