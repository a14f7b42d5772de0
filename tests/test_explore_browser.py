"""The whole way in a real browser: look, label with the keyboard, save, classify, and look again."""

import csv
import json
import time

import numpy as np
import pytest
from browser import CHROMIUM, browser
from training_toys import HEAD, make_run, make_store

from hpc_astrossl.classify import models
from hpc_astrossl.cli import main
from hpc_astrossl.labels import read_labels
from hpc_astrossl.store import embedding, open_store
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")
EVIL = '<img src=x onerror="document.title=1">","=1+1'
EVIL_CLASS = "<script>document.title=2</script>"
ODD_IDS = (EVIL, "a,b", 'c"d', "__proto__", "constructor", "=1+1", "'=1+1", "''-a", "'", "'-1", "-12.5", "-INF", "+x",
           "@x", " =1", "-\u0665", "12345678901234567890", "007", " led by a space", "two\nlines", "\u202ebackwards",
           "star\u200b", "x" * 10_000, "🙂\u0301")  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A trained run, its embedding of 160 objects, and the page of it."""
    work = tmp_path_factory.mktemp("work")
    make_store(work / "toy", objects=160)
    result = train(make_run(HEAD), work)
    run = work / "runs" / "toys" / result["run_id"]
    assert main(["embed", str(run), str(work / "toy"), "--out", str(work / "e.zarr")]) == 0
    assert main(["explore", str(work / "e.zarr"), "--out", str(work / "out")]) == 0
    return work


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page of objects without cutouts, whose ids and classes would like to be programs."""
    work, source = tmp_path_factory.mktemp("hostile"), np.random.default_rng(0)
    ids = np.array([*ODD_IDS, *(f"T{i}" for i in range(40 - len(ODD_IDS)))])
    part = {"object_id": ids, "features": source.normal(size=(40, 4)).astype(np.float32),
            "label": (np.arange(40) % 2).astype(np.int16)}  # fmt: skip
    about = {"run": EVIL_CLASS, "store": None, "class_names": [EVIL_CLASS, "ok"]}
    embedding.write(work / "e.zarr", [part], rows=40, about=about)
    assert main(["explore", str(work / "e.zarr"), "--out", str(work / "out")]) == 0
    return work


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def shown(page, folder, width=1280, dark=False):
    page.faults.clear()
    page.requests.clear()
    page.open(folder / "explore.html", width, dark)
    frame(page)
    return page


