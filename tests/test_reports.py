"""Pages: one file without a network, for keyboards and screen readers, phones and dark rooms."""

import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest

import seqlatent as sl
from seqlatent.comparing.page import write_page
from seqlatent.plots.figure import ACCENT, new_figure
from seqlatent.plots.themes import GROUND, INK, dark, themed_pngs
from seqlatent.processes import PROCESSES
from seqlatent.reports import Cell, Column, Image, Page, Section, Table, render

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))), None,
)  # fmt: skip
VOID = {"meta", "link", "source", "img", "br", "hr", "input"}


class Structure(HTMLParser):
    """What a page is made of: its elements with their attributes, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.words.append(data)

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def check(text: str) -> Structure:
    """What holds for every page."""
    page = Structure(text)
    assert page.open == []
    assert text.startswith("<!DOCTYPE html>") and page.all("html") == [{"lang": "en"}]
    # Nothing comes from outside.
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", re.sub(r"base64,[^\"]*", "", text))
    assert "@import" not in text and "url(" not in text
    for a in page.all("img", "source", "script", "link", "iframe", "object", "embed"):
        for name in ("src", "srcset", "href", "data"):
            assert a.get(name, "data:").startswith("data:")
    # Every name is there once, and whatever is named is there.
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    for a in page.all("a"):
        assert a["href"].startswith("#") and a["href"][1:] in ids
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    assert page.all("a")[0] == {"class": "skip", "href": "#content"}
    # Headings go down one level at a time.
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(len(a["alt"].split()) > 3 for a in page.all("img"))
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert len(page.all("img")) == len(page.all("source")) == len(page.all("picture"))
    assert all(a["media"] == "(prefers-color-scheme: dark)" for a in page.all("source"))
    # What scrolls by itself can be reached by keyboard and has a name.
    for a in page.all("div"):
        if a.get("class") == "scroll":
            assert a.get("tabindex") == "0" and ("aria-label" in a or "aria-labelledby" in a)
    return page


def picture() -> Image:
    figure, axes = new_figure(1, 1, 12.0, 2.0)
    axes[0, 0].plot(range(9), color=ACCENT)
    return Image("A line", "It rises.", "A line that rises from 0 to 8", *themed_pngs(figure))


def a_page() -> Page:
    """With what is hard on a narrow screen: many columns, a wide picture, a long name."""
    columns = [Column("Model", "Its name.", numeric=False)]
    columns += [Column(f"Measure {i}", "How far it is.", "lower") for i in range(20)]
    values = (2.0, None, -1.0)
    rows = [
        [Cell(f"model{i}<b>&\"'", f"model{i}", link="more" if i == 0 else "")]
        + [Cell("-" if v is None else f"{v:.3f} ± 0.001", v, v == 2.0)] * 20
        for i, v in enumerate(values)
    ]
    table = Table("table", "All of them", columns, rows, ["model1: has no numbers."])
    part = Section("more", "model0", ["x" * 300], [("A fact" * 30, "of it" * 60)], [], [picture()])
    return Page(
        "A comparison", "Take model0.", [("Why", "It is best.")],
        [Section("all", "All models", tables=[table], images=[picture()], parts=[part])],
        "Made by a test.",
    )  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return render(a_page())


def test_the_structure_of_a_page(text):
    page = check(text)
    assert len(page.all("button")) == 21
    assert [a["scope"] for a in page.all("th")].count("row") == 3
    assert "Lower is better." in "".join(page.words)
    assert [a.get("data-value") for a in page.all("td")[::20]] == ["2.0", "", "-1.0"]


def test_text_from_data_stays_text(text):
    assert "model0&lt;b&gt;&amp;" in text and "<b>&" not in text


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("<h2 ", "<h5 "),
        (' scope="row"', ""),
        ('alt="A line that rises from 0 to 8"', 'alt="A line"'),
        ('id="more"', 'id="all"'),
        ('href="#more"', 'href="#gone"'),
        ("</style>", "@import 'a.css';</style>"),
        ('src="data:', 'src="https://example.org/a.png" data-x="'),
        (' tabindex="0"', ""),
    ],
)
def test_a_page_that_breaks_a_rule_is_found(text, good, bad):
    assert good in text
    broken = text.replace(good, bad).replace("</h2>", "</h5>" if bad == "<h5 " else "</h2>")
    with pytest.raises(AssertionError):
        check(broken)


# -- pictures -------------------------------------------------------------------------------------


def test_pictures_keep_their_pixels():
    """A decoder of another's sees the colours of the figure, exactly where they fit the palette."""
    figure, axes = new_figure(1, 1, 3.0, 2.0)
    axes[0, 0].set_axis_off()
    axes[0, 0].axhspan(0.2, 0.6, color=ACCENT)
    axes[0, 0].axvspan(0.5, 1.0, color="black")
    light, night = (
        np.rint(matplotlib.image.imread(io.BytesIO(png))[..., :3] * 255).astype(int)
        for png in themed_pngs(figure)
    )
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) <= 256
    np.testing.assert_array_equal(light, drawn)
    white = (light == 255).all(-1)
    assert (night[white] == GROUND).all()
    assert (night[(light == 0).all(-1)] == INK).all()


