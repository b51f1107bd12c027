"""Hostile images: a clear error or the right answer, with bounded resources."""

from __future__ import annotations

import hashlib
import importlib
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from isal import isal_zlib

from tests.corpus import installed, metadata, under
from tests.images.making import OCI, Link, Making, layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SITE = "opt/app/lib/python3.11/site-packages"
BASE: dict[str, Any] = {
    **under(SITE, installed("setuptools-75.8.0", "setuptools")),
    **under(SITE, installed("a_b-1.0", "a.b")),
    "opt/app/pyvenv.cfg": "home = /usr/bin\n",
}
INFO = f"{SITE}/x_y-1.0.dist-info"

# What each may take: address space, processor time, and memory. Of the latter 25 MB are Python's and
# the modules'; a hostile input would need more if it were read completely.
_SPACE = 4 << 30
_SECONDS = 20
_MEMORY = 64 << 20
_MEMORY_FOR = {
    "20,000 distributions": 100 << 20,
    "3,000 hidden distributions": 120 << 20,
    "15,000 interrupted installs": 100 << 20,
    "100,000 files": 150 << 20,
    "RECORD of 300 MB": 250 << 20,
    "a megabyte of metadata in each of 200 distributions": 200 << 20,
    "90,000 requirements": 160 << 20,
    "90,000 requirements of eggs": 160 << 20,
    "600,000 entry points": 160 << 20,
    "15,000 extras of 15,000 requirements": 160 << 20,
    "600,000 entry points behind form feeds": 160 << 20,
    "requirements of a megabyte": 400 << 20,
    "a long row with many links": 400 << 20,
    "1,000 environments that inherit 300 distributions": 200 << 20,
    "RECORDs of 700,000 rows": 160 << 20,
    "a RECORD with many links": 160 << 20,
    "60,000 lines in .pth files": 160 << 20,
}


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def empty_file(number: int) -> bytes:
    """Return the header of one of many files, quicker than tarfile does."""
    block = bytearray(_EMPTY)
    block[:13] = b"d%03d/f%07d" % (number % 999, number)
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    return bytes(block)


def filled(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def entry(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(content), kind) + filled(content)


def long(
    name: str, piece: bytes, times: int, kind: bytes = tarfile.REGTYPE, *, begin: bytes = b""
) -> Iterator[bytes]:
    """Yield the pieces of a file that consists of `begin` and then of one piece over and over."""
    size = len(begin) + len(piece) * times
    yield header(name, size, kind) + begin
    yield from itertools.repeat(piece, times)
    yield bytes(-size % 512)


def pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return entry("pax", records, kind)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body)
    while len(str(length).encode() + body) != length:
        length = len(str(length).encode() + body)
    return str(length).encode() + body


def old_gnu_sparse(chained: int) -> bytes:
    """Return a sparse file whose map goes on for `chained` blocks."""
    info = bytearray(header("s.pth", 0, tarfile.GNUTYPE_SPARSE))
    info[386:482] = b"00000000000\0" * 8
    info[482] = 1
    info[483:495] = b"77777777777\0"
    info[148:156] = b" " * 8
    info[148:156] = b"%06o\0 " % sum(info)
    block = b"00000000000\0" * 42 + b"\1" + bytes(7)
    return bytes(info) + block * chained


def many_distributions(count: int) -> Iterator[bytes]:
    text = metadata("x.y")
    for number in range(count):
        yield entry(f"{SITE}/x_y{number}-1.0.dist-info/METADATA", text.encode())


def many_hidden_distributions() -> bytes:
    """Each has an older version in front of it, and each is required by another distribution."""
    setuptools = {"setuptools/__init__.py": "", "pkg_resources/__init__.py": ""}
    files = under(SITE, installed("setuptools-80.9.0", "setuptools"), setuptools)
    for one in range(3_000):
        older = under("setuptools/_vendor", installed(f"a.b{one}-1.0", f"a.b{one}"))
        needs = installed(f"r{one}-1.0", f"r{one}", [f"a.b{one}>=2"])
        files.update(under(SITE, older, installed(f"a_b{one}-2.0", f"a.b{one}"), needs))
    return tar(files)


