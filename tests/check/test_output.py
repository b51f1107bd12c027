"""The output of `uvshim check`, for people and programs."""

from __future__ import annotations

import html
import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import under, write
from uvshim.check.diagnosis import Diagnosis
from uvshim.check.directories import Finding, Unreadable
from uvshim.check.lookups import AffectedProgram, EntryPoint, Failure, Lookups, Unresolvable
from uvshim.check.output import as_json, as_text
from uvshim.check.report import Gate, Report
from uvshim.check.required import Spelling
from uvshim.check.verify import Difference
from uvshim.environments.environment import Environment
from uvshim.environments.tree import DiskTree
from uvshim.images.page import as_html
from uvshim.messages import Style

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "/opt/app"
SITE = f"{ROOT}/lib/python3.11/site-packages"
BASE = "/usr/lib/python3.11/site-packages"
PLAIN = Style("never", io.StringIO())


class WithPython(DiskTree):
    """This machine with the directory of a Python's library in ROOT."""

    def names(self, directory: str) -> tuple[str, ...]:
        return ("python3.11",) if directory == f"{ROOT}/lib" else super().names(directory)


def finding(kind: str, name: str, directory: str, expected: str, site: str = SITE) -> Finding:
    version = expected.removesuffix(".dist-info").rpartition("-")[2]
    return Finding(kind, name, version, f"{site}/{directory}", expected)


NORMALIZED = finding(
    "normalized-name", "oslo.cache", "oslo_cache-3.10.2.dist-info", "oslo.cache-3.10.2.dist-info"
)
MISNAMED = finding("misnamed", "a.b", "a.b-info.dist-info", "a.b-1.0.dist-info")
STALE = finding("stale-record", "c", "c-1.0.dist-info", "c-1.0.dist-info")
GHOST = finding("ghost", "g", "g-1.0.dist-info", "g-1.0.dist-info")
INHERITED = finding("normalized-name", "x.y", "x_y-1.dist-info", "x.y-1.dist-info", site=BASE)


def report(
    *findings: Finding,
    gate: Gate | None = None,
    installation: Environment | None = None,
    image: str | None = None,
    **facts: Any,
) -> Report:
    """Return the report on an environment in which those are the findings and the facts."""
    known: dict[str, Any] = {
        "site_packages": (SITE,),
        "distributions": 265,
        "setuptools": "75.8.0",
        "affected": True,
        "unresolvable": (),
        "entry_points": (),
        "failures": (),
        "unreadable": (),
    }
    if installation is None:
        installation = Environment(
            ROOT, f"{ROOT}/.lock", [SITE], visible=[SITE, BASE], tree=WithPython()
        )
    diagnosis = Diagnosis(findings=findings, **{**known, **facts})
    return Report(installation, diagnosis, gate or Gate(), image)


def text(one: Report, *, everything: bool = False) -> str:
    return as_text(one, PLAIN, everything=everything)


def test_where_nothing_is_wrong_one_line_says_so() -> None:
    assert text(report()) == "/opt/app: ok (265 distributions, setuptools 75.8.0)\n"
    one = report(setuptools=None, affected=False, distributions=1)
    assert text(one) == "/opt/app: ok (1 distribution, no setuptools)\n"


