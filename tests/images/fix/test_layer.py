"""The layer of a fixed image does what `uvshim fix` does in its unpacked root."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, metadata, under
from tests.images.making import Hard, Link, Making, tar
from tests.images.unpacking import members, states, tars, unpacked
from uvshim.check import required
from uvshim.check.report import Gate
from uvshim.environments import discovery
from uvshim.environments.environment import dist_infos
from uvshim.errors import ImageError
from uvshim.images import budget, reference, sources
from uvshim.images.fix import image, layer, names, write
from uvshim.images.layer import changes
from uvshim.rename import on_disk, plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from uvshim.images.fix.image import FixedImage

SITE = "opt/app/lib/python3.12/site-packages"
OLD, NEW = f"{SITE}/oslo_cache-1.0.dist-info", f"{SITE}/oslo.cache-1.0.dist-info"
CACHE = under(SITE, installed("oslo_cache-1.0", "oslo.cache"))
EXCLUDED = Gate([("UVSHIM_EXCLUDE", ["zope.*"])])


def fixed(
    tmp_path: Path, layers: Sequence[bytes], gate: Gate = EXCLUDED
) -> tuple[Path, FixedImage]:
    """Fix an image of `layers`, `old` in a layout that is returned, as `new`."""
    path = tmp_path / "layout"
    making = Making(path)
    making.add(making.manifest(layers), "old")
    named = reference.parse(f"oci:{path}:old")
    assert named is not None
    with sources.opened(named) as (source,):
        result = image.FixedImage(source, gate, for_layout=True)
        if result.changed:
            assert write.write(names.parse(f"oci:{path}:new"), [result]).digest is None
    return path, result


def entry(name: str, content: bytes | None = None, **fields: object) -> tuple[bytes, str]:
    """Return a tar of one entry with the header `fields`, and its name."""
    header = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(header, field, value)
    header.size = len(content or b"")
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as archive:
        archive.addfile(header, io.BytesIO(content or b""))
    return file.getvalue(), name


def record_of(*names: str, directory: str) -> str:
    return "".join(f"{directory}/{name},,\n" for name in [*names, "METADATA", "RECORD"])


MESSES: dict[str, list[Mapping[str, Any]]] = {
    "a normalized name": [CACHE],
    "a name in several layers": [
        under(SITE, installed("oslo_cache-1.0", "oslo.cache", entry_points="[x]\na = b\n")),
        {f"{OLD}/licenses/LICENSE": "Apache", f"{OLD}/INSTALLER": "uv"},
        {f"{OLD}/.wh.entry_points.txt": "", f"{OLD}/INSTALLER": "pip"},
    ],
    "the damage of the snippet": [under(SITE, installed("oslo.cache-info", "oslo.cache"))],
    "a name that would end in a -": [
        under(SITE, installed("XStatic-JQuery.TableSorter-2.1", "XStatic-JQuery.TableSorter"))
    ],
    "a RECORD that was left alone": [
        under(SITE, installed("oslo.cache-1.0", "oslo.cache", record="oslo_cache-1.0"))
    ],
    "a RECORD of no dots that was left alone": [
        under(SITE, installed("oslo_cache-1.0", "oslo_cache", record="oslo-cache-1.0"))
    ],
    "two of one distribution, both wrong": [
        CACHE,
        under(SITE, installed("oslo.cache-info", "oslo.cache")),
    ],
    "two that want the same name": [
        CACHE,
        under(SITE, installed("oslo.cache-1.0", "oslo.cache")),
    ],
    "one whose RECORD names another that is renamed": [
        CACHE,
        under(SITE, installed("oslo_cache-2.0", "oslo.cache", record="oslo_cache-1.0")),
    ],
    "a symbolic link in its place": [
        {key.replace("oslo_cache-1.0.dist-info", "elsewhere"): text for key, text in CACHE.items()},
        {OLD: Link("elsewhere")},
    ],
    "METADATA that is an absolute link": [
        {**CACHE, f"{OLD}/METADATA": Link("/srv/metadata"), "srv/metadata": metadata("oslo.cache")}
    ],
    "RECORD that is an absolute link": [
        {**CACHE, f"{OLD}/RECORD": Link("/srv/list"), "srv/list": CACHE[f"{OLD}/RECORD"]}
    ],
    "no METADATA": [{f"{OLD}/RECORD": record_of(directory="oslo_cache-1.0.dist-info")}],
    "a METADATA of another name": [{**CACHE, f"{OLD}/METADATA": metadata("zope.interface")}],
    "no RECORD": [{f"{OLD}/METADATA": metadata("oslo.cache")}],
    "a RECORD that makes no sense": [{**CACHE, f"{OLD}/RECORD": "a,b\n"}],
    "a RECORD with detours": [
        {**CACHE, f"{OLD}/RECORD": f"../site-packages/{OLD.rpartition('/')[2]}/METADATA,,\n"}
    ],
    "what a killed run has left": [
        {**CACHE, f"{OLD}/RECORD.uvshim": "half", f"{NEW}.uvshim/METADATA": "half"},
    ],
    "what is excluded": [under(SITE, installed("zope_interface-1.0", "zope.interface"))],
    "what pip is removing": [under(SITE, installed("~slo_cache-1.0", "oslo.cache"))],
    "what conda owns": [{**CACHE, f"{OLD}/INSTALLER": "conda\n"}],
    "an empty directory with a dotted name": [{**CACHE, f"{SITE}/zope.event-1.0.dist-info/": ""}],
    "an empty directory with a plain name": [{**CACHE, f"{SITE}/zope_event-1.0.dist-info/": ""}],
    "an empty directory with the new name": [{**CACHE, f"{NEW}/": ""}],
    "a dangling link of the same project": [
        {**CACHE, f"{SITE}/oslo_cache-0.1.dist-info": Link("/nowhere")}
    ],
    "what a link elsewhere leads to": [
        {**CACHE, "usr/lib/python3.11/site-packages/oslo_cache-1.0.dist-info": Link(f"/{OLD}")}
    ],
    "what a file elsewhere leads to": [
        {
            **CACHE,
            "usr/lib/python3.11/site-packages/oslo_cache-1.0.dist-info/METADATA": Link(
                f"/{OLD}/METADATA"
            ),
            "usr/lib/python3.11/site-packages/oslo_cache-1.0.dist-info/RECORD": record_of(
                directory="oslo_cache-1.0.dist-info"
            ),
        }
    ],
    "links in it": [
        {**CACHE, f"{OLD}/a": Link("../x"), f"{OLD}/b": Link("METADATA")},
    ],
    "a name through lib64": [CACHE, {"opt/app/lib64": Link("lib")}],
    "several environments": [
        CACHE,
        under(
            "usr/local/lib/python3.11/dist-packages", installed("zc_lockfile-1.0", "zc.lockfile")
        ),
        {"srv/pyvenv.cfg": "home = /usr/bin\n"},
        under("srv/lib/python3.11/site-packages", installed("zc_lockfile-1.0", "zc.lockfile")),
    ],
}


@pytest.mark.parametrize("mess", MESSES)
def test_the_image_is_fixed_as_its_unpacked_root_would_be(tmp_path: Path, mess: str) -> None:
    layers = [tar(each) for each in MESSES[mess]]
    path, result = fixed(tmp_path, layers)
    root = unpacked(path, "old", tmp_path / "old")
    (root / "usr").mkdir(exist_ok=True)
    (root / "etc").mkdir()
    places = discovery.find(str(root))
    linked = set(discovery.linked(places))
    outcomes = [
        on_disk.rename(
            [
                os.path.join(directory, name)
                for directory in place.on_disk
                for name in dist_infos(os.listdir(directory))
            ],
            lambda name: not EXCLUDED.excludes(name),
            tree=place.tree,
            spellings=required.spellings(place.tree, place.visible),
            linked=linked,
        )
        for place in places
    ]
    (root / "etc").rmdir()
    if not os.listdir(root / "usr"):
        (root / "usr").rmdir()
    ours = [outcome for outcome, _ in result.platforms[0].environments]
    for on_the_disk, in_the_image in zip(outcomes, ours, strict=True):
        assert [
            (each.name, each.version, each.before[len(str(root)) :], each.path[len(str(root)) :])
            for each in on_the_disk.renamed
        ] == [(each.name, each.version, each.before, each.path) for each in in_the_image.renamed]
        assert [
            (each.path[len(str(root)) :], each.reason)
            for each in on_the_disk.left_alone
            if each.reason != plan.TWIN  # the report has these
        ] == [(each.path, each.reason) for each in in_the_image.left_alone]
        assert [(each.path[len(str(root)) :], each.reason) for each in on_the_disk.owned] == [
            (each.path, each.reason) for each in in_the_image.owned
        ]
    tag = "new" if result.changed else "old"
    assert result.changed == any(each.renamed for each in outcomes)
    assert states(unpacked(path, tag, tmp_path / "new")) == states(root)


def test_the_layer_holds_what_is_renamed_and_the_directories_above_it(tmp_path: Path) -> None:
    base = {"opt/": "", "opt/app/": "", f"{SITE}/": "", "opt/other": "x", **CACHE}
    path, _ = fixed(tmp_path, [tar(base)])
    above = [SITE.rsplit("/", number)[0] for number in range(SITE.count("/"), 0, -1)]
    assert [member.name for member in members(tars(path, "new")[-1])] == [
        *above,
        SITE,
        f"{SITE}/.wh.oslo_cache-1.0.dist-info",
        NEW,
        f"{NEW}/METADATA",
        f"{NEW}/RECORD",
    ]


def test_where_only_record_is_wrong_the_layer_holds_nothing_but_record(tmp_path: Path) -> None:
    stale = under(SITE, installed("oslo.cache-1.0", "oslo.cache", record="oslo_cache-1.0"))
    path, _ = fixed(tmp_path, [tar(stale)])
    files = [member.name for member in members(tars(path, "new")[-1]) if not member.isdir()]
    assert files == [f"{NEW}/RECORD"]


def test_whatever_the_headers_say_is_kept(tmp_path: Path) -> None:
    attributes = {
        "mtime": "1700000000.123456789",
        "SCHILY.xattr.user.note": "a\udcff",
        "SCHILY.xattr.security.capability": "\x01\x00\udc80",
    }
    parts = [
        entry("opt/app", type=tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8, mtime=5),
        entry(OLD, type=tarfile.DIRTYPE, mode=0o700, uid=1000, gid=1001, mtime=77, uname="web"),
        entry(f"{OLD}/note", b"x", mode=0o4640, uid=1000, gid=3_000_000, pax_headers=attributes),
        entry(f"{OLD}/RECORD", str(CACHE[f"{OLD}/RECORD"]).encode(), mode=0o600, uid=9, mtime=99),
        entry(f"{OLD}/{'long' * 50}/{'é' * 30}", b"long", mtime=-1),
    ]
    path, _ = fixed(tmp_path, [tar(CACHE), *(content for content, _ in parts)])
    found = {member.name: member for member in members(tars(path, "new")[-1])}
    for content, name in parts:
        (before,) = members(content)
        after = found[name.replace(OLD, NEW)]
        for field in ("mode", "uid", "gid", "mtime", "uname", "gname", "type"):
            assert getattr(after, field) == getattr(before, field), (name, field)
        assert extended(after) == extended(before)


def extended(header: tarfile.TarInfo) -> dict[str, str]:
    """Return what the extended header says of more than this one entry's name."""
    own = {"path", "hdrcharset"}
    return {key: value for key, value in header.pax_headers.items() if key not in own}


