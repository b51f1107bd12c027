"""The contents of a layer are cached for every image that has it, and for no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, under
from tests.images.making import Link, layout, tar
from uvshim.images import store, survey
from uvshim.images.layer import changes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "opt/app/lib/python3.11/site-packages"

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
    **under("usr/lib/python3/dist-packages", installed("zope_interface-1.0", "zope.interface")),
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

# What an image may have in a layer on top of `BASE`.
OWN: list[dict[str, Any]] = [
    {"srv/file": ""},
    {f"{APP}/.wh.oslo": ""},
    {f"{APP}/oslo/.wh.cache.py": ""},
    {f"{APP}/.wh.setuptools-75.8.0.dist-info": ""},
    {f"{APP}/app-1.0.dist-info/.wh..wh..opq": ""},
    {f"{APP}/x.pth": "/srv/other/lib/python3.12/site-packages\n"},
    under(APP, installed("tool-1.0", "tool")),
    under(APP, installed("oslo.cache-1.0", "oslo.cache")),
    {"srv/other/lib/python3.12/site-packages/.wh.tool-2.0.dist-info": ""},
    {f"{APP}/oslo_cache-1.0.dist-info/RECORD": Link("/srv/elsewhere")},
    {"opt/app/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n"},
    {"opt/.wh.link": ""},
    {"opt/app/lib64": Link("/srv/other/lib")},
]


@pytest.fixture(autouse=True)
def _a_process_that_knows_nothing() -> Iterator[None]:
    vars(survey._of_thread).clear()
    yield
    vars(survey._of_thread).clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list of the layers that were really read."""
    seen: list[object] = []
    original = changes.read

    def noted(layer: Any, *more: Any, **others: Any) -> Any:
        seen.append(layer)
        return original(layer, *more, **others)

    monkeypatch.setattr(changes, "read", noted)
    return seen


def answer_about(image: Path, cache: Path | None = None) -> list[object]:
    """Return the answer about `image`, without its name and digest."""
    (answer,) = uvshim.survey([image], cache=cache)
    assert answer.error is None
    return [(each.installation.facts, each.diagnosis) for each in answer.images[0].reports]


def test_images_on_one_base_are_distinguished_in_any_order(
    tmp_path: Path, read: list[object]
) -> None:
    images = [layout(tmp_path / str(n), [tar(BASE), tar(own)]) for n, own in enumerate(OWN)]
    fresh = []
    for image in images:
        vars(survey._of_thread).clear()
        fresh.append(answer_about(image))
    assert len({str(each) for each in fresh}) > 8  # they do differ
    vars(survey._of_thread).clear()
    del read[:]
    for order in (range(len(images)), reversed(range(len(images)))):
        for number in order:
            assert answer_about(images[number]) == fresh[number], OWN[number]
    assert len(read) == 1 + len(OWN)
    for _ in range(2):
        vars(survey._of_thread).clear()
        assert [answer_about(image, tmp_path / "cache") for image in images] == fresh
    assert len(read) == 2 * (1 + len(OWN))


def test_the_layers_that_the_next_image_needs_are_held_however_much_it_is(
    tmp_path: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_HELD", 0)
    others = tar({"srv/linked/x": "", "usr/lib/x": ""})
    for number in range(3):
        answer_about(layout(tmp_path / str(number), [tar(BASE), tar({f"file{number}": ""})]))
    answer_about(layout(tmp_path / "other", [others]))
    answer_about(layout(tmp_path / "again", [tar(BASE), tar({"file": ""})]))
    assert len(read) == 4 + 1 + 2


def test_layers_without_a_digest_are_not_mixed_up(tmp_path: Path, read: list[object]) -> None:
    for number in range(2):
        (tmp_path / f"{number}.tar").write_bytes(tar({**BASE, "x": str(number)}))
        answer_about(tmp_path / f"{number}.tar")
    assert len(read) == 2


def test_what_is_behind_links_is_read_for_each_image(tmp_path: Path) -> None:
    info = f"{APP}/far-1.0.dist-info"
    for number in range(2):
        metadata = f"Name: far\nVersion: {number}.0\n"
        base = tar({**BASE, info: Link("/store/1"), "store/1/METADATA": metadata})
        image = layout(tmp_path / str(number), [base])
        (answer,) = uvshim.survey([image], cache=tmp_path / "cache")
        assert answer.error is None
