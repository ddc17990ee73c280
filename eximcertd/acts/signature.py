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
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import LONGEST_SIGNATURE, ActError
from eximcertd.errors import EximcertdError
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.acts.act import Act

NAMESPACE: Final = "eximcertd-fleet"
"""What a signature is for (ssh-keygen's -n): one that was made for git or for mail is not valid for an act."""

VERIFY_LIMIT: Final = 10.0
SIGN_LIMIT: Final = 120.0
"""Seconds: a person types a passphrase, or touches a security key."""

_PROGRAM: Final = "ssh-keygen"
_DEFAULTS: Final = ("ed25519", "ecdsa", "ed25519_sk", "ecdsa_sk", "rsa")
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
        raise ActSignatureError(f"{what} is not signed: with [fleet] signers, every act must be signed")
    if not os.access(signers, os.R_OK):
        raise SigningError(
            f"the signers' file {signers} cannot be read", hint="It is named by [fleet] signers; see eximcertd.toml(5)."
        )
    at = datetime.fromtimestamp(act.at // 1_000_000, UTC)  # a float is rounded up, at the end into the year 10000
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    options = ["-n", NAMESPACE, "-I", act.by, "-f", str(signers), f"-Overify-time={at:%Y%m%d%H%M%S}"]
    with _file(armored(act.signature)) as (path, descriptor):
        command = [_PROGRAM, "-Y", "verify", *options, "-s", path]
        done = _run(command, act.text(), VERIFY_LIMIT, environment=environment, descriptor=descriptor)
    if done.returncode < 0:
        raise SigningError(f"{_PROGRAM} was ended by signal {-done.returncode}: act {act.generation} is not verified")
    if done.returncode:
        raise ActSignatureError(
            f"the signature of {what} is not valid: {_said(done)}",
            hint=f"Who may decide, with which keys, is in {signers}.",
        )


def sign(text: bytes, key: Path | None = None, signers: Path | None = None) -> str:
    """Return the signature of an act's text: base64. ssh-keygen asks for a passphrase on the terminal.

    key: a private key, or the public key of one that an agent has. None: the person's first one that is in the file of
    signers, of ssh-keygen's default files and of the agent's keys. Raises SigningError.
    """
    path, line, _ = _chosen(key, signers)
    with _file(line.encode()) as (public, descriptor):
        options = ["-n", NAMESPACE, "-f", str(path or public)]
        done = _run([_PROGRAM, "-q", "-Y", "sign", *options], text, SIGN_LIMIT, descriptor=descriptor)
    if done.returncode:
        raise SigningError(
            f"the decision cannot be signed with {path or shown(line, 60)}: {_said(done)}",
            hint="Nothing was decided. Give another key with --key, or load it into your agent with ssh-add.",
        )
    return of_armor(done.stdout)


def signer(signers: Path, key: Path | None = None) -> str:
    """Return the name that the file of signers gives to a person's key (see sign). Raises SigningError."""
    return _chosen(key, signers)[2]


def _chosen(key: Path | None, signers: Path | None) -> tuple[Path | None, str, str]:
    """Return a key's file, or else its public key as an agent lists it, and its name in the file of signers."""
    names = _names(signers) if signers else {}
    if key and not signers:
        return key, "", ""
    seen = False
    for path, line in _keys(key):
        seen = True
        kind_and_key = tuple(line.split()[:2])
        if not signers or kind_and_key in names:
            return path, line, names.get(kind_and_key, "")
    if seen or key:
        raise SigningError(
            f"the key {key} is not in {signers}: it may not decide"
            if key
            else f"none of your SSH keys is in {signers}: you may not decide for the fleet",
            hint="Give another key with --key FILE (FILE.pub must be beside it), or have your key added to that file.",
        )
    raise SigningError(
        "you have no SSH key: ~/.ssh has none, and no agent has one",
        hint="Give one with --key FILE, or load it into an agent with ssh-add.",
    )


def _names(signers: Path) -> dict[tuple[str, ...], str]:
    """Return the first name of each public key in the file of signers."""
    names: dict[tuple[str, ...], str] = {}
    try:
        for line in signers.read_text("utf-8", "replace").splitlines():
            words = line.split()
            for kind_and_key in pairwise(words):
                if words[0][0] != "#":
                    names.setdefault(kind_and_key, words[0].split(",")[0])
    except OSError as error:
        raise SigningError(f"the signers' file {signers} cannot be read: {error.strerror}") from None
    return names


def _keys(key: Path | None) -> Iterator[tuple[Path | None, str]]:
    """Yield a person's keys: the file, or None for a key of an agent, and the public key."""
    files = [key] if key else [Path.home() / ".ssh" / f"id_{kind}" for kind in _DEFAULTS]
    for path in files:
        public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
        with suppress(OSError):
            yield path, public.read_text("utf-8", "replace")
    if not key and os.environ.get("SSH_AUTH_SOCK"):
        for line in _run(["ssh-add", "-L"], b"", VERIFY_LIMIT).stdout.decode("utf-8", "replace").splitlines():
            if line.startswith(("ssh-", "ecdsa-", "sk-")):
                yield None, line


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


@contextmanager
def _file(content: bytes) -> Iterator[tuple[str, int]]:
    """Give a program a file that is on no disk: its path there, and the descriptor that it must inherit."""
    descriptor = os.memfd_create("eximcertd", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}", descriptor
    finally:
        os.close(descriptor)


def _run(
    command: list[str],
    text: bytes,
    limit: float,
    *,
    environment: dict[str, str] | None = None,
    descriptor: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    kept = () if descriptor is None else (descriptor,)
    try:
        return subprocess.run(
            command, input=text, capture_output=True, env=environment, pass_fds=kept, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise SigningError(f"{command[0]} timed out after {limit:g} s and was killed") from None
    except OSError as error:
        raise SigningError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint="It signs and verifies the fleet's acts: install OpenSSH's client (Debian: openssh-client).",
        ) from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what ssh-keygen printed, on one line, escaped."""
    lines = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    said = "; ".join(line.strip() for line in lines if line.strip()) or f"exit status {done.returncode}"
    return f"{_PROGRAM} says: {shown(said, _LONGEST_QUOTE)}"
