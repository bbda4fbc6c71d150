"""What a person or a client may be given, and what a person has agreed to: groups, roles, APIs, consents, policy.

Called by tokens, oauth, pages and the command line. It says what is allowed; it makes no tokens and shows no pages.
"""
