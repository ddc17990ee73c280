"""The signature of an act: an SSH signature (ssh-keygen(1), -Y sign) of its text, by the person who decided.

It covers the act's number and the hash of the act before it, so it is good for one place in one chain only. The file
of signers has the format of ALLOWED SIGNERS in ssh-keygen(1): a name, options such as valid-before, and a public key or
the key of a certification authority on each line.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import LONGEST_SIGNATURE, ActError
from eximcertd.errors import EximcertdError
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eximcertd.acts.act import Act

NAMESPACE: Final = "eximcertd-fleet"
"""What a signature is for (ssh-keygen's -n): one that was made for git or for mail is not valid for an act."""

VERIFY_LIMIT: Final = 10.0
SIGN_LIMIT: Final = 120.0
"""Seconds: a person types a passphrase, or touches a security key."""

_PROGRAM: Final = "ssh-keygen"
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_ARMOR: Final = re.compile(rf"\s*{_BEGIN}\s+([A-Za-z0-9+/=\s]+?)\s*{_END}\s*")
_LONGEST_QUOTE: Final = 300


class ActSignatureError(ActError):
    """An act is not signed, or its signature is not valid for who decided it, by the file of signers."""


class SigningError(EximcertdError):
    """ssh-keygen is missing, does not end, or cannot sign. Nothing is known of the act then."""


def verify(act: Act, signers: Path) -> None:
    """Check that an act is signed by who decided it. Takes some 10 ms, VERIFY_LIMIT at most.

    A key with valid-after or valid-before must have been valid when the act was made, by the act's own time.
    Raises ActSignatureError if the signature is not valid, SigningError if that cannot be found out.
    """
    what = f"act {act.generation} by {act.by}"
    if not act.signature:
        raise ActSignatureError(f"{what} is not signed, and {signers} is set: acts without a signature are not taken")
    if not os.access(signers, os.R_OK):
        raise SigningError(
            f"the signers' file {signers} cannot be read", hint="It is named by [fleet] signers; see eximcertd.toml(5)."
        )
    at = datetime.fromtimestamp(act.at / 1_000_000, UTC)
    descriptor = os.memfd_create("signature", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(armored(act.signature))
        done = _run(
            [
                *("-Y", "verify", "-n", NAMESPACE, "-I", act.by, "-f", str(signers)),
                *(f"-Overify-time={at:%Y%m%d%H%M%S}", "-s", f"/proc/self/fd/{descriptor}"),
            ],
            act.text(),
            VERIFY_LIMIT,
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            descriptor=descriptor,
        )
    finally:
        os.close(descriptor)
    if done.returncode < 0:
        raise SigningError(f"{_PROGRAM} was ended by signal {-done.returncode}: act {act.generation} is not verified")
    if done.returncode:
        raise ActSignatureError(
            f"the signature of {what} is not valid: {_said(done)}",
            hint=f"Who may decide, with which keys, is in {signers}.",
        )


def sign(text: bytes, key: Path) -> str:
    """Return the signature of an act's text: base64. Raises SigningError.

    key: a private key, or the public key of one that an agent has. ssh-keygen asks for a passphrase on the terminal.
    """
    done = _run(["-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], text, SIGN_LIMIT, environment=os.environ)
    if done.returncode:
        raise SigningError(
            f"the decision cannot be signed with {key}: {_said(done)}",
            hint="Nothing was decided. Give another key with --key, or load it into your agent with ssh-add.",
        )
    return of_armor(done.stdout)


def armored(signature: str) -> bytes:
    """Return the signature as ssh-keygen writes and reads it: the content of a .sig file."""
    lines = [signature[i : i + 70] for i in range(0, len(signature), 70)]
    return "".join(f"{line}\n" for line in (_BEGIN, *lines, _END)).encode()


def of_armor(armor: bytes) -> str:
    """Return the signature in a .sig file: base64. Raises ActSignatureError for anything else."""
    found = _ARMOR.fullmatch(armor[: 2 * LONGEST_SIGNATURE].decode("ascii", "replace"))
    signature = "".join(found[1].split()) if found else ""
    try:
        base64.b64decode(signature, validate=True)
    except ValueError:
        signature = ""
    if not 0 < len(signature) <= LONGEST_SIGNATURE:
        raise ActSignatureError("a signature is malformed: it is not what ssh-keygen -Y sign writes")
    return signature


def _run(
    arguments: list[str], text: bytes, limit: float, *, environment: Mapping[str, str], descriptor: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [_PROGRAM, *arguments],
            input=text,
            capture_output=True,
            env=environment,
            pass_fds=() if descriptor is None else (descriptor,),
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SigningError(f"{_PROGRAM} timed out after {limit:g} s and was killed") from None
    except OSError as error:
        raise SigningError(
            f"{_PROGRAM} cannot be run: {error.strerror}",
            hint="It signs and verifies the fleet's acts: install OpenSSH's client (Debian: openssh-client).",
        ) from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what ssh-keygen printed, on one line, escaped."""
    lines = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    said = "; ".join(line.strip() for line in lines if line.strip()) or f"exit status {done.returncode}"
    return f"{_PROGRAM} says: {shown(said, _LONGEST_QUOTE)}"
