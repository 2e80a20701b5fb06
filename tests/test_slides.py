"""The frame of the slides computes a part once, says what it needs, and makes the page of what lies on the disk."""

import json

import numpy as np
import pytest

from benchmarks.slides import Given, Refused, __main__, draw, frame, table
from benchmarks.slides.frame import Part, Places

PARTS = frame.parts()
MEASURED = [name for name in PARTS if Places().result(name).exists()]  # the others are not on the page


@pytest.fixture
def toy(monkeypatch):
    """A part that counts how often it is computed."""
    calls = []

    def toy(given: Given, *, n: int = 3) -> dict:
        given.kept("row", lambda: calls.append("row") or 1)
        calls.append(n)
        figure, axes = draw.panels()
        draw.vectors(axes[0, 0], np.eye(2), np.ones((2, 2)), most=0.1)
        draw.save(figure, given.picture("toy"))
        return {"sum": np.float32(n) / 3, "all": np.arange(n)}

    made = Part(toy, "A toy", "nothing.", 1.0, {"toy": "Arrows"})
    made.says(lambda numbers: f"The sum is {numbers['sum']:.2f}.")
    monkeypatch.setattr(frame, "parts", lambda: {"toy": made})
    return made, calls


def test_a_part_is_computed_once_for_its_settings(toy, tmp_path):
    made, calls = toy
    places = Places.under(tmp_path)
    assert frame.compute(made, places, tmp_path / "work") and calls == ["row", 3]
    assert json.loads(places.result("toy").read_text())["numbers"] == {"sum": 1.0, "all": [0, 1, 2]}
    assert not frame.compute(made, places, tmp_path / "work") and calls == ["row", 3]
    assert frame.compute(made, places, tmp_path / "work", changed={"n": 2}) and calls == ["row", 3, "row", 2]
    assert frame.compute(made, places, tmp_path / "work", changed={"n": 2}, again=True) and calls[4:] == ["row", 2]
    places.picture("toy").unlink()
    assert frame.compute(made, places, tmp_path / "work", changed={"n": 2})  # what it kept is taken
    assert calls[6:] == [2]


def test_a_part_without_what_it_needs_is_refused_with_the_flag_that_gives_it(toy, tmp_path):
    made, calls = toy
    made.needs = ("uci",)
    with pytest.raises(Refused, match="toy needs --uci"):
        frame.compute(made, Places.under(tmp_path), tmp_path)
    with pytest.raises(Refused, match=r"no setting k; its settings: n"):
        frame.compute(made, Places.under(tmp_path), tmp_path, changed={"k": 1}, uci=".")
    assert not calls


def test_the_command_writes_the_page_of_the_results_that_there_are(toy, tmp_path, capsys):
    out = [f"--out={tmp_path / 'out'}", f"--work={tmp_path / 'work'}"]
    assert __main__.main(["toy", "--set", "toy.n=6", *out]) == 0
    page = (tmp_path / "out/slides.md").read_text()
    assert "The sum is 2.00." in page and "![Arrows](images/slides-toy.png)" in page
    assert (tmp_path / "out/images/slides-toy.png").exists()
    assert __main__.main(["--list"]) == 0 and "toy.n=3" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        __main__.main(["nothing"])
    assert "there is no part nothing; choose from toy" in capsys.readouterr().err


@pytest.mark.parametrize("name", PARTS)
def test_a_part_says_what_the_slides_show(name):
    each = PARTS[name]
    assert each.title and each.slides.endswith(".") and each.text is not None
    assert all(caption and not caption.endswith(".") for caption in each.pictures.values())


@pytest.mark.parametrize("name", MEASURED)
def test_the_text_of_a_part_is_made_of_its_result(name):
    each, places = PARTS[name], Places()
    result = json.loads(places.result(name).read_text())
    assert result["settings"] == json.loads(json.dumps(each.settings)), "the result is of other settings"
    assert all(places.picture(picture).exists() for picture in each.pictures)
    assert each.text(result["numbers"]).strip() in places.page.read_text()


def test_the_page_is_that_of_the_results():
    assert frame.page(Places()) == Places().page.read_text()


def test_a_table_is_markdown():
    assert table(["a", "b"], [[1.23456, "x"], [2, None]]) == "| a | b |\n| --- | --- |\n| 1.235 | x |\n| 2 |  |"