def test_a_link_to_an_absolute_path_is_followed_in_the_image(tmp_path: Path) -> None:
    linked = {**CACHE, f"{OLD}/METADATA": Link("/srv/one"), "srv/one": metadata("oslo.cache")}
    path, _ = fixed(tmp_path, [tar(linked)])
    root = unpacked(path, "new", tmp_path / "new")
    assert os.readlink(root / NEW / "METADATA") == "/srv/one"


def test_attributes_of_overlayfs_are_not_copied(tmp_path: Path) -> None:
    """A copy of `opaque` would hide everything that lower layers have in the directory."""
    overlay = {
        f"{kind}.xattr.{space}.overlay.{name}": "y"
        for kind in ("SCHILY", "LIBARCHIVE")
        for space, name in (("trusted", "opaque"), ("user", "opaque"), ("trusted", "redirect"))
    }
    kept = {"SCHILY.xattr.user.overlay": "1", "SCHILY.xattr.user.x": "2"}
    directories = ["opt", SITE, OLD]
    parts = [
        entry(name, type=tarfile.DIRTYPE, mode=0o755, pax_headers={**overlay, **kept})[0]
        for name in directories
    ]
    path, _ = fixed(tmp_path, [tar(CACHE), *parts])
    found = {member.name: member for member in members(tars(path, "new")[-1])}
    for name in directories:
        assert extended(found[name.replace(OLD, NEW)]) == kept


