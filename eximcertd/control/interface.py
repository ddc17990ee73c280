"""The interface definition read as data, and values checked against it.

A call is checked before a method sees it: a method gets every parameter, of the declared type, and no other. The
grammar is Varlink's (https://varlink.org/Interface-Definition). Pure, except for ``shipped``, which reads the file of
this package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Named:
    """A basic type (bool, int, float, string, object) or the name of a type in the interface."""

    name: str


@dataclass(frozen=True, slots=True)
class Maybe:
    """``?T``: null, or a T."""

    of: Any


@dataclass(frozen=True, slots=True)
class Array:
    """``[]T`` or, keyed by texts, ``[string]T``."""

    of: Any
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Enum:
    """``(one, two)``."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Struct:
    """``(a: T, b: U)``."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A method's parameters and outputs."""

    inputs: Struct
    outputs: Struct


_BASIC: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "string": (str,),
    "object": (dict,),
}
_TOKEN = re.compile(r"\s*(?:#[^\n]*\s*)*(->|[A-Za-z][A-Za-z0-9_.]*|\[\]|\[string\]|[?():,]|\Z)")


class Interface:
    """One interface. text: its definition. Raises ValueError if the definition is none."""

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.types: dict[str, Any] = {}
        self.methods: dict[str, Method] = {}
        self.errors: dict[str, Struct] = {}
        self._at = 0
        self._expect("interface")
        self.name: Final = self._word()
        while (word := self._take()) != "":
            name = self._word()
            if name in {*self.types, *self.methods, *self.errors}:
                raise self._wrong(name)  # they share one space of names
            if word == "type":
                self.types[name] = self._type()
            elif word == "method":
                inputs = self._struct()
                self._expect("->")
                self.methods[name] = Method(inputs, self._struct())
            elif word == "error":
                self.errors[name] = self._struct()
            else:
                raise self._wrong(word)

    def fault(self, value: Any, kind: Any, name: str = "") -> str | None:
        """Return the name of the first part of ``value`` that is not of this type, None if there is none."""
        match kind:
            case Named(basic) if basic in _BASIC:
                right = isinstance(value, _BASIC[basic]) and (basic == "bool" or not isinstance(value, bool))
                return None if right else name
            case Named(other):
                return self.fault(value, self.types[other], name)
            case Maybe(of):
                return None if value is None else self.fault(value, of, name)
            case Array(of, keyed):
                return self._array_fault(value, of, name, keyed=keyed)
            case Enum(words):
                return None if isinstance(value, str) and value in words else name
            case _:
                return self._struct_fault(value, kind, name)

    def _array_fault(self, value: Any, of: Any, name: str, *, keyed: bool) -> str | None:
        items = list(value.values()) if keyed and isinstance(value, dict) else value
        if not isinstance(items, list) or isinstance(value, dict) is not keyed:
            return name
        if of == Named("string"):  # most values of a large call
            return None if all(isinstance(item, str) for item in items) else f"{name}[]"
        faults = (self.fault(item, of, f"{name}[]") for item in items)
        return next((fault for fault in faults if fault is not None), None)

    def _struct_fault(self, value: Any, kind: Struct, name: str) -> str | None:
        if not isinstance(value, dict):
            return name
        prefix = f"{name}." if name else ""
        for key in value:
            if key not in kind.fields:
                return f"{prefix}{key}"
        for key, of in kind.fields.items():
            fault = self.fault(value.get(key), of, f"{prefix}{key}")
            if fault is not None:
                return fault
        return None

    def _type(self) -> Any:
        word = self._take()
        if word == "?":
            return Maybe(self._type())
        if word in {"[]", "[string]"}:
            return Array(self._type(), keyed=word != "[]")
        if word == "(":
            self._at -= 1
            return self._struct_or_enum()
        if not word[:1].isalpha():
            raise self._wrong(word)
        return Named(word)

    def _struct(self) -> Struct:
        found = self._struct_or_enum()
        if not isinstance(found, Struct):
            raise self._wrong("an enumeration")
        return found

    def _struct_or_enum(self) -> Struct | Enum:
        self._expect("(")
        fields: dict[str, Any] = {}
        words: list[str] = []
        while (word := self._take()) != ")":
            if word == "," and (fields or words):
                word = self._word()
            elif not word[:1].isalpha() or fields or words:
                raise self._wrong(word)
            follows = self._take()
            if follows == ":":
                fields[word] = self._type()
            else:
                words.append(word)
                self._at -= len(follows)
        if fields and words:
            raise self._wrong(words[0])
        return Enum(tuple(words)) if words else Struct(fields)

    def _word(self) -> str:
        word = self._take()
        if not word[:1].isalpha():
            raise self._wrong(word)
        return word

    def _take(self) -> str:
        """Return the next token, "" at the end."""
        found = _TOKEN.match(self.text, self._at)
        if found is None:
            raise self._wrong(self.text[self._at : self._at + 20])
        self._at = found.end()
        return found[1]

    def _expect(self, word: str) -> None:
        if (found := self._take()) != word:
            raise self._wrong(found)

    def _wrong(self, word: str) -> ValueError:
        line = self.text.count("\n", 0, self._at) + 1
        return ValueError(f"line {line} of the interface definition: {word!r} is out of place")


@cache
def shipped() -> Interface:
    """Return the interface org.eximcertd."""
    return Interface(Path(__file__).with_name("org.eximcertd.varlink").read_text(encoding="utf-8"))