def frame(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def said(page):
    return page.evaluate("document.getElementById('said').textContent")


def lasso(page, row, count):
    """Draw a lasso around the ``count`` objects that are nearest to ``row`` on the map."""
    page.press("l")  # brings the map into view, wherever a sheet has moved it
    places = page.evaluate(f"""(() => {{
      const [cx, cy] = plot.place({row}), box = plot.canvas.getBoundingClientRect();
      const far = data.ids.map((_, i) => Math.hypot(plot.place(i)[0] - cx, plot.place(i)[1] - cy));
      const sorted = [...far].sort((a, b) => a - b), radius = (sorted[{count} - 1] + sorted[{count}]) / 2;
      return Array.from({{length: 65}}, (_, k) => k / 64 * 2 * Math.PI).map(angle => [
        box.left + (cx + radius * Math.cos(angle)) / plot.ratio,
        box.top + (cy + radius * Math.sin(angle)) / plot.ratio]);
    }})()""")
    page.press("l")
    page.drag([tuple(place) for place in places])
    frame(page)


def saved(page, folder):
    """What the page saves as labels.csv: its path."""
    page.download_to(folder)
    page.press("s")
    path, deadline = folder / "labels.csv", time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return path


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_from_looking_to_a_classifier_and_back(work, chromium, tmp_path, monkeypatch):
    page, table = shown(chromium, work / "out"), open_store(work / "toy").table
    assert page.evaluate("data.classes") == ["red", "blue"]
    page.evaluate("document.getElementById('who').value = 'ann'")
    page.evaluate("document.getElementById('who').dispatchEvent(new Event('change'))")
    for label, key in ((0, "1"), (1, "2")):
        row = middle(page, np.flatnonzero(table["label"] == label))
        lasso(page, row, 30)
        assert said(page).startswith("30 objects selected")
        page.press(key, shift=True)
    assert page.evaluate("document.getElementById('count').textContent").startswith("60 labels, kept in this browser")
    labels = saved(page, tmp_path)
    given = rows_of(labels)
    assert len(given) == 60
    assert {line["who"] for line in given} == {"ann"}
    truth = dict(zip(table["object_id"].tolist(), np.array(["red", "blue"])[table["label"]].tolist(), strict=True))
    assert np.mean([truth[line["object_id"]] == line["class"] for line in given]) > 0.95

    monkeypatch.setattr(models, "HIDDEN", 64)
    out = tmp_path / "classes.csv"
    assert main(["classify", str(work / "e.zarr"), "--labels", str(labels), "--out", str(out), "--next", "15"]) == 0
    hidden = [line for line in rows_of(out) if not line["label"]]
    assert len(hidden) == 100
    assert np.mean([truth[line["object_id"]] == line["class"] for line in hidden]) > 0.9

    for _ in range(3):  # labels were kept; on a busy machine a page has once been shown before its storage was there
        shown(page, work / "out")
        if page.evaluate("labels.of.size"):
            break
    assert page.evaluate("labels.of.size") == 60
    page.give("#open", out, tmp_path / "next.csv")
    wait(page, "document.getElementById('sheets').value === 'next: next.csv'")
    assert page.evaluate("document.getElementById('colour').value") == "class"
    assert page.evaluate("sheet.rows.length") == 15
    counts = {name: sum(line["class"] == name for line in rows_of(out)) for name in ("red", "blue")}
    legend = page.evaluate("document.getElementById('legend').innerText")
    assert all(f"{name} {count}" in legend for name, count in counts.items())
    again = ["explore", str(work / "e.zarr"), "--out", str(tmp_path / "b"), "--table", str(out), "--next"]
    assert main([*again, str(tmp_path / "next.csv")]) == 0
    shown(page, tmp_path / "b")
    assert page.evaluate("document.getElementById('sheets').value") == "next: what to label"
    assert page.evaluate("data.columns.find(c => c.name === 'class').names") == ["blue", "red"]
    assert page.faults == []


def middle(page, rows):
    """The one of these objects that has most of them around it on the map."""
    points = np.array(page.evaluate("Array.from(data.x, (x, i) => [x, data.y[i]])"))[rows]
    far = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)
    return int(rows[far[:, 29].argmin()])


def wait(page, condition):
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, (condition, said(page))
        time.sleep(0.1)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (768, True), (390, False), (390, True)])
def test_it_asks_for_its_thumbnails_alone_and_fits_its_window(work, chromium, width, dark):
    page = shown(chromium, work / "out", width, dark)
    wait(page, "[...document.querySelectorAll('#sheet .thumb')].every(e => e.style.backgroundImage)")
    assert page.faults == []
    allowed = (work / "out").resolve().as_uri()
    asked = {url for url in page.requests if not url.startswith("data:")}
    assert all(url.startswith(f"{allowed}/thumbnails-") or url == f"{allowed}/explore.html" for url in asked)
    assert any(url.endswith(".jpg") for url in asked)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ink = "new Set(plot.pixels).size"
    assert page.evaluate(ink) >= 3  # points were drawn, in several colours


def test_thumbnails_are_the_objects(work, chromium):
    """The colours of a cutout in its atlas are those of the store."""
    told = json.loads((work / "out" / "explore.json").read_text())["page"]
    assert told["bytes_an_object"] <= 3000
    from PIL import Image

    store = open_store(work / "toy")
    for row in (0, 63, 64, 159):
        atlas = np.asarray(Image.open(work / "out" / told["thumbnails"] / f"{row // 64:05d}.jpg"))
        y, x = divmod(row % 64, 8)
        part = atlas[y * 32 : y * 32 + 32, x * 32 : x * 32 + 32].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(part, store.images(np.array([row]))[0].reshape(-1, 3).mean(axis=0), atol=3)


