"""The diagnosis of many images, each as its unpacked root would be diagnosed."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import report, required
from uvshim.check.report import Gate, Report
from uvshim.environments import discovery
from uvshim.errors import ImageError
from uvshim.images import archive, ending, reference, sources
from uvshim.images.store import Store, usual_directory
from uvshim.images.tree import ImageTree
from uvshim.images.union import Directory

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from uvshim.images.image import Entry, Image
    from uvshim.images.reference import Reference

# Stands for the usual cache directory of the process that examines an image.
USUAL = "usual"

# How many seconds a scheduler has to answer.
_PATIENCE = 10


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
    exclude: Iterable[str] = (),
    cache: str | os.PathLike[str] | None = USUAL,
    platform: str | None = None,
) -> Iterator[Surveyed]:
    """Diagnose `images`, and yield an answer for each when it is ready.

    `images` are references as skopeo writes them, or paths of layouts and archives. With an
    `executor`, such as a `ProcessPoolExecutor` or that of a Dask client, it examines them in any
    order; without one they are examined here, one after the other. Project names that match one of
    the patterns `exclude` do not count. Contents of layers are cached in the directory `cache`, by
    default the user's own; None caches nothing. `platform`, such as ``linux/arm64``, limits images
    for several platforms to one.

    Nothing is raised for an image that cannot be examined: the answer's `error` says why.
    """
    gate = Gate([("exclude", list(exclude))])
    options = Options(gate, None if cache is None else os.fspath(cache), platform=platform)
    named = _named(images)
    if executor is None:
        return (answer(one, options) for one in named)
    return _from(executor, named, options)


def _named(images: Iterable[str | os.PathLike[str]]) -> list[Reference]:
    """Return the references to `images`; anything else counts as a path."""
    texts = [os.fspath(each) for each in images]
    return [reference.parse(text) or reference.Reference(text, "", text, None) for text in texts]


def _from(
    executor: Executor, named: list[Reference], options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers for `named`, as `executor` returns them."""
    from concurrent.futures import as_completed

    futures = {executor.submit(answer, one.absolute(), options): one for one in named}
    for future in as_completed(futures):
        yield _outcome(futures[future], future)


def on_cluster(
    images: Iterable[str | os.PathLike[str]], scheduler: str, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from the workers of the Dask `scheduler` at an address.

    Workers need uvshim, and access to the images. If one dies, another one takes its work. Raise
    `ImageError` if there is no such scheduler, or the library is missing.
    """
    try:
        from distributed import Client
    except ImportError:
        message = "--scheduler needs a library: uv pip install 'uvshim[dask]'"
        raise ImageError(message) from None
    try:
        client = Client(scheduler, timeout=_PATIENCE)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        message = f"no Dask scheduler answers at `{scheduler}`: {error}"
        raise ImageError(message) from None
    pool = client.get_executor(pure=False, retries=2)  # type: ignore[no-untyped-call]
    with client, pool as executor:
        yield from _from(executor, _named(images), options)


def in_processes(
    images: Iterable[str | os.PathLike[str]], jobs: int, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from `jobs` processes, or threads for a single image.

    If a process dies, for example for lack of memory, its images are tried again, each alone.
    """
    named = _named(images)
    here = [one for one in named if jobs == 1 or len(named) == 1 or archive.is_stream(one.path)]
    for one in here:  # no other process can read a stream
        yield answer(one, options._replace(threads=jobs))
    others = [one for one in named if one not in here]
    if not others:
        return
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    again = []
    with contextlib.ExitStack() as stack:
        if options.cache is None:  # the processes share the cache
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="uvshim-"))
            options = options._replace(cache=directory)
        with _pool(min(jobs, len(others))) as executor:
            futures = {executor.submit(_cleanly, one, options): one for one in others}
            for future in as_completed(futures):
                if isinstance(future.exception(), (BrokenProcessPool, SystemExit)):
                    again.append(futures[future])
                else:
                    yield future.result()
        for one in again:
            with _pool(1) as executor:
                yield _outcome(one, executor.submit(_cleanly, one, options))


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """Yield an executor with that many `processes`, which are ended if anything fails."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=processes) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _cleanly(named: Reference, options: Options) -> Surveyed:
    """Return the answer; in this worker process, remove temporary files before a signal ends it."""
    with ending.cleanly():
        return answer(named, options)


def _outcome(named: Reference, future: Future[Surveyed]) -> Surveyed:
    """Return the answer in `future`, or one with the reason for its failure."""
    error = future.exception()
    if error is None:
        return future.result()
    reason = str(error) or type(error).__name__
    return Surveyed(named.text, (), _of(named.text, f"the worker failed: {reason}"))


def answer(named: Reference, options: Options) -> Surveyed:
    """Return the answer for the reference `named`. Raise nothing."""
    text = named.text
    kept = usual_directory() if options.cache == USUAL else options.cache
    try:
        store = _store(kept, options.threads)
        with sources.opened(named, options.platform) as entries:
            images = [image for entry in entries for image in entry.images]
            found = tuple(_examined(image, store, options.gate) for image in images)
            absent = tuple(_absent(one) for entry in entries for one in entry.lacking)
    except ImageError as error:
        return Surveyed(text, (), _of(text, str(error)))
    # One broken image must not stop hundreds of others.
    except Exception as error:  # noqa: BLE001
        return Surveyed(text, (), _of(text, f"{type(error).__name__}: {error}"))
    return Surveyed(text, found, absent=absent)


def _of(text: str, reason: str) -> str:
    """Return the `reason`, after the reference `text` unless it contains that."""
    return reason if f"`{text}`" in reason else f"`{text}`: {reason}"


@functools.lru_cache(maxsize=1)
def _store(directory: str | None, threads: int) -> Store:
    """Return this process's store for the cache in `directory`. Raise `ImageError`."""
    return Store(directory, threads)


def _examined(image: Image, store: Store, gate: Gate) -> DiagnosedImage:
    """Return the diagnosis of `image`. Raise `ImageError`."""
    found = list(discovery.in_image(store.tree(image)))
    spelled = required.Spelled(found)
    platform = str(image.platform) if image.platform else None
    about = (image.reference, image.digest, platform)
    reports = (report.examine(each, gate, platform, spelled=spelled) for each in found)
    return DiagnosedImage(*about, tuple(_detached(each, about) for each in reports))


def _detached(one: Report, about: tuple[str, str | None, str | None]) -> Report:
    """Return the report `one` without the tree, which is too large to cross processes."""
    reference, digest, platform = about
    installed = one.installation.in_tree(_NOWHERE)
    return one._replace(installation=installed, image=reference, digest=digest, platform=platform)


_NOWHERE = ImageTree(Directory({}, None, 0))


def _absent(entry: Entry) -> Absent:
    descriptor = entry.descriptor
    platform = descriptor and descriptor.platform
    return Absent(
        entry.reference, descriptor and descriptor.digest, str(platform) if platform else None
    )
