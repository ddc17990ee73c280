"""A person's connection to the fleet, with the person's own credentials, and this machine's relay beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd.acts.act import Head
from eximcertd.errors import NoAnswerError, NoSuchFingerprintError, NotPermittedError, RefusedError, UsageError
from eximcertd.fingerprint import of_der
from eximcertd.fleet.remote import ActRefusedError, OwnDecision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.cli.connection import Context
    from eximcertd.config import FleetSettings
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.deciding import Proposal
    from eximcertd.fleet.remote import Desk

_ABSENT: Final = (NoAnswerError, NotPermittedError)


class DeskConnection:
    """Connects at the first use. here: this machine's relay. Raises UsageError if the configuration has no [fleet]."""

    def __init__(self, context: Context) -> None:
        self._settings: Final = _settings(context)
        self.here: Final = ThisRelay(context)
        self._key = context.key
        self._desk: Desk | None = None

    def __enter__(self) -> Self:
        """Connect at the first use."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()
        self.here.close()

    @property
    def desk(self) -> Desk:
        """The connection. Raises RemoteError."""
        return self._desk or self.connect()

    def connect(self) -> Desk:
        """Close the connection, and return a new one. Raises RemoteError."""
        self.close()
        if self._settings.directory is not None:
            from eximcertd.fleet.directory import DirectoryDesk  # noqa: PLC0415 - one of the two is used

            self._desk = DirectoryDesk(self._settings, self._key)
        else:
            from eximcertd.fleet.postgres import PostgresDesk  # noqa: PLC0415 - one of the two is used

            self._desk = PostgresDesk(self._settings)
        return self._desk

    def close(self) -> None:
        """Close the connection."""
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    def decide(self, proposal: Proposal) -> Act | None:
        """Have the fleet decide: see fleet/deciding.py. Raises EximcertdError."""
        from eximcertd.fleet.deciding import decide  # noqa: PLC0415 - not every verb decides

        return decide(self.desk, proposal, self._signed, self.connect, self._check)

    def _check(self, head: Head) -> None:
        """Raise ActRefusedError if no relay takes the newest act, on which the next one would be built.

        It vouches for the acts before it, since its hash and its signature cover them. What this machine's relay has
        is right, even if its signer's key was removed since.
        """
        if self._settings.signers is None or head == Head():
            return
        here = self.here.status()
        if here and head == Head(here["generation"], here["hash"]):
            return
        from eximcertd.acts.signature import ActSignatureError, verify  # noqa: PLC0415 - only where acts are signed

        for act in self.desk.acts(head.generation - 1, 1):
            try:
                verify(act, self._settings.signers)
            except ActSignatureError as error:
                raise ActRefusedError(
                    f"no relay takes act {act.generation}: {error.message}",
                    hint='see "A relay refuses an act" in docs/fleet.md',
                ) from None

    def _signed(self, act: Act) -> Act:
        """Return the act with a signature that the relays accept; as it is where they ask for none.

        Raises SigningError and ActSignatureError.
        """
        signers = self._settings.signers
        if signers is None:
            return act
        from eximcertd.acts.signature import sign, verify  # noqa: PLC0415 - only where acts are signed

        act = replace(act, signature=sign(act.text(), self._key, signers))
        verify(act, signers)
        return act


class ThisRelay:
    """The eximcertd of this machine, as far as it answers this person. Without one, nothing is known of it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def status(self) -> dict[str, Any] | None:
        """Return the FleetReport of this relay; None if eximcertd does not answer this person."""
        answer = self._status(())
        return None if answer is None else dict(answer["report"])

    def own(self, fingerprints: Sequence[Fingerprint]) -> list[OwnDecision]:
        """Return this relay's open own decisions on these fingerprints, told to the fleet or not."""
        answer = self._status(fingerprints)
        return [] if answer is None else [OwnDecision(answer["report"]["relay"], **one) for one in answer["own"]]

    def _status(self, fingerprints: Sequence[Fingerprint]) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.call("FleetStatus", {"fingerprints": list(fingerprints)})
        except _ABSENT:
            self._client.close()
            return None
        return found

    def candidates(self, prefix: str) -> tuple[list[Fingerprint], bool]:
        """Return the known fingerprints that begin so, and whether a file of the directory holds the only one."""
        try:
            entry = self._client.call("Show", {"fingerprint": prefix})["entry"]
        except NoSuchFingerprintError as error:
            return [one for one in error.candidates if one.startswith(prefix)], False  # type: ignore[misc]
        except _ABSENT:
            self._client.close()
            return [], False
        return [entry["fingerprint"]], (entry["certificate"] or {}).get("source") == "directory"

    def certificate(self, fingerprint: Fingerprint) -> bytes | None:
        """Return a certificate's DER form, if it is known here."""
        import base64  # noqa: PLC0415 - few callers ask

        try:
            der = base64.b64decode(self._client.call("GetCertificate", {"fingerprint": fingerprint})["der"])
        except (*_ABSENT, NoSuchFingerprintError, RefusedError, ValueError):
            self._client.close()
            return None
        return der if of_der(der) == fingerprint else None

    def entries(self, fingerprints: Iterable[Fingerprint]) -> dict[str, dict[str, Any]]:
        """Return the entries of whole fingerprints, as List answers."""
        from eximcertd.cli.connection import each  # noqa: PLC0415 - few callers ask

        asked = {"standings": [], "prefixes": list(fingerprints)}
        return {one["fingerprint"]: one for one in each(self._client, "List", "entries", **asked)}

    def retry(self, timeout: float) -> dict[str, Any] | None:
        """Have eximcertd publish what is due, and return the publication; None if this person may not ask."""
        try:
            found: dict[str, Any] = self._client.call("Retry", timeout=timeout)["publication"]
        except _ABSENT:
            self._client.close()
            return None
        return found


def _settings(context: Context) -> FleetSettings:
    found = context.fleet()
    if found is None:
        raise UsageError(
            f"{context.config_file} has no section [fleet]: this machine belongs to no fleet",
            hint="eximcertd.toml(5) describes it",
        )
    return found
