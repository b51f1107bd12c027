"""The part of `uvshim fix` that fixes container images: it adds one layer to each."""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim import config
from uvshim.check.report import Gate
from uvshim.commands import fix_report
from uvshim.commands.fix_report import Fixed
from uvshim.errors import NOT_RENAMED, ImageError, UvshimError
from uvshim.images import ending, reference, sources
from uvshim.images.fix import image as fixing
from uvshim.images.fix import layer as new_layer
from uvshim.images.fix import names, write
from uvshim.messages import counted, printable
from uvshim.uv import process

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from uvshim.images.fix.image import FixedImage, FixedPlatform
    from uvshim.messages import Messages

# The exit code if an image cannot be read or written.
FAILED = UvshimError.exit_code

# Docker refuses images with more layers.
_MOST_LAYERS = 125

_MB = 1_000_000

# What may follow the name and the tag of an image.
_DIGEST = re.compile(r"@sha\d+:([0-9a-f]+)$")


class _Done(NamedTuple):
    """The result for the images that one reference names, usually one."""

    name: str
    output: str | None
    images: list[FixedImage]
    digests: list[str]
    """The digests of the written images."""
    outputs: Sequence[str | None]
    """Where each of them was or would be written; None without `output`."""
    absent: list[str]
    """The images that were not fixed because their files are missing."""
    error: str | None = None

    @property
    def environments(self) -> list[Fixed]:
        """The result for each environment, on every platform."""
        return [each for image in self.images for each in _environments(image)]

    @property
    def status(self) -> int:
        """The exit code."""
        if self.error is not None:
            return FAILED
        return 0 if all(each.complete for each in self.environments) else NOT_RENAMED


def _environments(image: FixedImage) -> list[Fixed]:
    return [Fixed(*each) for platform in image.platforms for each in platform.environments]


def main(names: list[str], options: argparse.Namespace, messages: Messages) -> int:
    """Fix the images called `names` in turn; a failure does not stop the others."""
    gc.enable()  # images are examined one at a time
    gate = Gate(config.exclusions(process.working_directory()))
    done = []
    for number, (name, output) in enumerate(zip(names, _outputs(names, options), strict=True), 1):
        if len(names) > 1 and options.format == "text":
            messages.note(f"[{number}/{len(names)}] `{printable(name)}`")
        with ending.cleanly():
            try:
                done.append(_fixed(name, output, gate, options, messages))
            # Whatever is in one image, it must not stop the others.
            except Exception as error:  # noqa: BLE001
                done.append(_Done(name, output, [], [], [], [], _reason(name, error)))
        if done[-1].error is not None:
            messages.error(done[-1].error)
        elif options.format == "text":
            _say(done[-1], messages, dry_run=options.dry_run)
    if options.format == "json":
        results = [_as_json(each, dry_run=options.dry_run) for each in done]
        fix_report.write_json(options, images=results)
    codes = {each.status for each in done}
    return FAILED if FAILED in codes else max(codes, default=0)


def _outputs(images: list[str], options: argparse.Namespace) -> list[str | None]:
    """Return where each of `images` goes; None in a dry run without --output."""
    if options.output is None:
        if options.dry_run:
            return [None] * len(images)
        raise UvshimError(
            "An image is not changed in place: name a place for the fixed one with --output. "
            "Example: --output docker://registry/app:1-fixed"
        )
    outputs: list[str | None] = []
    taken: dict[str, str] = {}
    for name in images:
        output = _output(options.output, name)
        outputs.append(output)
        other = taken.setdefault(output, name)
        if other != name and not re.fullmatch(r"oci:[^:]+", options.output):
            both = f"`{printable(other)}` and `{printable(name)}`"
            raise UvshimError(
                f"{both} would be written to the same place: `{printable(output)}`. `--output` can "
                "be a pattern, as in: --output '{repository}:{tag}-fixed'"
            )
    return outputs


def _output(pattern: str, name: str) -> str:
    """Return where the image `name` is written, by the `pattern` in --output."""
    digest = _DIGEST.search(name)
    name = name[: digest.start()] if digest else name
    repository, _, tag = name.rpartition(":")
    if "/" in tag or reference.parse(repository) is None:
        repository, tag = name, digest[1] if digest else "latest"
    return pattern.replace("{repository}", repository).replace("{tag}", tag)


def _reason(name: str, error: Exception) -> str:
    """Return the message for the `error` that came up in the images called `name`."""
    reason = str(error) if isinstance(error, UvshimError) else f"{type(error).__name__}: {error}"
    called = f"`{printable(name)}`"
    return reason if called in reason else f"{called}: {reason}"


