from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.corpus import installed, under
from tests.images.making import INDEX, Making, docker_archive, gzipped, layout, tar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

SITE = "opt/app/lib/python3.11/site-packages"
FILES = {
    **under(
        SITE,
        installed("setuptools-75.8.0", "setuptools"),
        installed("zope_interface-1.0", "zope.interface", entry_points="[plug.ins]\nmine = a:b\n"),
        installed(
            "plain-1.0", "plain", ["zope.interface"], entry_points="[plug.ins]\nyours = a:b\n"
        ),
    ),
    "opt/app/pyvenv.cfg": "home = /usr/bin\n",
}
BROKEN = tar(FILES)
FINE = tar(under(SITE, installed("plain-1.0", "plain")))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return layout(tmp_path / "broken", [BROKEN])


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    return layout(tmp_path / "fine", [FINE])


def test_an_image_is_reported_like_an_environment(run: Run, uvshim: Path, broken: Path) -> None:
    done = run(uvshim, "check", f"oci:{broken}")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == (
        f"oci:{broken}:latest /opt/app: broken (3 distributions, setuptools 75.8.0)"
    )
    assert "zope_interface-1.0.dist-info → zope.interface-1.0.dist-info" in done.stdout
    assert "plug.ins: mine, yours" in done.stdout


def test_the_json_is_that_of_the_unpacked_root_with_the_image_beside_it(
    run: Run, uvshim: Path, broken: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for name, content in {**FILES, "usr/": "", "etc/": ""}.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(content))
    on_disk = run(uvshim, "check", "--format", "json", root).stdout.replace(f"{root}/", "/")
    in_image = json.loads(run(uvshim, "check", "--format", "json", broken).stdout)
    (unpacked,) = json.loads(on_disk)["environments"]
    (found,) = in_image["environments"]
    assert found["image"] == f"oci:{broken}:latest"
    assert found["digest"].startswith("sha256:")
    assert found["platform"] == "linux/amd64"
    nothing = dict.fromkeys(("image", "digest", "platform"))
    assert {**found, **nothing} == unpacked
    assert in_image["images"] == [
        {
            "image": found["image"],
            "digest": found["digest"],
            "platform": found["platform"],
            "environments": 1,
            "broken": True,
            "absent": False,
            "error": None,
        }
    ]


def test_the_hint_names_a_command_that_works(run: Run, uvshim: Path, tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "x.tar", [BROKEN], ["a/b:1"])
    command = f"fix docker-archive:{saved}:a/b:1 --output docker-archive:fixed.tar"
    assert f"hint: uvshim {command}\n" in run(uvshim, "check", saved).stdout
    done = run(uvshim, *command.split())
    assert done.returncode == 0, done.stderr
    assert run(uvshim, "check", tmp_path / "fixed.tar").returncode == 0


def test_every_form_of_an_image_gives_the_same_answer(
    run: Run, uvshim: Path, tmp_path: Path, broken: Path
) -> None:
    root = tar({"usr/": "", **FILES})
    (tmp_path / "root.tar").write_bytes(root)
    (tmp_path / "root.tar.gz").write_bytes(gzipped(root))
    saved = docker_archive(tmp_path / "saved.tar", [BROKEN])
    answers = []
    for name in (broken, saved, tmp_path / "root.tar", tmp_path / "root.tar.gz"):
        done = run(uvshim, "check", "--format", "json", name)
        assert done.returncode == 1
        (found,) = json.loads(done.stdout)["environments"]
        answers.append({**found, **dict.fromkeys(("image", "digest", "platform"))})
    assert answers == [answers[0]] * 4


def test_several_images_are_a_table(run: Run, uvshim: Path, broken: Path, fine: Path) -> None:
    done = run(uvshim, "check", broken, fine)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1] == [f"oci:{broken}:latest", "(linux/amd64)", "1", "1", "2", "2"]
    assert rows[2] == [f"oci:{fine}:latest", "(linux/amd64)", "1", "0", "0", "0"]
    assert done.stdout.splitlines()[3] == "2 images: 1 broken"
    quiet = run(uvshim, "check", "-q", broken, fine)
    assert str(fine) not in quiet.stdout
    assert "zope_interface" in run(uvshim, "check", "-v", broken, fine).stdout


