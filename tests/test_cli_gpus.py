"""`codegen gpus`: the table, its plain form, the sources and the JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from codegen.cli import main
from codegen.gpu import find_gpu, known_gpus
from codegen.gpu_table import HEADER, as_table


def test_every_known_gpu_has_a_line_of_aligned_columns(capsys) -> None:
    assert main(["gpus"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [gpu.key for gpu in known_gpus()]
    assert {len(line) for line in lines} == {len(header)}
    assert all(len(line.split()) == len(HEADER) for line in lines)


def test_figures_of_the_4090_are_the_published_ones(capsys) -> None:
    assert main(["gpus", "4090"]) == 0
    _, line = capsys.readouterr().out.splitlines()
    figures = "rtx-4090 8.9 128 1008 82.6 82.6 165.2 72 48 24 100 99"
    assert line.split() == figures.split()


def test_terminal_of_80_columns_shows_every_figure() -> None:
    screen = io.StringIO()
    Console(file=screen, width=80).print(as_table(known_gpus()))
    text = screen.getvalue()
    assert "…" not in text
    assert all(gpu.key in text for gpu in known_gpus())


def test_gpus_can_be_named_in_any_spelling(capsys) -> None:
    assert main(["gpus", "H200", "GeForce RTX 3090"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["h200", "rtx-3090"]


@pytest.mark.parametrize("options", [[], ["--json"], ["--sources"]])
def test_unknown_gpu_is_refused_with_the_nearest_names(options, capsys) -> None:
    assert main(["gpus", *options, "rtx 4091"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "rtx-4090" in err
    assert err.count("\n") == 1


def test_sources_name_a_document_for_each_figure(capsys) -> None:
    assert main(["gpus", "--sources", "h200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (bandwidth,) = [line for line in lines if "memory_bandwidth_gbs" in line]
    assert bandwidth.startswith("h200 memory_bandwidth_gbs = 4800.0: NVIDIA H200")


def test_json_holds_every_field(capsys) -> None:
    assert main(["gpus", "--json", "--sources", "l4"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    l4 = find_gpu("l4")
    assert (entry["key"], entry["sms"], entry["tflops"]["bf16"]) == ("l4", l4.sms, 121)
    assert "L4" in entry["sources"]["memory_bandwidth_gbs"]
