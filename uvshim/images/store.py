"""What was learnt of layers and images, kept by digest: in memory for this run, and on disk.

A digest says what the content is, so what is kept never gets old. What another process is reading
is waited for, after all else is read.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

from uvshim.images import cache, changes, layers, view
from uvshim.images.changes import Changes, File, Folder, HardLink, Link, Special, Whiteout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from uvshim.images.layers import Directory
    from uvshim.images.layout import Layer
    from uvshim.images.view import ImageTree

Found = TypeVar("Found")

# How many directories of layers are held in memory for the images to come: some 50 MiB.
_HELD = 10_000

# How many answers are held in memory for images that differ in nothing that was asked.
_ANSWERS = 16


class Store:
    """What is known of layers and images."""

    def __init__(self, directory: str | None, threads: int = 1) -> None:
        """Keep things in `directory` as well, which is made when it is needed; None: only here.

        The layers of one image are read by as many as `threads` at once: most of the time goes
        into libraries that let others run meanwhile.
        """
        self._threads = threads
        self._directory = directory
        if directory is not None:
            cache.prune(directory)
        self._known: dict[str, Changes] = {}
        self._roots: dict[tuple[str, ...], Directory] = {}
        self._answers: deque[tuple[ImageTree, object, Any]] = deque(maxlen=_ANSWERS)

    def tree(self, image_layers: Sequence[Layer]) -> ImageTree:
        """Return the tree that `image_layers` are. Raises `ImageError`."""
        found = self._changes(image_layers)
        root = None
        for end in range(1, len(found) + 1):
            key = tuple(each.identity for each in found[:end])
            if all(key):
                root = self._roots.get(key) or layers.put_together(found[end - 1 : end], root)
                self._roots[key] = root
            else:
                root = layers.put_together(found[end - 1 : end], root)
        tree = view.of(image_layers, found, root)
        self._forget({layer.identity for layer in image_layers})
        return tree

    def _forget(self, needed: set[str | None]) -> None:
        """Let go of what is held in memory, if that is much, but for the layers that are `needed`.

        The next image has most of these, too.
        """
        if sum(len(each.groups) for each in self._known.values()) <= _HELD:
            return
        self._known = {name: found for name, found in self._known.items() if name in needed}
        self._roots = {names: root for names, root in self._roots.items() if needed >= {*names}}
        like = [one for one in self._answers if needed & one[0].identities]
        self._answers = deque(like, maxlen=_ANSWERS)

    def answer(self, tree: ImageTree, question: object, find: Callable[[], Found]) -> Found:
        """Return what `find` finds out about `tree`, or has found out about one like it.

        `question` is all else that this depends on.
        """
        for known, asked, found in self._answers:
            if asked == question and tree.answers_like(known):
                return cast("Found", found)
        found = find()
        self._answers.appendleft((tree, question, found))
        return found

    def result(self, *key: object) -> Any:
        """Return what `keep_result` was given with the same `key`, as JSON has it; or None."""
        if self._directory is None:
            return None
        return cache.load(cache.place(self._directory, "results", _hashed(key)))

    def keep_result(self, value: object, *key: object) -> None:
        """Keep `value`, which JSON can hold."""
        if self._directory is not None:
            cache.save(cache.place(self._directory, "results", _hashed(key)), value)

    def _changes(self, image_layers: Sequence[Layer]) -> list[Changes]:
        """Return what each layer changes. What another process is reading comes last."""
        known = {
            layer: self._known[layer.identity]
            for layer in image_layers
            if layer.identity in self._known
        }
        for wait in (False, True):
            missing = [layer for layer in dict.fromkeys(image_layers) if layer not in known]
            missing.sort(key=lambda layer: layer.size or 0, reverse=True)
            found = self._each(missing, wait=wait)
            known.update((layer, one) for layer, one in found if one is not None)
        return [known[layer] for layer in image_layers]

    def _each(
        self, image_layers: list[Layer], *, wait: bool
    ) -> Iterable[tuple[Layer, Changes | None]]:
        read = functools.partial(self._of_layer, wait=wait)
        if self._threads == 1 or len(image_layers) <= 1:
            return ((layer, read(layer)) for layer in image_layers)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._threads) as executor:
            found = executor.map(read, image_layers)
            import packaging.requirements  # noqa: F401  # which the diagnosis will need

            return list(zip(image_layers, found, strict=True))

    def _of_layer(self, layer: Layer, *, wait: bool) -> Changes | None:
        """Return what `layer` changes; None if another process is reading it and not to `wait`."""
        if layer.identity is None:
            return changes.read(layer)
        found = self._of_named_layer(layer, layer.identity, wait=wait)
        if found is not None:
            self._known[layer.identity] = found
        return found

    def _of_named_layer(self, layer: Layer, identity: str, *, wait: bool) -> Changes | None:
        if self._directory is None:
            return changes.read(layer)
        path = cache.place(self._directory, "layers", identity.replace(":", "-"))
        if found := _restored(cache.load(path)):
            return found
        with cache.locked(path, wait=wait) as free:
            if not free:
                return None
            if wait and (found := _restored(cache.load(path))):
                return found
            found = changes.read(layer)
            cache.save(path, _flat(found))
        return found


def _hashed(key: object) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


# --- the changes of a layer, as JSON has them -----------------------------------------------------

# A file is its number, its size and its content, if that is kept; anything else begins with a
# letter.
_LETTERS = {Link: "l", HardLink: "h", Special: "s", Folder: "d", Whiteout: "w"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


def _flat(found: Changes) -> object:
    groups = [
        [directory, [[name, *_flat_entry(entry)] for name, entry in entries]]
        for directory, entries in found.groups
    ]
    return [found.identity, groups, found.removes, found.wanted_links]


def _flat_entry(entry: changes.Entry) -> list[object]:
    if isinstance(entry, File):
        flat: list[object] = [entry.number, entry.size]
        if entry.content is not None:
            flat.append(entry.content.decode("utf-8", "surrogateescape"))
        return flat
    if isinstance(entry, Whiteout):
        return [_LETTERS[Whiteout], entry.opaque]
    return [_LETTERS[type(entry)], *entry[1:]]


def _restored(flat: Any) -> Changes | None:
    """Return the changes that `flat` was made of; None if it is something else."""
    try:
        identity, groups, removes, wanted_links = flat
        return Changes(
            identity,
            [
                (directory, [(entry[0], _restored_entry(identity, entry)) for entry in entries])
                for directory, entries in groups
            ],
            removes,
            [(path, limit) for path, limit in wanted_links],
        )
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None


def _restored_entry(identity: str, flat: list[Any]) -> changes.Entry:
    _, what, *more = flat
    if isinstance(what, int):
        size, *content = more
        kept = content[0].encode("utf-8", "surrogateescape") if content else None
        return File(identity, what, size, kept)
    if what == _LETTERS[Whiteout]:
        return Whiteout(*more)
    return _KINDS[what](identity, *more)  # type: ignore[no-any-return]
