"""The page: what it says, that data stays data, and that it needs nothing besides."""

import html
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nconvex as nc
from nconvex.commands import csv
from nconvex.plots import page_content as content

HOSTILE = "</script><img src=x onerror=alert(1)><!--'\"&amp; {{data}}"


@pytest.fixture(scope="module")
def problem():
    return nc.quad.problem(samples=40)


@pytest.fixture(scope="module")
def string(problem):
    return nc.run_pair(problem, L0=1e-3, seed=0).string


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page)[1])


def test_the_growth_ends_with_the_string_and_every_bead_has_its_recursion(problem, string):
    growth = data_of(nc.report(string, problem).html)["growth"]
    reached = [k for k, each in enumerate(string.trace, 1) if each.status.name == "REACHED"]
    assert string.n_beads > 1
    assert sorted(growth["births"][1:-1]) == reached
    assert len(growth["steps"]) == len(string.trace) + 1
    for k, birth in enumerate(growth["births"][1:-1], 1):
        assert string.trace[birth - 1].loss_after == pytest.approx(string.losses[k])
        assert f"Recursion {birth}," in growth["steps"][birth]
    last = [growth["curves"][f"{k}-{k + 1}"] for k in range(string.n_beads + 1)]
    assert sum(piece["length"] for piece in last) == pytest.approx(string.path_length, rel=1e-5)
    for piece, upper in zip(last, string.segment_upper, strict=True):
        assert max(piece["loss"]) <= upper
    first = growth["curves"][f"0-{string.n_beads + 1}"]["loss"]
    assert max(first) == pytest.approx(string.line_max_error, rel=1e-3)


def test_a_reversed_string_keeps_its_story_and_a_foreign_one_gets_none(problem, string):
    births = content.growth(problem, string, "loss")["births"]
    assert content.growth(problem, string.reversed(), "loss")["births"] == births[::-1]
    foreign = replace(string, losses=0.9 * string.losses)
    assert set(content.growth(problem, foreign, "loss")["births"][1:-1]) == {1}


def test_rounding_for_the_page_moves_no_loss_to_the_other_side_of_L0():
    above = np.nextafter(1e-3, 1.0)
    assert content._sided(np.array([above, 1e-3, np.inf]), 1e-3) == [above, 1e-3, None]


@pytest.mark.parametrize(
    ("claimed", "certified", "word"),
    [(False, True, "proven"), (False, False, "sampled"), (True, False, "claimed")],
)
def test_proven_sampled_and_claimed_are_three_words(problem, string, claimed, certified, word):
    peaks = tuple(replace(peak, certified=certified) for peak in string.peaks)
    page = nc.report(replace(string, peaks=peaks, claimed=claimed), problem).html
    assert f'<span class="badge {word}">{word}</span>' in page