def test_many_files_are_bounded_in_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "_LIMIT", 10_000)
    files = {f"{OLD}/sbom{number}": "x" * 3_000 for number in range(4)}
    _, result = fixed(tmp_path, [tar({**CACHE, **files})])
    ((outcome, _),) = result.platforms[0].environments
    assert [each.reason for each in outcome.left_alone] == ["its files have more than 0 MiB"]


def test_all_directories_are_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "_LONGEST_LAYER", 15_000)
    names = ("a.b", "c.d", "e.f")
    infos = {name: under(SITE, installed(f"{name.replace('.', '_')}-1.0", name)) for name in names}
    files: dict[str, Any] = {}
    for name, info in infos.items():
        files |= info | {f"{SITE}/{name.replace('.', '_')}-1.0.dist-info/sbom": "x" * 4_000}
    _, result = fixed(tmp_path, [tar(files)])
    ((outcome, _),) = result.platforms[0].environments
    assert [each.name for each in outcome.renamed] == ["a.b", "c.d"]
    assert [each.reason for each in outcome.left_alone] == [
        "the new layers would have more than 0 MiB"
    ]


def test_one_that_is_too_large_leaves_room_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "_LONGEST_LAYER", 15_000)
    long = {f"{SITE}/a_b-1.0.dist-info/sbom": "x" * 15_000}
    infos = (installed("a_b-1.0", "a.b"), installed("c_d-1.0", "c.d"))
    _, result = fixed(tmp_path, [tar({**under(SITE, *infos), **long})])
    ((outcome, _),) = result.platforms[0].environments
    assert [each.name for each in outcome.renamed] == ["c.d"]
    assert len(outcome.left_alone) == 1