def test_single_keys_undo_and_boxes(work, chromium):
    page = shown(chromium, work / "out")
    page.evaluate("localStorage.clear()")
    shown(page, work / "out")
    first = page.evaluate("sheet.rows.slice(0, 3).map(row => data.ids[row])")
    for key in ("1", "2", "1"):
        page.press(key)
    names = "[...labels.of].map(([id, one]) => [id, one.name])"
    assert page.evaluate(names) == [[first[0], "red"], [first[1], "blue"], [first[2], "red"]]
    page.press("z")
    assert page.evaluate("labels.of.size") == 2
    page.evaluate("document.getElementById('class-name').value = ' merger '")
    page.evaluate("document.getElementById('new-class').requestSubmit()")
    page.press("3")
    assert page.evaluate("labels.counts().get('merger')") == 1
    page.press("ArrowLeft")
    page.press("x")
    assert page.evaluate("labels.counts().get('merger')") == 0
    box = page.evaluate(
        "(() => { const b = plot.canvas.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()"
    )
    page.press("b")
    page.drag([(box[0] + 2, box[1] + 2), (box[2] - 2, box[3] - 2)])
    frame(page)
    assert said(page).startswith("160 objects selected")
    page.press("2", shift=True)
    assert page.evaluate("labels.counts().get('blue')") == 160
    page.press("z")
    assert page.evaluate("labels.counts().get('blue')") == 1


def test_two_windows_of_one_embedding_do_not_overwrite_each_other(work, chromium):
    """What another window stored since this one was opened stays, whatever is labelled here."""
    page = shown(chromium, work / "out")
    page.evaluate("localStorage.clear()")
    shown(page, work / "out")
    first = page.evaluate("data.ids[sheet.rows[0]]")
    rows = [["T0150", "blue", "", "ann"], [first, "blue", "", "ann"]]
    stored = {"rows": rows, "classes": ["red", "merger"], "who": "ann"}
    page.evaluate(f"localStorage.setItem(labels.key, {json.dumps(json.dumps(stored))})")
    page.press("1")
    names = "[...labels.of].map(([id, one]) => [id, one.name])"
    assert page.evaluate(names) == [["T0150", "blue"], [first, "red"]]
    assert page.evaluate("labels.classes") == ["red", "blue", "merger"]
    assert page.evaluate("JSON.parse(localStorage.getItem(labels.key)).rows.length") == 2
    stored["rows"].append(["T0151", "red", "", "ann"])
    page.evaluate(f"localStorage.setItem(labels.key, {json.dumps(json.dumps(stored))})")
    page.evaluate("dispatchEvent(new StorageEvent('storage', { key: labels.key }))")
    assert page.evaluate("labels.of.size") == 3
    assert page.evaluate("document.getElementById('count').textContent").startswith("3 labels, kept in this browser")
    page.evaluate("localStorage.setItem = () => { throw new Error('full') }")
    page.press("2")
    assert page.evaluate("labels.kept") is False
    assert page.evaluate("labels.of.size") == 4
    page.evaluate("dispatchEvent(new StorageEvent('storage', { key: labels.key }))")
    assert page.evaluate("labels.of.size") == 4  # what could not be stored is not lost
    page.evaluate("delete localStorage.setItem")
    page.press("1")
    assert page.evaluate("JSON.parse(localStorage.getItem(labels.key)).rows.length") == 5
    page.evaluate("localStorage.clear()")


def test_search_by_id_and_place_and_neighbours_of_a_click(work, chromium):
    page, table = shown(chromium, work / "out"), open_store(work / "toy").table
    for words, row in (
        ("T0042", 42),
        (f"{table['ra'][17]:.4f}, {table['dec'][17]:.4f}", 17),
        ("00:44:00 -30:00:00", 1),
    ):
        assert page.evaluate(f"search({words!r}).rows[0]") == row
    assert page.evaluate("search('T004').rows") == list(range(40, 50))
    assert page.evaluate("search('nothing').words") == "no object has that id"
    assert page.evaluate("skyPlace('10 95')") is None
    assert page.evaluate("separation(10, -30, 11, -30)") == pytest.approx(3600 * np.cos(np.radians(30)), rel=1e-4)
    x, y = page.evaluate("""(() => { const b = plot.canvas.getBoundingClientRect(), p = plot.place(42);
      return [b.left + p[0] / plot.ratio, b.top + p[1] / plot.ratio]; })()""")
    page.press("v")
    page.drag([(x, y), (x, y)])
    near = page.evaluate("sheet.rows")
    at = near[0]
    found = embedding.read(work / "e.zarr")
    from hpc_astrossl.explore.space import Index, space

    expected = Index(space(found.features).values).nearest(np.array([at]), 12)[1][0]
    assert near[1:] == expected.tolist()