def links_through_links() -> bytes:
    """Forty links, each with a long target that goes through the next one."""
    detour = "/".join(["a", ".."] * 800)
    chain = {f"l{n}": Link(f"{detour}/l{n + 1}") for n in range(39)}
    rows = "".join(f"../../../../../l0/{n},,\n" for n in range(20_000))
    return tar(
        {"a/": "", **chain, f"{INFO}/METADATA": metadata("x.y"), f"{INFO}/RECORD": rows},
        form=tarfile.PAX_FORMAT,
    )


def each_with(name: str, number: int, content: str) -> Iterator[bytes]:
    """Yield `number` distributions with a file `name` that has the `content`, in which # differs."""
    suffix = "egg-info" if name == "requires.txt" else "dist-info"
    for one in range(number):
        at = f"{SITE}/x{one}.y-1.0.{suffix}"
        header = metadata(f"x{one}.y").partition("\n\n")[0] + "\n"
        whole = {"PKG-INFO": header, "METADATA": header}
        whole[name] = whole.get(name, "") + content.replace("#", str(one))
        yield from (entry(f"{at}/{each}", text.encode()) for each, text in whole.items())


def a_record_with_many_links() -> Iterator[bytes]:
    yield entry(f"{SITE}/record", b"x,,\n" * 2_000_000)
    for number in range(30):
        at = f"{SITE}/x{number}.y-1.0.dist-info"
        yield entry(f"{at}/METADATA", metadata(f"x{number}.y").encode())
        link = tarfile.TarInfo(f"{at}/RECORD")
        link.type, link.linkname = tarfile.LNKTYPE, f"{SITE}/record"
        yield link.tobuf(tarfile.PAX_FORMAT)


def a_long_row_with_many_links() -> Iterator[bytes]:
    row = b"\xff" * 1_000_000 + b".py,,\n"
    yield entry(f"{SITE}/x_y-1.0.dist-info/RECORD", row)
    for number in range(1_000):
        at = f"{SITE}/x{number}.y-1.0.dist-info"
        yield entry(f"{at}/METADATA", metadata(f"x{number}.y").encode())
        link = tarfile.TarInfo(f"{at}/RECORD")
        link.type, link.linkname = tarfile.LNKTYPE, f"{SITE}/x_y-1.0.dist-info/RECORD"
        yield link.tobuf(tarfile.PAX_FORMAT)


def many_environments_that_inherit() -> Iterator[bytes]:
    base = "usr/lib/python3.11"
    yield entry(f"{base}/os.py", b"")
    for number in range(300):
        at = f"{base}/site-packages/x{number}.y-1.0.dist-info"
        yield entry(f"{at}/METADATA", metadata(f"x{number}.y").encode())
    for number in range(1_000):
        settings = b"home = /usr/bin\nversion = 3.11.2\ninclude-system-site-packages = true\n"
        yield entry(f"srv/v{number}/pyvenv.cfg", settings)
        yield header(f"srv/v{number}/lib/python3.11/site-packages/", 0, tarfile.DIRTYPE)


def many_lines_in_pth_files() -> Iterator[bytes]:
    for begin in range(0, 60_000, 8_000):
        named = "".join(f"d{number}\n" for number in range(begin, begin + 8_000))
        yield entry(f"{SITE}/p{begin}.pth", named.encode())
    for number in range(60_000):
        yield header(f"{SITE}/d{number}/", 0, tarfile.DIRTYPE)


def many_directories_of_one_project() -> Iterator[bytes]:
    for number in range(4_000):
        yield entry(f"{SITE}/x_y-{number}.dist-info/METADATA", metadata("x.y").encode())


