"""Parameters, settings, clipboard and editor in plain mode."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Detail
from vlmchat.client.protocol import Sampling
from vlmchat.errors import UsageError
from vlmchat.plain.opening import Opening
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Media
    from vlmchat.settings import Settings

_SEARCHED = 5_000
_MOST_ASKED = 20


class Adjusting(Opening):
    """The part of the plain front that sets things and reaches for other programs.

    Attributes:
        figures: whether the line of figures is written below each answer.
    """

    figures = False
    always_figures = False
    _for_new: "Settings | None" = None

    # Settings ---------------------------------------------------------------------------------

    def take(self, settings: "Settings") -> None:
        """Take the settings, or what was changed in them."""
        if self._settings is not None:
            self._for_new = self._for_new or self._settings
            self.engine_changer.saved(settings)
        self._settings = settings
        settings.put_in_force()
        self.permissions.take(settings.media.allowed_hosts)
        self.out.flush = settings.ui.plain_flush
        self.figures = self.always_figures or settings.ui.plain_figures

    async def begin_conversation(self) -> str:
        """Give a new conversation what was changed meanwhile; return its system prompt.

        Raises:
            UsageError: the prompt is one of a name that there is not.
        """
        from vlmchat.prompts import resolved

        now, before = self._settings, self._for_new
        if now is None:
            return ""
        self._for_new = None
        if before is not None and before.as_sampling() != now.as_sampling():
            self.session.sampling = now.as_sampling()
        if before is not None and before.media.detail != now.media.detail:
            self.session.detail = now.media.detail
        return await asyncio.to_thread(resolved, now.chat.system)

    def open_settings(self) -> None:
        """List all settings."""
        self.then(self._settings_list())

    async def _settings_list(self) -> None:
        from vlmchat.settings_fields import read_states, setting_fields

        _, states = await asyncio.to_thread(read_states, self.overrides)
        for field in setting_fields():
            state = states[field.key]
            source = visible_line(state.source)
            self.out.line(f"{field.key}: {field.shown(state.value)} ({source})")
        self.notice("/settings NAME explains one, /settings NAME VALUE changes it.")

    async def change_setting(self, argument: str) -> None:
        """Tell or change one setting."""
        from vlmchat.talk.setting_line import tell_or_change

        said, settings = await asyncio.to_thread(tell_or_change, argument, self.overrides)
        if settings is not None:
            self.take(settings)
        self.notice(said)

    def open_parameters(self) -> None:
        """List the parameters of this conversation and how to change them."""
        from vlmchat.settings import SamplingSettings

        settings = self.engine_changer.settings
        model = self.session.engine.model
        self.out.line(f"model: {visible_line(model.title if model else 'not loaded yet')} (/model)")
        if settings is not None:
            self.out.line(f"quant: {settings.engine.quant} (/quant)")
            self.out.line(f"device: {settings.engine.device} (/settings engine.device)")
        for name in SamplingSettings.model_fields:
            value = getattr(self.session.sampling, name)
            shown = "the engine's default" if value in (None, ()) else visible_line(str(value))
            self.out.line(f"{name}: {shown} (/set {name})")
        self.out.line(f"detail: {self.session.detail} (/detail)")

    def set_sampling(self, sampling: Sampling) -> None:
        """Make these the parameters of the next answer."""
        self.session.sampling = sampling

    def set_detail(self, detail: Detail) -> None:
        """Make this how finely the model looks at the next pictures."""
        self.session.detail = detail

    def change_engine(
        self,
        *,
        model: str | None = None,
        quant: str | None = None,
        device: str | None = None,
        adapter: str | None = None,
    ) -> None:
        """Go on with another model, quantization and so on."""
        self.engine_changer.change(model=model, quant=quant, device=device, adapter=adapter)

    # The clipboard ----------------------------------------------------------------------------

    def copy(self, text: str) -> None:
        """Put `text` on the clipboard.

        Raises:
            UsageError: there is none; the text is written out instead.
        """
        from vlmchat.talk.desktop.clipboard import copying_tool, give

        command = copying_tool()
        if not command:
            self.out.line(text)
            raise UsageError(
                "No clipboard can be reached from here, so the text stands above: "
                "on a desktop, install wl-clipboard or xclip."
            )
        self.then(give(command, text))
        self.notice("Copied.")

    def paste_clipboard(self, media_only: bool = False) -> None:
        """Attach what is on the desktop's clipboard."""
        from vlmchat.talk.desktop.clipboard import paste_into

        self.then(paste_into(self, "", media_only))

    def attach(self, paths: Sequence[Path]) -> None:
        """Attach these files to the next question."""
        self.then(self.attachments.read(paths))

    def attach_bytes(self, data: bytes, name: str) -> None:
        """Attach the picture in a file's bytes."""

        async def read() -> "Media":
            from vlmchat.media.images import media_from_bytes

            return await asyncio.to_thread(media_from_bytes, data, name)

        self.then(self.attachments.come(read))

    def paste_text(self, text: str) -> None:
        """Send the text on the clipboard as a question."""
        self.ask(text)

    def fetch(self, url: str) -> None:
        """Attach the picture at a web address, if the person allows it."""

        async def bring() -> "Media":
            from vlmchat.media.fetch import fetch_picture

            return await fetch_picture(url, self._may_fetch)

        self.then(self.attachments.come(bring))

    async def _may_fetch(self, host: str) -> bool:
        if self.permissions.allowed(host):
            return True
        question = f"Fetch a picture from {visible_line(host)}? y, n, or always: "
        answer = (await self.next_line(question) or "").strip().lower()
        if answer == "always":
            self.permissions.allow(host)
        return answer in ("y", "yes", "always")

    # Writing ----------------------------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Send a question, with what is attached."""
        raise NotImplementedError

    def open_editor(self, text: str = "") -> None:
        """Let the person write a question in their own editor."""
        self.then(self._edit(text))

    async def _edit(self, text: str) -> None:
        edited = await self.edited(text)
        if not edited.strip():
            self.notice("Nothing was written.")
            return
        self.out.line(f"You: {edited}")
        if await self.agree("Send it?"):
            self.ask(edited)

    async def edited(self, text: str) -> str:
        """Return `text` as the person made it in their editor.

        Raises:
            UsageError: there is no terminal for it, or no editor.
        """
        from vlmchat.talk.desktop.external_editor import edit_text

        if not self.reader.interactive:
            raise UsageError("An editor needs a terminal: write the question as a line instead.")
        return await edit_text(text)

    def open_history(self, query: str = "") -> None:
        """List what was asked before, and ask one of it again."""
        self.then(self._history(query))

    async def _history(self, query: str) -> None:
        from vlmchat.talk.history import matching, unique

        asked = await self.remembered.asked(_SEARCHED, everywhere=True)
        if self.keeps:
            asked += await self.conversations.asked(_SEARCHED, everywhere=True)
        asked = [text for text in unique(asked) if not text.startswith("/history")]
        found = matching(asked, query, _MOST_ASKED)
        if not found:
            self.notice("Nothing like that was asked before.")
            return
        for number, text in enumerate(found, 1):
            self.out.line(f"{number}. {visible_line(text)}")
        number = await self.choose(len(found), "Number to send again") or 0
        if number:
            self._pushed.append(found[number - 1])