def test_problems_are_reported_first_then_consequences_then_commands() -> None:
    one = report(
        NORMALIZED,
        MISNAMED,
        STALE,
        unresolvable=(
            Unresolvable("oslo.cache", "3.10.2", ("oslo.cache",), ()),
            Unresolvable("magnum", "20.0.0", ("oslo.cache", "nowhere"), ("nowhere",)),
        ),
        entry_points=(
            EntryPoint("console_scripts", "magnum-api", "magnum"),
            EntryPoint("magnum.drivers", "k8s_b", "magnum"),
            EntryPoint("magnum.drivers", "k8s_a", "magnum"),
            EntryPoint("other", "x", "somebody-else"),
        ),
    )
    assert text(one).splitlines() == [
        "/opt/app: broken (265 distributions, setuptools 75.8.0)",
        "  3 problems with dist-info directories",
        f"    normalized-name oslo.cache==3.10.2: oslo_cache-3.10.2.dist-info → {NORMALIZED.expected}",
        "    misnamed a.b==1.0: a.b-info.dist-info → a.b-1.0.dist-info",
        "    stale-record c==1.0: c-1.0.dist-info",
        "  pkg_resources.require() fails for 2 distributions",
        "    oslo.cache==3.10.2 itself",
        "    magnum==20.0.0 needs oslo.cache, nowhere",
        "  Their entry points, which a plugin loader may drop without an error",
        "    magnum.drivers: k8s_a, k8s_b",
        "    console_scripts: magnum-api",
        "  hint: install with `uvpip` instead of `uv pip install`",
        "  hint: uvshim fix /opt/app",
    ]


def test_problems_without_wrong_names_are_listed_separately_and_fail_only_with_strict() -> None:
    facts: dict[str, Any] = {
        "unresolvable": (
            Unresolvable("a", "1", ("b",), ("b",)),
            Unresolvable("c", "1", ("d", "e"), ("d", "e")),
        ),
        "failures": (
            Failure("f", "1", "VersionConflict", "g 1.0 is installed"),
            Failure("h", "1", "UnknownExtra"),
        ),
    }
    lines = text(report(**facts)).splitlines()
    assert lines == [
        "/opt/app: ok (265 distributions, setuptools 75.8.0)",
        "  pkg_resources.require() fails for 4 distributions for other reasons (see --strict)",
        "    a==1 needs b, which is not installed",
        "    c==1 needs d, e, which are not installed",
        "    f==1 VersionConflict: g 1.0 is installed",
        "    h==1 UnknownExtra",
    ]
    strict = text(report(**facts, gate=Gate(strict=True))).splitlines()
    assert strict[0] == "/opt/app: broken (265 distributions, setuptools 75.8.0)"
    assert strict[1:] == lines[1:]


def test_a_long_list_is_cut_unless_everything_is_asked_for() -> None:
    def many(number: int) -> Report:
        return report(
            *(
                finding("misnamed", f"a.{n}", f"a.{n}-info.dist-info", f"a.{n}-1.dist-info")
                for n in range(number)
            )
        )

    assert text(many(9)).count("misnamed") == 9
    assert text(many(10)).count("misnamed") == 8
    assert "    … and 2 more (-v shows all)\n" in text(many(10))
    assert text(many(10), everything=True).count("misnamed") == 10
    assert "more" not in text(many(10), everything=True)


def test_normalized_names_are_only_counted_without_a_pkg_resources() -> None:
    facts: dict[str, Any] = {"setuptools": None, "affected": False, "checks_requirements": False}
    lines = text(report(NORMALIZED, **facts)).splitlines()
    assert lines[0].startswith("/opt/app: ok (")
    assert lines[1:] == ["  1 normalized name is harmless here: there is no pkg_resources"]


def test_what_only_require_finds_is_named_with_the_lookups_that_fail() -> None:
    failing = ("by_key", "in Requirement")
    facts: dict[str, Any] = {
        "affected": False,
        "setuptools": "81.0.0",
        "lookups": (
            Lookups("oslo.cache", "3.10.2", failing),
            Lookups("a.b", "1", failing),
            Lookups("broken", "1", ("require",)),
        ),
    }
    lines = [
        "  pkg_resources finds 2 distributions by require() only (see --strict)",
        "    by_key, in Requirement not for oslo.cache and a.b",
    ]
    one = report(NORMALIZED, **facts)
    assert text(one).splitlines() == [
        "/opt/app: ok (265 distributions, setuptools 81.0.0)",
        *lines,
    ]
    strict = report(NORMALIZED, **facts, gate=Gate(strict=True))
    assert text(strict).splitlines() == [
        "/opt/app: broken (265 distributions, setuptools 81.0.0)",
        *lines,
        "  hint: install with `uvpip` instead of `uv pip install`",
        "  hint: uvshim fix /opt/app",
    ]


