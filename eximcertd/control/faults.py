"""eximcertd.errors <-> the errors of the Varlink interface; each keeps its exit status."""

from __future__ import annotations

from typing import Any, Final

from eximcertd.control.protocol import Reply
from eximcertd.errors import (
    EximcertdError,
    NoSuchFingerprintError,
    NotPermittedError,
    RefusedError,
    UsageError,
)

INTERFACE: Final = "org.eximcertd"
MOST_CANDIDATES: Final = 20

_NAMES: Final[dict[str, type[EximcertdError]]] = {
    "NoSuchFingerprint": NoSuchFingerprintError,
    "NotPermitted": NotPermittedError,
    "Refused": RefusedError,
    "Usage": UsageError,
    "Failed": EximcertdError,
}


def reply_of(error: EximcertdError) -> Reply:
    """Return the reply for ``error``; an error without a name of its own is Failed."""
    parameters: dict[str, Any] = {"message": error.message, "hint": error.hint}
    if isinstance(error, NoSuchFingerprintError):
        parameters["candidates"] = list(error.candidates[:MOST_CANDIDATES])
    name = next(name for name, kind in _NAMES.items() if isinstance(error, kind))
    return Reply(parameters, f"{INTERFACE}.{name}")


def error_of(reply: Reply) -> EximcertdError:
    """Return the error in a reply."""
    message, hint = (_text(reply.parameters.get(key)) for key in ("message", "hint"))
    interface, _, name = reply.error.rpartition(".")
    kind = _NAMES.get(name) if interface == INTERFACE else None
    if kind is NoSuchFingerprintError:
        given = reply.parameters.get("candidates")
        candidates = [text for text in given if isinstance(text, str)] if isinstance(given, list) else []
        return NoSuchFingerprintError(message, hint=hint, candidates=candidates)
    if kind is None:
        what = " ".join(str(value) for value in reply.parameters.values())
        return EximcertdError(
            f"eximcertd does not know this call: {reply.error} {what}".rstrip(),
            hint="are eximcertd and eximcertctl of the same version? restart eximcertd after an upgrade",
        )
    return kind(message or reply.error, hint=hint)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
