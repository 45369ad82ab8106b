"""How a long job gets on, on the terminal: a bar with losses, images per second and the time left."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

FOLDED = 12
"""Places that the names of a table keep, however narrow the terminal is."""


class Bar(Progress):
    """A bar, and under it, where three of them have room, the losses of the players."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the losses."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {task.fields['losses']}", style="dim", no_wrap=True, overflow="ellipsis")


class Terminal:
    """An `Audience` that draws on standard error; on something that is no terminal it writes a line per stage."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar = Bar(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.began: int | None = None
        self.announced = self.told = ""
        self.unit = "images"

    def __enter__(self) -> "Terminal":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:  # or older versions of rich print an empty line
            self.bar.stop()

    def stage(self, name: str) -> None:
        """Something without a measure of its own begins."""
        self._remove_task()
        self.console.print(f"{escape(name)} …", style="dim")

    def training(self, name: str, number: int, of: int) -> None:
        """Run `number` of so many begins."""
        place = f"({number} of {of}) " if of > 1 else ""
        self.counting(f"{place}training {name}", "images")

    def counting(self, what: str, unit: str) -> None:
        """Something begins that is counted in a unit of its own."""
        self._remove_task()
        self.announced, self.unit = what, unit  # said when it does begin: until then it may still be refused
        self.task = self.bar.add_task(what, total=None, speed="", losses="")

    def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
        """The bar moves on."""
        if self.task is None:
            return
        task = next(task for task in self.bar.tasks if task.id == self.task)
        losses = "  ".join(f"{k.removeprefix('loss.')} {v:.4g}" for k, v in record.items() if k.startswith("loss."))
        if self.began is None:
            self.began = seen
            self.console.print(f"{escape(self.announced)}: {total:,} {self.unit} …", style="dim")
        if not self.console.is_terminal and (quarter := f"{4 * seen // total * 25}%") not in ("0%", self.told):
            self.told = quarter
            self.console.print(f"  {quarter:>4}  {seen:,} {self.unit}  {escape(losses)}", soft_wrap=True)
        rate = (seen - self.began) / task.elapsed if task.elapsed else 0
        self.bar.update(self.task, total=total, completed=seen, speed=f"{rate:,.0f} {self.unit}/s", losses=losses)

    def note(self, text: str) -> None:
        """Something the user should read now, quiet or not."""
        console = Console(stderr=True, highlight=False) if self.console.quiet else self.console
        console.print(escape(text), style="yellow", soft_wrap=not console.is_terminal)

    def _remove_task(self) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.began = None
        self.told = ""


Styles = Mapping[tuple[int, int], str]
"""By row and column, how a cell looks; it has to read without."""


def table(title: str, columns: list[str], rows: list[list[str]], styles: Styles | None = None) -> None:
    """A table on standard output: the first column names, the others hold figures.

    Where a terminal is too narrow, headings are broken, and columns that still have no room go on beneath, as figures
    are never cut. Colours are for terminals alone, and none are shown where NO_COLOR is set.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)  # a file or a pipe has no width: names are not to be cut
    if len(parts_that_fit(widths_of(columns, rows), console.width)) > 1:
        columns = [columns[0], *(column.replace(" ", "\n") for column in columns[1:])]
    for part in parts_that_fit(widths_of(columns, rows), console.width):
        console.print(drawn("" if part.start > 1 else title, columns, rows, [0, *part], styles or {}))
        console.print()


def widths_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The places that each column takes."""
    return [max(width_of(cell) for cell in column) for column in zip(columns, *rows, strict=True)]


def parts_that_fit(widths: Sequence[int], most: int) -> list[range]:
    """The columns after the first, in parts that fit beside it; names in the first are folded if need be.

    >>> parts_that_fit([10, 5, 5, 5], 80), parts_that_fit([10, 5, 5, 30], 26)
    ([range(1, 4)], [range(1, 3), range(3, 4)])
    """
    names = min(widths[0], FOLDED) + 2  # with the space about it
    found, start, used = [], 1, names
    for index in range(1, len(widths)):
        used += widths[index] + 2
        if used > most and index > start:
            found.append(range(start, index))
            start, used = index, names + widths[index] + 2
    return [*found, range(start, len(widths))]


def width_of(cell: str) -> int:
    """The places that a cell takes, of its widest line."""
    return max(map(cell_len, cell.splitlines()), default=0)


def drawn(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], part: Sequence[int], styles: Styles
) -> Table:
    """Some of the columns of a table."""
    found = Table(
        title=escape(title) or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index in part:
        # Names are folded where a terminal is too narrow, and figures never cut.
        found.add_column(
            escape(columns[index]), justify="right" if index else "left", no_wrap=index > 0, overflow="fold"
        )
    for number, row in enumerate(rows):
        found.add_row(*(Text(row[index], style=styles.get((number, index), "")) for index in part))
    return found
