"""How a long job gets on, on the terminal: a bar with losses, images per second and the time left."""

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table


class Terminal:
    """An `Audience` that draws on standard error; on something that is no terminal it writes a line per stage."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.began: int | None = None

    def __enter__(self) -> "Terminal":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def stage(self, name: str) -> None:
        """Something without a measure of its own begins."""
        self._remove_task()
        self.console.print(f"{escape(name)} …", style="dim")

    def training(self, name: str, number: int, of: int) -> None:
        """Run `number` of so many begins."""
        place = f"({number} of {of}) " if of > 1 else ""
        self.stage(f"{place}training {name}")
        self.task = self.bar.add_task(name, total=None, speed="", losses="")

    def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
        """The bar moves on."""
        if self.task is None:
            return
        losses = "  ".join(f"{k.removeprefix('loss.')} {v:.3f}" for k, v in record.items() if k.startswith("loss."))
        task = next(task for task in self.bar.tasks if task.id == self.task)
        if self.began is None:
            self.began = seen
        rate = (seen - self.began) / task.elapsed if task.elapsed else 0
        self.bar.update(self.task, total=total, completed=seen, speed=f"{rate:,.0f} images/s", losses=losses)

    def note(self, text: str) -> None:
        """Something the user should read now."""
        self.console.print(escape(text), style="yellow")

    def _remove_task(self) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.began = None


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on standard output: the first column names, the others hold figures."""
    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(escape(column), justify="right" if index else "left")
    for row in rows:
        drawn.add_row(*map(escape, row))
    console = Console(highlight=False)
    console.print(drawn, crop=False, width=console.width if console.is_terminal else 120)
