"""Floors and goals: ratios to other servers in the same run, one worker on one core, the same work on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GOALS: dict[str, tuple[str, float, float]] = {
    "metadata": ("oidc-provider", 1.0, 3.0),
    "jwks": ("oidc-provider", 1.0, 1.8),
    "cc-rs256": ("oidc-provider-mem", 0.8, 1.0),
    "cc-es256": ("oidc-provider-mem", 0.8, 1.2),
    "cc-opaque": ("oidc-provider", 0.6, 1.1),
    "code": ("oidc-provider", 1.0, 1.5),
    "refresh": ("oidc-provider with ID token", 1.5, 2.5),
    "refresh-openid": ("oidc-provider", 1.0, 1.5),
    "introspect": ("oidc-provider", 0.65, 1.1),
    "userinfo": ("oidc-provider", 0.8, 1.1),
}
"""For each row: against whom, the floor, the goal. The one of `refresh` is against a refresh that signs an ID token, as
node-oidc-provider's does unless its scope lacks `openid`; the ratio at equal work is printed beside it."""
OF_ALL = {"baseline": (2.0, 4.0), "canaille": (6.0, 10.0), "DOT": (3.0, 5.0)}
"""Floor and goal of every row against these."""
START = """
Floor 1.2 s and 110 MB, goal 0.7 s and 80 MB."""


def verdicts(row: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Return a line for each server that this row has a goal against and that was measured."""
    rates = {name: result["rate"] for name, result in found[row].items()}
    signing = found.get("refresh-openid", {}).get("oidc-provider")
    if row == "refresh" and signing:
        rates["oidc-provider with ID token"] = signing["rate"]
    against = dict(OF_ALL)
    if row in GOALS:
        peer, floor, goal = GOALS[row]
        against[peer] = (floor, goal)
    return [_verdict(rates, peer, *bounds) for peer, bounds in against.items() if rates.get(peer)]


def _verdict(rates: Mapping[str, float], peer: str, floor: float, goal: float) -> str:
    ratio = rates["auth-server"] / rates[peer]
    word = "goal reached" if ratio >= goal else "above the floor" if ratio >= floor else "BELOW THE FLOOR"
    return f"against {peer}: {ratio:.2f}x (floor {floor:g}x, goal {goal:g}x): {word}"
