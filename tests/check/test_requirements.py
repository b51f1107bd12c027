"""The requirements of distributions, as pkg_resources reads them."""

from __future__ import annotations

import pytest
from packaging.markers import Marker
from packaging.version import InvalidVersion

from tests.corpus import MemoryTree, metadata
from uvshim.check import distributions
from uvshim.check.metadata import RequireError
from uvshim.check.requirements import Requirements, safe_extra, shared

MARKERS = {"python_version": "3.11", "python_full_version": "3.11.7", "sys_platform": "linux"}


def read(markers: dict[str, str] = MARKERS, *, lenient: bool = False) -> Requirements:
    return shared(frozenset(markers.items()), lenient=lenient, any_version=lenient)


@pytest.fixture
def requirements() -> Requirements:
    return read()


def distribution(name: str, text: str) -> distributions.Distribution:
    """Return the distribution whose metadata file `name` holds `text`."""
    tree = MemoryTree({f"site/{name}": text})
    (one,) = distributions.find(tree, "site")
    return one


def of_dist_info(*requires: str, extras: tuple[str, ...] = ()) -> distributions.Distribution:
    return distribution("a-1.dist-info/METADATA", metadata("a", "1", requires, extras))


def names(requirements: Requirements, one: distributions.Distribution, *extras: str) -> list[str]:
    return [each.name for each in requirements.of(one, extras)]


def test_a_requirement_is_read_into_its_parts(requirements: Requirements) -> None:
    one = requirements.parse("Oslo_Cache[Zmq, a.b]>=1,<2 ; python_version < '4'  # why")
    assert (one.name, one.key, one.extras) == ("Oslo_Cache", "oslo-cache", ("a.b", "zmq"))
    assert str(one.specifier) == "<2,>=1"
    assert one.marker == 'python_version < "4"'


def test_equal_requirements_are_one_however_they_are_written(requirements: Requirements) -> None:
    first = requirements.parse("a>=1")
    assert requirements.parse("a>=1") is first
    assert requirements.parse("A >=1").first is first
    assert requirements.parse("a>=2").first is not first
    assert requirements.parse("a>=1; sys_platform == 'linux'").first is not first


def test_environments_with_equal_markers_share_what_was_read(requirements: Requirements) -> None:
    line = "oslo.cache>1; python_version > '3'"
    assert read({**MARKERS}).parse(line) is requirements.parse(line)
    others = read({**MARKERS, "python_version": "3.1"})
    assert others.parse(line) is not requirements.parse(line)


@pytest.mark.parametrize("line", ["", "-e .", "a b", "a>=", "a>=1; nonsense", "a>=banana"])
def test_what_is_not_a_requirement_is_refused(requirements: Requirements, line: str) -> None:
    with pytest.raises(RequireError, match="InvalidRequirement"):
        requirements.parse(line)


def test_before_packaging_22_there_are_specifiers_outside_pep_440() -> None:
    old = read(lenient=True)
    one = old.parse("pytz>2004d,>=1; sys_platform == 'linux'")
    assert (one.name, str(one.specifier), one.old) == ("pytz", ">=1", ((">", "2004d"),))
    assert one.marker == "sys_platform == 'linux'"


@pytest.mark.parametrize("line", ["a b", "a~=1", "a>=1.0,", "a===b; sys_platform == 'linux'"])
def test_before_packaging_22_some_requirements_are_refused(line: str) -> None:
    with pytest.raises(RequireError, match="InvalidRequirement"):
        read(lenient=True).parse(line)


def test_before_packaging_22_extras_are_compared_as_they_are_written() -> None:
    old = read(lenient=True)
    marker = old.parse("a; extra == 'A_b'")
    assert old.applies(marker, ("A_b",))
    assert not old.applies(marker, ("a_b",))
    assert read().parse("a; extra == 'A_b'").marker
    with pytest.raises(RequireError, match="TypeError"):
        old.applies(old.parse("a; 'x' == extra"), ("",))
    for start in ("a", "a @ file:///a;b "):  # a semicolon may also be in a name or a URL
        assert not old.applies(old.parse(f"{start}; extra == 'x;extra'"), ("x",))


