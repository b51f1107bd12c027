from __future__ import annotations

import json
import os
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, under
from tests.images.making import Making, layout, oci_archive, tar
from tests.images.opening import opened
from uvshim.errors import ConfigurationError
from uvshim.images import store, survey
from uvshim.images.budget import Budget
from uvshim.images.layer import changes
from uvshim.images.survey import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SITE = "opt/app/lib/python3.11/site-packages"


def root(*names: str) -> dict[str, str | bytes]:
    """Return the files of an image with distributions in normalized directories."""
    infos = [installed(f"{name.replace('.', '_')}-1.0", name) for name in names]
    return under(SITE, installed("setuptools-75.8.0", "setuptools"), *infos) | {
        "opt/app/pyvenv.cfg": "home = /usr/bin\n"
    }


BASE = tar(root("zope.interface"))
MORE = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that were read, in the order of reading."""
    seen: list[str] = []
    original = changes.read

    def reading(layer: Any, *more: Any, **others: Any) -> Any:
        seen.append(layer.identity)
        return original(layer, *more, **others)

    monkeypatch.setattr(changes, "read", reading)
    vars(survey._of_thread).clear()
    return seen


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(answer: uvshim.Surveyed) -> list[list[str]]:
    """Return the names that are wrong in each environment of each image of an answer."""
    return [
        [one.name for one in report.diagnosis.wrong]
        for image in answer.images
        for report in image.reports
    ]


def test_each_image_is_answered(tmp_path: Path) -> None:
    one = layout(tmp_path / "one", [BASE])
    two = layout(tmp_path / "two", [BASE, MORE])
    first, second = uvshim.survey([one, f"oci:{two}"], cache=None)
    assert first.reference == str(one)
    assert names(first) == [["zope.interface"]]
    assert names(second) == [["oslo.cache", "zope.interface"]]
    assert second.images[0].reference == f"oci:{two}:latest"
    assert second.images[0].broken
    assert second.images[0].reports[0].installation.path == "/opt/app"


def test_names_can_be_excluded(tmp_path: Path) -> None:
    image = layout(tmp_path / "x", [BASE])
    for pattern in (["zope.*"], "zope.*"):
        (answer,) = uvshim.survey([image], exclude=pattern, cache=None)
        assert names(answer) == [[]]
    (answer,) = uvshim.survey([image], exclude="*.cache", cache=None)
    assert names(answer) == [["zope.interface"]]
    with pytest.raises(ConfigurationError, match="`no project!` in exclude matches no"):
        uvshim.survey([image], exclude="no project!")


def test_an_image_that_cannot_be_examined_does_not_stop_the_others(tmp_path: Path) -> None:
    good = layout(tmp_path / "good", [BASE])
    bad = layout(tmp_path / "bad", [b"\1" * 512])
    answers = list(uvshim.survey([bad, "nothing", good], cache=None))
    assert [answer.error is None for answer in answers] == [False, False, True]
    assert answers[0].error is not None
    assert answers[0].error.startswith(f"`{bad}`: the layer sha256:")
    assert answers[1].error == ("`nothing` does not exist")


def test_an_unexpected_failure_is_an_error_of_that_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.Store, "tree", lambda *_: 1 / 0)
    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], cache=None)
    assert answer.error == f"`{tmp_path}/x`: ZeroDivisionError: division by zero"


def test_a_layer_that_images_share_is_read_once(tmp_path: Path, read: list[str]) -> None:
    images = [layout(tmp_path / str(n), [BASE, tar({f"file{n}": ""})]) for n in range(4)]
    assert [names(answer) for answer in uvshim.survey(images, cache=None)] == [
        [["zope.interface"]]
    ] * 4
    assert len(read) == len(set(read)) == 5


def test_several_threads_give_the_same_answer(tmp_path: Path, cache: Path) -> None:
    path = layout(tmp_path / "x", [BASE, *(tar({f"f{n}": ""}) for n in range(9)), MORE, MORE])
    one, two, three = (
        next(survey.in_processes([path], jobs, Options(cache=kept)))
        for jobs, kept in ((1, None), (4, None), (4, str(cache)))
    )
    assert one == two == three
    assert names(one) == [["oslo.cache", "zope.interface"]]


def test_layer_contents_are_cached_for_the_next_run(
    tmp_path: Path, cache: Path, read: list[str]
) -> None:
    images = [layout(tmp_path / "x", [BASE])]
    first = list(uvshim.survey(images, cache=cache))
    vars(survey._of_thread).clear()
    assert list(uvshim.survey(images, cache=cache)) == first
    assert len(read) == 1
    vars(survey._of_thread).clear()
    (more,) = uvshim.survey([layout(tmp_path / "y", [BASE, MORE])], cache=cache)
    assert names(more) == [["oslo.cache", "zope.interface"]]
    assert len(read) == 2


def test_an_image_elsewhere_whose_layers_are_known_is_not_copied(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = Making(tmp_path / "x")
    manifest = making.manifest([BASE])
    blobs = making.path / "blobs/sha256"
    raw = blobs / manifest["digest"].partition(":")[2]
    config = json.loads(raw.read_text())["config"]["digest"].partition(":")[2]
    raw.rename(blobs / "manifest.json")
    skopeo = tmp_path / "bin" / "skopeo"
    skopeo.parent.mkdir()
    skopeo.write_text(
        f"#!/bin/sh\necho $1 >>{tmp_path}/said\n"
        f"if [ $3 = --config ]; then exec cat {blobs}/{config}; fi\n"
        f"if [ $1 = inspect ]; then exec cat {blobs}/manifest.json; fi\n"
        f'for last; do :; done\ncp {blobs}/* "${{last#dir:}}"\n'
    )
    skopeo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (first,) = uvshim.survey(["docker://x/y"], cache=cache)
    assert names(first) == [["zope.interface"]]
    assert (tmp_path / "said").read_text().split() == ["inspect", "inspect", "copy"]
    vars(survey._of_thread).clear()
    assert list(uvshim.survey(["docker://x/y"], cache=cache)) == [first]
    assert (tmp_path / "said").read_text().split()[3:] == ["inspect", "inspect"]
    vars(survey._of_thread).clear()
    list(uvshim.survey(["docker://x/y"], cache=None))
    assert (tmp_path / "said").read_text().split()[5:] == ["inspect", "inspect", "copy"]


def test_other_exclusions_are_another_question(tmp_path: Path, cache: Path) -> None:
    images = [layout(tmp_path / "x", [BASE])]
    assert names(next(uvshim.survey(images, cache=cache))) == [["zope.interface"]]
    assert names(next(uvshim.survey(images, cache=cache, exclude=["zope.*"]))) == [[]]
    assert names(next(uvshim.survey(images, cache=cache))) == [["zope.interface"]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda _: b"",
        lambda _: __import__("zlib").compress(b"[1, 2]"),
        lambda _: __import__("zlib").compress(b'["x", [["a", [["b", "z"]]]], false, []]'),
        lambda _: __import__("zlib").compress(b"[[1, 2, 3, 4]]"),
        lambda _: __import__("zlib").compress(b"[" * 100_000),
    ],
)
def test_a_damaged_entry_is_read_again(
    tmp_path: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    images = [layout(tmp_path / "x", [BASE])]
    first = list(uvshim.survey(images, cache=cache))
    kept = list(cache.glob("*/sha256-*"))
    assert len(kept) == 1
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    vars(survey._of_thread).clear()
    assert list(uvshim.survey(images, cache=cache)) == first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], cache=tmp_path / "file")
    assert names(answer) == [["zope.interface"]]


def test_the_changes_of_a_layer_are_loaded_unchanged(tmp_path: Path, cache: Path) -> None:
    from tests.images.making import Hard, Link

    entries: dict[str, Any] = {
        "a/": "",
        "a/x.pth": os.fsdecode(b"\xff\0\n\xc3").encode("utf-8", "surrogateescape"),
        os.fsdecode(b"\xe9"): "",
        "l.pth": Link("a/x.pth"),
        "h": Hard("a/x.pth"),
        "pipe": None,
        "b/.wh.c": "",
        ".wh..wh..opq": "",
    }
    with opened(layout(tmp_path / "x", [tar(entries)])) as (image,):
        first = store.Store(str(cache))._changes(image.layers, Budget())
        second = store.Store(str(cache))._changes(
            [layer._replace(name="no") for layer in image.layers], Budget()
        )
    assert first == second


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_will_do(tmp_path: Path, kind: type[Any], cache: Path) -> None:
    images = [layout(tmp_path / str(n), [BASE, tar({f"file{n}": ""})]) for n in range(6)]
    with kind(max_workers=2) as executor:
        answers = list(uvshim.survey([*images, "nothing"], executor, cache=cache))
    assert {answer.reference for answer in answers} == {*map(str, images), "nothing"}
    assert sorted(answer.error is None for answer in answers) == [False] + [True] * 6


def test_relative_names_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(Executor):
        def submit(self, function: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
            future: Future[Any] = Future()
            os.chdir("/")
            future.set_result(function(*arguments, **more))
            return future

    layout(tmp_path / "x", [BASE])
    monkeypatch.chdir(tmp_path)
    (answer,) = uvshim.survey(["oci:x:latest"], Elsewhere(), cache=None)
    assert answer.error is None
    assert answer.reference == "oci:x:latest"


def test_no_executor_gets_a_stream(tmp_path: Path) -> None:
    """Standard input and pipes are open in this process only."""

    class Unused(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            raise AssertionError

    content = oci_archive(layout(tmp_path / "x", [BASE]), tmp_path / "x.tar").read_bytes()
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    (answer,) = uvshim.survey([f"/dev/fd/{reader}"], Unused(), cache=None)
    thread.join()
    os.close(reader)
    assert answer.error is None


def test_each_thread_has_a_store_of_its_own() -> None:
    """A store that several use at once would change while one of them looks through it."""
    stores = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: stores.append(survey._store(None, 1)))
        thread.start()
        thread.join()
    assert stores[0] is not stores[1]
    assert survey._store(None, 1) is survey._store(None, 1)
    vars(survey._of_thread).clear()


def test_an_executor_that_breaks_is_reported(tmp_path: Path) -> None:
    class Broken(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("no worker is left"))
            return future

    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], Broken(), cache=None)
    assert answer.error == f"`{tmp_path}/x`: the worker failed: no worker is left"


class Losing(Executor):
    """An executor that loses the first answer about each image, and says so in one of two ways.

    It stands in for a Dask client that gathers an answer just when the worker that has it dies:
    that cannot be brought about at will.
    """

    def __init__(self, *, cancels: bool) -> None:
        self.cancels = cancels
        self.asked: list[Any] = []

    def submit(self, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        function, named, options = arguments
        if named in self.asked:
            future.set_result(function(named, options))
        elif self.cancels:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(ValueError("too many values to unpack (expected 3)"))
        self.asked.append(named)
        return future


@pytest.mark.parametrize("cancels", [False, True])
def test_what_an_executor_loses_once_is_asked_again(tmp_path: Path, *, cancels: bool) -> None:
    images = [layout(tmp_path / name, [BASE]) for name in "xyz"]
    executor = Losing(cancels=cancels)
    answers = list(uvshim.survey(images, executor, cache=None))
    assert [one.error for one in answers] == [None] * 3
    assert len(executor.asked) == 6


def test_what_an_executor_cancels_twice_is_an_answer(tmp_path: Path) -> None:
    class Cancelling(Losing):
        def submit(self, *arguments: Any, **_: Any) -> Future[Any]:
            self.asked = []
            return super().submit(*arguments)

    executor = Cancelling(cancels=True)
    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], executor, cache=None)
    assert answer.error == f"`{tmp_path}/x`: the worker failed: CancelledError"


def die_once(named: Any, options: Options) -> uvshim.Surveyed:
    """Die instead of the first answer, and of every answer about `poison`."""
    text = named.text
    mark = os.path.join(str(options.cache), "died")
    if text == "poison" or not os.path.exists(mark):
        with open(mark, "w"):
            pass
        os._exit(9)
    return survey.Surveyed(text, ())


def test_another_process_takes_the_work_of_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "answer", die_once)
    names = [f"image{n}" for n in range(5)] + ["poison"]
    answers = {
        answer.reference: answer.error
        for answer in survey.in_processes(names, 2, Options(cache=str(tmp_path)))
    }
    assert set(answers) == set(names)
    assert [name for name, error in answers.items() if error is not None] == ["poison"]
    assert "the worker failed" in str(answers["poison"])


def test_a_process_that_dies_early_takes_no_answer_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images are waiting, also those that were not yet handed out."""
    monkeypatch.setattr(survey, "answer", die_once)
    names = ["poison", *(f"image{n}" for n in range(2_000)), "poison"]
    pools: list[int] = []
    pool = survey._answering

    def noted(waiting: Any, processes: int, options: Options) -> Any:
        pools.append(processes)
        return pool(waiting, processes, options)

    monkeypatch.setattr(survey, "_answering", noted)
    answers = list(survey.in_processes(names, 2, Options(cache=str(tmp_path))))
    assert sorted(one.reference for one in answers) == sorted(names)
    assert sum(one.error is not None for one in answers) == 2
    assert len(pools) < 20  # most are not tried alone