def lines(form: str, number: int) -> str:
    return "".join(form % one for one in range(number))


def opaque_over_and_over() -> bytes:
    files = b"".join(entry(f"d/e/{n}", b"") for n in range(20_000))
    return files + (entry("d/e/.wh..wh..opq", b"") + entry("d/.wh.e", b"")) * 10_000


_EMPTY = header("d000/f0000000")

MEGABYTE = bytes(1_000_000)

# Layers on BASE by description, with the expected error; None: no error.
LAYERS: dict[str, tuple[Callable[[], bytes | Iterator[bytes]], str | None]] = {
    "400 MB of zeros": (lambda: itertools.repeat(MEGABYTE, 400), None),
    "a file of 400 MB": (lambda: long("zeros", MEGABYTE, 400), None),
    "METADATA of 300 MB": (
        lambda: long(f"{INFO}/METADATA", b"x" * 1_000_000, 300, begin=metadata("x.y").encode()),
        None,
    ),
    "RECORD of 300 MB": (
        lambda: itertools.chain(
            [entry(f"{INFO}/METADATA", metadata("x.y").encode())],
            long(f"{INFO}/RECORD", b"code.py,,\n" * 100_000, 300),
        ),
        "parts in its paths, links and requirements",
    ),
    "a .pth of 300 MB": (lambda: long(f"{SITE}/x.pth", b"/no\n" * 250_000, 300), None),
    "100,000 files": (lambda: b"".join(map(empty_file, range(100_000))), None),
    "a megabyte of metadata in each of 200 distributions": (
        lambda: (
            entry(
                f"{SITE}/x{n}-1.0.dist-info/METADATA", metadata("x.y").encode() + b" " * 1_100_000
            )
            for n in range(200)
        ),
        "bytes of metadata",
    ),
    "90,000 requirements": (
        lambda: each_with("METADATA", 3, lines("Requires-Dist: a.b>0.#.%s\n", 30_000)),
        "parts in its paths, links and requirements",
    ),
    "90,000 requirements of eggs": (
        lambda: each_with("requires.txt", 3, lines("a.b>0.#.%s\n", 30_000)),
        "parts in its paths, links and requirements",
    ),
    "600,000 entry points": (
        lambda: each_with("entry_points.txt", 10, "[g]\n" + lines("e#.%s=a:b\n", 60_000)),
        "parts in its paths, links and requirements",
    ),
    "600,000 entry points behind form feeds": (
        lambda: each_with("entry_points.txt", 10, "[g]\n" + lines("e#.%s=a:b\f", 60_000)),
        "parts in its paths, links and requirements",
    ),
    "requirements of a megabyte": (
        lambda: each_with("METADATA", 20, f"Requires-Dist: q {lines('>=1.#.%s,', 80_000)}>=1\n"),
        "parts in its paths, links and requirements",
    ),
    "RECORDs of 700,000 rows": (
        lambda: each_with("RECORD", 6, "#,,\n" + lines("%x,,\n", 700_000)),
        "parts in its paths, links and requirements",
    ),
    "a RECORD with many links": (
        a_record_with_many_links,
        "parts in its paths, links and requirements",
    ),
    "a long row with many links": (
        a_long_row_with_many_links,
        "bytes of metadata, names and links",
    ),
    "1,000 environments that inherit 300 distributions": (
        many_environments_that_inherit,
        "parts in its paths, links and requirements",
    ),
    "60,000 lines in .pth files": (many_lines_in_pth_files, None),
    "3,000 hidden distributions": (many_hidden_distributions, None),
    "15,000 interrupted installs": (
        lambda: b"".join(entry(f"{SITE}/a.b{n}-1.0.dist-info/RECORD", b"") for n in range(15_000)),
        None,
    ),
    "4,000 directories of one project": (many_directories_of_one_project, None),
    "15,000 extras of 15,000 requirements": (
        lambda: each_with(
            "METADATA",
            1,
            lines("Provides-Extra: e%s\n", 15_000)
            + lines("Requires-Dist: q; extra=='e%s'\n", 15_000),
        ),
        "parts in its paths, links and requirements",
    ),
    "20,000 distributions": (lambda: b"".join(many_distributions(20_000)), None),
    "a long name": (lambda: entry("n" * 80_000_000, b"", tarfile.GNUTYPE_LONGNAME), "too long"),
    "a name of 300 MB": (
        lambda: long("././@LongLink", b"n" * 1_000_000, 300, tarfile.GNUTYPE_LONGNAME),
        "headers is too long",
    ),
    "extended headers of 300 MB": (
        lambda: long("pax", record("comment", b"x" * 1_000_000), 300, tarfile.XHDTYPE),
        "headers is too long",
    ),
    "10,000 extended headers in a row": (
        lambda: pax(record("comment", b"x")) * 10_000 + entry("f", b""),
        None,
    ),
    "10,000 global headers": (
        lambda: b"".join(
            pax(record(f"c{n}", b"x" * 1000), tarfile.XGLTYPE) + entry("f", b"")
            for n in range(10_000)
        ),
        None,
    ),
    "a sparse map without an end": (lambda: old_gnu_sparse(200_000), "headers is too long"),
    "a sparse file of 8 GB": (lambda: old_gnu_sparse(0), ""),
    "a sparse map of pax without an end": (
        lambda: (
            pax(record("GNU.sparse.major", b"1") + record("GNU.sparse.minor", b"0"))
            + entry("s.pth", b"999999999\n" + b"1\n" * 20_000_000)
        ),
        "has a sparse file, `s.pth`",
    ),
    "a negative size": (
        lambda: pax(record("size", b"-1000")) + entry("f", b""),
        "",
    ),
    "an invalid size": (lambda: pax(record("size", b"x")) + entry("f", b""), ""),
    "an invalid path": (lambda: pax(record("path", b"a\0b")) + entry("f", b""), ""),
    "a path of 5,000": (
        lambda: pax(record("path", b"a/" * 2500)) + entry("f", b""),
        "invalid path",
    ),
    "names that are not UTF-8": (
        lambda: entry(
            os.fsdecode(f"{SITE}/".encode() + b"\xff\xfe-1.0.dist-info/METADATA"), b"\xff"
        ),
        None,
    ),
    "whiteouts of nothing": (
        lambda: tar(
            dict.fromkeys([".wh.no", "no/.wh.no", ".wh.", ".wh..", ".wh...", "no/.wh..wh..opq"], "")
        ),
        None,
    ),
    "the whiteout of the root": (lambda: tar({".wh..": "", "x/.wh...": ""}), None),
    "loops of links": (
        lambda: tar(
            {f"{SITE}2": Link(f"{SITE}2"), "a": Link("b"), "b": Link("/a"), INFO: Link(INFO)}
        ),
        None,
    ),
    "links through links": (links_through_links, ""),
    "the same whiteouts over and over": (opaque_over_and_over, None),
    "noise": (lambda: random.Random(0).randbytes(1_000_000), "is not a tar that can be read"),
    "noise after a header": (
        lambda: header("f", 1 << 33) + random.Random(0).randbytes(1_000_000),
        "is not a tar that can be read",
    ),
    "deep directories": (lambda: pax(record("path", b"a/" * 2047)) + entry("f", b""), None),
}