def test_images_are_named_in_a_file_or_on_standard_input(
    run: Run, uvshim: Path, broken: Path, fine: Path, tmp_path: Path
) -> None:
    listed = f"# nightly\n\n{fine}\n  oci:{broken}:latest  \n{fine}\n"
    (tmp_path / "images").write_text(listed)
    from_file = run(uvshim, "check", "--images", "images")
    assert from_file.returncode == 1
    assert "2 images: 1 broken" in from_file.stdout
    assert run(uvshim, "check", "--images", "-", stdin=listed).stdout == from_file.stdout


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_an_image_that_cannot_be_examined_is_named_at_the_end(
    run: Run, uvshim: Path, broken: Path, fine: Path, jobs: str
) -> None:
    done = run(uvshim, "check", "--jobs", jobs, "oci:nowhere", broken, fine, "--format", "json")
    assert done.returncode == 2
    assert done.stderr == "error: `oci:nowhere`: `nowhere` does not exist\n"
    images = json.loads(done.stdout)["images"]
    assert [each["image"] for each in images] == [
        "oci:nowhere",
        f"oci:{broken}:latest",
        f"oci:{fine}:latest",
    ]
    assert images[0]["error"] == "`oci:nowhere`: `nowhere` does not exist"


def test_an_image_without_python_is_reported_to_be_one(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    image = layout(tmp_path / "x", [tar({"bin/sh": ""})])
    done = run(uvshim, "check", image)
    assert done.returncode == 0
    assert done.stdout == f"oci:{image}:latest: no Python packages in it\n"


def test_an_image_for_several_platforms_is_several_lines(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    making = Making(tmp_path / "x")
    manifests = [
        making.manifest([content], architecture=name)
        for name, content in (("amd64", BROKEN), ("arm64", FINE))
    ]
    making.add(making.described(INDEX, {"manifests": manifests}), "1")
    done = run(uvshim, "check", making.path)
    assert done.returncode == 1
    assert f"oci:{making.path}:1 (linux/arm64)" in done.stdout


def test_environments_and_images_can_be_checked_together(
    run: Run, uvshim: Path, tmp_path: Path, broken: Path
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    done = run(uvshim, "check", site, broken, "--format", "json")
    first, second = json.loads(done.stdout)["environments"]
    assert (first["path"], first["image"]) == (str(site), None)
    assert second["path"] == "/opt/app"


def test_layer_contents_are_cached_in_the_named_directory_or_nowhere(
    run: Run, uvshim: Path, broken: Path, tmp_path: Path
) -> None:
    run(uvshim, "check", broken, "--no-cache")
    assert not (tmp_path / "home/.cache/uvshim").exists()
    first = run(uvshim, "check", broken, "--cache-dir", "kept")
    assert (tmp_path / "kept").is_dir()
    assert not (tmp_path / "home/.cache/uvshim").exists()
    for blob in (broken / "blobs/sha256").iterdir():  # layers are not read again
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(bytes(blob.stat().st_size))
    again = run(uvshim, "check", broken, "--cache-dir", "kept")
    assert (again.returncode, again.stdout) == (first.returncode, first.stdout)
    assert run(uvshim, "check", broken).returncode == 2


def test_the_files_of_an_image_are_verified(run: Run, uvshim: Path, tmp_path: Path) -> None:
    record = "code.py,sha256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ,5\n{0}/RECORD,,\n{0}/METADATA,,\n"
    files: dict[str, str | bytes] = {}
    for name, content in (("good", "hello"), ("bad", "hullo"), ("short", "hell")):
        own = f"{name}-1.0.dist-info"
        files[f"{SITE}/{own}/METADATA"] = f"Name: {name}\nVersion: 1.0\n"
        files[f"{SITE}/{own}/RECORD"] = record.format(own).replace("code", name)
        files[f"{SITE}/{name}.py"] = content
    image = layout(tmp_path / "x", [tar(files), tar({"later": ""})])
    for _ in range(2):  # what is in the cache was not verified
        assert run(uvshim, "check", image).returncode == 0
        done = run(uvshim, "check", "--verify", "--format", "json", image)
        assert done.returncode == 1, done.stderr
        (found,) = json.loads(done.stdout)["environments"]
        differing = {each["name"]: each["changed"] for each in found["differences"]}
        assert differing == {"bad": ["bad.py"], "short": ["short.py"]}


def test_the_html_page_needs_nothing_from_elsewhere(
    run: Run, uvshim: Path, broken: Path, fine: Path
) -> None:
    done = run(uvshim, "check", "--format", "html", broken, fine, "oci:nowhere")
    assert done.returncode == 2
    page = done.stdout
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>1 of 2 images broken</h1>" in page
    for word in ("<script", "http:", "https:", "//", "@import", "url("):
        assert word not in page.replace("docker://", "")
    assert "`nowhere` does not exist" in page
    assert "mine, yours" in page
    assert "zope.interface==1.0 itself" in page


def test_text_from_an_image_is_escaped_in_html(run: Run, uvshim: Path, tmp_path: Path) -> None:
    files = {
        **FILES,
        f"{SITE}/x_y-1.dist-info/METADATA": "Name: <script>alert(1)</script>\n",
        f"{SITE}/x_z-1<b>.dist-info/METADATA": "Name: x.z\nVersion: <b>\n",
        f"{SITE}/zope_interface-1.0.dist-info/entry_points.txt": "[g]\n<i><u>\x1b = a:b\n",
    }
    done = run(uvshim, "check", "--format", "html", layout(tmp_path / "x", [tar(files)]))
    assert done.returncode == 1
    for word in ("<script", "<b>.", "<i>", "<u>", "\x1b"):
        assert word not in done.stdout
    assert "&lt;i&gt;&lt;u&gt;\\x1b" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "no"], "error: `no` cannot be read: No such file or directory\n"),
        (["--images", "empty"], "error: `empty` names no images\n"),
        (["--scheduler", "nowhere", "oci:x"], "error: "),
    ],
)
def test_what_cannot_be_done_is_reported(
    run: Run, uvshim: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    done = run(uvshim, "check", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_jobs_are_counted_from_one(run: Run, uvshim: Path) -> None:
    done = run(uvshim, "check", "--jobs", "0", "oci:x")
    assert done.returncode == 2
    assert "--jobs" in done.stderr


def test_without_the_libraries_it_works_or_names_them(
    run: Run, uvshim: Path, broken: Path, fine: Path, tmp_path: Path
) -> None:
    """Neither isal, tqdm, jinja2 nor zstd: they come with an extra."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    names = ("isal", "tqdm", "jinja2", "distributed", "backports", "compression")
    code = f"import sys; sys.modules.update(dict.fromkeys({names}))"
    (hidden / "sitecustomize.py").write_text(code)
    done = run(uvshim, "check", broken, fine, PYTHONPATH=str(hidden))
    assert done.returncode == 1
    assert "2 images: 1 broken" in done.stdout
    kept = ("--cache-dir", tmp_path / "kept")
    page = run(uvshim, "check", "--format", "html", *kept, broken, PYTHONPATH=str(hidden))
    assert page.returncode == 2
    assert "uvshim[images]" in page.stderr
    assert not (tmp_path / "kept").exists()  # no image was read for nothing
    cluster = run(
        uvshim, "check", "--scheduler", "tcp://127.0.0.1:1", broken, PYTHONPATH=str(hidden)
    )
    assert "uvshim[dask]" in cluster.stderr
    zstd = layout(tmp_path / "zstd", [BROKEN], lambda _: b"\x28\xb5\x2f\xfd" + bytes(9))
    told = run(uvshim, "check", zstd, PYTHONPATH=str(hidden))
    assert told.returncode == 2
    assert "is compressed with zstd" in told.stderr
    assert "uvshim[images]" in told.stderr
