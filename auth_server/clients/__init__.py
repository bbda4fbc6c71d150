"""Clients: apps, services and APIs that hold credentials; their metadata and how they prove who they are.

Called by tokens, web, oauth, pages and the command line. It must not know people.
"""
