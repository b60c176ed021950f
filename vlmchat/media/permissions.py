"""Which hosts on the web pictures may be fetched from."""

from dataclasses import dataclass, field
from typing import Protocol


class Permissions(Protocol):
    """Which hosts the person has allowed for good."""

    def allowed(self, host: str) -> bool:
        """Return whether pictures may be fetched from `host`."""

    def allow(self, host: str) -> None:
        """Allow it from now on."""


@dataclass(slots=True)
class RememberedPermissions:
    """Permissions that end with the program."""

    hosts: set[str] = field(default_factory=set)

    def allowed(self, host: str) -> bool:
        """Return whether `host` was allowed."""
        return host in self.hosts

    def allow(self, host: str) -> None:
        """Remember it."""
        self.hosts.add(host)
