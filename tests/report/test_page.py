"""The page: alone in the world, well formed, readable by a screen reader, and loud about failed checks."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "img", "source", "br"}


class Outline(HTMLParser):
    """Checks nesting while it collects tags with their attributes."""

    def __init__(self) -> None:
        HTMLParser.__init__(self)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(written: Path) -> str:
    return (written / "reports/toy/report.html").read_text()


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    return parser


def test_well_formed(outline: Outline) -> None:
    assert outline.open == []


def test_self_contained(html: str, outline: Outline) -> None:
    assert "://" not in html and "@import" not in html
    assert not [tag for tag, _ in outline.tags if tag in {"script", "link", "iframe"}]
    sources = [v for _, a in outline.tags for k, v in a.items() if k in {"src", "srcset"}]
    # seven charts, light and dark; two galleries of five rows, and three images under three attacks
    assert len(sources) == 7 * 2 + 2 * 5 * 3 + 3 * 3 * 3
    assert all(v and v.startswith("data:image/") for v in sources)


def test_accessible(outline: Outline) -> None:
    count = [tag for tag, _ in outline.tags].count
    assert count("table") == count("caption") >= 5
    assert all("scope" in a for tag, a in outline.tags if tag == "th")
    assert all(a.get("alt") for tag, a in outline.tags if tag == "img")
    targets = {a["id"] for _, a in outline.tags if "id" in a}
    assert {a["href"] for tag, a in outline.tags if tag == "a"} == {f"#{t}" for t in targets}


def test_failed_checks_come_before_the_numbers(html: str) -> None:
    assert "1 of 24 sanity checks failed." in html
    assert html.index("1 of 24 sanity checks failed.") < html.index("<table")
    assert html.count('class="left bad">failed') == 1


def test_what_others_wrote_is_text(html: str) -> None:
    assert "<b>red</b>" not in html and "&lt;b&gt;red&lt;/b&gt;" in html
    assert "Gradients &lt;reach&gt; the input." in html


def test_says_the_finding_and_the_facts(html: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    assert "MAT (image and text) keeps 30.0 % R@1 from image to text" in text
    assert "Fine-tuned keeps 0.0 % and 0.0 %" in text
    for fact in (
        "d" * 32,
        "untrue of the scene 1,234",
        "1 of 2 expectations do not hold; the critical ones do",
        "train 1,200",
        "&lt;i&gt;é",
        "0.3 minutes",
        "4.00/255",
    ):
        assert fact in text
    assert "<mark>crimson</mark>" in html and "<mark>sqaure</mark>" in html


def test_the_headline_is_short_and_the_rest_stands_apart(html: str) -> None:
    head = html[html.index('id="recall"') : html.index("<figure>")]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", head))
    assert "Clean Image Text Joint Worst of all" in text and "Square" not in text
    assert "Attacks" in html and "the first 10 to 20 of them attacked within that gallery" in html


def test_each_attack_with_what_it_claims_and_costs(html: str) -> None:
    """Square on MAT: six of ten hold, ten images at 1 to 10 passes."""
    section = html[html.index('id="attacks"') : html.index('id="checks"')]
    mat = section[section.index("MAT (image and text)") :]
    rows = [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in mat.split("<tr>")]
    (square,) = (row for row in rows if row.startswith("Square"))
    assert square.startswith("Square 60.0") and square.endswith("40.0 % 5.5 3,000 0.0 1.5 10")
    order = [row.split("  ")[0].split(" ")[0] for row in rows[2:]]
    assert order == ["Square", "Image", "Text", "HotFlip", "Joint"]  # image, text, both; the weakest first


def test_one_image_under_each_attack(html: str) -> None:
    """Of the images that all attacks kept; each difference magnified by its own factor; an unchanged caption once."""
    start = html.index("Image 1 under each attack on MAT (image and text)")
    first = html[start : html.index("</details>", start)]
    assert re.findall(r"<strong>(.+?)</strong>", first) == ["Square", "HotFlip", "Joint"]
    assert re.findall(r"Difference ×(\d+)</figcaption>", first) == ["63", "127", "31"]
    square, hot_flip, _ = first.split('<div class="example">')[1:]
    assert square.count("striped ground") == 1 and hot_flip.count("striped ground") == 2
    assert "image-00" in first and "image-03" in html[start:] and "image-12" not in html[start:]
