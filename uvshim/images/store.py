"""The contents of layers that were read before: in memory for this run, and in the cache.

A digest names the content, so entries never get old. Layers that another process is reading come
last, and are waited for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from uvshim.images import tree, union
from uvshim.images.cache import Cache
from uvshim.images.layer import changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from uvshim.images.blob import Blob
    from uvshim.images.image import Image
    from uvshim.images.layer.changes import Changes
    from uvshim.images.tree import ImageTree
    from uvshim.images.union import Directory

# How many directories of layers are held in memory for later images: some 50 MiB.
_HELD = 10_000


class Store:
    """The layers that are known."""

    def __init__(self, directory: str | None, threads: int = 1) -> None:
        """Use the cache in `directory`, or none. Raise `ImageError` if it is not uvshim's.

        Several `threads` read the layers of one image: most of the time is spent in libraries that
        release Python's lock.
        """
        self._threads = threads
        self._cache = None if directory is None else Cache(directory)
        self._known: dict[str, Changes] = {}
        self._roots: dict[tuple[str, ...], Directory] = {}

    def tree(self, image: Image) -> ImageTree:
        """Return the tree that the layers of `image` are. Raise `ImageError`."""
        found = self._changes(image.layers)
        root = None
        for end in range(1, len(found) + 1):
            key = tuple(each.identity for each in found[:end])
            if all(key):
                root = self._roots.get(key) or union.unite(found[end - 1 : end], root)
                self._roots[key] = root
            else:
                root = union.unite(found[end - 1 : end], root)
        united = tree.of(image.layers, found, root, image.platform)
        self._forget({layer.identity for layer in image.layers})
        return united

    def _forget(self, needed: set[str | None]) -> None:
        """If much is held in memory, forget all but the `needed` layers.

        The next image has most of these, too.
        """
        if sum(len(each.groups) for each in self._known.values()) > _HELD:
            self._known = {name: found for name, found in self._known.items() if name in needed}
            self._roots = {names: root for names, root in self._roots.items() if needed >= {*names}}

    def _changes(self, layers: Sequence[Blob]) -> list[Changes]:
        """Return what each layer changes. What another process is reading comes last."""
        known = {
            layer: self._known[layer.identity] for layer in layers if layer.identity in self._known
        }
        for wait in (False, True):
            missing = [layer for layer in dict.fromkeys(layers) if layer not in known]
            missing.sort(key=lambda layer: layer.size or 0, reverse=True)
            found = self._each(missing, wait=wait)
            known.update((layer, one) for layer, one in found if one is not None)
        return [known[layer] for layer in layers]

    def _each(self, layers: list[Blob], *, wait: bool) -> Iterable[tuple[Blob, Changes | None]]:
        read = functools.partial(self._of_layer, wait=wait)
        if self._threads == 1 or len(layers) <= 1:
            return ((layer, read(layer)) for layer in layers)
        from concurrent.futures import ThreadPoolExecutor

        if self._cache is None or not all(self._cache.has(one.identity) for one in layers):
            layers[0].touch()  # skopeo is started by this thread, which signals reach
        with ThreadPoolExecutor(self._threads) as executor:
            found = executor.map(read, layers)
            import packaging.requirements  # noqa: F401  # which the diagnosis will need

            return list(zip(layers, found, strict=True))

    def _of_layer(self, layer: Blob, *, wait: bool) -> Changes | None:
        """Return what `layer` changes; None if another process is reading it and not to `wait`."""
        if layer.identity is None:
            return changes.read(layer)
        found = self._of_named_layer(layer, layer.identity, wait=wait)
        if found is not None:
            self._known[layer.identity] = found
        return found

    def _of_named_layer(self, layer: Blob, identity: str, *, wait: bool) -> Changes | None:
        cache = self._cache
        if cache is None:
            return changes.read(layer)
        if found := cache.load(identity):
            return found
        with cache.locked(identity, wait=wait) as free:
            if not free:
                return None
            if wait and (found := cache.load(identity)):
                return found
            found = changes.read(layer)
            cache.save(found)
        return found
