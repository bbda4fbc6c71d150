"""The catalogues are complete, compiled and agree with the source; and no text escapes them."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, nodes

from auth_server.infra import language

ROOT = Path(__file__).resolve().parent.parent
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "translations"), run_name="translations")
LANGUAGES: list[str] = TOOL["languages"]()
COMPLETE: tuple[str, ...] = ("ar", "de", "es", "fr")
"""Languages in which nothing may be missing."""
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MODULES = sorted((ROOT / "auth_server").rglob("*.py"))
SAID = {"_", "gettext", "ngettext", "mark"}
"""Functions whose first argument is a text for people."""
SPOKEN_ATTRIBUTES = {"title", "alt", "placeholder", "aria-label", "aria-description", "data-l", "data-copied"}
NOT_WORDS = {"auth-server setup-link"}
"""Texts of templates that are the same in every language."""
OPERATORS_ONLY = {
    "these claims cannot be set freely: ",
    "a JSON value is expected: text, number, true, false, list or object",
}
"""Refusals of the accounts' floor that only operators can meet."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def template_texts() -> set[str]:
    """Return every text of messages.pot, the plural forms too."""
    found: set[str] = set()
    for message in TOOL["extract"]():
        found.update([message.id] if isinstance(message.id, str) else message.id)
    return found


def test_the_template_is_made_from_the_code() -> None:
    """`scripts/translations extract` would write just what is there."""
    assert TOOL["as_text"](TOOL["extract"]()) == TOOL["TEMPLATE"].read_text(encoding="utf-8")


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_catalogue_agrees_with_the_source(tag: str) -> None:
    """It has just the template's texts, nothing fuzzy, the same placeholders and markup, all plural forms; compiled."""
    assert TOOL["problems"](tag) == []


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_complete_language_lacks_nothing(tag: str) -> None:
    """Not one text, in not one of its plural forms, is missing; a language that has become complete is listed here."""
    missing = TOOL["untranslated"](TOOL["catalogue"](tag))
    assert missing == [] if tag in COMPLETE else missing


def test_the_languages_of_the_pages_are_those_with_a_catalogue() -> None:
    """English and what is compiled; each has a name of its own and a plural rule."""
    assert language.available() == (language.DEFAULT, *LANGUAGES)
    for tag in LANGUAGES:
        assert language.name_of(tag) != tag
        assert TOOL["catalogue"](tag).num_plurals >= 1


@pytest.mark.parametrize(
    ("source", "translated", "problem"),
    [
        ("Hello %(name)s", "Hallo %(nam)s", "other placeholders"),
        ("Hello %(name)s", "Hallo", "other placeholders"),
        ("Hello", "Hallo %(name)s", "other placeholders"),
        ("Hello %(name)s", "Hallo %(name)s, 100 %", "a stray %"),
        ("Hello", "<b>Hallo</b>", "other markup"),
        ("Hello", " Hallo", "space around"),
        (("%(num)s cat", "%(num)s cats"), ("%(num)s Katze", "%(n)s Katzen"), "other placeholders"),
        (("%(num)s cat", "%(num)s cats"), ("%(num)s Katze",), "1 forms of 2"),
    ],
)
def test_a_wrong_translation_is_noticed(source: Any, translated: Any, problem: str) -> None:
    """Placeholders, markup, space and the number of forms are compared; a right one passes."""
    catalogue = TOOL["Texts"]("de", fuzzy=False)
    right = "Hallo %(name)s" if "%" in source else "Hallo"
    catalogue.add(source, string=translated)
    (message,) = [message for message in catalogue if message.id]
    assert any(problem in found for found in TOOL["_problems_of"](message, 2))
    message.string = ("Eine Katze", "%(num)s Katzen") if isinstance(source, tuple) else right
    assert list(TOOL["_problems_of"](message, 2)) == []


def test_every_text_of_the_code_is_in_the_template() -> None:
    """Whatever is given to `_`, `gettext`, `ngettext` or `mark` is a plain text that the extraction sees."""
    known = template_texts()
    for path in MODULES:
        for call in _calls(path, SAID):
            for argument in call.args[: 2 if _name(call) == "ngettext" else 1]:
                assert isinstance(argument, ast.Constant), f"{name_of(path)}:{call.lineno}: not a plain text"
                assert argument.value in known, f"{name_of(path)}:{call.lineno}: {argument.value!r}"