def test_hostile_ids_and_classes_stay_text(hostile, chromium, tmp_path):
    page = shown(chromium, hostile / "out")
    page.evaluate("openSheet('all', [...data.ids.keys()])")
    page.press("1", shift=True)
    page.evaluate("hover(0, { clientX: 300, clientY: 300 })")
    assert page.evaluate("document.querySelectorAll('img, #sheet script, #classes script').length") == 0
    assert page.evaluate("document.title").startswith(EVIL_CLASS)
    assert EVIL in page.evaluate("document.getElementById('sheet').textContent")
    labels = saved(page, tmp_path)
    given = {line["object_id"]: line["class"] for line in rows_of(labels)}
    assert given[EVIL] == EVIL_CLASS
    assert list(read_labels(labels)) == page.evaluate("data.ids")
    assert not any(id.startswith(("=", "+", "@")) for id in given)  # what a spreadsheet would compute
    page.evaluate("localStorage.clear()")
    shown(page, hostile / "out")
    page.give("#open", labels)
    wait(page, "labels.of.size === 40")
    assert set(page.evaluate("[...labels.of.keys()]")) == set(page.evaluate("data.ids"))
    assert page.evaluate(f"labels.of.get({json.dumps(EVIL)}).name") == EVIL_CLASS
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.faults == []
    text = (hostile / "out" / "explore.html").read_text()
    assert "<script>document.title" not in text.split('id="data"')[1].split("</script>")[0]


def test_a_script_that_was_put_into_the_page_is_not_run(hostile, chromium, tmp_path):
    text = (hostile / "out" / "explore.html").read_text()
    (tmp_path / "explore.html").write_text(text.replace("</main>", "</main><script>document.title='run'</script>"))
    page = shown(chromium, tmp_path)
    assert page.evaluate("document.title") != "run"
    assert any("Content Security Policy" in fault for fault in page.faults)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,class\n1,a\n", "no column object_id"),
        ("object_id,class\nT1\n", "line 2 has 1 values, the first line 2"),
        ('object_id,class\nT1,"a\n', "a quoted value does not end"),
        ("object_id,class\nT1,\n", "object T1 has no class"),
        ("object_id,class\nT1,a\nT1,b\n", "object T1 is called “b”, and “a” further up"),
        ("object_id,class,class\nT1,a,b\n", "two columns class in its first line"),
        ("object_id,class\nelsewhere,a\n", "none of its 1 objects is here; is it of another embedding?"),
        ("rank,object_id\nx,T1\n", "a rank in it is no number"),
        ("object_id,class\n", "no objects in it"),
        ("object_id,\x1b[2J\x1b[2J,\x1b[2J\x1b[2J\nT1,1,2\n", "two columns \\u001b[2J\\u001b[2J"),
    ],
)
def test_wrong_files_are_named(hostile, chromium, tmp_path, text, words):
    page = shown(chromium, hostile / "out")
    (tmp_path / "bad.csv").write_text(text)
    page.give("#open", tmp_path / "bad.csv")
    wait(page, "document.getElementById('said').textContent.startsWith('bad.csv')")
    assert words in said(page)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_and_lists_are_read_as_spreadsheets_write_them(hostile, chromium, tmp_path, separator):
    page = shown(chromium, hostile / "out")
    page.evaluate("localStorage.clear()")
    shown(page, hostile / "out")
    lines = ["object_id,class,notes,when", "T1,ok,looked at twice,t", ",,,", "'=1+1,__proto__,,"]
    (tmp_path / "l.csv").write_text("\ufeff" + "".join(f"{line}\r\n" for line in lines).replace(",", separator))
    (tmp_path / "next.csv").write_text("rank,object_id\n10,T1\n2,T2\n1,'=1+1\n".replace(",", separator))
    page.give("#open", tmp_path / "l.csv", tmp_path / "next.csv")
    wait(page, "sheet.rows.length === 3")
    assert page.evaluate("[...labels.of].map(([id, one]) => [id, one.name])") == [["T1", "ok"], ["=1+1", "__proto__"]]
    assert page.evaluate("sheet.rows.map(row => data.ids[row])") == ["=1+1", "T2", "T1"]
    page.evaluate("localStorage.clear()")


