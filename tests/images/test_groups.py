from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.images.making import Making, layout, oci_archive, plain, tar
from uvshim.images import groups, reference

if TYPE_CHECKING:
    from pathlib import Path

    from uvshim.images.reference import Reference

BASE = tar({"base": random.Random(0).randbytes(1_000_000)})
LITTLE = [tar({f"file{number}": ""}) for number in range(40)]
MUCH = [tar({f"file{number}": random.Random(number).randbytes(500_000)}) for number in range(4)]


def named(making: Making, *tags: str) -> list[Reference | str]:
    return [reference.parse(f"oci:{making.path}:{tag}") or "" for tag in tags]


def test_images_that_differ_in_little_are_together(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    for number, own in enumerate(LITTLE[:3]):
        making.add(making.manifest([BASE, own], plain), f"little{number}")
    for number, own in enumerate(MUCH[:2]):
        making.add(making.manifest([BASE, own], plain), f"much{number}")
    one, other, two, another, three = named(
        making, "little0", "much0", "little1", "much1", "little2"
    )
    found = groups.of([one, other, two, another, three])
    assert found == [[one, two, three], [other], [another]]


def test_no_group_keeps_others_waiting_for_long(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    for number, own in enumerate(LITTLE):
        making.add(making.manifest([BASE, own], plain), str(number))
    images = named(making, *map(str, range(40)))
    assert groups.of(images) == [images[:16], images[16:32], images[32:]]


def test_nothing_is_copied_or_decompressed_to_know(tmp_path: Path) -> None:
    archive = oci_archive(layout(tmp_path / "x", [BASE]), tmp_path / "x.tar")
    making = Making(tmp_path / "y")
    making.index(b"damaged")
    making.add(making.manifest([BASE]), "1")
    images: list[Reference | str] = [
        *(reference.parse(text) or "" for text in (str(archive), f"oci:{making.path}:2")),
        *(reference.parse("docker://no.example/x") or "" for _ in range(2)),
        "nothing",
        "nothing",
    ]
    assert groups.of(images) == [[one] for one in images]
