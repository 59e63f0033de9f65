"""What a URL says: its class, its value and its intent topics."""

import pytest

from scoring.model import parse_model
from scoring.pages import matches, page_reader, segments
from tests.builders import default_rules


@pytest.mark.parametrize(
    ("url", "kind", "value"),
    [
        ("https://x.example/", "normal", 1.0),
        ("https://x.example", "normal", 1.0),
        ("https://x.example/blog/post", "normal", 1.0),
        ("https://x.example/pricing", "high", 3.0),
        ("https://x.example/PRICING/", "high", 3.0),
        ("https://x.example/en/Pricing.html", "high", 3.0),
        ("https://x.example/pricing-2026", "high", 3.0),
        ("https://x.example/pricings", "normal", 1.0),
        ("https://x.example/our-pricing", "normal", 1.0),
        ("https://x.example/pricing.tar.gz", "normal", 1.0),  # only the last extension goes
        ("https://x.example/contact-sales", "high", 3.0),
        ("https://x.example/contact", "normal", 1.0),
        ("https://x.example/docs/intro", "medium", 1.5),
        ("https://x.example/docs/pricing", "high", 3.0),  # high is tried before medium
        ("https://x.example/careers/pricing", "excluded", 0.0),  # and excluded before both
        ("https://x.example/careers/high-demand", "excluded", 0.0),
        ("https://x.example/blog?next=/pricing", "normal", 1.0),
        ("https://x.example/blog#/pricing", "normal", 1.0),
        ("https://pricing.example/blog", "normal", 1.0),
        ("https://x.example/pric%69ng", "normal", 1.0),  # not decoded
        ("/pricing", "high", 3.0),
        ("https://[broken/pricing", "normal", 1.0),  # a URL that cannot be taken apart
    ],
)
def test_the_first_matching_list_decides_the_value_of_a_page(
    url: str, kind: str, value: float
) -> None:
    page = default_rules().read_page(url)

    assert (page.kind, page.value) == (kind, value)


@pytest.mark.parametrize(
    ("url", "topics"),
    [
        ("https://x.example/", {"*"}),
        ("https://x.example/pricing", {"*", "pricing"}),
        ("https://x.example/plans-for-teams", {"*", "pricing"}),
        ("https://x.example/docs/api", {"*", "integrations"}),
        ("https://x.example/us-vs-them", {"*"}),  # starts with "us", not with "vs"
        ("https://x.example/vs-them", {"*", "competitors"}),
        ("https://x.example/compare/pricing", {"*", "pricing", "competitors"}),
        ("https://x.example/careers/pricing", set()),
    ],
)
def test_a_visit_belongs_to_every_topic_whose_word_its_path_holds(
    url: str, topics: set[str]
) -> None:
    found = default_rules().read_page(url).topics

    assert set(found) == topics
    assert len(found) == len(topics)


def test_segments_are_lower_cased_without_empty_ones() -> None:
    assert segments("https://x.example//A/b.HTML//") == ("a", "b")


def test_a_word_matches_a_whole_segment_or_its_first_hyphenated_part() -> None:
    assert matches(("a-b",), ("a",))
    assert matches(("a",), ("a",))
    assert not matches(("ab", "b-a"), ("a",))


def test_words_of_another_model_replace_the_default_ones() -> None:
    model = parse_model("[pages]\nhigh = ['buy']\n[surge.topics]\nshop = ['buy', 'cart']\n")
    read = page_reader(model)

    assert (read("https://x/buy").kind, read("https://x/pricing").kind) == ("high", "normal")
    assert read("https://x/cart").topics == ("*", "shop")
    assert read("https://x/pricing").topics == ("*",)
