"""Tables for other programs: nothing compared that does not compare, nothing broken by a name."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from likelier.errors import InputError
from likelier.tables import as_csv, as_latex, check_conditions, escape


def result(value: float | None, n: int = 10, **more: object) -> dict[str, object]:
    fd = {
        "key": "frechet_distance",
        "name": f"fd_x_train_n{n}_u8",
        "label": "Fréchet distance, N → ∞",
        "value": value,
        "noise": 0.5,
        "unit": "",
        "better": "lower",
        "floor": {"train–train": 1.0, "train–test": 2.0},
        "why_not": None if value is not None else "its samples are not finite",
    }
    return {"measures": [fd | more]}


def test_csv_has_a_line_a_run_and_measure():
    rows = list(csv.DictReader(io.StringIO(as_csv({"a": [result(3.5), result(4.5)], 'b,"c"': [result(None)]}))))
    assert [(row["model"], row["run"], row["value"]) for row in rows] == [
        ("a", "0", "3.5"),
        ("a", "1", "4.5"),
        ('b,"c"', "0", ""),
    ]
    assert rows[2]["why_not"] == "its samples are not finite"
    assert rows[0]["train–test"] == "2.0"


def test_figures_of_different_conditions_are_refused_with_the_reason():
    for table in (as_csv, as_latex, check_conditions):
        with pytest.raises(InputError, match="fd_x_train_n10_u8 of a and fd_x_train_n20_u8 of b"):
            table({"a": [result(1.0)], "b": [result(1.0, n=20)]})
    check_conditions({"a": [result(1.0)], "b": [result(None, n=20)]})  # what has no value compares with nothing


def test_latex_shows_centre_interval_and_floors():
    text = as_latex({"vae_gan": [result(v) for v in (1.0, 2.0, 3.0)], "b": [result(None)]})
    assert r"vae\_gan & b & real (train--train)" in text
    assert r"2 {\scriptsize [1, 3]} & n/a & 1 & 2 \\" in text
    assert text.count("&") == 2 * text.count(r"\\") * 2
    assert "median and range" in text
    assert "interquartile" in as_latex({"a": [result(float(v)) for v in range(5)]})


def test_every_character_that_latex_would_take_for_a_command_is_text():
    assert escape(r"a&b%c$d#e_f{g}h~i^j\k") == (
        r"a\&b\%c\$d\#e\_f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path):
    body = as_latex({"vae_gan 50%": [result(-1.0)], "b": [result(2.0)]})
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)