def _fixed(
    name: str, output: str | None, gate: Gate, options: argparse.Namespace, messages: Messages
) -> _Done:
    """Fix the images called `name`, and write them to `output`. Raise `UvshimError`."""
    source = reference.parse(name)
    if source is None:
        raise ImageError(f"`{name}` does not exist, or is not the name of an image")
    target = None if output is None else names.parse(output)
    if target is not None:
        write.prepare(target)
    with sources.opened(source, options.platform) as entries:
        absent = [sources.named(one) for entry in entries for one in entry.lacking]
        chosen = [entry for entry in entries if next(entry.images, None)]
        if target and len(chosen) > 1 and not names.holds_several(target):
            raise ImageError(
                f"`{source.text}` names {len(chosen)} images, and `{target.text}` one. "
                f"Name one of them, such as `{chosen[0].reference}`"
            )
        for_layout = target is not None and target.transport in names.LAYOUTS
        store = new_layer.store()
        images = [
            fixing.FixedImage(entry, gate, for_layout=for_layout, store=store) for entry in chosen
        ]
        digests = [image.digest for image in images]
        outputs: list[str | None] = [
            names.completed(target, image) if target else None for image in images
        ]
        if target and not options.dry_run:
            said = "Waiting for another uvshim: `{}`"
            done = write.write(target, images, lambda path: messages.note(said.format(path)))
            digests = [done.digest] if done.digest else digests
            if done.tags and target.tag is None:  # another image had the usual tag
                outputs = [f"{target.transport}:{target.path}:{tag}" for tag in done.tags]
        output = outputs[0] if len(outputs) == 1 else output
    return _Done(name, output, images, digests, outputs, absent)


# --- the report -----------------------------------------------------------------------------------


def _say(done: _Done, messages: Messages, *, dry_run: bool) -> None:
    """Report what was done in one image, what is left, and where it was written."""
    reported = [
        each
        for each in done.environments
        if each.outcome.renamed or each.owned or not each.complete
    ]
    if len({each.report.platform for each in reported}) > 1:
        reported = [_with_platform(each) for each in reported]
    for each in reported:
        fix_report.say(each, messages, dry_run=dry_run, among_others=len(reported) > 1)
    for one in done.absent:
        messages.warning(f"{printable(one)} was skipped: its files are missing")
    for image, digest, output in zip(done.images, done.digests, done.outputs, strict=True):
        place = f" `{printable(output)}`" if output else ""
        called = done.name if len(done.images) == 1 else image.entry.reference
        if not image.changed:
            how = "unchanged " if digest == names.before(image) else ""
            copied = f": wrote it {how}to{place} ({digest})" if place and not dry_run else ""
            complete = all(each.complete for each in _environments(image))
            what = "Nothing to fix" if complete else "Nothing was renamed"
            messages.note(f"{what} in `{printable(called)}`{copied}")
            continue
        new = [each.layer for each in image.platforms if each.layer]
        verb = "Would write" if dry_run else "Wrote"
        size = _amount(sum(layer.size or 0 for layer in new))
        messages.note(f"{verb}{place} ({digest}): {counted(len(new), 'layer')} added, {size}")
        if image.dropped:
            messages.note(f"Dropped {counted(image.dropped, 'attestation')} of the old digest")
        messages.note("Existing signatures do not cover the new digest: sign the image again")
        if any(len(each.layers) > _MOST_LAYERS for each in image.platforms):
            most = f"more than {_MOST_LAYERS} layers"
            messages.warning(f"The image has {most} now; Docker cannot load it")


def _with_platform(fixed: Fixed) -> Fixed:
    report = fixed.report
    return fixed._replace(report=report._replace(image=f"{report.image} ({report.platform})"))


def _amount(size: int) -> str:
    return f"{size / _MB:.1f} MB" if size >= _MB else f"{max(round(size * 1000 / _MB), 1)} kB"


def _as_json(done: _Done, *, dry_run: bool) -> dict[str, Any]:
    written = done.output is not None and not dry_run
    return {
        "image": done.name,
        "output": done.output,
        "error": done.error,
        "complete": done.status == 0,
        "absent": done.absent,
        "results": [
            {
                "tag": image.entry.tag,
                "output": output,
                "digest_before": names.before(image),
                "digest": digest if image.changed or written else None,
                "written": written,
                "attestations_dropped": image.dropped,
                "platforms": [_platform_as_json(each) for each in image.platforms],
            }
            for image, digest, output in zip(done.images, done.digests, done.outputs, strict=True)
        ],
    }


def _platform_as_json(done: FixedPlatform) -> dict[str, Any]:
    layer = done.layer
    return {
        "platform": str(done.image.platform) if done.image.platform else None,
        "digest_before": done.image.digest,
        "digest": done.digest if layer else None,
        "layer": None if layer is None else {"digest": layer.digest, "size": layer.size},
        "environments": [fix_report.as_json(Fixed(*each)) for each in done.environments],
    }