# Runs a command with limits, and prints its peak memory. A process starts with the peak of the
# one that started it, which is small here.
BOUNDED = """
import os, resource, sys
for kind, limit in ((resource.RLIMIT_AS, {space}), (resource.RLIMIT_CPU, {seconds})):
    resource.setrlimit(kind, (limit, limit))
number = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(number, 0)
with open(sys.argv[1], "w") as told:
    print(used.ru_maxrss << 10, file=told)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def check(
    uvshim: Path, image: Path | str, tmp_path: Path, *more: str, memory: int = _MEMORY
) -> subprocess.CompletedProcess[str]:
    """Run `uvshim check` with limits, and check them and its result."""
    bounded = BOUNDED.format(space=_SPACE, seconds=_SECONDS)
    peak = tmp_path / "peak"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", bounded, peak, uvshim, "check", "--no-cache", *more, image],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1, 2}, (done.returncode, done.stderr)
    assert int(peak.read_text()) <= memory
    return done


def packed(pieces: Iterable[bytes]) -> tuple[str, bytes]:
    """Return the digest of a tar that consists of `pieces`, and that tar compressed.

    No more than a piece is held: a process that has touched 300 MB has taken longer than all else.
    """
    of_tar, compressor = hashlib.sha256(), isal_zlib.compressobj(1, wbits=31)
    blob = []
    for piece in itertools.chain(pieces, [bytes(1024)]):
        of_tar.update(piece)
        blob.append(compressor.compress(piece))
    return f"sha256:{of_tar.hexdigest()}", b"".join([*blob, compressor.flush()])


@pytest.mark.parametrize("what", LAYERS)
def test_a_layer_that_is_made_to_do_harm_is_read_in_bounds(
    what: str, uvshim: Path, tmp_path: Path
) -> None:
    make, said = LAYERS[what]
    upper = make()
    making = Making(tmp_path / "layout")
    layers = [packed([tar(BASE)]), packed([upper] if isinstance(upper, bytes) else upper)]
    making.add(making.image(layers, f"{OCI}.layer.v1.tar+gzip"), "latest")
    done = check(uvshim, making.path, tmp_path, memory=_MEMORY_FOR.get(what, _MEMORY))
    if said is None:
        assert done.returncode == 1, done.stderr
        assert "a.b" in done.stdout
    elif said:
        assert done.returncode == 2
        assert said in done.stderr


@pytest.mark.parametrize(
    "level", [b"\x28\xb5\x2f\xfd" + bytes(100), b"\x28\xb5\x2f\xfd\xa4" + b"\xff" * 1000]
)
def test_zstd_that_is_damaged_is_an_error(level: bytes, uvshim: Path, tmp_path: Path) -> None:
    done = check(uvshim, layout(tmp_path / "x", [tar(BASE)], lambda _: level), tmp_path)
    assert done.returncode == 2


def test_a_layer_of_empty_frames_is_an_error(uvshim: Path, tmp_path: Path) -> None:
    """Each takes 20 microseconds: those of 200 MB would take ten minutes."""
    zstd = pytest.importorskip("backports.zstd")
    empty = b"\x50\x2a\x4d\x18" + bytes(4)
    layers = [tar({**BASE, f"x{number}": ""}) for number in range(12)]
    many = layout(tmp_path / "x", layers, lambda content: empty * 30_000 + zstd.compress(content))
    one = layout(
        tmp_path / "y", [tar(BASE)], lambda content: empty * 300_000 + zstd.compress(content)
    )
    for path in (many, one):
        done = check(uvshim, path, tmp_path)
        assert done.returncode == 2
        assert "100 times its size" in done.stderr


@pytest.mark.parametrize("frame", [1, 700, 200_000])
@pytest.mark.parametrize("kind", ["zstd", "xz"])
def test_a_layer_of_many_frames_is_read(
    kind: str, frame: int, uvshim: Path, tmp_path: Path
) -> None:
    """zstd:chunked has some for each file; zeros may follow a stream of xz."""
    if kind == "zstd":
        pytest.importorskip("backports.zstd")
    module = importlib.import_module("backports.zstd" if kind == "zstd" else "lzma")
    content = tar({**BASE, "z": random.Random(1).randbytes(400_000 if frame > 1 else 1000)})
    padding = bytes(8) if kind == "xz" else b"\x5f\x2a\x4d\x18\3\0\0\0abc"
    pieces = [content[at : at + frame] for at in range(0, len(content), frame)]
    blob = padding.join(map(module.compress, pieces)) + padding
    done = check(uvshim, layout(tmp_path / "x", [content], lambda _: blob), tmp_path)
    assert done.returncode == 1, done.stderr
    cut = blob[: -len(padding) - 4]
    done = check(uvshim, layout(tmp_path / "y", [content], lambda _: cut), tmp_path)
    assert done.returncode == 2


def test_zstd_with_a_huge_window_is_read_in_bounds(uvshim: Path, tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")

    def compress(content: bytes) -> bytes:
        parameters = {zstd.CompressionParameter.window_log: 31}
        return bytes(zstd.compress(content, options=parameters))

    path = layout(tmp_path / "x", [tar({**BASE, "z": bytes(50_000_000)})], compress)
    check(uvshim, path, tmp_path, memory=100 << 20)


def test_the_windows_of_many_layers_are_bounded_in_sum(uvshim: Path, tmp_path: Path) -> None:
    """Each takes 128 MiB while it is decompressed, however many processors there are."""
    zstd = pytest.importorskip("backports.zstd")

    def compress(content: bytes) -> bytes:
        parameters = {zstd.CompressionParameter.window_log: 27}
        return bytes(zstd.compress(content, options=parameters))

    path = layout(tmp_path / "x", [tar({f"z{n}": bytes(140 << 20)}) for n in range(5)], compress)
    check(uvshim, path, tmp_path, "--jobs", "8", memory=400 << 20)


def test_an_image_of_many_layers_is_answered(uvshim: Path, tmp_path: Path) -> None:
    tars = [tar(BASE), *(tar({f"f{n}": ""}) for n in range(1000))]
    assert check(uvshim, layout(tmp_path / "x", tars), tmp_path).returncode == 1


@pytest.mark.parametrize("number", range(40))
def test_an_image_with_flipped_bits_is_an_error_or_answered(number: int, tmp_path: Path) -> None:
    """Damage that digests do not show, because they were computed afterwards."""
    import uvshim

    chance = random.Random(number)
    damaged = bytearray(tar(BASE, form=chance.choice([0, 1, 2])))
    for _ in range(chance.randint(1, 20)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    cut = damaged[: chance.randrange(len(damaged))] if number % 4 == 0 else damaged
    (answer,) = uvshim.survey([layout(tmp_path / "x", [bytes(cut)])], cache=None)
    assert answer.error is None or "layer sha256:" in answer.error


@pytest.mark.parametrize("number", range(40))
def test_json_with_other_types_is_an_error_or_answered(number: int, tmp_path: Path) -> None:
    import uvshim

    chance = random.Random(number)

    def changed(value: Any) -> Any:
        if chance.random() < 0.15:
            return chance.choice([None, 7, -1, 1e99, "", "../x", [], {}, [[]], True, {"a": 1}])
        if isinstance(value, dict):
            return {key: changed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [changed(each) for each in value]
        return value

    making = Making(tmp_path / "x")
    manifest = making.manifest([tar(BASE)])
    blobs = making.path / "blobs/sha256"
    content = json.loads((blobs / manifest["digest"].partition(":")[2]).read_bytes())
    config = json.loads((blobs / content["config"]["digest"].partition(":")[2]).read_bytes())
    content["config"] = making.described(content["config"]["mediaType"], changed(config))
    making.add(changed(making.described(manifest["mediaType"], changed(content))))
    (answer,) = uvshim.survey([making.path], cache=None)
    if answer.error is not None:
        assert not answer.error.split("`: ", 1)[1].startswith(
            ("TypeError", "KeyError", "AttributeError", "ValueError", "IndexError")
        )


def test_a_tar_in_which_nothing_is_a_tar_is_an_error(uvshim: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(io.BytesIO(b"\0" * 10_000).getvalue())
    assert check(uvshim, f"docker-archive:{tmp_path}/x.tar", tmp_path).returncode == 2
