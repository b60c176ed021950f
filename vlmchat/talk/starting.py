"""What every front starts with: the engine the settings ask for, and the store."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.store.store import Store
    from vlmchat.talk.engine_keeper import EngineKeeper


def keeper_for(settings: "Settings") -> "EngineKeeper":
    """Return the keeper of the engine the settings ask for.

    Raises:
        UsageError: the address is none.
    """
    from vlmchat.client.supervisor import LocalEngine
    from vlmchat.talk.engine_keeper import LocalKeeper, RemoteKeeper

    engine = settings.engine
    if engine.url:
        return RemoteKeeper(engine.url, engine.api_key, engine.model)
    return LocalKeeper(LocalEngine(settings.engine_options()))


def open_store() -> "Store":
    """Open the conversations of this machine; blocking.

    Raises:
        StoreError: they cannot be opened.
    """
    from vlmchat import paths
    from vlmchat.store.store import Store

    return Store(paths.data_dir())
