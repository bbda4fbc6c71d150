"""The protocol: endpoints as components on Authlib's `AuthorizationServer` and `ResourceProtector`.

It stands on web and the domain. Of the pages it knows one thing: where people sign in.
"""