def test_a_deep_directory_is_copied(tmp_path: Path) -> None:
    deep = f"{OLD}/" + "a/" * 1_500
    path, result = fixed(tmp_path, [tar({**CACHE, deep: ""}, form=tarfile.PAX_FORMAT)])
    assert result.changed
    names = [one.name for one in members(tars(path, "new")[-1])]
    assert f"{NEW}/" + "/".join(["a"] * 1_500) in names


@pytest.mark.parametrize(
    "fields", [{"SCHILY.xattr.user.x": "y" * 50_000}, {"SCHILY.xattr.user." + "x" * 50_000: "y"}]
)
def test_long_headers_are_not_kept_but_copied(
    fields: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of directories that are above nothing are not even read again."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in [*(f"d{number}" for number in range(100)), "opt"]:
            header = tarfile.TarInfo(name)
            header.type, header.pax_headers = tarfile.DIRTYPE, fields
            archive.addfile(header)
    monkeypatch.setattr(budget, "MEMORY", 4_000_000)
    path, _ = fixed(tmp_path, [file.getvalue(), tar(CACHE)])
    (above,) = [one for one in members(tars(path, "new")[-1]) if one.name == "opt"]
    assert fields.items() <= above.pax_headers.items()


def test_a_hard_link_becomes_a_file_wherever_its_content_is(tmp_path: Path) -> None:
    content = CACHE[f"{OLD}/METADATA"]
    cache = {"root/.cache/uv/blob": content, "root/.cache/licence": "L" * 3_000_000}
    linked = {
        **CACHE,
        f"{OLD}/METADATA": Hard("root/.cache/uv/blob"),
        f"{OLD}/LICENSE": Hard("root/.cache/licence"),
    }
    path, _ = fixed(tmp_path, [tar(cache), tar(linked)])
    root = unpacked(path, "new", tmp_path / "new")
    assert (root / NEW / "METADATA").read_text() == content
    assert (root / NEW / "LICENSE").read_bytes() == b"L" * 3_000_000
    assert all(not member.islnk() for member in members(tars(path, "new")[-1]))


def test_a_directory_that_no_layer_describes_gets_the_time_of_the_image(tmp_path: Path) -> None:
    path, _ = fixed(tmp_path, [tar({f"{SITE}/": "", **CACHE})])
    found = {member.name: member for member in members(tars(path, "new")[-1])}
    assert (found["opt"].mode, found["opt"].uid, found["opt"].mtime) == (0o755, 0, 0)


def test_a_file_too_long_to_be_held_leaves_its_directory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "_LIMIT", 10_000)
    path, result = fixed(tmp_path, [tar({**CACHE, f"{OLD}/sbom": "x" * 10_001})])
    ((outcome, _),) = result.platforms[0].environments
    assert [each.reason for each in outcome.left_alone] == ["its files have more than 0 MiB"]
    assert not result.changed
    assert len(list((path / "blobs" / "sha256").iterdir())) == 3