@pytest.mark.parametrize(
    ("written", "key"), [("Test", "test"), ("a_b", "a_b"), ("a b", "a_b"), ("a.b-c", "a.b-c")]
)
def test_an_extra_has_a_spelling_of_its_own(written: str, key: str) -> None:
    assert safe_extra(written) == key


def test_only_what_the_markers_of_the_environment_ask_for_is_required(
    requirements: Requirements,
) -> None:
    one = of_dist_info(
        "b", "c; python_version < '3'", "d; python_full_version >= '3.11.7'", "e; extra == 'x'"
    )
    assert names(requirements, one) == ["b", "d"]


def test_an_extra_adds_what_is_required_for_it_and_nothing_twice(
    requirements: Requirements,
) -> None:
    requires = ("b", "c; extra == 'x'", "d; extra == 'X_y'", "e; extra == 'x' or extra == 'z'")
    one = of_dist_info(*requires, extras=("x", "X_y", "z"))
    assert names(requirements, one, "x") == ["b", "c", "e"]
    assert names(requirements, one, "x_y") == ["b", "d"]
    assert names(requirements, one, "x", "z") == ["b", "c", "e", "e"]
    assert names(requirements, of_dist_info("b", "b")) == ["b"]


def test_an_extra_that_is_not_declared_is_refused(requirements: Requirements) -> None:
    one = of_dist_info("b; extra == 'x'")
    with pytest.raises(RequireError, match="UnknownExtra"):
        requirements.of(one, ["x"])


def test_the_sections_of_an_egg_are_extras_and_markers(requirements: Requirements) -> None:
    text = (
        "b\n[x]\nc\n[:python_version < '3']\nd\n[:python_version > '3']\ne\n"
        "[y:sys_platform == 'linux']\nf\n[z]\n[:no marker]\ng\n"
    )
    one = distribution("a.egg-info/requires.txt", text)
    assert names(requirements, one) == ["b", "e"]
    assert names(requirements, one, "x") == ["b", "e", "c"]
    assert names(requirements, one, "y") == ["b", "e", "f"]
    assert names(requirements, one, "z") == ["b", "e"]
    with pytest.raises(RequireError, match="UnknownExtra"):
        requirements.of(one, ["nope"])


def test_a_marker_applies_for_one_of_the_extras_or_for_none(requirements: Requirements) -> None:
    assert requirements.applies(requirements.parse("a"), ("",))
    assert requirements.applies(requirements.parse("a; sys_platform == 'linux'"), ("",))
    assert not requirements.applies(requirements.parse("a; sys_platform == 'win32'"), ("x",))
    for_extra = requirements.parse("a; extra == 'x'")
    assert requirements.applies(for_extra, ("y", "x"))
    assert not requirements.applies(for_extra, ("y",))
    assert not requirements.applies(for_extra, ("",))


def test_a_marker_that_cannot_be_evaluated_ends_in_the_exception_of_packaging(
    requirements: Requirements,
) -> None:
    one = requirements.parse("a; python_version ~= 'banana'")
    with pytest.raises(RequireError, match="UndefinedComparison"):
        requirements.applies(one, ("",))


def test_a_kernel_whose_release_is_not_a_version_is_no_traceback(
    requirements: Requirements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As packaging before 26 has it, which may be the one beside uvshim."""

    def refuse(*_: object) -> bool:
        raise InvalidVersion

    one = requirements.parse("a; platform_release >= '20.0'")
    monkeypatch.setattr(Marker, "evaluate", refuse)
    with pytest.raises(RequireError, match="InvalidVersion"):
        requirements.applies(one, ("",))
