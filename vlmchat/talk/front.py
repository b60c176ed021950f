"""What commands need of whatever shows the chat: the screen, or the plain lines of ``--plain``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vlmchat.chat.messages import Detail
from vlmchat.client.protocol import Sampling
from vlmchat.talk.attachments import Attachments
from vlmchat.talk.beside import Beside
from vlmchat.talk.engine_change import EngineChanger
from vlmchat.talk.finetuning.following import Following
from vlmchat.talk.plan import Plans
from vlmchat.talk.question import NoticeKind
from vlmchat.talk.session import ChatSession
from vlmchat.talk.turns.tree import Turn
from vlmchat.talk.watching import Watcher

if TYPE_CHECKING:
    # The store is opened once the screen stands.
    from vlmchat.settings import Settings
    from vlmchat.talk.framing import Wish
    from vlmchat.talk.keeping.conversations import Conversations


class Front(Protocol):
    """Whoever shows the chat to a person.

    Attributes:
        engine_changer: changes which engine the session has.
        session: the present conversation.
        attachments: what goes with the next question.
        watching: puts the newest frame of a live source to the model, again and again.
        plans: what that costs.
        following: stays with fine-tuning jobs that run.
        beside: long work that goes on beside the chat.
    """

    session: ChatSession
    attachments: Attachments
    plans: Plans
    engine_changer: EngineChanger
    watching: Watcher
    following: Following
    beside: Beside

    @property
    def conversations(self) -> "Conversations":
        """The saved conversations.

        Raises:
            UsageError: conversations are not kept.
        """

    @property
    def keeps(self) -> bool:
        """Whether conversations are kept."""

    @property
    def settings(self) -> "Settings | None":
        """The settings that hold now; ``None`` while they are being read."""

    def key_or_command(self, name: str) -> str:
        """Return a command's key for a person to read; how it is typed when it has none."""

    def notice(self, text: str, kind: NoticeKind = "note") -> None:
        """Say one sentence."""

    def selected(self) -> Turn | None:
        """Return the turn that a command is about: the one with the focus, else none."""

    def changed(self, turn: Turn) -> None:
        """Draw the turn's label anew."""

    def attach(self, paths: Sequence[Path]) -> None:
        """Attach these files to the next question."""

    def fetch(self, url: str) -> None:
        """Attach the picture at a web address, if the person allows it."""

    def paste_clipboard(self, media_only: bool = False) -> None:
        """Attach or insert what is on the desktop's clipboard."""

    def ask(self, text: str) -> None:
        """Send a question, with what is attached."""

    def write(self, text: str, instead_of: Turn | None = None) -> None:
        """Put `text` into the composer, to take the place of a turn when it is sent."""

    def compose_on(self) -> None:
        """Go back to writing."""

    async def new_conversation(self) -> None:
        """Begin a new conversation; drafts, chips and the queue stay."""

    async def show_system(self) -> None:
        """Show the system prompt."""

    async def go_to(self, turn: Turn) -> None:
        """Show `turn`, on whatever branch it is."""

    def copy(self, text: str) -> None:
        """Put `text` on the clipboard."""

    def set_theme(self, name: str) -> None:
        """Use another theme.

        Raises:
            UsageError: there is none of that name.
        """

    def theme_names(self) -> list[str]:
        """Return the names of the themes there are."""

    def quit(self) -> None:
        """End the program."""

    def open_picker(self) -> None:
        """Let the person choose picture files."""

    def open_editor(self, text: str = "") -> None:
        """Let the person write in their own editor, beginning with the draft, else with `text`."""

    def open_history(self, query: str = "") -> None:
        """Search what was asked before, beginning with `query`."""

    def open_gallery(self) -> None:
        """Show every picture that was ever attached."""

    def open_viewer(self, which: str = "") -> None:
        """Show the pictures of this conversation large, beginning with that number or name."""

    def open_crop(self, which: str = "") -> None:
        """Let the person choose a part of the picture of that number or name.

        Raises:
            UsageError: there is no such picture.
        """

    def open_frames(self, which: str = "") -> None:
        """Show the frames of an attached video, and let the person choose others."""

    def reframe(self, wish: "Wish") -> None:
        """Have an attached video looked at in the frames that were asked for."""

    def open_finetune(self, files: Sequence[Path] = ()) -> None:
        """Let the person fine-tune the model on these logs, or on replies that were rated."""

    def open_jobs(self, name: str = "") -> None:
        """Show the fine-tuning jobs, or the one of that name.

        Raises:
            JobError: there is no such job.
        """

    def open_adapters(self) -> None:
        """Show the adapters on the shelf, and let the person take one."""

    async def open_judging(self, name: str, files: Sequence[Path]) -> None:
        """Let the person judge the answers with and without an adapter.

        Args:
            name: of the adapter; empty for the one that is on, else the newest.
            files: of questions; without any, those that its run held back.

        Raises:
            VlmchatError: there is no such adapter, no question, or it does not fit.
        """

    def open_why(self, turn: Turn, word: str = "") -> None:
        """Show where a reply looked, or a word of it.

        Raises:
            UsageError: there is no such word in it.
        """

    def open_evaluation(self) -> None:
        """Show how an evaluation stands: its report, once there is one."""

    def open_batch(self) -> None:
        """Show how a batch stands, and its last answers."""

    def open_synth(self) -> None:
        """Show how a set that is being made stands, or what came of it."""

    def open_located(self) -> None:
        """Show the pictures that were found, and let the person attach some."""

    def open_log(self) -> None:
        """Show the end of the engine's log."""

    def open_help(self) -> None:
        """Show keys and commands."""

    def open_themes(self) -> None:
        """Let the person choose a theme."""

    def open_tree(self) -> None:
        """Show where in the tree of the conversation the person is."""

    def open_comparison(self, one: Turn, other: Turn) -> None:
        """Show two siblings side by side."""

    def open_search(self, text: str) -> None:
        """Search everything ever said, beginning with `text`."""

    def open_find(self, text: str) -> None:
        """Search this conversation, beginning with `text`."""

    def open_provenance(self, turn: Turn) -> None:
        """Show what produced a reply."""

    def open_settings(self) -> None:
        """Show all settings."""

    async def change_setting(self, argument: str) -> None:
        """Tell or change one setting: its name, and behind it the value or ``default``.

        Raises:
            VlmchatError: there is none such, it cannot have this value or be written.
        """

    def open_parameters(self) -> None:
        """Show the parameters of this conversation."""

    def open_keys(self) -> None:
        """Show the keys of all commands."""

    def set_sampling(self, sampling: Sampling) -> None:
        """Make these the parameters of the next answer."""

    def set_detail(self, detail: Detail) -> None:
        """Make this how finely the model looks at the next pictures."""

    def change_engine(
        self,
        *,
        model: str | None = None,
        quant: str | None = None,
        device: str | None = None,
        adapter: str | None = None,
    ) -> None:
        """Go on with another model, quantization and so on (see `EngineChanger.change`)."""

    def list_models(self) -> None:
        """Say which model answers and which others there are."""

    def threads_changed(self) -> None:
        """Draw the list of conversations anew."""

    def toggle_sidebar(self) -> None:
        """Show the list of conversations, or hide it."""
