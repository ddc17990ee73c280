"""The kinds of event that eximcertd records, each with its journal MESSAGE_ID and usual priority.

Pure: a table. The journal's catalog (packaging/systemd/eximcertd.catalog) has a text for every one of
them, and docs/design.md ("The service") names the fields that go with each. A MESSAGE_ID is a contract
with people's filters: it is never changed and never used again.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Priority(IntEnum):
    """The priorities of syslog (RFC 5424, 6.2.1) that eximcertd uses; sd-daemon(3) writes them as <N>."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


class Event(Enum):
    """A kind of event: its MESSAGE_ID (128 random bits in lower-case hex) and its usual priority."""

    STARTED = "8194adece23c4fb89d001203d6197a63", Priority.INFO
    ATTEMPT_SEEN = "adc27cc550374b6598b9061009d23b4a", Priority.NOTICE
    APPROVED = "152f2c7f4ad349b6901ee09fa735d34b", Priority.NOTICE
    REJECTED = "dff650a95a6d43b5ba276d80485b2dfe", Priority.NOTICE
    REVOKED = "c454edc6d3f74787b0612cd80e2029b6", Priority.NOTICE
    IMPORTED = "6a071f268a1c4e28adbcb1a5b9ed00b9", Priority.NOTICE
    ADOPTED_BY_HAND = "888069e63f1640f09ed0122c73933040", Priority.WARNING
    PUBLISHED = "0cf3d4cd48794aeeadc93d0883cf5e9d", Priority.INFO
    PUBLICATION_FAILED = "629c1c4388be4eb9981a5f8347a7ff29", Priority.ERROR
    DISK_FULL = "1d131929f33b4711920b831766c458ac", Priority.ERROR
    EXIM_IS_DOWN = "2d563f4c991040389c5a751662428b4f", Priority.CRITICAL
    MANUAL_EDIT_FOUND = "c5562816f1d74e0c952c9a7bc9f7dbb2", Priority.WARNING
    LEDGER_DAMAGED = "d05d81137b704c0b84ddfc69c9cda4fd", Priority.CRITICAL
    LEDGER_PROBLEM = "5f2b99f0825449b0b665c14fbf61ceb4", Priority.ERROR
    LEDGER_BACK = "db05f54d41e84e1cb1e40ac7326d0f7a", Priority.NOTICE
    UNMATCHED_DROPPED = "3648407df9a84d2fafcfb8a35d5de4af", Priority.WARNING
    LOG_PROBLEM = "d86a2e1ca80343dc84c0e603b8c34548", Priority.ERROR
    LOG_BACK = "9053c70cf6f448d1995db797b386a4c8", Priority.NOTICE
    CERTIFICATE_GONE = "c27c0f7096f040e5a90af7c75ac61c7f", Priority.WARNING
    CERTIFICATE_EXPIRED = "04354ed5820d411ab2779a7df0adf2cd", Priority.WARNING
    CERTIFICATE_EXPIRES_SOON = "21d588c1a0144815acdcb0547ab8d4f9", Priority.NOTICE
    CLOCK_CHANGED = "f402b7f597ae48989bdff3b85881cf6b", Priority.WARNING
    CERTIFICATE_LAPSED = "f60b93b81f0b4a688113c71c240eec5b", Priority.NOTICE
    AUTHORITY_APPROVED = "ba2ce22331d0c77d8a119cbea499cbcd", Priority.NOTICE
    AUTHORITY_WITHDRAWN = "4018039579c91c5d01a7753c3ec19675", Priority.NOTICE
    ENROLLED = "382f415285a5b072580455feca5dd6eb", Priority.INFO
    AUTHORITY_PROBLEM = "cbf4968bed5e87f791fb938577a3931d", Priority.ERROR
    AUTHORITY_BACK = "fbb86ccee743bbab3f90d2120f0fb225", Priority.NOTICE
    FLEET_ACT_HELD = "b8c7e1c203c54c5da51a9e1d09ce4e01", Priority.WARNING
    FLEET_ACT_REFUSED = "7a4b02f319e6437c80adefbc3fe77458", Priority.ERROR
    FLEET_LOST_ACTS = "b031a3e3adc847d69c447c07ef438a7c", Priority.WARNING
    POLICY_FAILED = "72440db7a6004e3e92f28ac14caace38", Priority.WARNING
    NOTIFICATION_FAILED = "5afa7259d9ba49c18b40f8f3e2ed46da", Priority.WARNING
    METRICS_FAILED = "2627df9f0f5448f3b8fd65f9949b756d", Priority.WARNING
    CONFIGURATION_RELOADED = "a517567f27bb4c0da9537a4b47b73b30", Priority.NOTICE
    CONFIGURATION_REFUSED = "0f5e7a1856124ae3acfd4c1a52528cb2", Priority.ERROR

    def __init__(self, message_id: str, priority: Priority) -> None:
        self.message_id = message_id
        self.priority = priority
