"""The diagnosis of many images, each as its unpacked root would be diagnosed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, NamedTuple, cast

from uvshim import config
from uvshim.check import remedies, report, required
from uvshim.check.report import Gate, Report
from uvshim.environments import discovery
from uvshim.errors import ImageError
from uvshim.images import archive, ending, reference, sources
from uvshim.images.store import Store, usual_directory
from uvshim.images.tree import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future
    from multiprocessing.process import BaseProcess

    from uvshim.environments.environment import Environment
    from uvshim.images.image import Entry, Image, Platform
    from uvshim.images.reference import Reference

# Stands for the usual cache directory of the process that examines an image.
USUAL = "usual"

# How many seconds a scheduler has to answer.
_PATIENCE = 10

# What each thread keeps for its next image.
_of_thread = threading.local()


class DiagnosedImage(NamedTuple):
    """One image for one platform."""

    reference: str
    digest: str | None
    platform: str | None
    reports: tuple[Report, ...]
    """The reports on its environments. Paths are those in the image."""

    @property
    def broken(self) -> bool:
        """Whether one of its environments is broken."""
        return any(each.broken for each in self.reports)


class Absent(NamedTuple):
    """An image that an index lists, but whose files are missing."""

    reference: str
    digest: str | None
    platform: str | None


class Surveyed(NamedTuple):
    """The answer for one reference."""

    reference: str
    """The reference, as given."""
    images: tuple[DiagnosedImage, ...]
    error: str | None = None
    """Why the images cannot be examined; then `images` is empty."""
    absent: tuple[Absent, ...] = ()
    """The images that could not be examined because their files are missing."""


class Options(NamedTuple):
    """How images are examined."""

    gate: Gate = Gate()
    cache: str | None = USUAL
    """The directory of the cache; None for no cache."""
    threads: int = 1
    """How many threads read the layers of one image."""
    platform: str | None = None
    """The only platform to examine, such as ``linux/arm64``."""


def survey(
    images: Iterable[str | os.PathLike[str]],
    executor: Executor | None = None,
    *,
    exclude: str | Iterable[str] = (),
    cache: str | os.PathLike[str] | None = USUAL,
    platform: str | None = None,
) -> Iterator[Surveyed]:
    """Diagnose `images`, and yield an answer for each when it is ready.

    `images` are references as skopeo writes them, or paths of layouts and archives. With an
    `executor`, such as a `ProcessPoolExecutor` or that of a Dask client, it examines them in any
    order, and is asked once more for an answer that it has lost; without one they are examined
    here, one after the other. Project names that match one of the patterns `exclude` do not count.
    Contents of layers are cached in the directory `cache`, by default the user's own; None caches
    nothing. `platform`, such as ``linux/arm64``, limits images for several platforms to one.

    Nothing is raised for an image that cannot be examined: the answer's `error` says why. Raise
    TypeError if `images` is one name; `ConfigurationError` if a pattern matches no project name.
    """
    gate = Gate([("exclude", config.checked("exclude", exclude))])
    kept = cache if cache is None or cache == USUAL else os.path.abspath(cache)
    options = Options(gate, kept, platform=platform)
    named = _named(images)
    if executor is None:
        return (answer(one, options) for one in named)
    return _from(executor, named, options)


def _named(images: Iterable[str | os.PathLike[str]]) -> list[Reference]:
    """Return the references to `images`; anything else counts as a path. Raise TypeError."""
    if isinstance(images, (str, bytes, os.PathLike)):
        raise TypeError(f"images must be a list of names, not the name {images!r}")
    texts = [os.fspath(each) for each in images]
    if wrong := [each for each in texts if not isinstance(each, str)]:
        raise TypeError(f"the name of an image must be a string, not {wrong[0]!r}")
    return [reference.parse(text) or reference.Reference(text, "", text, None) for text in texts]


def _from(
    executor: Executor, named: list[Reference], options: Options
) -> Generator[Surveyed, None, None]:
    from concurrent.futures import as_completed

    streams = [one for one in named if archive.is_stream(one.path)]
    waiting = [one.absolute() for one in named if one not in streams]
    for is_last in (False, True):  # an answer that was lost once can often be had
        futures = {_submitted(executor, answer, one, options): one for one in waiting}
        while streams:  # no other process can read it
            yield answer(streams.pop(0), options)
        waiting = []
        for future in as_completed(futures):
            error = _error_of(future)
            if error is None:
                yield future.result()
            elif is_last:
                yield _failed(futures[future], error)
            else:
                waiting.append(futures[future])


def _error_of(future: Future[Surveyed]) -> BaseException | None:
    """Return why the executor has no answer, or None if it has one: `answer` raises nothing."""
    from concurrent.futures import CancelledError

    try:
        return future.exception()
    except CancelledError as error:
        return error


def on_cluster(
    images: Iterable[str | os.PathLike[str]], scheduler: str, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from the workers of the Dask `scheduler` at an address.

    Workers need uvshim, and access to the images. If one dies, another one takes its work. Raise
    `ImageError` if there is no such scheduler, it has no workers, or the library is missing.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ImageError(
            "--scheduler needs distributed, a library of the extra uvshim[dask]"
        ) from None
    _reach(scheduler)
    with Client(scheduler, timeout=_PATIENCE) as client:  # type: ignore[no-untyped-call]
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ImageError(f"the Dask scheduler at `{scheduler}` has no workers") from None
        executor = client.get_executor(pure=False, retries=2)
        try:
            yield from _from(executor, _named(images), options)
        finally:  # of what is left, nobody waits for the answer
            executor.shutdown(wait=False)


def _reach(scheduler: str) -> None:
    """Raise `ImageError` if no Dask scheduler answers at the address `scheduler`.

    A client waits for ever if something else accepts connections there, such as a web server.
    """
    import asyncio

    from distributed.comm.core import connect
    from distributed.security import Security

    secured = Security().get_connection_args("client")  # type: ignore[no-untyped-call]

    async def greet() -> None:
        connecting = connect(scheduler, _PATIENCE, **secured)  # type: ignore[no-untyped-call]
        connection = await asyncio.wait_for(connecting, _PATIENCE)
        await connection.close()

    try:
        asyncio.run(greet())
    except Exception as error:  # noqa: BLE001  # whatever was made of the other's answer
        reason = str(error) or type(error).__name__
        raise ImageError(f"no Dask scheduler answers at `{scheduler}`: {reason}") from None


def in_processes(
    images: Iterable[str | os.PathLike[str]], jobs: int, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from `jobs` processes, or threads for a single image.

    If a process dies, such as for lack of memory, the others are examined one after the other.
    """
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    named = _named(images)
    here = [one for one in named if jobs == 1 or len(named) == 1 or archive.is_stream(one.path)]
    for one in here:  # no other process can read a stream
        yield answer(one, options._replace(threads=jobs))
    waiting = [one for one in named if one not in here]
    with contextlib.ExitStack() as stack:
        if waiting and options.cache is None:  # the processes share the cache
            options = options._replace(cache=stack.enter_context(ending.directory()))
        while waiting:
            with _answering(waiting, min(jobs, len(waiting)), options) as futures:
                for future in futures if jobs == 1 else as_completed(futures):
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        break
                    waiting.remove(futures[future])
                    yield future.result()
            if error is not None and jobs == 1:  # it was examining the first of those left
                yield _failed(waiting.pop(0), error)
            jobs = 1


