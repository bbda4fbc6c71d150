"""Signing keys and everything JOSE: the keyring with its life cycle, signing, verifying, the check of access tokens.

Every floor above may call it. It must not know clients, people or HTTP.
"""
