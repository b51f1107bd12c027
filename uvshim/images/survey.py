"""What is wrong in images: each is diagnosed as its unpacked root would be, one or many."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.check import report
from uvshim.check.diagnosis import (
    Diagnosis,
    EntryPoint,
    Failure,
    Finding,
    Unreadable,
    Unresolvable,
)
from uvshim.check.report import Gate, Report
from uvshim.check.required import Spelling
from uvshim.environments import discovery
from uvshim.environments.environment import Environment
from uvshim.errors import ImageError
from uvshim.images import cache, ending, groups, reference
from uvshim.images.layers import Directory
from uvshim.images.store import Store
from uvshim.images.view import ImageTree

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from uvshim.images.layout import Image
    from uvshim.images.reference import Reference

# In the place of a cache directory: the usual one of whoever answers, and none.
USUAL = "usual"

# How many seconds a scheduler has to answer.
_PATIENCE = 10


class DiagnosedImage(NamedTuple):
    """One image for one platform."""

    reference: str
    digest: str | None
    platform: str | None
    reports: tuple[Report, ...]
    """One for each environment in it. All paths are those in the image."""

    @property
    def broken(self) -> bool:
        """Whether one of its environments is broken."""
        return any(each.broken for each in self.reports)


class Surveyed(NamedTuple):
    """What there is to say of one reference."""

    reference: str
    """As it was given."""
    images: tuple[DiagnosedImage, ...]
    error: str | None = None
    """Why the images cannot be examined; then there are none of them."""


class Options(NamedTuple):
    """How images are examined."""

    gate: Gate = Gate()
    cache: str | None = USUAL
    """The directory where what was learnt is kept; None: nowhere."""
    threads: int = 1
    """How many read the layers of one image at once."""


def survey(
    images: Iterable[str | os.PathLike[str]],
    executor: Executor | None = None,
    *,
    exclude: Iterable[str] = (),
    cache: str | os.PathLike[str] | None = USUAL,
) -> Iterator[Surveyed]:
    """Diagnose `images` and yield an answer for each, as they come.

    `images` are references as skopeo writes them, or paths of layouts and archives. With an
    `executor`, such as a `ProcessPoolExecutor` or the one of a Dask client, they are examined by
    that, in any order; without one here, one after the other. Project names that match one of the
    patterns `exclude` do not count. What is learnt of layers is kept in the directory `cache`,
    by default the user's own; with None it is forgotten.

    An image that cannot be examined is told in the answer's `error`; nothing is raised for it.
    """
    gate = Gate([("exclude", list(exclude))])
    options = Options(gate, None if cache is None else os.fspath(cache))
    named = [_parsed(os.fspath(each)) for each in images]
    if executor is None:
        return (answer(one, options) for one in named)
    named = [_absolute(one) for one in named]
    return (_outcome(one, future) for one, future in _completed(executor, named, options))


def _parsed(text: str) -> Reference | str:
    """Return the reference in `text`, or `text` itself if it is none."""
    return reference.parse(text) or text


def _absolute(named: Reference | str) -> Reference | str:
    """Return what is `named` so that a process in another directory finds it."""
    if isinstance(named, str) or named.transport not in {"", *reference.DIRECT}:
        return named
    return named._replace(path=os.path.abspath(named.path))


def on_cluster(
    images: Iterable[str | os.PathLike[str]], scheduler: str, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from the workers of the Dask `scheduler` at an address.

    These need uvshim, and must reach the images. What a worker that dies was to do, another one
    does. Raises `ImageError` if there is no such scheduler, or the library is missing.
    """
    try:
        from distributed import Client
    except ImportError:
        message = "to ask a Dask scheduler takes a library: uv pip install 'uvshim[dask]'"
        raise ImageError(message) from None
    try:
        client = Client(scheduler, timeout=_PATIENCE)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        message = f"no Dask scheduler answers at `{scheduler}`: {error}"
        raise ImageError(message) from None
    named = [_absolute(_parsed(os.fspath(each))) for each in images]
    pool = client.get_executor(pure=False, retries=2)  # type: ignore[no-untyped-call]
    with client, pool as executor:
        for one, future in _completed(executor, named, options):
            yield _outcome(one, future)


