"""What is remembered of one image, and told of others that it holds for as well."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from uvshim.images.layers import Directory
from uvshim.images.view import ImageTree

import uvshim
from tests.corpus import installed, under
from tests.images.making import Hard, Link, layout, tar
from uvshim.check import report
from uvshim.images import changes, store, survey, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = "opt/app/lib/python3.11/site-packages"
SYSTEM = "usr/lib/python3/dist-packages"

BASE: dict[str, Any] = {
    **under(
        APP,
        installed("setuptools-75.8.0", "setuptools"),
        installed("oslo_cache-1.0", "oslo.cache"),
        installed("app-1.0", "app", requires=["oslo.cache", "tool>=2; python_version >= '3.11'"]),
        installed("other-1.0", "other", requires=["empty"]),
    ),
    f"{APP}/oslo_cache-1.0.dist-info/RECORD": "oslo/cache.py,,\n",
    f"{APP}/oslo/cache.py": "",
    f"{APP}/app-1.0.dist-info/entry_points.txt": "[drivers]\none = app:One\n",
    **under(SYSTEM, installed("zope_interface-1.0", "zope.interface")),
    "opt/app/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
    "opt/app/bin/": "",
    "opt/link": Link("app"),
    "opt/app/lib64": Link("lib"),
    **under("srv/other/lib/python3.12/site-packages", installed("tool-2.0", "tool")),
    "var/app/lib/python3.12/site-packages": Link("/srv/linked"),
    **under(
        "srv/linked",
        installed("setuptools-75.8.0", "setuptools"),
        installed("oslo_cache-1.0", "oslo.cache"),
    ),
    "usr/bin/python3.11": "",
    "usr/lib/python3.11/os.py": "",
}

# What an image may have beside `BASE`, some of it without any consequence.
OWN: list[dict[str, Any]] = [
    {"srv/file": ""},
    {f"{APP}/own.py": "1"},
    {f"{APP}/own.py": "2"},
    {f"{APP}/own.py/": ""},
    {f"{APP}/own/module.py": ""},
    {f"{APP}/python3.9.py": ""},
    {"usr/lib/python3.99.py": ""},
    {"usr/lib/python3.13/": ""},
    {"opt/app/bin/python.py": ""},
    {f"{APP}/.wh.oslo": ""},
    {f"{APP}/oslo/.wh.cache.py": ""},
    {f"{APP}/oslo/cache.py/": ""},
    {f"{APP}/.wh.setuptools-75.8.0.dist-info": ""},
    {f"{APP}/app-1.0.dist-info/.wh..wh..opq": ""},
    {f"{APP}/x.pth": "/srv/other/lib/python3.12/site-packages\n"},
    under(APP, installed("tool-1.0", "tool")),
    under(APP, installed("tool-2.0", "tool")),
    under(APP, installed("oslo.cache-1.0", "oslo.cache")),
    {"srv/other/lib/python3.12/site-packages/.wh.tool-2.0.dist-info": ""},
    {"srv/linked/.wh.oslo_cache-1.0.dist-info": ""},
    {f"{APP}/oslo_cache-1.0.dist-info/RECORD": "oslo/cache.py,,\n"},
    {f"{APP}/oslo_cache-1.0.dist-info/RECORD": Link("/srv/elsewhere")},
    {f"{APP}/oslo_cache-1.0.dist-info/RECORD": Hard(f"{APP}/app-1.0.dist-info/RECORD")},
    {f"{APP}/empty-1.0.dist-info/": ""},
    {f"{APP}/empty-1.0.dist-info/own.py": ""},
    {"opt/app/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n"},
    {"opt/app/pyvenv.cfg": "home = /usr/bin\nversion = 3.10.2\n"},
    {"opt/.wh.link": ""},
    {"opt/link": Link("/srv/other")},
    {"opt/app/lib64": Link("/srv/other/lib")},
    {"opt/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55"},
    {SYSTEM: Link("/srv/other/lib/python3.12/site-packages")},
]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the path of each environment that is really examined."""
    seen: list[str] = []
    original = report.examine

    def noted(place: Any, gate: Any) -> Any:
        seen.append(place.path)
        return original(place, gate)

    monkeypatch.setattr(report, "examine", noted)
    return seen


@pytest.fixture(autouse=True)
def _a_process_that_knows_nothing() -> Iterator[None]:
    survey._store.cache_clear()
    yield
    survey._store.cache_clear()


def told(image: Path) -> list[object]:
    """Return what is said of `image`, without its name and digest."""
    (answer,) = uvshim.survey([image], cache=None)
    assert answer.error is None
    return [(each.installation.facts, each.diagnosis) for each in answer.images[0].reports]