def test_a_program_that_is_known_to_fail_is_named_with_what_fails() -> None:
    program = AffectedProgram("plone.autoinclude", "1.0.1", "project_name", "cannot load", ("a.b",))
    one = report(NORMALIZED, affected=False, setuptools="81.0.0", programs=(program,))
    assert text(one).splitlines() == [
        "/opt/app: broken (265 distributions, setuptools 81.0.0)",
        "  1 installed program known to fail because of a name",
        "    plone.autoinclude==1.0.1 cannot load a.b",
        "  hint: install with `uvpip` instead of `uv pip install`",
        "  hint: uvshim fix /opt/app",
    ]


def test_where_no_rename_helps_the_report_says_why_and_what_does() -> None:
    missing = Unresolvable("user", "1", ("acme.core",), (), misspelled=("acme.core",))
    why = (
        "No rename helps acme.core: METADATA spells this name with other separators than user. "
        "Setuptools 75.8.2 to 81 find it"
    )
    assert text(report(unresolvable=(missing,))).splitlines() == [
        "/opt/app: broken (265 distributions, setuptools 75.8.0)",
        "  pkg_resources.require() fails for 1 distribution",
        "    user==1 needs acme.core",
        f"  {why}",
        "  hint: uvpip install --prefix /opt/app --python 3.11 'setuptools>=75.8.2,<82'",
    ]


def test_an_empty_environment_is_not_called_ok() -> None:
    one = report(distributions=0, setuptools=None, affected=False)
    assert text(one) == "/opt/app: empty (0 distributions, no setuptools)\n"
    assert not one.broken
    assert report(distributions=0, setuptools=None, gate=Gate(strict=True)).broken
    assert not report(distributions=0, image="oci:app", gate=Gate(strict=True)).broken


def test_a_ghost_has_no_arrow() -> None:
    ghost = finding("ghost", "a.b", "a_b-1.0.dist-info", "a.b-1.0.dist-info")
    assert "    ghost a.b==1.0: a_b-1.0.dist-info\n" in text(report(ghost))


def test_excluded_names_are_counted_for_each_source() -> None:
    gate = Gate((("UVSHIM_EXCLUDE", ["a.*", "oslo.cache"]), ("/src/uvshim.toml", ["x.y"])))
    one = report(gate=gate, excluded=(NORMALIZED, MISNAMED, INHERITED))
    assert text(one).splitlines()[1:] == [
        "  2 directories with a problem are excluded by UVSHIM_EXCLUDE",
        "  1 directory with a problem is excluded by `exclude` in `/src/uvshim.toml`",
    ]


def test_for_a_rest_beside_another_version_no_command_is_named(tmp_path: Path) -> None:
    """Any command would change the version that is installed."""
    names = ("d_e-2.0.dist-info", "d.e-1.0.dist-info")
    for each in names:
        write({f"{each}/WHEEL": PURE}, tmp_path)
    one = report(
        finding("duplicate", "d.e", names[0], "d.e-2.0.dist-info", site=str(tmp_path)),
        unreadable=(Unreadable(f"{tmp_path}/{names[1]}", "it has no METADATA"),),
    )
    assert "hint" not in text(one)
    shutil.rmtree(tmp_path / names[0])
    assert "--no-deps --reinstall d.e==1.0" in text(one)


def test_a_directory_of_which_nothing_can_be_said_is_named_with_the_reason() -> None:
    one = report(unreadable=(Unreadable(f"{SITE}/a-1.dist-info", "it has no METADATA"),))
    assert text(one).splitlines() == [
        "/opt/app: broken (265 distributions, setuptools 75.8.0)",
        "  dist-info directories that cannot be read",
        f"    {SITE}/a-1.dist-info: it has no METADATA",
        "  hint: uvpip install --prefix /opt/app --python 3.11 --no-deps --reinstall a==1",
    ]