def in_processes(
    images: Iterable[str | os.PathLike[str]], jobs: int, options: Options
) -> Generator[Surveyed, None, None]:
    """Yield the answers of `survey`, from `jobs` processes; of one group, from so many threads.

    Where one dies, such as for lack of memory, what it was to do is tried once more, each alone.
    """
    named = [_parsed(os.fspath(each)) for each in images]
    together = groups.of(named) if jobs > 1 else [named]
    if len(together) <= 1:
        options = options._replace(threads=jobs)
        yield from (answer(one, options) for one in named)
        return
    with contextlib.ExitStack() as stack:
        if options.cache is None:  # the processes tell each other what they learn
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="uvshim-"))
            options = options._replace(cache=directory)
        yield from _from_pool(together, jobs, options)


def _from_pool(
    together: list[list[Reference | str]], jobs: int, options: Options
) -> Iterator[Surveyed]:
    """Yield the answers about all groups in `together`, from `jobs` processes."""
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    again = []
    with _pool(min(jobs, len(together))) as executor:
        futures = {executor.submit(_answers, group, options): group for group in together}
        for future in as_completed(futures):
            if isinstance(future.exception(), (BrokenProcessPool, SystemExit)):
                again += futures[future]
            else:
                yield from future.result()
    for one in again:
        with _pool(1) as executor:
            yield _outcome(one, executor.submit(_cleanly, one, options))


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """Give an executor with so many `processes`, which end when something else than these fails."""
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


def _answers(group: list[Reference | str], options: Options) -> list[Surveyed]:
    """Return the answers about a `group`, for another process. Raises nothing."""
    return [_cleanly(one, options) for one in group]


def _cleanly(named: Reference | str, options: Options) -> Surveyed:
    with ending.cleanly():
        return answer(named, options)


def _completed(
    executor: Executor, named: list[Reference | str], options: Options
) -> Iterator[tuple[Reference | str, Future[Surveyed]]]:
    """Yield each of `named` with its future, as `executor` is done with them."""
    from concurrent.futures import as_completed

    futures = {executor.submit(answer, one, options): one for one in named}
    return ((futures[future], future) for future in as_completed(futures))


def _outcome(named: Reference | str, future: Future[Surveyed]) -> Surveyed:
    """Return the answer in `future`, or why there is none."""
    error = future.exception()
    if error is None:
        return future.result()
    reason = str(error) or type(error).__name__
    return Surveyed(_text(named), (), _of(_text(named), f"whoever examined it failed: {reason}"))


def answer(named: Reference | str, options: Options) -> Surveyed:
    """Examine what is `named`: a reference, or what should have been one. Raises nothing."""
    text = _text(named)
    if isinstance(named, str):
        reason = f"`{named}` is not an image: not a known transport, nor a layout, nor a tar"
        return Surveyed(text, (), reason)
    kept = cache.usual_directory() if options.cache == USUAL else options.cache
    try:
        store = _store(kept, options.threads)
        known = _known(named, store, options)
        if known is not None:
            return Surveyed(text, known)
        with reference.opened(named) as images:
            found = tuple(_examined(image, store, options) for image in images)
    except ImageError as error:
        return Surveyed(text, (), _of(text, str(error)))
    # One of hundreds, whatever is in it, must not stop the others.
    except Exception as error:  # noqa: BLE001
        return Surveyed(text, (), _of(text, f"{type(error).__name__}: {error}"))
    return Surveyed(text, found)


def _of(text: str, reason: str) -> str:
    """Return the `reason` with the reference `text` that it is about."""
    return reason if f"`{text}`" in reason else f"`{text}`: {reason}"


def _text(named: Reference | str) -> str:
    return named if isinstance(named, str) else named.text


@functools.lru_cache(maxsize=1)
def _store(directory: str | None, threads: int) -> Store:
    """Return what this process knows, so that the next image has it."""
    return Store(directory, threads)


