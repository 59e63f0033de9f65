"""The scoring model: its defaults, and what is refused with which sentence."""

import pytest

from scoring.errors import InvalidModel
from scoring.model import ScoringModel, default_model, parse_model
from scoring.sections import plain


def test_an_empty_file_is_the_default_model() -> None:
    assert parse_model("") == default_model()


def test_absent_fields_keep_their_defaults() -> None:
    model = parse_model("[engagement.points]\nad_click = 2\n")

    assert model.engagement.points.ad_click == 2.0
    assert model.engagement.points.ad_impression == 0.01
    assert model.engagement.half_life_days == 14.0


def test_topics_replace_the_default_ones_as_a_whole() -> None:
    model = parse_model("[surge.topics]\npricing = ['buy']\n")

    assert model.surge.topics == {"pricing": ("buy",)}


def test_the_default_numbers_are_those_that_are_documented() -> None:
    model = default_model()

    assert (model.engagement.half_life_days, model.engagement.saturation_minutes) == (14.0, 30.0)
    assert model.engagement.horizon_days == 35.0
    assert (model.surge.window_days, model.surge.baseline_days) == (7, 84)
    assert (model.surge.start_score, model.surge.end_score) == (95.0, 80.0)
    assert model.relationship.half_life_days == 60.0
    assert (model.funnel.engaged_minutes, model.funnel.disengaged_minutes) == (5.0, 2.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[engagement]\nhalf_life_days = -1\n",
            "mine.toml: engagement.half_life_days = -1: Input should be greater than or equal to 0.01.",
        ),
        (
            "[engagement]\nhalf_life_days = nan\n",
            "mine.toml: engagement.half_life_days = nan: Input should be a finite number.",
        ),
        (
            "[engagement.points]\nad_click = -0.5\n",
            "mine.toml: engagement.points.ad_click = -0.5: Input should be greater than or equal to 0.",
        ),
        (
            "[engagement]\nhorizon_days = 85\n",
            "mine.toml: engagement.horizon_days = 85: Input should be less than or equal to 84.",
        ),
        (
            "[relationship]\ncontact_share = 1.5\n",
            "mine.toml: relationship.contact_share = 1.5: Input should be less than or equal to 1.",
        ),
        (
            "[engagement]\nhalf_live_days = 14\n",
            "mine.toml: engagement.half_live_days = 14: Extra inputs are not permitted.",
        ),
        (
            "[surge]\nwindow_days = 7.5\n",
            "mine.toml: surge.window_days = 7.5: Input should be a valid integer.",
        ),
        (
            '[funnel]\nengaged_minutes = "14"\n',
            "mine.toml: funnel.engaged_minutes = '14': Input should be a valid number.",
        ),
        (
            '[pages]\nhigh = "pricing"\n',
            "mine.toml: pages.high = 'pricing': Input should be a list.",
        ),
        (
            "[surge]\nstart_score = 101\n",
            "mine.toml: surge.start_score = 101: Input should be less than or equal to 100.",
        ),
        ("[surge]\nend_score = 96\n", "mine.toml: surge: end_score must not be above start_score."),
        (
            "[surge]\nbaseline_days = 85\n",
            "mine.toml: surge: baseline_days must be a multiple of window_days.",
        ),
        (
            "[surge]\nmax_topics = 5\n",
            "mine.toml: surge: max_topics must be larger than the number of topics.",
        ),
        (
            "[surge.topics]\n'*' = ['x']\n",
            "mine.toml: surge: topic * is built in: it counts every visit and signal.",
        ),
        (
            "[funnel]\ndisengaged_minutes = 6\n",
            "mine.toml: funnel: disengaged_minutes must not be above engaged_minutes.",
        ),
        (
            "[pages]\nhigh = ['Pricing']\n",
            "mine.toml: pages.high.0 = 'Pricing': String should match pattern '^[^/?#\\sA-Z]+$'.",
        ),
        (
            "[pages]\nhigh = 'pricing'\n",
            "mine.toml: pages.high = 'pricing': Input should be a list.",
        ),
        ("name = ''\n", "mine.toml: name = '': String should have at least 1 character."),
    ],
)
def test_a_refused_model_is_told_by_field_value_and_rule(text: str, sentence: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        parse_model(text, source="mine.toml")

    assert str(caught.value) == sentence


def test_text_that_is_no_toml_is_refused_with_the_line() -> None:
    with pytest.raises(InvalidModel, match=r"mine.toml is not valid TOML: .*line 1"):
        parse_model("name = = 1\n", source="mine.toml")


def test_a_number_in_the_place_of_a_section_is_refused() -> None:
    with pytest.raises(InvalidModel, match=r"model: engagement = 5: "):
        parse_model("engagement = 5\n")


@pytest.mark.parametrize(
    "text",
    [
        "[engagement]\nhalf_life_days = 13\n",
        "[engagement]\nhorizon_days = 34\n",
        "[engagement.points]\nad_click = 2\n",
        "[engagement.daily_cap_minutes]\nad = 4\n",
        "[engagement.seniority_weight]\nvp = 1.6\n",
        "[pages]\nhigh = ['buy']\n",
        "[pages.value]\nhigh = 4\n",
        "[surge]\nmax_topics = 65\n",
        "[surge.topics]\npricing = ['buy']\n",
        "[relationship]\nhalf_life_days = 61\n",
        "[relationship]\nemail_weight = 2\n",
        "[relationship]\nmax_contacts = 10\n",
    ],
)
def test_a_field_that_stored_state_depends_on_changes_the_digest(text: str) -> None:
    assert parse_model(text).digest != default_model().digest


@pytest.mark.parametrize(
    "text",
    [
        "name = 'mine'\n",
        "[engagement]\nsaturation_minutes = 31\n",
        "[surge]\nstart_score = 96\n",
        "[surge]\nend_score = 70\n",
        "[surge]\nmin_events = 4\n",
        "[surge]\nprior_shape = 2\n",
        "[relationship]\ncontact_share = 0.5\n",
        "[relationship]\nsaturation = 7\n",
        "[funnel]\nengaged_minutes = 6\n",
        "[engagement]\nhalf_life_days = 14\n",
    ],
)
def test_a_field_that_is_only_read_keeps_the_digest(text: str) -> None:
    assert parse_model(text).digest == default_model().digest


def test_a_model_cannot_be_changed() -> None:
    model: ScoringModel = default_model()

    with pytest.raises(ValueError, match="frozen"):
        model.name = "other"


@pytest.mark.parametrize(
    "text",
    [
        "[engagement.points]\nad_click = 1e10",
        "[engagement.daily_cap_minutes]\npage_visit = 1e150",
        "[relationship]\nemail_weight = 1.7e308",
    ],
)
def test_numbers_whose_sums_could_not_be_stored_are_refused(text: str) -> None:
    with pytest.raises(InvalidModel, match="less than or equal to 1000000000"):
        parse_model(text)


def test_half_life_too_short_for_its_instants_to_differ_is_refused() -> None:
    # The stage would fall at the instant that it is at, and be looked at there for ever.
    with pytest.raises(InvalidModel, match=r"engagement\.half_life_days = 1e-09: "):
        parse_model("[engagement]\nhalf_life_days = 1e-9")


def test_a_plain_model_has_the_values_of_fields_and_properties_and_cannot_be_changed() -> None:
    model = default_model()

    found = plain(model)

    assert found.surge.topics is model.surge.topics
    assert found.engagement.points.ad_click == model.engagement.points.ad_click
    assert found.kpis.keep_seconds == model.kpis.keep_seconds
    assert found.digest == model.digest
    rule = found.alerts.high_value_page
    assert rule.cooldown_seconds == model.alerts.high_value_page.cooldown_seconds
    assert rule.min_dwell_seconds == model.alerts.high_value_page.min_dwell_seconds
    with pytest.raises(AttributeError):
        rule.enabled = False
