"""Rules about workloads: which subjects a pattern means, which claims are held, and what no rule may say."""

from __future__ import annotations

from typing import Any

import pytest

from auth_server.clients import metadata, workload_rules
from auth_server.errors import InvalidClientMetadata

CI = "https://ci.example.org"


def fits(subject: str, presented: Any, claims: dict[str, Any] | None = None, **held: Any) -> bool:
    details = {"workload": workload_rules.checked([{"issuer": CI, "subject": subject, "claims": claims or {}}])}
    return workload_rules.of(details)[0].fits({"sub": presented, **held})


@pytest.mark.parametrize(
    ("pattern", "presented"),
    [
        ("repo:acme/shop:ref:refs/heads/main", "repo:acme/shop:ref:refs/heads/main"),
        ("repo:acme/*:environment:production", "repo:acme/shop:environment:production"),
        ("repo:acme/shop:ref:refs/tags/*", "repo:acme/shop:ref:refs/tags/v1.2.3"),
        ("system:serviceaccount:shop:*", "system:serviceaccount:shop:report"),
        ("system:serviceaccount:*:report", "system:serviceaccount:shop:report"),
        ("spiffe://example.org/ns/*/sa/*", "spiffe://example.org/ns/shop/sa/report"),
    ],
)
def test_a_subject_that_is_meant(pattern: str, presented: str) -> None:
    """Exactly, or with whole pieces left open; a longer, shorter or differently written one is not."""
    assert fits(pattern, presented)
    others = ("x" + presented, presented.upper(), presented + ":x", presented + "/x", presented.rpartition(":")[0], "")
    assert not any(fits(pattern, other) for other in others)


@pytest.mark.parametrize(
    "presented",
    [
        *("repo:acme-evil/shop:environment:production", "repo:evil/acme/shop:environment:production"),
        *("repo:acme/:environment:production", "repo:acme/a/b:environment:production"),
        *("repo:acme/a:b:environment:production", "repo:acme/shop:environment:production\n"),
        *("repo:acme/sh op:environment:production", "repo:acme/sh\u00f6p:environment:production"),
        *("repo:acme/*:environment:staging", "repo/acme/shop:environment:production", ["x"], 1, None, {}),
    ],
)
def test_a_subject_that_no_star_means(presented: Any) -> None:
    """A star is one piece, never nothing, never two, and no other part gives way."""
    assert not fits("repo:acme/*:environment:production", presented)
    assert fits("repo:acme/*:environment:production", "repo:acme/shop:environment:production")


def test_claims_are_held_exactly() -> None:
    """By value and type, and of a table the members that are named."""
    wanted = {"ref": "refs/heads/main", "attempt": 1, "kubernetes.io": {"namespace": "shop"}}
    held = {"ref": "refs/heads/main", "attempt": 1, "kubernetes.io": {"namespace": "shop", "pod": {"name": "x"}}}
    assert fits("x", "x", wanted, **held)
    for name, value in (
        *(("ref", other) for other in ("refs/heads/Main", "refs/heads/main ", ["refs/heads/main"], None, True)),
        *(("attempt", other) for other in (True, "1", 1.0, 2)),
        *(("kubernetes.io", other) for other in ("shop", {}, {"namespace": "other"}, [{"namespace": "shop"}], None)),
    ):
        assert not fits("x", "x", wanted, **{**held, name: value}), (name, value)
    assert not fits("x", "x", wanted)


RULE = {"issuer": CI, "subject": "x"}


@pytest.mark.parametrize(
    "rules",
    [
        *([], {}, "x", [1], [RULE] * 21, [{}], [{"issuer": CI}], [{"subject": "x"}], [{**RULE, "sub": "x"}]),
        *([{**RULE, "subject": subject}] for subject in ("", 1, None, "x" * 256, "a\nb", "a\x00b", "\ud800")),
        *([{**RULE, "subject": subject}] for subject in ("*", "*:x:y", "a:*", "a/*", "repo:*/x", "https://*/x/y")),
        *([{**RULE, "subject": subject}] for subject in ("repo:acme*", "repo:acme/shop*", "repo:acme/*p:x", "a:b:**")),
        *([{**RULE, "claims": claims}] for claims in ([], "x", {"aud": "x"}, {"sub": "x"}, {"iss": "x"}, {"exp": 1})),
        *([{**RULE, "claims": claims}] for claims in ({"a": None}, {"a": []}, {"a": 1.5}, {"": "x"}, {"a": "x" * 256})),
        *([{**RULE, "claims": claims}] for claims in ({"a": {"b": {"c": {"d": 1}}}}, {str(n): 1 for n in range(21)})),
        *([{**RULE, "audience": audience}] for audience in ("", 1, ["x"], None)),
        *([{**RULE, "once": once}] for once in (1, "true", None)),
    ],
)
def test_what_no_rule_may_say(rules: Any) -> None:
    """Stars that could match a neighbour, claims with a place of their own, and everything malformed."""
    with pytest.raises(InvalidClientMetadata, match="invalid_client_metadata") as refusal:
        metadata.check("workload", rules)
    assert refusal.value.description.startswith("workload: ")
    assert metadata.check("workload", [RULE]) == [RULE]


def test_rules_and_method_go_together() -> None:
    """Neither without the other; a workload has no keys of its own to choose among."""
    service = {"grant_types": ["client_credentials"]}
    whole = {**service, "token_endpoint_auth_method": "workload_identity", "workload": [RULE]}
    assert metadata.validate(whole)["workload"] == [RULE]
    for changed in (
        {"workload": None},
        {"token_endpoint_auth_method": None},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://ci.example.org/keys"},
        {"token_endpoint_auth_method": "none", "grant_types": []},
        {"token_endpoint_auth_signing_alg": "RS256"},
    ):
        with pytest.raises(InvalidClientMetadata):
            metadata.validate({**whole, **changed})
    assert not metadata.has_secret("workload_identity")
