"""Licences and rules: what each condition asks, which of them decides, what never can, and what is wrong with a file."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import BadSettings
from earmark.hits.rights import Circumstances
from earmark.model import Stream, Track
from earmark.policies.contradictions import covers, lapsed, unreachable
from earmark.policies.deciding import Deciding, why_not
from earmark.policies.document import Policies, When, parse

EXAMPLE = Path(__file__).parents[2] / "config" / "policy.toml"
TRACK = Track(
    track_id="isrc:GBAYE0601498",
    title="Blue Sky Morning [Live]",
    artists=("The Example Five", "Another"),
    album="First Light",
    label="Paper Boat",
    isrc=("GBAYE0601498",),
    rights_holder="Paper Boat Rights Ltd",
    policy="block",
    territories=("WW", "-US"),
    tags=("cleared for news", "library"),
)
STREAM = Stream(
    stream_id="st-1", source="ivs", channel_arn="arn:aws:ivs:eu-west-1:123456789012:channel/AbC", channel_name="Morning show", tags={"team": "radio"}
)
#: A Friday.
PLAY = Circumstances(
    stream=STREAM,
    at=datetime(2026, 11, 20, 12, 30, tzinfo=UTC),
    over=False,
    played_s=40.0,
    matched_s=35.0,
    played_share=0.25,
    foreground_share=0.8,
    quotation=False,
)


def policies(text: str) -> Policies:
    return parse(f"version = 1\n{text}".encode(), name="policy.toml")


def rule(when: str, action: str = "warn", **more: str) -> str:
    return f'[[rule]]\nid = "{more.get("id", "it")}"\naction = "{action}"\nwhen = {{ {when} }}\n'


def decided(text: str, play: Circumstances = PLAY, track: Track | None = TRACK) -> tuple[str, str | None]:
    found = Deciding(policies(text))(track, play)
    return found.action, found.rule_id


# ------------------------------------------------------------------------------------------------ what decides


def test_without_anything_the_owner_decides() -> None:
    assert decided("") == ("block", None)
    assert decided("", track=None) == ("track", None)


def test_a_licence_goes_before_rules_and_they_go_before_the_owner() -> None:
    licence = '[[licence]]\nid = "l"\nlabels = ["paper boat"]\n'
    assert decided(rule("") + licence) == ("allow", "l")
    assert decided(rule("")) == ("warn", "it")
    assert decided(rule("", id="a") + rule("", "track", id="b")) == ("warn", "a")
    assert decided(rule('titles = ["Another"]', id="a") + rule("", "track", id="b")) == ("track", "b")


def test_who_decided_and_why_is_told_with_the_editions_name() -> None:
    text = 'name = "2026-11"\n[[rule]]\nid = "long"\naction = "block"\ngrace_s = 20\nnotify = false\nreason = "too much of it"\n'
    found = Deciding(policies(text))(TRACK, PLAY)
    assert (found.reason, found.grace_s, found.notify, found.dry_run) == ("the rule long says block after 20 s: too much of it (2026-11)", 20.0, False, True)
    licensed = Deciding(policies('[[licence]]\nid = "l"\nnote = "contract 4711"\nlabels = ["*"]\nvalid_to = 2026-12-31\n'))(TRACK, PLAY)
    assert (licensed.reason, licensed.notify) == ("the licence l allows it until 2027-01-01T00:00:00Z: contract 4711", False)


@pytest.mark.parametrize(
    "when",
    [
        "",
        'track_ids = ["isrc:*"]',
        'isrc = ["gb-aye-06-01498"]',
        'isrc = ["GBAYE*"]',
        'titles = ["blue sky morning [LIVE]"]',
        'artists = ["nobody", "another"]',
        'albums = ["first ?ight"]',
        'labels = ["Paper Boat"]',
        'rights_holders = ["paper boat*"]',
        'recording_tags = ["samples", "Cleared for *"]',
        'channels = ["morning show"]',
        'channels = ["arn:aws:ivs:*:123456789012:*"]',
        'channels = ["st-?"]',
        'tags = { team = "r*" }',
        'sources = ["hls", "ivs"]',
        'owner_says = ["block"]',
        "played_s = { min = 40 }",
        "matched_s = { min = 10, max = 1000 }",
        "played_share = { min = 0.25 }",
        "foreground = true",
        'hours = "12:30-12:31"',
        'hours = "22:00-13:00"',
        'weekdays = ["fri"]',
    ],
)
def test_a_condition_holds_for_what_it_names(when: str) -> None:
    over = replace(PLAY, over="max" in when)
    assert decided(rule(when), over) == ("warn", "it")


@pytest.mark.parametrize(
    "when, why",
    [
        ('track_ids = ["isrc"]', "track_id is isrc:GBAYE0601498"),
        ('isrc = ["GBAYE0601499"]', "isrc is GBAYE0601498"),
        ('titles = ["Blue Sky Morning L"]', "title is Blue Sky Morning [Live]"),
        ('artists = ["Example"]', "artists is The Example Five, Another"),
        ('labels = ["Paper"]', "label is Paper Boat"),
        ('recording_tags = ["news"]', "tags is cleared for news, library"),
        ('channels = ["evening*"]', "the channel is Morning show"),
        ('tags = { team = "tv" }', "the tag team is radio"),
        ('tags = { league = "*" }', "the tag league is not there"),
        ('sources = ["radio"]', "the source is ivs"),
        ('owner_says = ["nothing", "warn"]', "its owner says block"),
        ('territories = ["AT"]', "nobody knows where it is watched"),
        ("played_s = { min = 41 }", "played_s is 40 s so far"),
        ("played_s = { max = 1000 }", "played_s is 40 s so far, and it has not ended"),
        ("played_share = { min = 0.3 }", "played_share is 0.25 of the recording so far"),
        ("foreground = false", "it explains 80% of what is heard"),
        ("quotation = true", "it has not ended, and may be a quotation or not"),
        ('hours = "12:31-12:30"', "it began at 12:30, UTC"),
        ('hours = "13:00-14:00"', "it began at 12:30, UTC"),
        ('weekdays = ["sat", "sun"]', "it is of a Friday"),
    ],
)
def test_a_condition_that_does_not_hold_says_why(when: str, why: str) -> None:
    made = policies(rule(when))
    assert list(why_not(made.rule[0].when, made, TRACK, PLAY)) == [why]
    assert decided(rule(when)) == ("block", None)


def test_what_is_not_known_holds_for_nothing() -> None:
    unknown = replace(PLAY, foreground_share=None, played_share=None)
    for when in ("foreground = true", "foreground = false", "played_share = { min = 0.0 }"):
        assert decided(rule(when), unknown) == ("block", None)
    assert decided(rule('labels = ["*"]'), track=None) == ("track", None)
    assert decided(rule('albums = ["*"]'), track=replace(TRACK, album="")) == ("block", None)


def test_a_length_that_may_still_grow_is_too_long_for_no_rule_and_short_enough_for_none() -> None:
    short = rule("played_s = { max = 60 }", "allow")
    assert decided(short) == ("block", None)
    assert decided(short, replace(PLAY, over=True)) == ("allow", "it")
    assert decided(short, replace(PLAY, over=True, played_s=60.5)) == ("block", None)


def test_a_licence_holds_from_its_first_second_to_the_one_before_its_last() -> None:
    licence = '[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_from = 2026-11-01T10:00:00Z\nvalid_to = "2026-11-20T12:30:00+01:00"\n'
    for at, action in (("2026-11-01T09:59:59", "block"), ("2026-11-01T10:00:00", "allow"), ("2026-11-20T11:29:59", "allow"), ("2026-11-20T11:30:00", "block")):
        assert decided(licence, replace(PLAY, at=datetime.fromisoformat(at).replace(tzinfo=UTC)))[0] == action, at


def test_where_it_is_watched_the_channel_says_else_the_file_does() -> None:
    here = 'territories = ["DE"]\n'
    tagged = replace(PLAY, stream=replace(STREAM, tags={"earmark:territories": "at, us"}))
    asked = rule('territories = ["US"]')
    assert decided(here + asked)[1] is None and decided(here + asked, tagged)[1] == "it"
    # The owner's word holds everywhere but in the US.
    assert decided('territories = ["US"]\n') == ("track", None)
    assert decided('territories = ["US", "CA"]\n') == ("block", None)
    assert decided(here) == ("block", None)


@pytest.mark.parametrize(
    "at, held",
    [("2026-11-20T21:59", False), ("2026-11-20T22:00", True), ("2026-11-21T05:59", True), ("2026-11-21T06:00", False), ("2026-11-20T05:00", False)],
)
def test_a_night_is_of_the_day_on_which_it_begins_in_the_zone_of_the_file(at: str, held: bool) -> None:
    text = 'time_zone = "Asia/Kolkata"\n' + rule('hours = "22:00-06:00", weekdays = ["fri"]')
    moment = datetime.fromisoformat(f"{at}+05:30")
    assert (decided(text, replace(PLAY, at=moment))[1] == "it") is held


# ------------------------------------------------------------------------------------------------ what never decides


@pytest.mark.parametrize(
    "earlier, later",
    [
        ("", 'labels = ["x"]'),
        ('labels = ["paper*", "x"]', 'labels = ["Paper Boat"], sources = ["ivs"]'),
        ("played_s = { min = 10 }", "played_s = { min = 20, max = 30 }"),
        ('tags = { a = "*" }', 'tags = { a = "1", b = "2" }'),
        ('weekdays = ["mon", "tue"]', 'weekdays = ["tue"]'),
    ],
)
def test_a_rule_behind_one_that_asks_for_less_is_never_reached(earlier: str, later: str) -> None:
    (sentence,) = unreachable(policies(rule(earlier, "allow", id="a") + rule(later, "block", id="b")))
    assert sentence == "the rule b is never reached: all that it asks for is what a asks for, which stands before it and says allow where this one says block"
    if earlier:
        assert not list(unreachable(policies(rule(later, id="b") + rule(earlier, id="a"))))


#: One condition each.
_ASKED: tuple[dict[str, Any], ...] = (
    *({"labels": names} for names in (("a",), ("A", "b"), ("a*",), ("?",), ("*",))),
    *({"channels": names} for names in (("a",), ("*",))),
    *({"tags": tags} for tags in ({"x": "a"}, {"x": "*"}, {"x": "a", "y": "*"})),
    *({"played_s": span} for span in ({"min": 1.0}, {"min": 2.0}, {"max": 2.0}, {"max": 1.0}, {"min": 1.0, "max": 2.0})),
    *({name: value} for name in ("foreground", "quotation") for value in (True, False)),
    *({"weekdays": days} for days in (("fri",), ("fri", "sat"))),
    *({"hours": hours} for hours in ("22:00-06:00", "05:00-23:00")),
)
_TRACKS = [Track(track_id="t", label=label) for label in ("", "a", "B", "ab")]
_PLAYS = [
    replace(
        PLAY,
        stream=Stream(stream_id="s", source="ivs", channel_name=channel, tags=tags),
        at=datetime(2026, 11, day, hour, tzinfo=UTC),
        played_s=played_s,
        over=over,
        foreground_share=share,
        quotation=over and day == 20,
    )
    for channel, tags in (("a", {"x": "a", "y": "b"}), ("", {"x": "b"}))
    for day in (20, 21)
    for hour in (3, 12, 22)
    for played_s, over, share in ((1.0, True, 0.9), (1.5, False, None), (2.0, True, 0.1), (3.0, False, 0.1), (3.0, True, 0.9))
]


def test_what_is_covered_holds_nowhere_where_what_covers_it_does_not() -> None:
    """Of every condition here, and whatever is asked besides or in its place."""
    whens = {
        tuple(sorted({first, second})): When.model_validate(_ASKED[first] | _ASKED[second]) for first in range(len(_ASKED)) for second in range(len(_ASKED))
    }
    plays = [(track, play) for track in _TRACKS for play in _PLAYS[:: 1 if track.label else 7]]
    holds = {which: {n for n, (track, play) in enumerate(plays) if not next(why_not(when, Policies(), track, play), "")} for which, when in whens.items()}
    covered = [(wide, narrow) for wide in whens if len(wide) == 1 for narrow in whens if wide != narrow and covers(whens[wide], whens[narrow])]
    assert len(covered) > 300
    assert [(whens[wide], whens[narrow]) for wide, narrow in covered if not holds[narrow] <= holds[wide]] == []


def test_a_licence_that_is_over_is_told() -> None:
    made = policies('[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_to = 2026-11-19\n[[licence]]\nid = "m"\nlabels = ["*"]\n')
    assert list(lapsed(made, PLAY.at)) == ["the licence l has been over since 2026-11-20T00:00:00Z"]


# ------------------------------------------------------------------------------------------------ the file


def test_the_example_says_nothing_until_it_is_uncommented_and_is_right_then() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert parse(text.encode(), name="example") == Policies()
    lines = [line.removeprefix("# ") if number > 7 else line for number, line in enumerate(text.splitlines())]
    whole = parse("\n".join(lines).encode(), name="example")
    assert [of.id for of in whole.rule] == ["quotations", "background", "whole-songs"] and whole.licence[0].valid_to == "2027-01-01T00:00:00Z"
    assert not list(unreachable(whole))


@pytest.mark.parametrize(
    "text, why",
    [
        ("rule = 1", "rule: "),
        ("[[rules]]", "it knows no 'rules'"),
        ('[[rule]]\nid = "a"', "the rule 'a', action: field required"),
        ('[[rule]]\naction = "block"', "the rule number 1, id: field required"),
        ('[[rule]]\nid = "a"\naction = "mute"', "the rule 'a', action: input should be 'track', 'allow', 'warn' or 'block', not 'mute'"),
        ('[[rule]]\nid = "a b"\naction = "warn"', "the rule 'a b', id: "),
        (rule('label = ["x"]'), "the rule 'it' knows no 'label'"),
        (rule("played_s = { min = 3, max = 2 }"), "the rule 'it', when.played_s: nothing is from 3 to 2"),
        (rule("played_s = { }"), "a span has a min, a max, or both"),
        (rule("played_share = { min = 30 }"), "played_share is a share of the recording, from 0 to 1"),
        (rule("played_s = { min = nan }"), "finite number"),
        (rule('hours = "25:00-26:00"'), "when.hours: "),
        (rule('hours = "10:00-10:00"'), "hours 10:00-10:00 is no time at all"),
        (rule('isrc = ["GBAYE06"]'), "has 7 characters and must have 12"),
        (rule('territories = ["XX"]'), "two letters as in DE"),
        (rule('territories = ["WW"]'), "no place where somebody watches"),
        (rule('labels = [""]'), "a text in one line, and not empty"),
        (rule('labels = ["a\\nb"]'), "a text in one line, and not empty"),
        (rule("tags = { a = 1 }"), "valid string"),
        (rule("", id="a") + rule("", id="a"), "two of them are the rule a"),
        ('time_zone = "Mars/Olympus"', "there is no time zone 'Mars/Olympus'"),
        ('time_zone = "../../etc/passwd"', "there is no time zone"),
        ('[[licence]]\nid = "l"', "would license everything"),
        ('[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_from = 2026-02-01\nvalid_to = 2026-01-01', "is not before valid_to"),
        ('[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_to = 2026-01-01T00:00:00', "does not say in which time zone"),
        ('[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_to = "soon"', "is no date"),
        ('[[licence]]\nid = "l"\nlabels = ["*"]\nvalid_to = 17', "is no date"),
        ("[[rule]", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(BadSettings) as raised:
        policies(text)
    assert why in str(raised.value) and "\n" not in str(raised.value) and str(raised.value).startswith("the policy file 'policy.toml'")


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "does not say of which version it is"),
        (b"version = 2", "version: input should be 1, not '2'"),
        (b"version = 1\n# \xff", "is not TOML"),
        (b"version = 1\nx = " + b"[" * 5_000, "is nested too deeply"),
        (b"version = 1\n#" + b"x" * 1_000_000, "more than 1,000,000 bytes"),
        (b"version = 1\n" + b"".join(b'[[rule]]\nid = "r%d"\n' % n for n in range(30)), "and 20 more"),
    ],
)
def test_what_is_no_policy_file_is_told_too(data: bytes, why: str) -> None:
    with pytest.raises(BadSettings, match=why):
        parse(data, name="policy.toml")