def test_numbers_and_names_keep_their_digits(hostile, chromium, tmp_path):
    page = shown(chromium, hostile / "out")
    head = "object_id,tile,class,number,tiny,infinite"
    (tmp_path / "t.csv").write_text(f"{head}\nT1,12345678,7,12345678901234567890,1.5e-7,inf\nT2,2,8,1,2,-1\n")
    page.give("#open", tmp_path / "t.csv")
    wait(page, "data.columns.some(one => one.name === 'tiny')")
    row = "data.rowOf.get('T1')"
    found = page.evaluate(f"data.columns.map(one => [one.name, words(one, {row}), !!one.names])")
    assert found[-5:] == [["tile", "12345678", False], ["class", "7", True], ["number", "12345678901234567890", True],
                          ["tiny", "1.5e-7", False], ["infinite", "Infinity", False]]  # fmt: skip
    offered = ["7", "8"]  # classes of answers can be given at once
    assert page.evaluate("labels.classes.slice(-2)") == offered
    again = ["explore", str(hostile / "e.zarr"), "--out", str(tmp_path / "b"), "--table", str(tmp_path / "t.csv")]
    assert main(again) == 0
    page.evaluate("localStorage.clear()")
    shown(page, tmp_path / "b")
    assert page.evaluate("labels.classes.slice(-2)") == offered
    assert page.evaluate("document.getElementById('colour').value") == "class"
    assert page.evaluate(f"data.columns.map(one => [one.name, words(one, {row}), !!one.names])")[-5:] == found[-5:]


def test_nothing_is_saved_where_there_are_no_labels(hostile, chromium, tmp_path):
    page = shown(chromium, hostile / "out")
    page.evaluate("localStorage.clear()")
    shown(page, hostile / "out")
    page.press("s")
    assert said(page).startswith("there are no labels yet: mark an object and press a class's key")


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_against_the_page(work, chromium, dark):
    """WCAG's contrast of 4.5 to 1."""
    page = shown(chromium, work / "out", 1280, dark)
    ratio = """(() => {
      const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      return ["body", ".meta", "#count", "#object dt", "#classes button", "#tool-move", "#tool-lasso"].map(s => {
        const e = document.querySelector(s), style = getComputedStyle(e);
        const clear = style.backgroundColor.startsWith("rgba(0, 0, 0, 0");
        const own = clear ? getComputedStyle(document.body).backgroundColor : style.backgroundColor;
        const a = light(style.color), b = light(own);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
    })()"""
    assert min(page.evaluate(ratio)) >= 4.5


def test_without_a_class_the_page_says_how_to_begin(hostile, chromium, tmp_path):
    source = np.random.default_rng(0)
    part = {"object_id": np.array([f"T{i}" for i in range(20)]), "label": np.full(20, -1, np.int16),
            "features": source.normal(size=(20, 4)).astype(np.float32)}  # fmt: skip
    embedding.write(tmp_path / "e.zarr", [part], rows=20, about={"run": "bare", "store": None, "class_names": []})
    assert main(["explore", str(tmp_path / "e.zarr"), "--out", str(tmp_path / "out"), "--map", "pca"]) == 0
    page = shown(chromium, tmp_path / "out", 390)
    classes = "document.getElementById('classes')"
    assert page.evaluate(f"{classes}.textContent").startswith("No class yet: type one and press Enter")
    page.press("1")
    assert said(page).startswith("no class yet: type one")
    page.evaluate("document.getElementById('class-name').value = 'odd'")
    page.evaluate("document.getElementById('new-class').requestSubmit()")
    page.press("2")
    assert said(page) == "no class has the key 2 yet"
    page.press("1")
    assert page.evaluate("labels.counts().get('odd')") == 1
    page.evaluate("document.getElementById('sheet').lastChild.scrollIntoView()")
    frame(page)
    top = page.evaluate(f"{classes}.getBoundingClientRect().top")
    assert top >= -1  # the classes stay in view of a narrow screen, however far down the sheet
    assert page.faults == []
