"""A device with a screen lock and passkeys, as the page's browser sees it: Chromium's virtual authenticator.

A pending request for autofill is answered by a virtual authenticator at once, so it is there only when a test wants it.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import CDPSession, Page

_NO_AUTOFILL = "PublicKeyCredential.isConditionalMediationAvailable = async () => false"
"""For tests of the button: a virtual authenticator would answer the request for autofill before it is pressed."""


def without_autofill(page: Page) -> Page:
    page.add_init_script(_NO_AUTOFILL)
    return page


class Device:
    def __init__(self, page: Page, *, synced: bool = False) -> None:
        self.session: CDPSession = page.context.new_cdp_session(page)
        self.session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
            "defaultBackupEligibility": synced, "defaultBackupState": synced,
        }  # fmt: skip
        added = self.session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.id = added["authenticatorId"]

    def keys(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})[
            "credentials"
        ]
        return found

    def be_touched(self, touched: bool) -> None:
        enabled = {"authenticatorId": self.id, "enabled": touched}
        self.session.send("WebAuthn.setAutomaticPresenceSimulation", enabled)

    def know_its_person(self, known: bool) -> None:
        """Whether fingerprint or screen lock are right from now on."""
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": known})

    def leave(self) -> list[dict[str, Any]]:
        """Take the device away; return its keys, for another to have."""
        keys = self.keys()
        self.session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.id})
        return keys

    def take(self, keys: list[dict[str, Any]]) -> None:
        for key in keys:
            self.session.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": key})