class Refusing(Executor):
    """An executor whose processes have died."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        raise BrokenProcessPool


def test_an_executor_that_takes_nothing_is_an_answer(tmp_path: Path) -> None:
    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], Refusing(), cache=None)
    assert "the worker failed: BrokenProcessPool" in str(answer.error)


@pytest.mark.parametrize("images", ["oci:x", b"oci:x", [7], [None], [b"oci:x"], 7])
def test_what_is_not_a_list_of_names_is_a_type_error(images: Any, tmp_path: Path) -> None:
    """Before anything is examined."""
    with pytest.raises(TypeError):
        uvshim.survey(images)


def test_an_empty_name_is_not_the_working_directory(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        answers = [*uvshim.survey([""], executor, cache=None), *uvshim.survey([""], cache=None)]
    assert [one.error for one in answers] == ["`` does not exist"] * 2


def test_two_processes_do_not_read_one_layer_twice(
    tmp_path: Path, cache: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that another process has locked is read last, from the cache."""
    monkeypatch.setattr(store, "_LOCKS", 2**31)  # two layers may have one lock, by chance
    with opened(layout(tmp_path / "x", [BASE, MORE])) as (image,):
        base, more = image.layers
        shared = store.Cache(str(cache))

        def read_late(layer: Any, *arguments: Any) -> Any:
            found = original(layer, *arguments)
            if layer == more:  # the other one finishes
                shared.save(original(base, Budget()))
                lock.__exit__(None, None, None)
            return found

        original, lock = changes.read, shared.locked(str(base.identity), wait=False)
        assert lock.__enter__()
        monkeypatch.setattr(changes, "read", read_late)
        found = store.Store(str(cache))._changes(image.layers, Budget())
    assert [each.identity for each in found] == [base.identity, more.identity]
    assert read == [more.identity, base.identity]  # the second by the other one