def test_pictures_of_many_colours_are_near():
    figure, axes = new_figure(1, 1, 3.0, 2.0)
    axes[0, 0].imshow(np.arange(400).reshape(20, 20), cmap="viridis")
    light = matplotlib.image.imread(io.BytesIO(themed_pngs(figure)[0]))[..., :3] * 255
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    apart = np.abs(light - drawn).max(-1)
    assert apart.mean() < 1 and np.quantile(apart, 0.999) < 32  # the width of a cell


def test_dark_colours_keep_their_hue():
    red, green, blue = dark(np.array([[200, 30, 30], [20, 120, 20], [31, 119, 180]], np.uint8))
    assert red.argmax() == 0 and green.argmax() == 1 and blue.argmax() == 2
    grey = dark(np.array([[50, 50, 50], [200, 200, 200]], np.uint8)).astype(int)
    assert grey[0].min() > 150 and grey[1].max() < 120


# -- in a browser ---------------------------------------------------------------------------------

PROBE = """
<body style="margin:0"><script>
const found = [], widths = [390, 1280];
const next = (i) => {
  if (i === widths.length) { document.title = JSON.stringify(found); return; }
  const frame = document.createElement("iframe");
  frame.width = widths[i]; frame.height = 900; frame.style.border = 0; frame.srcdoc = PAGE;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    for (const part of page.querySelectorAll("details")) part.open = true;
    const names = () => [...page.querySelectorAll("#table tbody th")].map((h) => h.dataset.value);
    const button = page.querySelectorAll("#table thead button")[1], head = button.parentElement;
    const orders = [names()];
    for (let k = 0; k < 2; k++) {
      button.focus();  // a button that has focus is clicked by Enter and Space
      page.activeElement.click();
      orders.push([head.getAttribute("aria-sort"), ...names()]);
    }
    const box = page.querySelector(".scroll");
    found.push({width: root.clientWidth, needed: root.scrollWidth, orders,
                inside: box.scrollWidth > box.clientWidth});
    frame.remove();
    next(i + 1);
  };
  document.body.append(frame);
};
next(0);
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser_it_fits_and_sorts(text, tmp_path):
    """At the widths of a phone and of a desktop nothing but tables scrolls sideways; a header's
    button sorts by numbers, up and down, and leaves rows without one at the end."""
    source = json.dumps(text).replace("</", "<\\/")
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.replace("PAGE", source), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
             "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *flags, probe.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search("<title>(.*?)</title>", done.stdout, re.S)
    assert title, done.stdout[-500:]
    phone, desktop = json.loads(html.unescape(title[1]))
    for seen, width in ((phone, 390), (desktop, 1280)):
        assert width - 20 <= seen["width"] <= width  # less a scroll bar
        assert seen["needed"] <= seen["width"]
        assert seen["inside"]
        assert seen["orders"] == [
            ["model0", "model1", "model2"],
            ["ascending", "model2", "model0", "model1"],
            ["descending", "model0", "model2", "model1"],
        ]


# -- of a comparison ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_of_a_comparison(tmp_path):
    data = PROCESSES["ar2"]().sample(120, 10, 0)
    names = ["rnn", "latent", "switching", "flow"]
    result = sl.compare(data, names, max_steps=3, out=tmp_path / "out")
    page = check((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    words = "".join(page.words)
    for name in names:
        assert any(a.get("href") == f"#model-{name}" for a in page.all("a"))
        for what in ("forecasts", "drawn", "scores", "extremes"):
            assert (tmp_path / f"out/pictures/{name}-{what}.png").is_file()
    coded = sorted(p.name for p in (tmp_path / "out/pictures").glob("*-latents.png"))
    assert coded == [f"{name}-latents.png" for name in ("flow", "latent", "switching")]
    assert "Seasonal naive".lower() in words.lower()
    assert result.summary
    # A long series is compared by windows, and drawn given its past.
    long = PROCESSES["ar2"]().sample(1, 400, 0)
    result = sl.compare(long, ["linear-gaussian"], max_steps=3)
    assert result.trials.parts.continues
    write_page(result, tmp_path)
    check((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert (tmp_path / "pictures/linear-gaussian-extremes.png").is_file()
