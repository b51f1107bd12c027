"""The part of `uvshim fix` that mends container images: each gets one layer more."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim import config
from uvshim.check.output import SCHEMA
from uvshim.check.report import Gate
from uvshim.commands.fix_report import Fixed, as_json, say
from uvshim.errors import NOT_RENAMED, ImageError, UvshimError
from uvshim.images import destination, ending, mend, reference
from uvshim.images.destination import Tagged
from uvshim.images.layout import Archive, Layer, Layout, docker_archive
from uvshim.messages import counted, printable
from uvshim.uv import process

if TYPE_CHECKING:
    import argparse

    from uvshim.images.mend import Mended, Result
    from uvshim.images.reference import Reference
    from uvshim.messages import Messages

# The exit code where an image cannot be read or written.
FAILED = UvshimError.exit_code

_MB = 1_000_000


class _Done(NamedTuple):
    """What became of the images that one reference names; most often, that is one."""

    name: str
    output: str | None
    results: list[Result]
    digests: list[str | None]
    """Those that the new images have where they are written; None for one with nothing to fix."""
    error: str | None = None

    @property
    def environments(self) -> list[Fixed]:
        """What was done in each environment, on every platform."""
        return [
            each
            for result in self.results
            for mended in result.platforms
            for each in _environments(mended)
        ]

    @property
    def status(self) -> int:
        """The exit code that stands for it."""
        if self.error is not None:
            return FAILED
        return 0 if all(each.complete for each in self.environments) else NOT_RENAMED


def main(names: list[str], options: argparse.Namespace, messages: Messages) -> int:
    """Mend the images called `names`, one after the other; what fails does not stop the others."""
    gc.enable()  # one image after the other goes
    gate = Gate(config.exclusions(process.working_directory()))
    done = []
    for number, (name, output) in enumerate(zip(names, _outputs(names, options), strict=True), 1):
        if len(names) > 1 and options.format == "text":
            messages.note(f"[{number}/{len(names)}] `{printable(name)}`")
        with ending.cleanly():
            done.append(_fix(name, output, gate, dry_run=options.dry_run))
        if done[-1].error is not None:
            messages.error(done[-1].error)
        elif options.format == "text":
            _say(done[-1], messages, dry_run=options.dry_run)
    if options.format == "json":
        sys.stdout.write(_as_json(done, dry_run=options.dry_run))
        sys.stdout.flush()
    codes = {each.status for each in done}
    return FAILED if FAILED in codes else max(codes, default=0)


# --- names ----------------------------------------------------------------------------------------


def _outputs(names: list[str], options: argparse.Namespace) -> list[str | None]:
    """Return where each of the images called `names` goes; None: nowhere, in a dry run.

    Raises `UvshimError`.
    """
    if options.output is None:
        if options.dry_run:
            return [None for _ in names]
        message = (
            "An image is never changed where it lies: `--output` says where the mended one goes. "
            "Example: uvshim fix docker://registry/app:1 --output docker://registry/app:1-mended"
        )
        raise UvshimError(message)
    outputs: list[str | None] = [_output(options.output, name) for name in names]
    if len(set(outputs)) < len(outputs):
        message = (
            "Several images would be written to the same place. `--output` takes a pattern, "
            "as in: --output '{repository}:{tag}-mended'"
        )
        raise UvshimError(message)
    return outputs


def _output(pattern: str, name: str) -> str:
    """Return where the image called `name` goes, by the `pattern` that a person gave."""
    repository, _, tag = name.rpartition(":")
    if "/" in tag or reference.parse(repository) is None:
        repository, tag = name, "latest"
    repository = repository.removesuffix("@sha256")
    return pattern.replace("{repository}", repository).replace("{tag}", tag)


def _check(source: Reference, place: Layout | Archive | Layer, target: Reference) -> None:
    """Raise `ImageError` if what `source` names in `place` cannot go to `target`."""
    number = 1
    if isinstance(place, Layout):
        number = len(place.chosen(_tag(source)))
    elif isinstance(place, Archive):
        number = len(docker_archive(place, source.text, _tag(source)))
    if number > 1 and not destination.holds_several(target):
        message = f"`{source.text}` names {number} images, and `{target.text}` one: add a tag"
        raise ImageError(message)
    if target.tag is None and destination.same_place(source, target):
        message = f"`{target.text}` is where the image comes from: add a tag for the mended one"
        raise ImageError(message)


def _tag(source: Reference) -> str | None:
    return None if source.transport == reference.DIR else source.tag


# --- the work -------------------------------------------------------------------------------------


def _fix(name: str, output: str | None, gate: Gate, *, dry_run: bool) -> _Done:
    """Mend the image called `name`, and write it to `output`."""
    try:
        source = reference.parse(name)
        if source is None:
            message = f"`{name}` is not the name of an image, or does not exist"
            raise ImageError(message)
        target = None if output is None else destination.parse(output)
        with contextlib.ExitStack() as stack:
            place = reference.place(source, stack)
            if target is not None:
                _check(source, place, target)
            results = mend.mend(place, name, _tag(source), gate)
            digests = [each.new and str(each.new.described["digest"]) for each in results]
            new = [
                Tagged(each.new, target.tag or each.tag, each.tag)
                for each in results
                if each.new is not None and target is not None
            ]
            if new and target is not None and not dry_run:
                other = destination.write(target, new)
                digests = [other] if other is not None else digests
    except UvshimError as error:
        return _Done(name, output, [], [], f"`{printable(name)}`: {error}")
    return _Done(name, output, results, digests)


def _environments(mended: Mended) -> list[Fixed]:
    return [Fixed(outcome, report) for outcome, report in mended.repair.environments]


# --- what is said ---------------------------------------------------------------------------------


def _say(done: _Done, messages: Messages, *, dry_run: bool) -> None:
    """Say what was done in one image, what is left in it, and where it is now."""
    told = [each for each in done.environments if each.outcome.renamed or not each.complete]
    if len({each.report.platform for each in told}) > 1:
        told = [_with_platform(each) for each in told]
    for each in told:
        say(each, messages, dry_run=dry_run, among_others=len(told) > 1)
    name = printable(done.name)
    for result, digest in zip(done.results, done.digests, strict=True):
        if digest is None:
            called = f"{name}:{printable(result.tag or '')}" if len(done.results) > 1 else name
            what = "" if dry_run else ": nothing was written"
            messages.note(f"Nothing to fix in `{called}`{what}")
            continue
        size = sum(each.layer.size or 0 for each in result.platforms if each.layer)
        verb = "Would write" if dry_run else "Wrote"
        place = f" `{printable(done.output)}`" if done.output else ""
        layers = counted(sum(each.layer is not None for each in result.platforms), "layer")
        messages.note(f"{verb}{place} ({digest}): {layers} more, {_amount(size)}")
        if result.dropped:
            number = counted(result.dropped, "attestation")
            messages.note(f"Left out {number} of the digests before")
        messages.note("Signatures do not hold for the new digest: sign it again")


def _with_platform(fixed: Fixed) -> Fixed:
    """Return `fixed` with its platform behind the name of its image."""
    report = fixed.report
    return fixed._replace(report=report._replace(image=f"{report.image} ({report.platform})"))


def _amount(size: int) -> str:
    """Return a number of bytes as people say it: ``131 kB``."""
    return f"{size / _MB:.1f} MB" if size >= _MB else f"{max(round(size * 1000 / _MB), 1)} kB"


def _as_json(done: list[_Done], *, dry_run: bool) -> str:
    """Return what was done as JSON. Keys may be added to the schema, never changed."""
    images = [_image_as_json(each, dry_run=dry_run) for each in done]
    return json.dumps({"schema": SCHEMA, "dry_run": dry_run, "images": images}, indent=2) + "\n"


def _image_as_json(done: _Done, *, dry_run: bool) -> dict[str, Any]:
    return {
        "image": done.name,
        "output": done.output,
        "error": done.error,
        "complete": done.status == 0,
        "results": [
            {
                "tag": result.tag,
                "digest_before": result.before,
                "digest": digest,
                "written": digest is not None and not dry_run,
                "attestations_dropped": result.dropped,
                "platforms": [_platform_as_json(each) for each in result.platforms],
            }
            for result, digest in zip(done.results, done.digests, strict=True)
        ],
    }


def _platform_as_json(mended: Mended) -> dict[str, Any]:
    layer = mended.layer
    return {
        "platform": mended.image.platform,
        "digest_before": mended.image.digest,
        "digest": mended.digest,
        "layer": None if layer is None else {"digest": layer.digest, "size": layer.size},
        "environments": [as_json(each) for each in _environments(mended)],
    }
