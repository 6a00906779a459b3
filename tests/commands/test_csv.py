"""The command line of a table of one's own."""

import json

import numpy as np
import pytest
from command_lines import refused, said

from nconvex import MLP, load_string, verify
from nconvex.__main__ import main
from nconvex.data import tables


def run(capsys, *argv):
    """Run the command; return its exit status, stdout and stderr."""
    return said(capsys, main, ["csv", *map(str, argv)])


def houses(rows=60):
    """Rows of a table with numbers, text, a constant column and a target of each kind."""
    rng = np.random.default_rng(0)
    lines = ["size,town,floors,country,price,kind"]
    for size, town, floors in zip(
        rng.normal(100, 20, rows), rng.integers(3, size=rows), rng.integers(1, 5, rows), strict=True
    ):
        price = 2 * size + 30 * town + 20 * rng.normal()  # noise, as real data have it
        lines.append(
            f"{size},{'ABC'[town]},{floors},NL,{price},{'dear' if price > 220 else 'cheap'}"
        )
    return lines


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(houses()) + "\n")
    return path


def inputs(arrays, rows):
    """The network's inputs, as the file of a string says that they are made."""
    encoding = zip(arrays["input_columns"], arrays["input_categories"], strict=True)
    values = [
        [row[name] == category if category else float(row[name]) for row in rows]
        for name, category in encoding
    ]
    return (np.array(values, dtype=float).T - arrays["input_means"]) / arrays["input_scales"]