def test_hostile_text_stays_text_and_every_number_is_there(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = tmp_path / "table.csv"
    quoted = HOSTILE.replace('"', '""')
    rows = [f'{x:.3f},"{quoted if x > 0 else "b" + quoted}"' for x in rng.normal(size=60)]
    table.write_text("\n".join([f'x,"{quoted}"', *rows]), encoding="utf-8")
    assert csv.main([str(table), "--target", HOSTILE, "--quiet", "--no-figure",
                     "--out", str(tmp_path / "o"), "--hidden", "4"]) == 0  # fmt: skip
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script") == 2
    assert data_of(page)["models"]["names"][0].startswith(HOSTILE[:40])
    document = html.unescape(re.search(r'<pre id="document">(.*?)</pre>', page, re.DOTALL)[1])
    assert document + "\n" == (tmp_path / "o" / "result.json").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "report.html" in printed
    told = html.unescape(re.sub(r"<[^>]*>", "\n", page))
    for line in printed.splitlines()[1:-1]:  # all but the title and the files
        assert line[18:] in told


def test_the_page_is_whole_small_and_loads_nothing(tmp_path, problem, string):
    beads = np.random.default_rng(0).normal(size=(800, string.beads.shape[1]))
    known = {"peaks": string.peaks[:1] * 799, "segment_status": string.segment_status[:1] * 799}
    many = replace(string, beads=beads, losses=np.ones(800), **known)
    made = nc.report(many, problem)
    made.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(page) < 400_000
    assert "default-src 'none'" in page
    assert re.findall(r"""\b(?:src|href)=["']?([^"'> ]*)""", page) == ["data:,"]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|import\(", page)
    assert set(re.findall(r"https?://[^\"' <]*", page)) <= {"http://www.w3.org/2000/svg"}
    assert "srcdoc" in made._repr_html_()
    assert "<script" not in made._repr_html_()
    with pytest.raises(nc.NconvexError, match="cannot write"):
        made.save(tmp_path / "nowhere" / "page.html")


def test_surfaces_without_a_network_have_a_page_too():
    bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
    string = nc.connect(bowl, [1.0, 0.0], [0.0, 1.0], L0=3.0)
    data = data_of(nc.report(string, bowl).html)
    assert data["models"] is None
    assert data["growth"]["steps"][1:] == []
    assert data["path"]["loss"][0] == 2.0


@pytest.mark.parametrize("outputs", [1, 2])
def test_what_networks_compute_is_theirs_at_each_stop(outputs):
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = X[:, :1].repeat(outputs, axis=1)
    problem = nc.Problem(nc.MLP((2, 3, outputs)), "mse", X, y, X, y)
    ends = [problem.initial(np.random.default_rng(k)) for k in range(2)]
    data = data_of(nc.report(nc.string_through(problem, ends, L0=9.0), problem).html)
    if outputs == 2:  # no plane has room for them
        assert data["models"] is None
        return
    assert data["models"]["kind"] == "scatter"
    expected = problem.model.predict(ends[1], X).ravel()
    np.testing.assert_allclose(data["models"]["predicted"][-1], expected, rtol=1e-3)


def test_images_are_those_of_the_test_set_with_their_probabilities():
    problem = nc.mnist.problem(model=nc.MLP((784, 4, 10)))
    ends = [problem.initial(np.random.default_rng(k)) for k in range(2)]
    models = data_of(nc.report(nc.string_through(problem, ends, L0=9.0), problem).html)["models"]
    for pixels, number, label in zip(
        models["pixels"], models["numbers"], models["labels"], strict=True
    ):
        assert label == problem.labels_test[number]
        assert np.corrcoef(pixels, problem.X_test[number])[0, 1] > 0.999
    np.testing.assert_allclose(np.sum(models["shares"], axis=2), 1.0, atol=0.01)


def test_notebooks_show_small_tables_without_markup_of_the_data(problem, string):
    survey = nc.survey.run(nc.survey.grid(L0=(1e-2,), samples=20), pairs=1)
    for thing, said in (
        (string, "connected: the loss is at most L0"),
        (string, f"proven: between {string.max_error_bounds[0]:.7g}"),
        (problem, "1-4-4-1 relu"),
        (survey, "1 of 1 pairs"),
        (replace(string, sampler="<b>"), "&lt;b&gt;"),
    ):
        table = thing._repr_html_()
        assert said in table
        assert set(re.findall(r"<(\w+)", table)) <= {"table", "caption", "tbody", "tr", "th", "td"}


def test_the_page_is_loaded_only_when_it_is_made():
    code = "import sys, nconvex.commands.results; print('nconvex.plots' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_beads_between_alpha_l0_and_l0_are_born_one_by_one():
    valley = nc.FunctionLandscape(
        lambda x: 0.1 + (x @ x - 1.0) ** 2,
        lambda x: 4.0 * (x @ x - 1.0) * x,
        nc.RMSProp(learning_rate=1e-2, budget=2000, check_every=1),
    )
    string = nc.connect(valley, [-1.0, 0.01], [1.0, 0.02], L0=0.2, alpha=0.4)
    assert string.beads_above_target == string.n_beads > 1
    page = nc.report(string, valley).html
    assert "All beads at once" not in page
    assert "none was inserted" not in page
