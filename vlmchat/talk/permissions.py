"""Which hosts on the web pictures may be fetched from, as the settings say."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from vlmchat.errors import VlmchatError


class KeptPermissions:
    """The hosts in ``media.allowed_hosts``; one that is allowed is added there.

    Args:
        hosts: those of the settings.
        spawn: runs a coroutine in the background.
        trouble: told the sentence when one cannot be written; it is allowed until the end then.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        trouble: Callable[[str], None],
    ) -> None:
        self._spawn = spawn
        self._trouble = trouble
        self._one_at_a_time = asyncio.Lock()
        self._hosts: set[str] = set()
        self.take(hosts)

    def take(self, hosts: Iterable[str]) -> None:
        """Allow these and no others."""
        self._hosts = {host.lower() for host in hosts}

    def allowed(self, host: str) -> bool:
        """Return whether `host` was allowed."""
        return host.lower() in self._hosts

    def allow(self, host: str) -> None:
        """Allow it from now on, and in later runs too."""
        if not self.allowed(host):
            self._hosts.add(host.lower())
            self._spawn(self._keep(host.lower()))

    async def _keep(self, host: str) -> None:
        async with self._one_at_a_time:
            try:
                await asyncio.to_thread(_write, host)
            except VlmchatError as error:
                self._trouble(str(error))


def _write(host: str) -> None:
    from vlmchat import paths
    from vlmchat.config_file import set_value
    from vlmchat.settings import read_config

    # What the file says, and not what holds now: that may come from the environment.
    group = read_config(paths.config_file()).get("media")
    held = group.get("allowed_hosts", ()) if isinstance(group, dict) else ()
    hosts = tuple(str(item) for item in held) if isinstance(held, list) else ()
    if host not in (item.lower() for item in hosts):
        set_value("media.allowed_hosts", (*hosts, host))
