"""Where tables and keys of a TOML text stand."""

from __future__ import annotations

from auth_server.cli import lines

TEXT = """# a file
[client.wiki]            # a comment
client_name = "Wiki [client.none]"
redirect_uris = [
  "https://wiki.example.org/cb",
]
"odd key" = '''
[client.inside]
client_name = "text"
'''

[ api . "https://a.example.org/x=y" ]
scopes = { read = "Read", write = "Write" }
scopes2.read = 1
"""


def test_each_table_and_key_has_its_line() -> None:
    """Quoted names, lists and texts over several lines, inline tables, dotted keys; nothing out of texts."""
    assert lines.find(TEXT) == {
        ("client",): 2,
        ("client", "wiki"): 2,
        ("client", "wiki", "client_name"): 3,
        ("client", "wiki", "redirect_uris"): 4,
        ("client", "wiki", "odd key"): 7,
        ("api",): 12,
        ("api", "https://a.example.org/x=y"): 12,
        ("api", "https://a.example.org/x=y", "scopes"): 13,
        ("api", "https://a.example.org/x=y", "scopes", "read"): 13,
        ("api", "https://a.example.org/x=y", "scopes", "write"): 13,
        ("api", "https://a.example.org/x=y", "scopes2"): 14,
        ("api", "https://a.example.org/x=y", "scopes2", "read"): 14,
    }


def test_what_has_no_line_has_its_tables() -> None:
    """The nearest above; the first line where there is nothing."""
    found = lines.find(TEXT)
    assert lines.nearest(found, ("client", "wiki", "client_name")) == 3
    assert lines.nearest(found, ("client", "wiki", "scope")) == 2
    assert lines.nearest(found, ("user", "ada")) == 1