def test_inherited_distributions_are_fixed_in_their_own_environment() -> None:
    hints = [line for line in text(report(NORMALIZED, INHERITED)).splitlines() if "hint" in line]
    assert hints[1:] == ["  hint: uvshim fix /opt/app", f"  hint: uvshim fix {BASE}"]
    hints = [line for line in text(report(INHERITED)).splitlines() if "hint" in line]
    assert hints[1:] == [f"  hint: uvshim fix {BASE}"]


def test_a_ghost_and_a_duplicate_are_for_an_installer_the_newest_version_of_each() -> None:
    duplicates = [
        finding("duplicate", "d.e", f"d.e-{version}.dist-info", f"d.e-{version}.dist-info")
        for version in ("1.9", "1.10", "weird")
    ]
    hints = [line for line in text(report(GHOST, *duplicates)).splitlines() if "hint" in line]
    assert hints == [
        "  hint: uvpip install --prefix /opt/app --python 3.11 --no-deps --reinstall g==1.0 d.e==1.10"
    ]


PURE = "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n"


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        (PURE, "uvpip install --target {} --no-deps --reinstall g==1.0"),
        ("Tag: cp312-cp312-manylinux_2_17_x86_64\n", None),
        ("Tag: py3-none-any\nTag: cp312-cp312-linux_x86_64\n", None),
        (None, None),
    ],
)
def test_compiled_code_is_for_the_python_that_imports_it(
    tmp_path: Path, wheel: str | None, expected: str | None
) -> None:
    """uv would choose a wheel for the one that it finds, and no directory says which it is."""
    write({"g-1.0.dist-info/WHEEL": wheel} if wheel else {}, tmp_path)
    ghost = finding("ghost", "g", "g-1.0.dist-info", "g-1.0.dist-info", site=str(tmp_path))
    target = Environment(str(tmp_path), None, [str(tmp_path)])
    hint = text(report(ghost, installation=target)).splitlines()[-1]
    if expected is None:
        command = f"uvpip install --python PYTHON --target {tmp_path} --no-deps --reinstall g==1.0"
        assert hint == f"  hint: with the Python that imports it: {command}"
    else:
        assert hint == "  hint: " + expected.format(tmp_path)


def test_what_no_installer_removes_is_named(tmp_path: Path) -> None:
    """Beside what distutils wrote, uv and pip end with an error."""
    write({"d.e-1.0-py3.10.egg-info": "", "d_e-2.0.dist-info/WHEEL": PURE}, tmp_path)
    found = finding("duplicate", "d.e", "d_e-2.0.dist-info", "d.e-2.0.dist-info", str(tmp_path))
    hint = text(report(found)).splitlines()[-1]
    old = tmp_path / "d.e-1.0-py3.10.egg-info"
    assert hint == f"  hint: no installer removes {old}: delete it if nothing needs it"
    old.unlink()
    write({"d.e-1.0-py3.10.egg-info/PKG-INFO": ""}, tmp_path)
    assert text(report(found)).endswith("--no-deps --reinstall d.e==2.0\n")


def test_no_command_touches_what_another_package_manager_owns() -> None:
    """Of two, its own may be the one whose code is there."""
    old = finding("duplicate", "d.e", "d.e-1.0.dist-info", "d.e-1.0.dist-info")
    new = finding("duplicate", "d.e", "d_e-2.0.dist-info", "d.e-2.0.dist-info")
    assert "hint" in text(report(old, new))
    assert "hint" not in text(report(old, new._replace(owner="conda")))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ('{"url": "file:///w/g.whl", "archive_info": {}}', "'g @ file:///w/g.whl'"),
        (
            '{"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "c"}, "subdirectory": "s"}',
            "'g @ git+https://x@c#subdirectory=s'",
        ),
        ('{"url": "file:///p", "dir_info": {"editable": true}}', "-e 'g @ file:///p'"),
        ("[]", "g==1.0"),
        ("{", "g==1.0"),
        ("[" * 100_000, "g==1.0"),
        ('{"url": ["a"]}', "g==1.0"),
    ],
    ids=range(7),
)
def test_what_came_from_elsewhere_is_installed_from_there(
    tmp_path: Path, origin: str, expected: str
) -> None:
    about = {"direct_url.json": origin, "WHEEL": PURE}
    write(under("g-1.0.dist-info", about), tmp_path)
    ghost = finding("ghost", "g", "g-1.0.dist-info", "g-1.0.dist-info", site=str(tmp_path))
    target = Environment(str(tmp_path), None, [str(tmp_path)])
    hint = text(report(ghost, installation=target)).splitlines()[-1]
    assert hint.endswith(f"--reinstall {expected}")