@pytest.mark.parametrize("room", ["accounts", "pages"])
def test_refusals_that_people_see_can_be_translated(room: str) -> None:
    """What `RefusedInput` says is marked there, and has named placeholders instead of being put together."""
    for path in sorted((ROOT / "auth_server" / room).rglob("*.py")):
        for call in _calls(path, {"RefusedInput"}):
            text = ast.unparse(call.args[0])
            if any(words in text for words in OPERATORS_ONLY):
                continue
            marked = isinstance(call.args[0], ast.Call) and _name(call.args[0]) == "mark"
            constant = isinstance(call.args[0], ast.Name) and f"{text} = mark(" in path.read_text(encoding="utf-8")
            assert marked or constant, f"{name_of(path)}:{call.lineno}: {text}"


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_every_text_of_a_template_is_translated(path: Path) -> None:
    """Between tags, and in attributes that are read aloud, there are no bare words."""
    assert [text for text in _bare_words(path.read_text(encoding="utf-8")) if text not in NOT_WORDS] == []


@pytest.mark.parametrize(
    "source", ["<p>Bare</p>", '<p>{{ _("x") }} bare</p>', '{% if a %}<a title="bare">x</a>{% endif %}']
)
def test_a_bare_word_is_noticed(source: str) -> None:
    """In a text, beside a translated one, in an attribute within a condition."""
    assert len(_bare_words(source)) == 1


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_no_sentence_of_a_template_stands_outside_gettext(path: Path) -> None:
    """Texts inside `{{ … }}` and `{% set … %}` are inside `_()` or `ngettext()`."""
    tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(path.read_text(encoding="utf-8"))
    said = {id(text) for call in tree.find_all(nodes.Call) if _is_gettext(call) for text in call.args}
    for text in tree.find_all(nodes.Const):
        sentence = isinstance(text.value, str) and re.match(r"[A-Z]\w+( \w+|\.$|$)", text.value)
        assert not sentence or id(text) in said, f"{name_of(path)}:{text.lineno}: {text.value!r}"


def test_the_script_has_no_texts() -> None:
    """What it shows comes from the page: its quoted strings are names of elements, attributes and events."""
    script = (ROOT / "auth_server" / "static" / "script.js").read_text(encoding="utf-8")
    code = re.sub(r"^\s*//.*$", "", script, flags=re.MULTILINE)
    quoted = re.findall(r'"([^"\n]*)"|\'([^\'\n]*)\'|`([^`]*)`', code)
    assert quoted
    for text in map("".join, quoted):
        assert not re.search(r"[A-Za-z]+ [a-z]+ ", text + " ") or text == "use strict", text
        assert not re.match(r"[A-Z][a-z]+", text) or text in KEYS, text


KEYS = {"Enter", "Escape", "Tab", "Home", "End", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"}


def test_the_style_sheet_knows_no_left_and_right() -> None:
    """Logical properties only, so that a page can run from right to left (X-11)."""
    style = (ROOT / "auth_server" / "static" / "style.css").read_text(encoding="utf-8")
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    physical = re.compile(
        r"(?<![\w-])(left|right|top|bottom|(margin|padding|border|inset|scroll-margin)-(left|right|top|bottom)[\w-]*"
        r"|border-(top|bottom)-(left|right)-radius)\s*:|(text-align|float|clear|caption-side)\s*:\s*(left|right)"
    )
    assert [found.group() for found in physical.finditer(style)] == []
    assert physical.search("a { margin-left: 1px }")
    assert physical.search("a { text-align: right }")
    assert physical.search("a { top: 0 }")


class _Words(HTMLParser):
    """Collects what a reader or a screen reader gets to know."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in SPOKEN_ATTRIBUTES:
                self._take(value or "")

    def handle_data(self, data: str) -> None:
        self._take(data)

    def _take(self, text: str) -> None:
        if re.search(r"[^\W\d_]{2,}", text):
            self.texts.append(text.strip())


def _bare_words(source: str) -> list[str]:
    found = _Words()
    found.feed("".join(_markup(Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source))))
    found.close()
    return found.texts


def _markup(tree: nodes.Node) -> Iterator[str]:
    """Yield a template's markup, in both branches of each condition, with nothing in place of what is computed."""
    for output in tree.find_all(nodes.Output):
        for part in output.nodes:
            yield part.data if isinstance(part, nodes.TemplateData) else ""


def _is_gettext(call: nodes.Call) -> bool:
    return isinstance(call.node, nodes.Name) and call.node.name in SAID


def _calls(path: Path, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _name(node) in names and node.args:
            yield node


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr if ast.unparse(call.func.value) in ("language", "i18n") else ""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_refusals_begin_like_sentences() -> None:
    """A page shows them alone: each begins with a capital, in every language that has capitals."""
    marked = {
        str(call.args[0].value)
        for path in MODULES
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "mark"
        if isinstance(call.args[0], ast.Constant)
    }
    assert len(marked) > 30
    catalogues = [TOOL["catalogue"](tag) for tag in LANGUAGES]
    for text in marked:
        for said in (text, *(str(catalogue.get(text).string) for catalogue in catalogues)):
            assert said[0] == said[0].upper(), said
