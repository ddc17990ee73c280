"""Varlink's framing: JSON objects, each ended by a NUL byte (https://varlink.org/Method-Call).

Pure: bytes in, values out. No input raises anything but ProtocolError.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, NoReturn

LARGEST_CALL: Final = 1 << 20
"""Maximum size in bytes of a call by a caller that may approve; 10,000 fingerprints fit."""

LARGEST_QUESTION: Final = 1 << 16
"""The same for any other caller."""

LARGEST_REPLY: Final = 8 << 20
"""Maximum size in bytes of a reply; a client reads no more."""

LONGEST_NAME: Final = 255
"""Maximum length of a method's name."""

END: Final = b"\0"
_KEYS: Final = frozenset({"method", "parameters", "more", "oneway", "upgrade"})


class ProtocolError(Exception):
    """Not a Varlink message; the text tells why."""


class Call(NamedTuple):  # no dataclass: importing them is a tenth of a call of eximcertctl
    """A method call. method: with its interface, such as "org.eximcertd.Status"."""

    method: str
    parameters: dict[str, Any] = {}  # noqa: RUF012 - never changed
    more: bool = False
    oneway: bool = False


class Reply(NamedTuple):
    """An answer. error: the error's name with its interface, or "". continues: another one follows."""

    parameters: dict[str, Any] = {}  # noqa: RUF012 - the same
    error: str = ""
    continues: bool = False


def decode_call(raw: bytes) -> Call:
    """Return the call in a message without its NUL. Raises ProtocolError."""
    message = _object(raw)
    method, parameters = message.get("method"), message.get("parameters")
    if message.keys() - _KEYS:
        raise ProtocolError("the call has a key besides method, parameters, more, oneway and upgrade")
    if not isinstance(method, str) or not method.isascii() or not 0 < len(method) <= LONGEST_NAME:
        raise ProtocolError("the call names no method")
    if message.get("upgrade"):
        raise ProtocolError("upgrade is not supported")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise ProtocolError("the parameters are not an object")
    flags = [message.get(name) or False for name in ("more", "oneway")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise ProtocolError("more and oneway must be true or false")
    return Call(method, parameters, *flags)


def encode_call(call: Call) -> bytes:
    """Return the message, with its NUL."""
    message: dict[str, Any] = {"method": call.method, "parameters": call.parameters}
    if call.more:
        message["more"] = True
    if call.oneway:
        message["oneway"] = True
    return _encode(message)


def decode_reply(raw: bytes) -> Reply:
    """Return the reply in a message without its NUL. Raises ProtocolError."""
    message = _object(raw)
    parameters, error, continues = message.get("parameters"), message.get("error"), message.get("continues")
    if not isinstance(parameters, dict | None) or not isinstance(error, str | None):
        raise ProtocolError("not a Varlink reply")
    return Reply(parameters or {}, error or "", continues is True)


def encode_reply(reply: Reply) -> bytes:
    """Return the message, with its NUL."""
    message: dict[str, Any] = {"parameters": reply.parameters}
    if reply.error:
        message["error"] = reply.error
    if reply.continues:
        message["continues"] = True
    return _encode(message)


def _encode(message: dict[str, Any]) -> bytes:
    # json escapes every control character, NUL among them. A lone surrogate has no UTF-8 and becomes "?".
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace") + END


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises for a lone surrogate
    except UnicodeError as error:
        raise ProtocolError("the message is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the message is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("the message is not a JSON object")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