def test_an_index_for_several_platforms_is_several_images_of_one_answer(tmp_path: Path) -> None:
    from tests.images.making import INDEX

    making = Making(tmp_path / "x")
    manifests = [making.manifest([BASE], architecture=name) for name in ("amd64", "arm64")]
    making.add(making.described(INDEX, {"manifests": manifests}), "1")
    (answer,) = uvshim.survey([making.path], cache=None)
    assert [image.platform for image in answer.images] == ["linux/amd64", "linux/arm64"]


def test_the_usual_cache_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.usual_directory() == f"{tmp_path}/uvshim/images"
    list(uvshim.survey([layout(tmp_path / "x", [BASE])]))
    assert (tmp_path / "uvshim").is_dir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert store.usual_directory() == "/home/somebody/.cache/uvshim/images"
    for home in ("", "~", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert store.usual_directory() == "/home/somebody/.cache/uvshim/images"
    monkeypatch.setattr(os.path, "expanduser", str)  # no home, and the user is not in /etc/passwd
    assert store.usual_directory() is None


def test_a_cache_is_named_from_here_and_not_from_where_a_worker_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(tmp_path)
    answers = uvshim.survey([layout(tmp_path / "x", [BASE])], cache="kept")
    monkeypatch.chdir(there)
    assert [answer.error for answer in answers] == [None]
    assert (tmp_path / "kept").is_dir()


def test_json_of_answers_can_be_made(tmp_path: Path) -> None:
    (answer,) = uvshim.survey([layout(tmp_path / "x", [BASE])], cache=None)
    assert json.dumps([report.diagnosis for report in answer.images[0].reports])


@pytest.fixture(autouse=True)
def _a_process_that_knows_nothing() -> Iterator[None]:
    vars(survey._of_thread).clear()
    yield
    vars(survey._of_thread).clear()