def test_what_is_remembered_is_what_would_be_found_out(
    tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of images whose own layers change all that matters, and what does not, in any order."""
    monkeypatch.setattr(store, "_ANSWERS", 1000)
    chance = random.Random(0)
    owns = [*OWN, *({**one, **two} for one, two in (chance.sample(OWN, 2) for _ in range(60)))]
    images = [layout(tmp_path / str(n), [tar(BASE), tar(own)]) for n, own in enumerate(owns)]
    fresh = []
    for image in images:
        survey._store.cache_clear()
        fresh.append(told(image))
    assert len({str(each) for each in fresh}) > 20  # they do differ
    del examined[:]
    order = [chance.randrange(len(images)) for _ in range(300)]
    for number in order:
        assert told(images[number]) == fresh[number], owns[number]
    assert len(examined) < len(order) / 2  # and many are remembered


class Reticent(ImageTree):
    """A tree that lists what matters, and one name more if there are others."""

    def names(self, directory: str) -> tuple[str, ...]:
        node = self.node(directory)
        any_, matters = view._listing(node) if isinstance(node, Directory) else (False, set())
        return (*matters, "x") if any_ else ()


def test_no_name_is_asked_for_that_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for other names in a listing has to say so where listings are compared."""
    for number, own in enumerate(OWN):
        image = layout(tmp_path / str(number), [tar(BASE), tar(own)])
        whole = told(image)
        survey._store.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(ImageTree, "anew", lambda self: Reticent(self._directory, self._contents))
            assert told(image) == whole
        survey._store.cache_clear()


@pytest.mark.parametrize(
    "own",
    [
        {"srv/x": ""},
        {"srv/code/main.py": ""},
        {f"{APP}/own.py": ""},
        {f"{APP}/own/y.so": ""},
        {"opt/app/new/y.so": ""},
        {"usr/lib/python3.11/lib-dynload/y.so": ""},
    ],
)
def test_what_nobody_asks_for_is_no_reason_to_examine_an_image(
    tmp_path: Path, examined: list[str], own: dict[str, Any]
) -> None:
    first = layout(tmp_path / "first", [tar(BASE), tar({"srv/first": ""})])
    second = layout(tmp_path / "second", [tar(BASE), tar(own)])
    assert told(first) == told(second)
    assert examined == ["/opt/app", "/srv/other", "/usr", "/var/app"]


def test_other_exclusions_are_another_question(tmp_path: Path, examined: list[str]) -> None:
    image = layout(tmp_path / "x", [tar(BASE)])
    for exclude in ([], ["oslo.*"], ["oslo.*"], []):
        list(uvshim.survey([image], exclude=exclude, cache=None))
    assert examined.count("/opt/app") == 2


def test_what_the_next_image_needs_is_held_however_much_it_is(
    tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_HELD", 0)
    read: list[object] = []
    original = changes.read

    def noted(layer: Any) -> Any:
        read.append(layer)
        return original(layer)

    monkeypatch.setattr(changes, "read", noted)
    others = tar({"srv/linked/x": "", "usr/lib/x": ""})
    for number in range(3):
        told(layout(tmp_path / str(number), [tar(BASE), tar({f"file{number}": ""})]))
    told(layout(tmp_path / "other", [others]))
    told(layout(tmp_path / "again", [tar(BASE), tar({"file": ""})]))
    assert len(read) == 4 + 1 + 2
    assert examined.count("/opt/app") == 2


@pytest.mark.parametrize(
    "archive",
    [
        lambda number: tar({**BASE, "x": str(number)}),
        lambda number: tar({"x": str(number), **BASE}),
    ],
)
def test_layers_without_a_digest_are_not_taken_for_each_other(
    tmp_path: Path, examined: list[str], archive: Callable[[int], bytes]
) -> None:
    for number in range(2):
        (tmp_path / f"{number}.tar").write_bytes(archive(number))
        told(tmp_path / f"{number}.tar")
    assert examined.count("/opt/app") == 2


def test_what_lies_behind_links_is_read_for_each_image(tmp_path: Path, examined: list[str]) -> None:
    info = f"{APP}/far-1.0.dist-info"
    base = tar({**BASE, info: Link("/store/1"), "store/1/METADATA": "Name: far\nVersion: 1.0\n"})
    for number in range(2):
        told(layout(tmp_path / str(number), [base, tar({f"file{number}": ""})]))
    assert examined.count("/opt/app") == 2