def test_below_a_root_a_file_is_that_of_the_root(tmp_path: Path) -> None:
    """A command would install the file of this machine, if there is one."""
    site = "opt/lib/python3.11/site-packages"
    origin = '{"url": "file:///src", "dir_info": {}}'
    for url, begins in ((origin, "reinstall 'g @ file:///src' with"), ("{}", "uvpip install ")):
        about = {"direct_url.json": url, "WHEEL": PURE}
        write(under(f"{site}/g-1.0.dist-info", about), tmp_path)
        ghost = finding("ghost", "g", "g-1.0.dist-info", "g-1.0.dist-info", site=f"/{site}")
        tree = DiskTree(str(tmp_path))
        below = Environment("/opt", None, [f"/{site}"], tree=tree)
        hint = text(report(ghost, installation=below)).splitlines()[-1]
        assert hint.startswith(f"  hint: {begins}")


def test_of_two_the_one_that_was_installed_last_is_installed_again(tmp_path: Path) -> None:
    found = []
    for time, version in ((2, "1.9"), (1, "1.10")):
        name = f"d.e-{version}.dist-info"
        write({f"{name}/WHEEL": PURE}, tmp_path)
        os.utime(tmp_path / name, (time, time))
        found.append(finding("duplicate", "d.e", name, name, site=str(tmp_path)))
    target = Environment(str(tmp_path), None, [str(tmp_path)])
    hint = text(report(*found, installation=target)).splitlines()[-1]
    assert hint.endswith("--reinstall d.e==1.9")


def test_a_command_can_be_pasted_whatever_the_path_is() -> None:
    installation = Environment("/opt/my app", None, [SITE])
    assert text(report(MISNAMED, installation=installation)).endswith(
        "  hint: uvshim fix '/opt/my app'\n"
    )


def test_nothing_foreign_drives_the_terminal() -> None:
    evil = "a.b\x1b[2J\n"
    one = report(
        Finding("misnamed", evil, evil, f"{SITE}/{evil}", "a.b-1.dist-info"),
        unresolvable=(Unresolvable(evil, evil, (evil, "c"), ()),),
        entry_points=(EntryPoint(evil, evil, evil),),
        failures=(Failure(evil, evil, "InvalidVersion", evil),),
        unreadable=(Unreadable(evil, evil),),
        setuptools=evil,
        installation=Environment(f"/opt/{evil}", None, [SITE]),
    )
    lines = text(one).split("\n")
    assert [line for line in lines if not line.isprintable() and "hint" not in line] == []