def _known(named: Reference, store: Store, options: Options) -> tuple[DiagnosedImage, ...] | None:
    """Return what was found out before of images that lie elsewhere, without copying them.

    None: something is not known of one of them.
    """
    if _knows_nothing(options):
        return None
    found = []
    for descriptor in reference.remote_images(named) or ():
        one = _kept(descriptor.digest, named.text, store, options)
        if one is None:
            return None
        found.append(one)
    return tuple(found) or None


def _knows_nothing(options: Options) -> bool:
    """Say whether nothing can be known before."""
    return options.cache is None or options.gate.verify


def _examined(image: Image, store: Store, options: Options) -> DiagnosedImage:
    """Return what is found out about `image`, or what was found out before."""
    digest = None if options.gate.verify else image.digest
    if digest and (known := _kept(digest, image.reference, store, options)):
        return known
    tree = store.tree(image.layers)
    reports = [_report(found, store, options.gate) for found in discovery.in_image(tree)]
    if digest:
        environments = [(*each.installation.facts, each.diagnosis) for each in reports]
        store.keep_result((image.platform, environments), *_key(digest, options))
    about = (image.reference, image.digest, image.platform)
    return DiagnosedImage(*about, tuple(_apart(each, about) for each in reports))


def _report(found: Environment, store: Store, gate: Gate) -> Report:
    """Return what is found out about `found`, or about the same one in an image before."""
    if gate.verify or not isinstance(found.tree, ImageTree):
        return report.examine(found, gate)
    tree = found.tree.anew()
    question = (found.facts, gate)
    return store.answer(tree, question, lambda: report.examine(found.in_tree(tree), gate))


def _kept(digest: str, called: str, store: Store, options: Options) -> DiagnosedImage | None:
    """Return what was found out before about the image that has `digest`."""
    found = _restored(store.result(*_key(digest, options)))
    if found is None:
        return None
    platform, environments = found
    about = (called, digest, platform)
    reports = (Report(found, diagnosis, options.gate) for found, diagnosis in environments)
    return DiagnosedImage(*about, tuple(_apart(each, about) for each in reports))


def _key(digest: str, options: Options) -> tuple[object, ...]:
    """Return what a diagnosis depends on: markers of requirements ask for the platform."""
    patterns = [patterns for _, patterns in options.gate.exclusions]
    return digest, patterns, sys.version, *os.uname()


def _apart(one: Report, about: tuple[str, str | None, str | None]) -> Report:
    """Return the report `one` without the tree, which is too large to cross processes."""
    reference, digest, platform = about
    installed = one.installation.in_tree(_NOWHERE)
    return one._replace(installation=installed, image=reference, digest=digest, platform=platform)


_NOWHERE = ImageTree(Directory({}, None, 0))


# --- what was kept as JSON ------------------------------------------------------------------------


def _restored(kept: Any) -> tuple[str | None, list[tuple[Environment, Diagnosis]]] | None:
    """Return the platform and environments that `kept` was made of, or None if it is not such."""
    try:
        platform, environments = _tuples(kept or ())
        return platform, [
            (
                Environment(path, None, own, visible=visible, tree=_NOWHERE),
                _diagnosis(*diagnosis),
            )
            for path, own, visible, diagnosis in environments
        ]
    except (TypeError, ValueError):
        return None


def _diagnosis(*fields: Any) -> Diagnosis:
    bare = Diagnosis(*fields)
    return bare._replace(
        findings=tuple(Finding(*each) for each in bare.findings),
        unresolvable=tuple(Unresolvable(*each) for each in bare.unresolvable),
        entry_points=tuple(EntryPoint(*each) for each in bare.entry_points),
        failures=tuple(Failure(*each) for each in bare.failures),
        unreadable=tuple(Unreadable(*each) for each in bare.unreadable),
        excluded=tuple(Finding(*each) for each in bare.excluded),
        spellings=tuple(Spelling(*each) for each in bare.spellings),
    )


def _tuples(listed: Iterable[Any]) -> tuple[Any, ...]:
    """Return what is `listed` with tuples in the place of the lists that JSON has."""
    return tuple([_tuples(each) if isinstance(each, list) else each for each in listed])