def _submitted(
    executor: Executor, function: Callable[..., Surveyed], *arguments: object
) -> Future[Surveyed]:
    """Return the future result of `function`, also if `executor` does not work any more."""
    from concurrent.futures import Future

    try:
        return executor.submit(function, *arguments)
    except RuntimeError as error:
        future: Future[Surveyed] = Future()
        future.set_exception(error)
        return future


@contextlib.contextmanager
def _answering(
    waiting: list[Reference], processes: int, options: Options
) -> Iterator[dict[Future[Surveyed], Reference]]:
    """Yield the future answers about those `waiting`, from that many processes, which end at last.

    Each leads a process group: Ctrl-C reaches only this process, which ends them with all that they
    have started. They cannot prevent it, as they could if they handled signals.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    workers: list[BaseProcess] = []
    executor = ProcessPoolExecutor(processes, initializer=ending.lead_group)
    try:
        with ending.undisturbed():
            futures = {_submitted(executor, answer, one, options): one for one in waiting}
            workers = [*multiprocessing.active_children()]
        yield futures
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for each in workers:
            if each.pid:
                with contextlib.suppress(ProcessLookupError):  # it does not lead a group yet
                    os.killpg(each.pid, signal.SIGKILL)
            each.kill()
            each.join()
        ending.remove_left()


def _failed(named: Reference, error: BaseException) -> Surveyed:
    return _unanswered(named.text, f"the worker failed: {str(error) or type(error).__name__}")


def _unanswered(text: str, reason: str) -> Surveyed:
    """Return the answer with the `reason`, which begins with the reference `text`."""
    return Surveyed(text, (), reason if f"`{text}`" in reason else f"`{text}`: {reason}")


def answer(named: Reference, options: Options) -> Surveyed:
    """Return the answer for the reference `named`. Raise nothing."""
    text = named.text
    kept = usual_directory() if options.cache == USUAL else options.cache
    try:
        store = _store(kept, options.threads)
        with sources.opened(named, options.platform) as entries:
            images = [image for entry in entries for image in entry.images]
            known: dict[object, list[Report]] = {}
            found = tuple(_diagnosed(image, known, store, options.gate) for image in images)
            absent = tuple(_absent(one) for entry in entries for one in entry.lacking)
    except ImageError as error:
        return _unanswered(text, str(error))
    # One broken image must not stop hundreds of others.
    except Exception as error:  # noqa: BLE001
        return _unanswered(text, f"{type(error).__name__}: {error}")
    return Surveyed(text, found, absent=absent)


def _store(directory: str | None, threads: int) -> Store:
    """Return this thread's store for the cache in `directory`. Raise `ImageError`."""
    facts = directory, threads
    if getattr(_of_thread, "facts", None) != facts:
        _of_thread.store = Store(directory, threads)
        _of_thread.facts = facts
    return cast("Store", _of_thread.store)


