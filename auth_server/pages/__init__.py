"""What people see: set-up, sign-in, recovery, account. A view parses, calls one verb of the domain, and answers.

The highest room but for the command line; nothing imports it.
"""
