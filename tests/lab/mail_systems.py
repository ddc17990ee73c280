"""Other mail systems as Debian has them, run inside a laptop with the lines that ``client snippet`` prints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from lab.wait import until

if TYPE_CHECKING:
    from lab.laptop import Laptop

SENDER: Final = "alice@laptop.lab.example"
RECIPIENT: Final = "bob@remote.example"
MESSAGE: Final = f"From: {SENDER}\nTo: {RECIPIENT}\nSubject: hello\n\nhello\n"


class MailSystem(ABC):
    """A mail system that was set up in a laptop with a snippet.

    package: Debian's, which cannot be installed beside Exim's and is unpacked; None for one that is installed. suite:
    of which Debian it has to be, None for this machine's.
    """

    package: str | None = None
    suite: str | None = None

    def __init__(self, laptop: Laptop, snippet: str) -> None:
        self.laptop: Final = laptop
        self.set_up(snippet)

    @abstractmethod
    def set_up(self, snippet: str) -> None:
        """Configure and start it."""

    @abstractmethod
    def send(self) -> str:
        """Send a message, wait for what became of it, and return what the mail system says of that."""


class Postfix(MailSystem):
    package = "postfix"

    def set_up(self, snippet: str) -> None:
        self.laptop.sh("""
            groupadd -r -f postdrop
            id postfix >/dev/null 2>&1 || useradd -r -M -d /var/spool/postfix -s /usr/sbin/nologin -U postfix
            cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
            sed -i '/^smtp *inet/d' /etc/postfix/master.cf
            mkdir -p /var/lib/postfix
            chown postfix:postfix /var/lib/postfix
        """)
        own = """
compatibility_level = 3.6
myhostname = laptop.lab.example
inet_interfaces = loopback-only
smtp_host_lookup = native
maillog_file = /var/log/postfix.log
"""
        self.laptop.run("tee", "/etc/postfix/main.cf", given=own + snippet)
        self.laptop.sh("""
            postconf -F '*/*/chroot = n'
            postfix start >/dev/null 2>&1
        """)

    def send(self) -> str:
        before = self._outcomes()
        self.laptop.run("/usr/sbin/sendmail", "-i", "-f", SENDER, RECIPIENT, given=MESSAGE)
        return until(lambda: self._outcomes().removeprefix(before), "Postfix has tried", limit=30)

    def _outcomes(self) -> str:
        return self.laptop.sh(f"grep 'to=<{RECIPIENT}>.*status=' /var/log/postfix.log || true")


class Opensmtpd(MailSystem):
    package = "opensmtpd"
    suite = "trixie"  # Debian 12's cannot use any key: OpenSMTPD 6.8 with OpenSSL 3

    def set_up(self, snippet: str) -> None:
        self.laptop.sh("""
            for user in opensmtpd opensmtpq; do
              id $user >/dev/null 2>&1 || useradd -r -M -d /var/lib/opensmtpd/empty -s /usr/sbin/nologin -U $user
            done
            mkdir -p /var/lib/opensmtpd/empty
            chgrp opensmtpq /usr/sbin/smtpctl
            chmod g+s /usr/sbin/smtpctl
            chmod 711 /var/lib/opensmtpd /var/lib/opensmtpd/empty
        """)
        self.laptop.run("tee", "/etc/smtpd.conf", given=f"listen on socket\n{snippet}")
        self.laptop.run("sh", "-c", "smtpd -d >/var/log/smtpd.log 2>&1 &")
        until(lambda: self.laptop.run("smtpctl", "show", "status", good=False).returncode == 0, "OpenSMTPD runs")

    def send(self) -> str:
        before = self._outcomes()
        self.laptop.run("/usr/sbin/sendmail", "-i", "-f", SENDER, RECIPIENT, given=MESSAGE)
        return until(lambda: self._outcomes().removeprefix(before), "OpenSMTPD has tried", limit=30)

    def _outcomes(self) -> str:
        return self.laptop.sh("grep ' mta delivery ' /var/log/smtpd.log || true")


class Msmtp(MailSystem):
    def set_up(self, snippet: str) -> None:
        self.laptop.run("tee", "/etc/msmtprc", given=snippet)

    def send(self) -> str:
        done = self.laptop.run("msmtp", "-f", SENDER, RECIPIENT, given=MESSAGE, good=False)
        return f"status {done.returncode}: {done.stderr}"


class Swaks(MailSystem):
    def set_up(self, snippet: str) -> None:
        self._command = snippet.replace("SOMEBODY@EXAMPLE.ORG", RECIPIENT)

    def send(self) -> str:
        done = self.laptop.run("sh", "-c", self._command, good=False)
        return f"status {done.returncode}: {done.stdout}{done.stderr}"


class Exim(MailSystem):
    """An Exim whose configuration is written by hand."""

    def set_up(self, snippet: str) -> None:
        routers, transports = snippet.split('# After "begin transports":\n')
        text = f"""
domainlist local_domains = laptop.lab.example
exim_user = Debian-exim
keep_environment =
never_users =
begin routers
{routers}
begin transports
{transports}
"""
        self.laptop.run("tee", "/etc/exim4/exim4.conf", given=text)

    def send(self) -> str:
        before = self.laptop.log()
        self.laptop.send(RECIPIENT)
        return self.laptop.log().removeprefix(before)
