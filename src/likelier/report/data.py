"""The data of a figure as a table, and the table as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FORMULA = tuple("=+-@\t\r＝＋－＠")
"""How a text begins that a spreadsheet would carry out."""


@dataclass(frozen=True)
class Data:
    """Rows under the names of their columns, numbers as numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def csv(self) -> bytes:
        r"""The table as UTF-8 CSV (RFC 4180); a text that a spreadsheet would take for a formula gets a ' before it.

        >>> Data(["class", "share"], [["猫", 0.5], ["=1+1", -2]]).csv().decode()
        "class,share\r\n猫,0.5\r\n'=1+1,-2\r\n"
        """
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerows([_cell(value) for value in row] for row in (self.columns, *self.rows))
        return file.getvalue().encode()


def _cell(value: Any) -> Any:
    """A value as it is written; of a number, all digits that tell it from others."""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(FORMULA) else value
    return str(value) if isinstance(value, np.generic) else value
