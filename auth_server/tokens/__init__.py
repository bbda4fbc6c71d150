"""What was granted, the tokens that express it, and what ends them.

Called by web, oauth, pages and the command line. `issuing` is the only place that makes tokens, `ending` the only way
in which a session, a family or an account's access ends; only `store` and `ending` touch `models`.
"""
