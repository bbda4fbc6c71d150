"""Figures of other servers, measured elsewhere and earlier, and our goals against them. Nothing here is measured now.

From one harness on one machine: one worker on one core of a 2.5 GHz Xeon (Cascade Lake), SQLite in WAL, requests/s as
medians; README.md says more. `oidc-provider` is node-oidc-provider with SQLite, `-mem` in memory; DOT is
django-oauth-toolkit with client secrets unhashed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

Rates = Mapping[str, float]

PEERS: dict[str, Rates] = {
    "oidc-provider-mem": {
        **{"metadata": 3314, "jwks": 6439, "cc-rs256": 700, "cc-es256": 1619, "cc-opaque": 2116, "code": 489},
        **{"refresh": 448, "refresh-openid": 448, "introspect": 2044, "userinfo": 2174},
    },
    "oidc-provider": {
        **{"metadata": 3674, "jwks": 8353, "cc-rs256": 532, "cc-es256": 1233, "cc-opaque": 1586, "code": 340},
        **{"refresh": 360, "refresh-openid": 360, "introspect": 2255, "userinfo": 2201},
    },
    "canaille": {
        **{"metadata": 472, "jwks": 704, "cc-opaque": 118, "code": 21.5, "code-jwt": 21.5},
        **{"refresh-jwt": 38.5, "introspect": 219, "userinfo": 63.3},
    },
    "DOT": {
        **{"metadata": 504, "jwks": 1209, "cc-opaque": 263, "code": 66.4},
        **{"refresh": 59.8, "refresh-openid": 59.8, "introspect": 372, "userinfo": 382},
    },
    "glewlwyd": {
        **{"metadata": 14589, "cc-rs256": 177, "code": 85.5, "code-jwt": 85.5},
        **{"refresh-jwt": 158, "introspect": 654, "userinfo": 609},
    },
    "better-auth": {
        **{"metadata": 432, "cc-opaque": 126, "code": 67.1},
        **{"refresh": 79.1, "refresh-openid": 79.1, "introspect": 136, "userinfo": 192},
    },
}
BASELINE: Rates = {"metadata": 2615, "cc-opaque": 420, "refresh": 139, "code": 105, "introspect": 270, "userinfo": 569}
"""A server like our baseline, under granian, on that machine: it tells how fast this machine is beside that one."""

GOALS: dict[str, tuple[str, float, float]] = {
    "metadata": ("oidc-provider", 1.0, 3.0),
    "jwks": ("oidc-provider", 1.0, 1.8),
    "cc-rs256": ("oidc-provider-mem", 0.8, 1.0),
    "cc-es256": ("oidc-provider-mem", 0.8, 1.2),
    "cc-opaque": ("oidc-provider", 0.6, 1.1),
    "code": ("oidc-provider", 1.0, 1.5),
    "refresh": ("oidc-provider", 1.5, 2.5),
    "refresh-openid": ("oidc-provider", 1.0, 1.5),
    "introspect": ("oidc-provider", 0.65, 1.1),
    "userinfo": ("oidc-provider", 0.8, 1.1),
}
"""For each row: against whom, the floor, the goal."""
OF_ALL = {"canaille": (6.0, 10.0), "DOT": (3.0, 5.0)}
"""Floor and goal of every row against these; against the baseline 2 and 4."""

START = """
Quoted, measured elsewhere: start 0.55 s node-oidc-provider, 0.70 s django-oauth-toolkit, 1.50 s Canaille, 0.06 s
glewlwyd; idle memory (RSS) 82, 87, 127, 16 MB. Floor 1.2 s and 110 MB, goal 0.7 s and 80 MB."""


def machine_speed(baseline: Rates) -> float | None:
    """Return how fast this machine is beside the quoted one: the baseline now and then, mean over the rows."""
    factors = [baseline[row] / then for row, then in BASELINE.items() if baseline.get(row)]
    return statistics.geometric_mean(factors) if factors else None


def report(ours: Rates, baseline: Rates) -> None:
    """Print the peers' figures beside ours, and our ratio to each."""
    speed = machine_speed(baseline)
    print("\nQUOTED, measured elsewhere on another machine: requests/s; in brackets our ratio.")
    if speed is None:
        print("No row that tells this machine's speed was measured: the ratios are uncorrected.")
    else:
        print(
            f"This machine has {speed:.2f} times its speed, going by the baseline: our rates are divided by that first."
        )
    print(f"\n{'row':15}{'ours':>8}" + "".join(f"{peer:>20}" for peer in PEERS) + f"{'floor':>8}{'goal':>6}  against")
    for row, rate in ours.items():
        corrected = rate / (speed or 1)
        cells = [_cell(corrected, peer.get(row)) for peer in PEERS.values()]
        print(f"{row:15}{corrected:8,.0f}" + "".join(f"{cell:>20}" for cell in cells) + _verdict(row, corrected))
    floors = ", ".join(f"{peer} {floor:g}x and {goal:g}x" for peer, (floor, goal) in OF_ALL.items())
    print(f"\nEvery row: floor and goal against the baseline 2x and 4x, {floors}.")


def _cell(rate: float, theirs: float | None) -> str:
    return f"{theirs:,.0f} ({rate / theirs:.2f}x)" if theirs else "-"


def _verdict(row: str, rate: float) -> str:
    if row not in GOALS:
        return ""
    peer, floor, goal = GOALS[row]
    ratio = rate / PEERS[peer][row]
    word = "goal reached" if ratio >= goal else "above the floor" if ratio >= floor else "BELOW THE FLOOR"
    return f"{floor:7g}x{goal:5g}x  {peer}: {word}"