@pytest.mark.parametrize("target", ["price", "kind"])
def test_the_files_alone_serve_to_use_the_networks_on_new_rows(file, tmp_path, capsys, target):
    other = {"price": "kind", "kind": "price"}[target]
    argv = ["--target", target, "--drop", other, "--hidden", "4", "--json", "--quiet"]
    status, out, err = run(capsys, file, *argv, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["connected"]
    assert result["certified"]
    assert result["L0_chosen"] == "a little above what three trained networks reach"
    assert result["settings"]["columns_left_out"] == [other, "country=NL"]
    assert (tmp_path / "out/figure.png").stat().st_size > 10_000
    with np.load(tmp_path / "out/string.npz") as arrays:
        arrays = dict(arrays)
    encoding = result["settings"]["encoding"]
    assert {name: arrays[name].tolist() for name in encoding} == encoding
    head, *lines = houses()
    rows = [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]
    X = inputs(arrays, rows)
    in_test = [np.abs(arrays["X_test"] - x).sum(axis=1).min() < 1e-4 for x in X]
    assert sum(in_test) == len(arrays["X_test"]) == 12
    training = X[~np.array(in_test)]
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(training.std(axis=0), 1)
    model = MLP(tuple(arrays["sizes"].tolist()))
    outputs = model.predict(arrays["beads"][0], X)
    if target == "price":
        predicted = arrays["target_mean"] + arrays["target_scale"] * outputs[:, 0]
        truth = np.array([float(row["price"]) for row in rows])
        squares = ((predicted - truth) / arrays["target_scale"]) ** 2
        assert squares[in_test].mean() == pytest.approx(result["endpoint_losses"][0], rel=1e-6)
    else:
        assert arrays["classes"].tolist() == ["cheap", "dear"]
        labels = [arrays["classes"].tolist().index(row["kind"]) for row in rows]
        surprise = np.logaddexp.reduce(outputs, axis=1) - outputs[np.arange(60), labels]
        assert surprise[in_test].mean() == pytest.approx(result["endpoint_losses"][0], rel=1e-5)
    assert verify.main([str(tmp_path / "out/string.npz")]) == 0
    capsys.readouterr()
    assert load_string(tmp_path / "out/string.npz").connected


def test_what_was_made_of_the_table_is_said(file, capsys):
    file.write_text("\ufeff" + "\n".join([*houses(), "90,,2,NL,200,dear"]).replace(",", ";"))
    argv = ["--target", "kind", "--drop-missing", "--L0", "0.5", "--hidden", "3", "--drop", "price"]
    status, out, _ = run(capsys, file, *argv)
    assert status == 0
    for words in (
        "CSV: 5-3-2 relu, cross-entropy on kind, seed 0",
        "48 rows to train and 12 of test",
        "1 with missing values were left out",
        "one input for each value of town",
        "left out as constant: country=NL",
        "2 classes",
        "written to      csv.png",
    ):
        assert words in out
    assert "chosen" not in out


def test_numbers_are_classes_if_that_is_asked_for(file, capsys):
    status, out, _ = run(
        capsys, file, "--target", "floors", "--classify", "--L0", "2", "--json", "--quiet"
    )
    assert status == 0
    assert json.loads(out)["settings"]["encoding"]["classes"] == [1, 2, 3, 4]


HEAD = "a,b,y\n"
ROWS = "1,2,3\n4,5,6\n7,9,8\n2,2,1\n3,1,4\n"


@pytest.mark.parametrize(
    ("content", "argv", "words"),
    [
        (b"", [], "is empty"),
        (b"\xef\xbb\xbf\n\n", [], "is empty"),
        (b"\x00\xff" * 50, [], "NUL bytes"),
        (HEAD.encode("utf-16"), [], "NUL bytes"),
        (b"a,b,y\n1,1,2\n\xff,1,2\n", [], "line 3: this is no UTF-8 text"),
        (HEAD, [], "no row with a value"),
        ("1,2,3\n" + ROWS, [], "begins with numbers"),
        (HEAD + "1,2\n" + ROWS, [], "line 2: 2 values, but line 1 names 3 columns"),
        (HEAD + ROWS + "\n\n1,2,3,4\n", [], "line 9: 4 values"),
        ("a,a,y\n" + ROWS, [], "columns 1 and 2 alike, 'a'"),
        (",b,y\n" + ROWS, [], "column 1 of t.csv has no name"),
        (HEAD + ROWS, ["--target", "z"], "'z' is no column of t.csv; it has 'a', 'b', 'y'"),
        (HEAD + ROWS, ["--drop", "z"], "--drop 'z' is no column"),
        (HEAD + ROWS, ["--drop", "y"], "also left out by --drop"),
        (HEAD + ROWS, ["--drop", "a", "--drop", "b"], "no column of inputs besides 'y'"),
        (HEAD + ROWS, ["--delimiter", ";"], "is no column"),
        (HEAD + ROWS, ["--delimiter", ";;"], "must be one character"),
        (HEAD + "1,NA,3\n1,?,2\n" + ROWS, [], "line 2: column 'b' has no value; --drop-missing le"),
        (HEAD + "1,nan,3\n1,,2\n" + ROWS, [], "(2 in all)"),
        (HEAD + "1,NA,3\n", ["--drop-missing"], "no row with a value"),
        (HEAD + "inf,1,3\n" + ROWS, [], "line 2: column 'a' is 'inf', which is not finite"),
        (HEAD + "1e999,1,3\n" + ROWS, [], "not finite"),
        (HEAD + "1,1e308,3\n3,-1e308,2\n" + ROWS, [], "'b' of t.csv cannot be standardised"),
        (HEAD + "1,2,3\n1,2,4\n1,2,5\n", [], "has one value in all its rows"),
        (HEAD + "1,2,3\n2,1,3\n3,2,3\n", [], "'y' of t.csv has one value"),
        (HEAD + "1,2,u\n2,1,u\n3,2,u\n", [], "one class only, 'u'"),
        (HEAD + "1,2,u\n2,1,v\n3,2,w\n", [], "3 classes in 3 rows"),
        (HEAD + ROWS, ["--classify"], "5 classes in 5 rows"),
        (HEAD + "1,2,u\n2,1,v\n" * 9, ["--loss", "mse"], "'y' holds text, e.g. 'u'"),
        (HEAD + ROWS, ["--classify", "--loss", "mae"], "--classify goes with"),
        (HEAD + ROWS, ["--test", "1"], "test must be a share between 0 and 1, not 1.0"),
        (HEAD + ROWS, ["--test", "0.01"], "is no row of test"),
        (HEAD + "\n".join(f"x{k},1,{k}" for k in range(50)), [], "more than 20 different values"),
        (HEAD + 'a"b,"' + "x" * 200_000, [], "field larger than field limit"),
        (HEAD + ROWS, ["--L0", "low"], "'low' is neither a number nor auto"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    tmp_path, monkeypatch, capsys, content, argv, words
):
    monkeypatch.chdir(tmp_path)
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.csv").write_bytes(data)
    assert words in refused(capsys, main, ["csv", "t.csv", "--target", "y", *argv])
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(("name", "words"), [(".", "Is a directory"), ("no.csv", "No such file")])
def test_files_that_cannot_be_read(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, main, ["csv", name, "--target", "y"])


def test_sizes_are_known_before_memory_is_taken(file, capsys, monkeypatch):
    argv = [file, "--quiet", "--target", "price"]
    monkeypatch.setattr(tables, "MOST_BYTES", 100)
    assert "has more than 0 MB" in run(capsys, *argv)[2]
    monkeypatch.setattr(tables, "MOST_BYTES", 2**20)
    monkeypatch.setattr("nconvex.tasks.table.MOST_NUMBERS", 60 * 7)
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert "becomes 60 x 8 numbers, more than 420" in err