def test_a_record_too_long_to_be_kept_leaves_its_directory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = str(CACHE[f"{OLD}/RECORD"])
    monkeypatch.setitem(changes._METADATA_FILES, "RECORD", len(rows))
    monkeypatch.setattr(changes, "_FOR_COPY", 1)
    tars = [tar({**CACHE, f"{OLD}/RECORD": f"{rows}z,,\n"})]
    _, result = fixed(tmp_path / "again", tars)  # it is read again
    ((outcome, _),) = result.platforms[0].environments
    assert (len(outcome.renamed), outcome.left_alone) == (1, [])
    monkeypatch.setattr(layer, "_LIMIT", len(rows))
    _, result = fixed(tmp_path / "long", tars)
    ((outcome, _),) = result.platforms[0].environments
    assert [each.reason for each in outcome.left_alone] == ["its RECORD is too long"]


@pytest.mark.skipif(not shutil.which("tar"), reason="there is no tar here")
def test_a_sparse_file_in_a_directory_to_copy_is_an_error(tmp_path: Path) -> None:
    holes = tmp_path / "root" / OLD / "holes"
    holes.parent.mkdir(parents=True)
    with holes.open("wb") as file:
        file.seek(2_000_000)
        file.write(b"end")
    for form in ("gnu", "posix"):
        command = ["tar", "-C", str(tmp_path / "root"), "-S", f"--format={form}", "-cf", "-", OLD]
        sparse = subprocess.run(command, check=True, capture_output=True).stdout
        assert len(sparse) < 100_000
        with pytest.raises(ImageError, match="has a sparse file"):
            fixed(tmp_path / form, [tar(CACHE), sparse])


def test_a_long_file_is_read_once_more(tmp_path: Path) -> None:
    path, _ = fixed(tmp_path, [tar({**CACHE, f"{OLD}/sbom": "x" * 2_000_000})])
    assert (unpacked(path, "new", tmp_path / "new") / NEW / "sbom").stat().st_size == 2_000_000


def test_a_damaged_header_is_an_error(tmp_path: Path) -> None:
    content = bytearray(tar({f"{OLD}/METADATA": CACHE[f"{OLD}/METADATA"]}))
    content[100:107] = b"garbage"  # the mode
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    rest = tar({f"{OLD}/RECORD": CACHE[f"{OLD}/RECORD"]})
    with pytest.raises(ImageError, match=r"damaged header|not a tar that can be read"):
        fixed(tmp_path, [bytes(content), rest])


def test_a_layer_that_is_in_an_image_twice_is_no_trouble(tmp_path: Path) -> None:
    path, result = fixed(tmp_path, [tar(CACHE), tar({"a": ""}), tar(CACHE)])
    assert [each.name for each in result.platforms[0].environments[0][0].renamed] == ["oslo.cache"]
    names = os.listdir(unpacked(path, "new", tmp_path / "new") / SITE)
    assert sorted(names) == ["module_of_oslo_cache_1_0.py", "oslo.cache-1.0.dist-info"]