@pytest.mark.parametrize(
    "one",
    [
        report(),
        report(distributions=0, setuptools=None, affected=False),
        report(NORMALIZED, GHOST, INHERITED),
        report(
            NORMALIZED,
            STALE,
            affected=False,
            setuptools="81.0.0",
            gate=Gate((("UVSHIM_EXCLUDE", ["a.*"]),), strict=True),
            excluded=(MISNAMED,),
            unresolvable=(
                Unresolvable("user", "1", ("a.b",), (), misspelled=("a.b",)),
                Unresolvable("c", "1", ("d",), ("d",)),
            ),
            entry_points=(EntryPoint("<group>", "name", "user"),),
            failures=(Failure("f", "1", "VersionConflict", "g 1.0 is installed"),),
            unreadable=(Unreadable(f"{SITE}/a-1.dist-info", "it has no METADATA"),),
            spellings=(Spelling("a.b", "a-b", found=False, by=("user",)),),
            lookups=(Lookups("a.b", "1", ("by_key",)),),
            programs=(AffectedProgram("p", "1", "project_name", "cannot load", ("a.b",)),),
        )._replace(
            differences=(Difference("x", "1", f"{SITE}/x-1.dist-info", ("gone",), ("changed",)),),
        ),
        report(GHOST, installation=Environment(ROOT, None, [SITE], tree=DiskTree("/tmp"))),
    ],
)
def test_the_page_says_all_that_the_text_says(one: Report) -> None:
    page = html.unescape(as_html((), [one]))
    lines = text(one, everything=True).splitlines()
    assert [line for line in lines if line.strip().removeprefix("hint: ") not in page] == []
    assert ("hint: " in page) == any("hint: " in line for line in lines)


def test_colours_are_there_only_where_they_are_wanted() -> None:
    one = report(NORMALIZED)
    assert "\033[" not in text(one)
    assert "\033[" in as_text(one, Style("always", io.StringIO()), everything=False)


def test_what_is_in_an_image_is_named_with_it_and_there_is_nothing_to_fix_in_place() -> None:
    lines = text(report(NORMALIZED, GHOST, image="oci:app:latest")).splitlines()
    assert lines[0].startswith("oci:app:latest /opt/app: broken")
    assert not any("uvshim fix" in line and "oci:" not in line for line in lines)


def test_a_program_gets_all_of_it_with_paths_on_this_machine() -> None:
    installation = Environment("/opt/app", None, [SITE], tree=DiskTree("/"))
    one = report(
        NORMALIZED,
        installation=installation,
        unresolvable=(Unresolvable("a", "1", ("b",), ("b",)),),
        entry_points=(EntryPoint("group", "name", "a"),),
        failures=(Failure("f", "1", "VersionConflict", "why"),),
        unreadable=(Unreadable(f"{SITE}/c-1.dist-info", "it has no METADATA"),),
        excluded=(MISNAMED,),
        gate=Gate((("UVSHIM_EXCLUDE", ["a.b"]),)),
    )
    content = json.loads(as_json([one, report()]))
    assert content["schema"] == 1
    first, second = content["environments"]
    expected = {
        "path": "/opt/app",
        "site_packages": [SITE],
        "distributions": 265,
        "setuptools": "75.8.0",
        "affected": True,
        "broken": True,
        "findings": [NORMALIZED._asdict()],
        "entry_points": [{"group": "group", "name": "name", "distribution": "a"}],
        "unreadable": [{"path": f"{SITE}/c-1.dist-info", "reason": "it has no METADATA"}],
        "image": None,
        "digest": None,
        "platform": None,
    }
    assert {key: first[key] for key in expected} == expected
    (unresolvable,) = first["unresolvable"]
    assert (unresolvable["name"], unresolvable["missing"]) == ("a", ["b"])
    (failure,) = first["failures"]
    assert (failure["name"], failure["error"]) == ("f", "VersionConflict")
    (excluded,) = first["excluded"]
    assert (excluded["name"], excluded["by"]) == ("a.b", "UVSHIM_EXCLUDE")
    assert second["broken"] is False
    assert as_json([report()]).endswith("}\n")


def test_the_paths_of_a_mounted_image_are_those_of_this_machine(tmp_path: Any) -> None:
    installation = Environment(ROOT, None, [SITE], tree=DiskTree(str(tmp_path)))
    (environment,) = json.loads(as_json([report(NORMALIZED, installation=installation)]))[
        "environments"
    ]
    assert environment["path"] == f"{tmp_path}{ROOT}"
    assert environment["site_packages"] == [f"{tmp_path}{SITE}"]
    assert environment["findings"][0]["path"] == f"{tmp_path}{NORMALIZED.path}"
    assert text(report(NORMALIZED, installation=installation)).endswith(
        f"hint: uvshim fix {tmp_path}\n"
    )