def _diagnosed(
    image: Image, known: dict[object, list[Report]], store: Store, gate: Gate
) -> DiagnosedImage:
    """Return the diagnosis of `image`; reports that are `known` serve all its names."""
    key = (image.digest, image.platform, image.layers)
    if key not in known:
        tree = store.tree(image)
        known[key] = tree.complete(lambda: reports([*discovery.in_image(tree)], gate, image))
    found = tuple(one._replace(image=image.reference) for one in known[key])
    return DiagnosedImage(image.reference, image.digest, _shown(image.platform), found)


def reports(found: list[Environment], gate: Gate, image: Image) -> list[Report]:
    """Return a report on each of the environments `found` in `image`. Raise `ImageError`.

    They are without the tree, which is too large to cross processes.
    """
    platform = _shown(image.platform)
    spelled = required.Spelled(found)
    made = [
        report.examine(each, gate, platform, spelled=spelled)._replace(
            image=image.reference, digest=image.digest, platform=platform
        )
        for each in found
    ]
    return [
        each._replace(
            installs=tuple(remedies.reinstalls(each)),
            installation=each.installation.in_tree(NOWHERE),
        )
        for each in made
    ]


def _absent(entry: Entry) -> Absent:
    digest = entry.descriptor and entry.descriptor.digest
    platform = entry.descriptor and entry.descriptor.platform
    return Absent(entry.reference, digest, _shown(platform))


def _shown(platform: Platform | None) -> str | None:
    return str(platform) if platform else None
