"""Names and types of parameters are checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.errors import UsageError
from kvmlab.runbook import all_notebooks, find_notebooks, parse
from kvmlab.runbook.notebooks import read
from kvmlab.runbook.parameters import Parameter, convert_all
from tests.runbook.builders import WITH_HOST, notebook


def test_declared_parameters_are_read_with_type_default_and_help(tmp_path: Path) -> None:
    book = read(notebook(tmp_path / "a.ipynb", parameters=WITH_HOST))
    assert book.parameters[1] == Parameter("TRIALS", "int", 3, "how often")
    assert book.defaults() == {
        "HOST": "qemu:///system",
        "TRIALS": 3,
        "SECONDS": 1.5,
        "DRY": False,
        "OUT": "results",
    }
    assert (book.title, book.summary) == ("a", "What it is about.")


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        ({"TRIALS": "5"}, 5),
        ({"SECONDS": "2"}, 2.0),
        ({"DRY": "yes"}, True),
        ({"DRY": "False"}, False),
        ({"HOST": "embedded"}, "embedded"),
        ({"HOST": "5"}, "5"),
    ],
)
def test_values_get_the_declared_type(tmp_path: Path, texts: dict[str, str], value: object) -> None:
    book = read(notebook(tmp_path / "a.ipynb", parameters=WITH_HOST))
    (converted,) = convert_all(texts, (book,))["a"].values()
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"TRIALS": "many"}, "a whole number"),
        ({"TRIALS": "2.5"}, "a whole number"),
        ({"SECONDS": "soon"}, "a number"),
        ({"DRY": "maybe"}, "true or false"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_help(
    tmp_path: Path, texts: dict[str, str], words: str
) -> None:
    book = read(notebook(tmp_path / "a.ipynb"))
    with pytest.raises(UsageError, match=words) as caught:
        convert_all(texts, (book,))
    assert "by default" in caught.value.todo


def test_an_unknown_name_is_refused_with_all_that_there_are(tmp_path: Path) -> None:
    book = read(notebook(tmp_path / "a.ipynb"))
    with pytest.raises(UsageError, match=r"'trails'. Did you mean TRIALS\?") as caught:
        convert_all({"trails": "5"}, (book,))
    assert "TRIALS (int, by default 3): how often" in caught.value.todo


def test_each_notebook_gets_what_it_declares(tmp_path: Path) -> None:
    one = read(notebook(tmp_path / "a.ipynb", parameters=WITH_HOST))
    other = read(notebook(tmp_path / "b.ipynb", parameters='HOST: str = "x"  # host'))
    assert convert_all({"TRIALS": "1"}, (one, other)) == {"a": {"TRIALS": 1}, "b": {}}


@pytest.mark.parametrize(
    "line", ["TRIALS = 3  # no type", "TRIALS: list = []  # other type", 'TRIALS: int = "3"  # x']
)
def test_a_parameter_must_be_declared_well(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="TRIALS"):
        read(notebook(tmp_path / "a.ipynb", parameters=line))


@pytest.mark.parametrize("pair", ["TRIALS", "=5", ""])
def test_a_pair_needs_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(UsageError, match="is not a parameter"):
        parse([pair])


def test_pairs_may_hold_equals_signs_and_not_contradict_each_other() -> None:
    assert parse(["HOST=qemu+ssh://a/system?x=y"]) == {"HOST": "qemu+ssh://a/system?x=y"}
    assert parse(["A=1", "A=1"]) == {"A": "1"}
    with pytest.raises(UsageError, match="given twice"):
        parse(["A=1", "A=2"])


@pytest.mark.parametrize("name", ["00", "packet-path", "00-packet-path", "00-packet-path.ipynb"])
def test_a_notebook_has_several_names(name: str) -> None:
    assert find_notebooks([name])[0].name == "00-packet-path"


def test_without_names_all_notebooks_are_meant_in_order() -> None:
    names = [book.name for book in find_notebooks([])]
    assert names == sorted(names)
    assert names[:2] == ["00-packet-path", "01-full-emulation-and-virtio"]
    assert find_notebooks([]) == all_notebooks()


@pytest.mark.parametrize("name", ["7", "packet-pth", "x/y.ipynb", "../../etc/passwd"])
def test_an_unknown_notebook_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_notebooks([name])
    assert caught.value.todo


def test_a_near_miss_is_answered_with_a_guess() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 00-packet-path\?"):
        find_notebooks(["packet-pth"])


def test_any_notebook_can_be_named_by_its_path(tmp_path: Path) -> None:
    path = notebook(tmp_path / "mine.ipynb")
    assert find_notebooks([str(path)])[0].path == path


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text("{")
    with pytest.raises(UsageError, match="cannot be read as a notebook"):
        find_notebooks([str(path)])
