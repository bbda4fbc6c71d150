"""People and how they prove who they are: users, passwords, sign-in, sessions.

Called by tokens, web, oauth, pages and the command line. It must not know clients, scopes or OAuth errors: the
demanded strength of a sign-in reaches it as a value. A proof answers with a value and never says why it failed.
"""
