"""How the demonstration speaks: numbered steps, what happens, and what each step proves."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from sandbox.stack import Part

_HASH_CHARACTERS = 16  # of 64: enough to recognise one


class Narrator:
    """Prints the story to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0

    def step(self, title: str, proves: str) -> None:
        """Begin the next step: its title, and what it proves."""
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps}. {escape(title)}[/bold cyan]")
        self._console.print(Padding(f"[italic]{escape(proves)}[/italic]", (0, 0, 0, 3)))

    def part_is_ready(self, part: Part, address: str, seconds: float) -> None:
        """A part of the stack answers."""
        self.line(f"{part:<24} {seconds:5.1f} s   {address}")

    def event(self, sequence: int, via: str, kind: str, digest: str, meaning: str) -> None:
        """An event is on the chain."""
        self._console.print(
            f"   [green]#{sequence:<3}[/green] {via:<5} {kind:<26} [dim]{digest[:_HASH_CHARACTERS]}…[/dim]",
            highlight=False,
        )
        self._console.print(Padding(escape(meaning), (0, 0, 0, 8)), style="dim", highlight=False)

    def line(self, text: str) -> None:
        """One fact."""
        self._console.print(f"   {escape(text)}", highlight=False, soft_wrap=True)

    def quote(self, title: str, text: str) -> None:
        """What another program said, word for word."""
        self._console.print(f"   [dim]┌ {escape(title)}[/dim]", highlight=False, soft_wrap=True)
        for line in text.rstrip().splitlines():
            self._console.print(f"   [dim]│[/dim] {escape(line)}", highlight=False, soft_wrap=True)
        self._console.print("   [dim]└[/dim]")

    def command(self, text: str) -> None:
        """A command that the reader can type."""
        self._console.print(f"   [bold]$ {escape(text)}[/bold]", highlight=False, soft_wrap=True)

    def ending(self, text: str) -> None:
        """The last word."""
        self._console.print(f"\n[bold green]{escape(text)}[/bold green]", highlight=False, soft_wrap=True)
