"""The model against the real pkg_resources: of setuptools 75.8.0, on directories of every kind."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.corpus import Files, MemoryTree, installed, installed_pkg_resources, metadata, write
from tests.lookups import refusal
from uvshim.check.metadata import NOT_FOUND
from uvshim.check.working_set import WorkingSet
from uvshim.environments.search_path import search_path
from uvshim.environments.tree import DiskTree
from uvshim.rename.setuptools import PkgResources

PYTHON = ".".join(map(str, sys.version_info[:3]))
MARKERS = {"python_version": PYTHON.rpartition(".")[0], "python_full_version": PYTHON}
OF_75_8_0 = PkgResources((75, 8, 0))


def model(*entries: Path | str, pkg_resources: PkgResources = OF_75_8_0) -> WorkingSet:
    return WorkingSet(DiskTree(), map(str, entries), pkg_resources, MARKERS)


def assert_agreement(directory: Path, names: set[str]) -> None:
    """The model and pkg_resources say the same of all `names` about what is in `directory`."""
    working_set = model(directory)
    real = installed_pkg_resources().outcomes([directory], names)
    modelled = {name: refusal(working_set, name) for name in names}
    assert {name: error for name, (error, _) in modelled.items()} == {
        name: error for name, (error, _) in real.items()
    }
    for name, (error, missing) in real.items():
        if error == NOT_FOUND:
            assert missing in modelled[name][1]


ENVIRONMENTS: dict[str, Files] = {
    "a dotted name under a normalized directory": {
        **installed("oslo_cache-3.10.2", "oslo.cache", ["oslo.config>=8"]),
        **installed("oslo.config-9.0", "oslo.config"),
        **installed("user-1.0", "user", ["oslo.cache"]),
        **installed("other_user-1.0", "other-user", ["oslo-cache", "oslo-config"]),
    },
    "requirements spelled in every way": {
        **installed("zope.interface-5.0", "zope.interface"),
        **installed("Foo_Bar-1.0", "Foo_Bar"),
        **installed("a-1.0", "a", ["zope_interface", "foo.bar"]),
        **installed("b-1.0", "b", ["zope-interface", "foo-bar"]),
        **installed("c-1.0", "c", ["ZOPE.Interface", "FOO_BAR"]),
        **installed("d-1.0", "d", ["zope..interface"]),
    },
    "two separators": {
        **installed("XStatic_JQuery.TableSorter-2.14.5.3", "XStatic-JQuery.TableSorter"),
        **installed("infi_dtypes_iqn-0.4", "infi.dtypes.iqn"),
        **installed("a-1.0", "a", ["xstatic-jquery.tablesorter", "xstatic-jquery-tablesorter"]),
        **installed("b-1.0", "b", ["xstatic.jquery.tablesorter"]),
        **installed("c-1.0", "c", ["infi-dtypes-iqn"]),
        **installed("d-1.0", "d", ["infi.dtypes-iqn"]),
    },
    "wrong renames": {
        **installed("oslo.cache-info", "oslo.cache"),
        **installed("XStatic-JQuery.TableSorter-2.14.5.3", "XStatic-JQuery.TableSorter"),
        **installed("a-1.0", "a", ["oslo.cache", "b.c"]),
        **installed("b-1.0", "b", ["b.c", "oslo.cache"]),
        **installed("c-1.0", "c", ["xstatic"]),
        **installed("d-1.0", "d", ["oslo-cache>=1"]),
    },
    "extras": {
        **installed("a-1.0", "a", ["b[x]", "c[y-z]"]),
        **installed("b-1.0", "b", ["d; extra == 'x'", "missing.w; extra == 'w'", "e"], ["x", "w"]),
        **installed("c-1.0", "c", ["missing.c; extra == 'y-z'"], ["y-z"]),
        **installed("d-1.0", "d", ["b[w]; python_version < '3'"]),
        **installed("e-1.0", "e", ["b[unknown]; sys_platform == 'none'"]),
        **installed("f-1.0", "f", ["b[unknown]"]),
        **installed("g-1.0", "g", ["b[w]"]),
        **installed("h-1.0", "h", ["c[y_z]"]),
        **installed("i-1.0", "i", ["c[Y.z]"]),
        **installed("j-1.0", "j", ["a; extra == 'all'", "j[x]; extra == 'all'"], ["all", "x"]),
        **installed("k-1.0", "k", ["j[all]"]),
        **installed("l-1.0", "l", ["b[w,x]"]),
    },
    "two errors, of which the order decides": {
        **installed("a-1.0", "a", ["b[x]"]),
        **installed("b-1.0", "b", ["missing; extra == 'x'", "a[unknown]"], ["x"]),
        **installed("c-1.0", "c", ["a[unknown]", "missing", "a [unknown]"]),
        **installed("d-1.0", "d", ["missing", "a[unknown]", "missing"]),
    },
    "markers": {
        **installed("a-1.0", "a", ["no; python_version < '3'", "b ; python_version >= '3'"]),
        **installed("b-1.0", "b", ["no ; python_full_version > '3.6.1' and os_name == 'posix'"]),
        **installed("c-1.0", "c", ["no; extra != 'x'"]),
        **installed("d-1.0", "d", ["no; platform_version > 'a b'"]),
        **installed("e-1.0", "e", ["no; implementation_name == 'jython' or extra == 'q'"]),
    },
    "versions": {
        **installed("old-1.0", "old"),
        **installed("pre-2.0rc1", "pre"),
        **installed("local-1.0+ab.1", "local"),
        **installed("epoch-1!2.0", "epoch"),
        **installed("unnormalized-01.0_post1", "unnormalized"),
        **installed("strange-2004d", "strange"),
        **installed("a-1.0", "a", ["old>=2"]),
        **installed("b-1.0", "b", ["pre>=2.0b1", "pre<3"]),
        **installed("c-1.0", "c", ["local==1.0", "epoch>2", "unnormalized>=1"]),
        **installed("d-1.0", "d", ["old>=2", "missing"]),
        **installed("e-1.0", "e", ["missing", "old>=2"]),
        **installed("f-1.0", "f", ["strange"]),
        **installed("g-1.0", "g", ["old===1.0", "old ~= 1.0"]),
        **installed("h-1.0", "h", ["old @ https://example.org/old-2.0.zip"]),
    },
    "a circle": {
        **installed("a-1.0", "a", ["b", "c.d"]),
        **installed("b-1.0", "b", ["a", "c.d"]),
        **installed("c_d-1.0", "c.d", ["a"]),
    },
    "two versions side by side": {
        **installed("a-1.0", "a", ["missing"]),
        **installed("a-2.0", "a"),
        **installed("b_c-1.0", "b.c"),
        **installed("b.c-2.0", "b.c"),
        **installed("d-1.0", "d", ["a>=2"]),
        **installed("e-1.0", "e", ["b.c", "b-c"]),
        **installed("f-1.0", "f", ["b-c>=2"]),
    },
    "unreadable metadata": {
        "empty-1.0.dist-info/": "",
        "bare-1.0.dist-info/RECORD": "",
        "file-1.0.dist-info": "",
        "latin-1.0.dist-info/METADATA": b"Name: latin\nRequires-Dist: no\n\n\xe9",
        "bad-1.0.dist-info/METADATA": metadata("bad", requires=["===", "no"]),
        "worse-1.0.dist-info/METADATA": metadata("worse", requires=["no ; 'a' ~ 'b'"]),
        "nameless-1.0.dist-info/METADATA": "Version: 1\n",
        "unversioned.dist-info/METADATA": metadata("unversioned", "3.0"),
        "neither.dist-info/METADATA": "Name: neither\n",
        "folded-1.0.dist-info/METADATA": "Name: folded\nRequires-Dist: user\n ; extra == 'x'\n\n",
        "ended-1.0.dist-info/METADATA": "Name: ended\nnonsense\nRequires-Dist: no\n\n",
        "cased-1.0.dist-info/METADATA": "name: cased\nREQUIRES-DIST: no\n\n",
        "cr-1.0.dist-info/METADATA": "Name: cr\r\nRequires-Dist: no\r\n\r\n",
        "comment-1.0.dist-info/METADATA": metadata("comment", requires=["user # no", "# no"]),
        **{
            f"user-{name}-1.0.dist-info/METADATA": metadata(f"user-{name}", requires=[name])
            for name in ("empty", "bare", "file", "latin", "bad", "worse", "unversioned")
        },
        **installed("user-1.0", "user"),
        **installed("users_b-1.0", "users-b", ["unversioned>=4"]),
        **installed("users_c-1.0", "users-c", ["neither"]),
        **installed("users_d-1.0", "users-d", ["bad"]),
        **installed("users_e-1.0", "users-e", ["missing", "bad"]),
        **installed("users_f-1.0", "users-f", ["empty"]),
        **installed("users_g-1.0", "users-g", ["latin"]),
    },
    "names that are no names": {
        ".dist-info/METADATA": metadata("x"),
        "-a-1.0.dist-info/METADATA": metadata("a"),
        "~b-1.0.dist-info/METADATA": metadata("b"),
        "c d-1.0.dist-info/METADATA": metadata("c d"),
        "É.f-1.0.dist-info/METADATA": metadata("e"),
        "UPPER-1.0.DIST-INFO/METADATA": metadata("upper", requires=["no"]),
        **installed("g-1.0", "g", ["unknown"]),
        **installed("h-1.0", "h", ["upper"]),
    },
    "egg-info": {
        "a.b-1.0-py3.11.egg-info/PKG-INFO": metadata("a.b", "1.0.1"),
        "a.b-1.0-py3.11.egg-info/requires.txt": "c\n\n[x]\nmissing\n\n[:python_version<'3']\nno\n",
        "c-2.0.egg-info": metadata("c", "2.1"),
        "d.e.egg-info/PKG-INFO": metadata("d.e", "3"),
        "d.e.egg-info/depends.txt": "c>=2.1\n[empty]\n[y:sys_platform!='none']\nmissing.y\n",
        "f.egg-info/PKG-INFO": "Name: f\n",
        "g-1.egg-info/PKG-INFO": metadata("g"),
        "g-1.egg-info/requires.txt": "[broken\n",
        "h-1.egg-info/PKG-INFO": metadata("h"),
        "h-1.egg-info/requires.txt": "[x:not a marker]\nmissing\n",
        **installed("u-1.0", "u", ["a-b", "d.e"]),
        **installed("v-1.0", "v", ["a.b[x]"]),
        **installed("w-1.0", "w", ["d.e[empty]"]),
        **installed("x-1.0", "x", ["d.e[y]"]),
        **installed("y-1.0", "y", ["f"]),
        **installed("z-1.0", "z", ["h[x]", "h[z]"]),
    },
    "eggs and egg-links": {
        "a.b-1.0-py3.11.egg/EGG-INFO/PKG-INFO": metadata("a.b"),
        "a.b-1.0-py3.11.egg/EGG-INFO/requires.txt": "missing\n",
        "a.b-2.0-py3.11.egg/EGG-INFO/requires.txt": "c.d\n",
        "a.b-2.0-py3.11.egg/EGG-INFO/PKG-INFO": metadata("a.b", "2.0"),
        "a.b-3.0-py2.7.egg/EGG-INFO/PKG-INFO": metadata("a.b", "3.0"),
        "e-1.0.egg/not-an-egg": "",
        "c.d.egg-link": "src/cd\n..\n",
        "src/cd/c.d.egg-info/PKG-INFO": metadata("c.d", "5.0"),
        "f.egg-link": "nowhere\n",
        "g.egg-link": "",
        **installed("u-1.0", "u", ["a.b"]),
        **installed("v-1.0", "v", ["a.b>=3"]),
        **installed("w-1.0", "w", ["a-b"]),
        **installed("x-1.0", "x", ["a.b<2"]),
        **installed("y-1.0", "y", ["c.d==5"]),
    },
}


def names_in(files: Files) -> set[str]:
    """Return the names that files are called by, and spellings of them."""
    stems = {path.split("/")[0] for path in files if "-info" in path or ".egg" in path}
    names = {stem.split("-")[0].removesuffix(".dist-info").removesuffix(".egg") for stem in stems}
    spelled = {
        spelling for n in names for spelling in (n, n.replace("_", "."), n.replace(".", "-"))
    }
    return (spelled | {"absent", "a.b", "f[x]"}) - {""}


@pytest.mark.parametrize("files", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_model_agrees_about(files: Files, tmp_path: Path) -> None:
    write(files, tmp_path)
    assert_agreement(tmp_path, names_in(files))


# --- made by chance ---------------------------------------------------------------------------

PROJECTS = st.sampled_from(["a", "B", "a.b", "a-b", "A_b", "c.d.e", "c-d.e", "c_d-e", "f"])
EXTRAS = st.sampled_from(["x", "y-z", "Y_z", "y.z"])
VERSIONS = st.sampled_from(["1.0", "2.0", "2.0rc1", "info", "1.0_1", "3.0+local"])
TAILS = st.sampled_from(["", ">=2", "==1.0", "!=2.0", "<2.1,>1", "===info", "~=2.0"])
CONDITIONS = st.sampled_from(
    [
        "",
        "; extra == 'x'",
        "; extra == 'y-z'",
        "; extra == 'Y_z' and python_version > '3'",
        "; python_version < '3'",
        "; sys_platform == 'linux' or extra == 'x'",
    ]
)


@st.composite
def requirements(draw: st.DrawFn) -> str:
    extras = draw(st.lists(EXTRAS, max_size=1))  # of two, a set has them in any order
    name = draw(PROJECTS) + (f"[{','.join(extras)}]" if extras else "")
    return name + draw(TAILS) + draw(CONDITIONS)


@st.composite
def distributions(draw: st.DrawFn) -> Files:
    name = draw(PROJECTS)
    stem = draw(st.sampled_from([name, name.replace(".", "_").replace("-", "_").lower()]))
    requires = draw(st.lists(requirements(), max_size=3))
    suffix, version = draw(st.sampled_from(["dist-info", "dist-info", "egg-info"])), draw(VERSIONS)
    directory = f"{stem}-{version}.{suffix}"
    if suffix == "egg-info":
        text = "\n".join(line for line in requires if ";" not in line)
        return {f"{directory}/PKG-INFO": metadata(name), f"{directory}/requires.txt": text}
    extras = draw(st.lists(EXTRAS, max_size=2))
    return {f"{directory}/METADATA": metadata(name, requires=requires, extras=extras)}


@given(st.lists(distributions(), min_size=1, max_size=7))
@example([{"a.b-1.0.dist-info/METADATA": metadata("a.b", requires=["a-b[x]; extra == 'x'"])}])
@settings(max_examples=150, deadline=None)
def test_the_model_agrees_about_any_environment(parts: list[Files]) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        write({name: text for part in parts for name, text in part.items()}, directory)
        assert_agreement(directory, {"a", "B", "a.b", "a-b", "A_b", "c.d.e", "c-d.e", "c_d-e", "f"})
    finally:
        shutil.rmtree(directory)


@given(st.text(alphabet="aB1._-~+! ", min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_the_model_agrees_about_any_directory_name(stem: str) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        write({f"{stem}.dist-info/METADATA": metadata("a.b", "1.0")}, directory)
        name, _, _ = stem.partition("-")
        names = {name, stem.replace("_", "."), stem.replace("_", "-"), "a.b", "a-b"}
        assert_agreement(directory, {name for name in names if name.strip()})
    finally:
        shutil.rmtree(directory)


# --- the rest -----------------------------------------------------------------------------------


def test_all_missing_names_are_reported_in_the_order_they_come_up(tmp_path: Path) -> None:
    write(
        {
            **installed("a-1.0", "a", ["oslo.one", "b", "oslo.two"]),
            **installed("b-1.0", "b", ["oslo.three", "oslo.one>2"]),
        },
        tmp_path,
    )
    assert set(refusal(model(tmp_path), "a")[1]) == {"oslo.one", "oslo.two", "oslo.three"}


@pytest.mark.parametrize(
    ("packaging", "error"),
    [("21.3", None), ("22.0", "InvalidRequirement"), ("25.0", "InvalidRequirement"), ("", "InvalidRequirement")],
)  # fmt: skip
def test_an_old_packaging_of_the_environment_takes_any_specifier(
    tmp_path: Path, packaging: str, error: str | None
) -> None:
    files = {**installed("a-1.0", "a", ["pytz (>dev)"]), **installed("pytz-2020.1", "pytz")}
    if packaging:
        files |= installed(f"packaging-{packaging}", "packaging")
    write(files, tmp_path)
    assert refusal(model(tmp_path), "a")[0] == error
    assert refusal(model(tmp_path, pkg_resources=PkgResources((70, 3, 0))), "a")[0] is not None


def test_an_egg_link_that_leads_to_itself_ends(tmp_path: Path) -> None:
    write({"a.egg-link": ".", "b/c.egg-link": "..", "d.egg-link": "b"}, tmp_path)
    assert refusal(model(tmp_path), "absent")[0] == NOT_FOUND


def test_an_egg_on_the_search_path_is_active(tmp_path: Path) -> None:
    write(
        {
            "easy-install.pth": "./a.b-1.0-py3.11.egg\n",
            "a.b-1.0-py3.11.egg/EGG-INFO/PKG-INFO": metadata("a.b"),
            "a.b-1.0-py3.11.egg/EGG-INFO/requires.txt": "missing\n",
        },
        tmp_path,
    )
    path = search_path(DiskTree(), [str(tmp_path)])
    real = installed_pkg_resources().outcomes(path, ["a.b", "a-b"])
    working_set = model(*path)
    assert real == {
        "a.b": ("DistributionNotFound", "missing"),
        "a-b": ("DistributionNotFound", "missing"),
    }
    for name in real:
        assert refusal(working_set, name)[1] == ("missing",)


def test_what_comes_first_on_the_search_path_is_active(tmp_path: Path) -> None:
    first = write(installed("a-1.0", "a"), tmp_path / "first")
    second = write(
        {**installed("a-2.0", "a"), **installed("b-1.0", "b", ["a>=2"])}, tmp_path / "second"
    )
    for path in ([first, second], [second, first]):
        real = installed_pkg_resources().outcomes(path, ["b"])
        assert refusal(model(*path), "b")[0] == real["b"][0]
    assert refusal(model(first, second), "b")[0] == "VersionConflict"


def test_an_invalid_version_is_no_error_to_the_environment_s_own_new_packaging(
    tmp_path: Path,
) -> None:
    files = {
        **ENVIRONMENTS["wrong renames"],
        **installed("packaging-26.0", "packaging"),
        **installed("e-1.0", "e", ["b.c===info"]),
        **installed("b.c-info", "b.c"),
    }
    write(files, tmp_path)
    real = installed_pkg_resources(prelude="").outcomes([tmp_path], names_in(files))
    working_set = model(tmp_path)
    assert {name: refusal(working_set, name)[0] for name in real} == {
        name: error for name, (error, _) in real.items()
    }
    assert refusal(working_set, "e")[0] is None


def test_a_normalized_name_is_found_from_75_8_2_on() -> None:
    tree = MemoryTree({"s/oslo_cache-1.dist-info/METADATA": metadata("oslo.cache")})
    for release, error in (
        ((57, 5), NOT_FOUND),
        ((75, 3, 4), NOT_FOUND),
        ((75, 8, 1), NOT_FOUND),
        ((75, 8, 2), None),
        ((81,), None),
    ):
        working_set = WorkingSet(tree, ["s"], PkgResources(release), MARKERS)
        assert refusal(working_set, "oslo.cache")[0] == error, release


def test_a_dotted_name_is_found_in_dashes_from_62_on() -> None:
    tree = MemoryTree({"s/oslo.cache-1.dist-info/METADATA": metadata("oslo.cache")})
    for release, error in (((61, 3, 1), NOT_FOUND), ((62,), None), ((75, 8, 1), None)):
        working_set = WorkingSet(tree, ["s"], PkgResources(release), MARKERS)
        assert refusal(working_set, "oslo-cache")[0] == error, release


def test_a_number_with_thousands_of_digits_fails_for_its_distribution_alone(
    tmp_path: Path,
) -> None:
    digits = "9" * 5000
    files = {
        **installed("a-1.0", "a", [f"c>={digits}"]),
        **installed("c-1.0", "c"),
    }
    write(files, tmp_path)
    working_set = model(tmp_path)
    assert refusal(working_set, "a")[0] == "ValueError"
    assert refusal(working_set, "c")[0] is None
