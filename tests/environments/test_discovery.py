"""Find environments by path: on the disk, and in the file system of an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from uvshim.environments import discovery, search_path
from uvshim.environments.tree import DiskTree
from uvshim.errors import EnvironmentUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.environment import Environment

SITE = "lib/python3.11/site-packages"


def made(root: Path, directories: Iterable[str] = (), files: Iterable[str] = ()) -> Path:
    """Make those directories and empty files below `root`, and return that."""
    for name in directories:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def virtual(root: Path, settings: str = "home = /nowhere/bin\n", site: str = SITE) -> Path:
    """Make a virtual environment with those settings at `root`, and return that."""
    made(root, [site], ["bin/python"])
    (root / "pyvenv.cfg").write_text(settings)
    return root


def paths(found: Iterable[Environment]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.path, each.site_packages) for each in found]


def test_a_virtual_environment_is_named_by_its_root_or_its_python(tmp_path: Path) -> None:
    root = virtual(tmp_path / "venv")
    for word in (root, root / "bin" / "python"):
        (found,) = discovery.find(str(word))
        assert paths([found]) == [(str(root), (f"{root}/{SITE}",))]
        assert found.lock == f"{root}/.lock"
        assert found.inherited == ()
        assert found.on_disk == [f"{root}/{SITE}"]


def test_a_word_is_a_path_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = virtual(tmp_path / "venv")
    monkeypatch.chdir(tmp_path)
    assert paths(discovery.find("venv")) == paths(discovery.find(str(root)))


def test_a_python_elsewhere_is_followed_to_the_environment_that_it_is_linked_from(
    tmp_path: Path,
) -> None:
    root = virtual(tmp_path / "venv")
    base = made(tmp_path / "base", [SITE], ["bin/python3.11"])
    (root / "bin" / "python").unlink()
    (root / "bin" / "python").symlink_to(base / "bin" / "python3.11")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(root / "bin" / "python")
    (found,) = discovery.find(str(root / "bin" / "python"))
    assert found.path == str(root)
    (found,) = discovery.find(str(base / "bin" / "python3.11"))
    assert (found.path, found.lock) == (str(base), None)


def test_of_two_pythons_below_one_root_an_interpreter_has_its_own_directories(
    tmp_path: Path,
) -> None:
    older, newer = "lib/python3.9/site-packages", "lib/python3.10/site-packages"
    root = made(tmp_path / "usr", [older, newer], ["bin/python3.9", "bin/python3.10"])
    assert paths(discovery.find(str(root))) == [
        (str(root), (f"{root}/{site}",)) for site in (older, newer)
    ]
    for word, own in ((root / "bin" / "python3.9", older), (root / "bin" / "python3.10", newer)):
        (found,) = discovery.find(str(word))
        assert found.site_packages == (f"{root}/{own}",)


def test_a_site_packages_directory_is_used_alone_with_the_lock_of_its_environment(
    tmp_path: Path,
) -> None:
    root = virtual(tmp_path / "venv")
    (found,) = discovery.find(f"{root}/{SITE}")
    assert paths([found]) == [(f"{root}/{SITE}", (f"{root}/{SITE}",))]
    assert found.lock == f"{root}/.lock"
    target = made(tmp_path / "target", ["six-1.0.dist-info"])
    (found,) = discovery.find(str(target))
    assert paths([found]) == [(str(target), (str(target),))]
    assert found.lock == f"{target}/.lock"


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_inherited_distributions_are_seen_and_not_fixed(tmp_path: Path, value: str) -> None:
    base = made(tmp_path / "base", [SITE, "lib/python3.12/site-packages"])
    settings = f"HOME = {base}/bin\ninclude-system-site-packages = {value}\n"
    root = virtual(tmp_path / "venv", settings)
    (found,) = discovery.find(str(root))
    assert found.inherited == (f"{base}/{SITE}",)
    assert found.visible == (f"{root}/{SITE}", f"{base}/{SITE}")
    assert found.on_disk == [f"{root}/{SITE}"]
    virtual(root, settings.replace(value, "false"))
    assert discovery.find(str(root))[0].inherited == ()


def test_directories_of_dpkg_are_seen_last_and_fixed_only_if_named(
    tmp_path: Path,
) -> None:
    usr = tmp_path / "usr"
    dpkg, local = "lib/python3/dist-packages", "local/lib/python3.11/dist-packages"
    made(usr, [dpkg, local], ["bin/python3.11"])
    (found,) = discovery.find(f"{usr}/bin/python3.11")
    assert found.site_packages == (f"{usr}/{local}", f"{usr}/{dpkg}")
    assert found.on_disk == [f"{usr}/{local}"]
    assert found.is_of_dpkg(f"{usr}/{dpkg}")
    assert not found.is_of_dpkg(f"{usr}/{local}")
    (named,) = discovery.find(f"{usr}/{dpkg}")
    assert named.on_disk == [f"{usr}/{dpkg}"]
    assert not named.is_of_dpkg(f"{usr}/{dpkg}")


def test_a_directory_that_two_names_lead_to_counts_once(tmp_path: Path) -> None:
    root = virtual(tmp_path / "venv")
    (root / "lib64").symlink_to("lib")
    assert discovery.find(str(root))[0].site_packages == (f"{root}/{SITE}",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "`nowhere` does not exist"),
        ("bin/nowhere", "`bin/nowhere` does not exist"),
        ("file", "`file` is not an environment. Name a virtual environment, a Python interp"),
        ("bin/python3", "`bin/python3` is not an environment. Name"),
        ("empty", "`empty` is not an environment. Name"),
        ("venv", "The virtual environment `venv` has no site-packages directory"),
        ("project", "`project` is not an environment. Name"),
        ("root", "No distributions are installed in the file system below `root`"),
    ],
)
def test_what_is_not_an_environment_is_reported_with_what_would_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    files = ["file", "bin/python3", "venv/pyvenv.cfg"]
    made(tmp_path, ["empty", "root/usr", "root/etc"], files)
    virtual(tmp_path / "project" / ".venv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentUnknownError, match=reason) as caught:
        discovery.find(name)
    assert "\n" not in str(caught.value)


def test_a_name_without_a_directory_is_looked_for_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = virtual(tmp_path / "venv")
    (root / "bin/python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{root / 'bin'}")
    monkeypatch.chdir(made(tmp_path / "elsewhere", ["."]))
    assert paths(discovery.find("python")) == [(str(root), (f"{root}/{SITE}",))]


@pytest.mark.parametrize("target", ["../envs/a", "{}/envs/a", "../envs/a\n"])
def test_a_redirect_file_is_followed(tmp_path: Path, target: str) -> None:
    root = virtual(tmp_path / "envs" / "a")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".venv").write_text(target.format(tmp_path))
    (found,) = discovery.find(str(tmp_path / "project" / ".venv"))
    assert os.path.samefile(found.path, root)


@pytest.mark.parametrize("target", ["", "nowhere", ".venv", "\0"])
def test_a_redirect_file_that_leads_nowhere_is_just_a_file(tmp_path: Path, target: str) -> None:
    (tmp_path / ".venv").write_text(target)
    with pytest.raises(EnvironmentUnknownError, match="is not an environment"):
        discovery.find(str(tmp_path / ".venv"))


def test_of_a_site_packages_directory_that_a_program_names_nothing_is_asked(
    tmp_path: Path,
) -> None:
    empty = made(tmp_path / "anything", ["."])
    assert discovery.of_site_packages(str(empty)).site_packages == (str(empty),)
    for word in ("missing", "file"):
        made(tmp_path, files=["file"])
        with pytest.raises(EnvironmentUnknownError, match=str(tmp_path / word)):
            discovery.of_site_packages(str(tmp_path / word))


def test_a_program_belongs_to_the_environment_of_its_directory_else_of_where_it_leads(
    tmp_path: Path,
) -> None:
    root = virtual(tmp_path / "venv")
    made(root, files=["bin/pip"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").symlink_to(root / "bin" / "pip")
    for program in (root / "bin" / "pip", tmp_path / "bin" / "pip"):
        found = discovery.of_program(str(program))
        assert found is not None
        assert found.path == str(root)
    assert (
        discovery.of_program(str(made(tmp_path, files=["opt/bin/tool"]) / "opt/bin/tool")) is None
    )


def test_inherited_distributions_are_found_through_a_link_to_the_base_python(
    tmp_path: Path,
) -> None:
    base = made(tmp_path / "base", [SITE], ["bin/python3.11", "lib/python3.11/os.py"])
    links = made(tmp_path / "elsewhere", ["links", SITE]) / "links"
    (links / "python3.11").symlink_to(base / "bin" / "python3.11")
    settings = f"home = {links}\ninclude-system-site-packages = true\nversion_info = 3.11.2\n"
    root = virtual(tmp_path / "venv", settings)
    (found,) = discovery.find(str(root))
    assert found.inherited == (f"{base}/{SITE}",)
    made(links.parent, files=["lib/python3.11/os.py"])  # now it is a complete Python
    assert discovery.find(str(root))[0].inherited == (f"{links.parent}/{SITE}",)


@pytest.mark.parametrize("key", ["version_info", "version"])
def test_an_environment_made_again_for_another_python_has_the_directories_of_that(
    tmp_path: Path, key: str
) -> None:
    root = virtual(tmp_path / "venv", f"home = /nowhere\n{key} = 3.11.7\n")
    made(root, ["lib/python3.10/site-packages", "lib/python3.12/site-packages"])
    (found,) = discovery.find(str(root))
    assert found.site_packages == (f"{root}/{SITE}",)


def test_a_virtual_environment_with_etc_and_usr_is_not_the_root_of_a_file_system(
    tmp_path: Path,
) -> None:
    base = made(tmp_path / "base", [SITE], ["bin/python3.11"])
    settings = f"home = {base}/bin\ninclude-system-site-packages = true\n"
    root = made(virtual(tmp_path / "venv", settings), ["etc", "usr"])
    (found,) = discovery.find(str(root))
    assert (found.path, found.inherited) == (str(root), (f"{base}/{SITE}",))
    assert found.lock == str(root / ".lock")


def test_a_prefix_has_the_lock_that_uv_takes(tmp_path: Path) -> None:
    prefix = made(tmp_path / "prefix", [SITE], [".lock"])
    (found,) = discovery.find(str(prefix))
    assert found.lock == str(prefix / ".lock")
    made(prefix, files=["bin/python3.11"])
    (found,) = discovery.find(str(prefix))
    assert found.lock is None


def test_a_site_packages_directory_of_an_environment_sees_what_that_inherits(
    tmp_path: Path,
) -> None:
    base = made(tmp_path / "base", [SITE], ["bin/python3.11"])
    settings = f"home = {base}/bin\ninclude-system-site-packages = true\n"
    (found,) = discovery.find(f"{virtual(tmp_path / 'venv', settings)}/{SITE}")
    assert found.inherited == (f"{base}/{SITE}",)


def test_the_users_own_site_packages_are_seen_where_the_systems_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = made(tmp_path / "base", [SITE], ["bin/python3.11"])
    home = made(tmp_path / "home", [f".local/{SITE}"])
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONUSERBASE", raising=False)
    monkeypatch.delenv("PYTHONNOUSERSITE", raising=False)
    settings = f"home = {base}/bin\ninclude-system-site-packages = "
    alone = virtual(tmp_path / "alone", settings + "false\n")
    assert discovery.find(str(alone))[0].inherited == ()
    root = virtual(tmp_path / "venv", settings + "true\n")
    (found,) = discovery.find(str(root))
    assert found.inherited == (f"{home}/.local/{SITE}", f"{base}/{SITE}")
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert discovery.find(str(root))[0].inherited == (f"{base}/{SITE}",)


@pytest.mark.parametrize("make", ["uv", "venv"])
def test_what_an_environment_sees_is_what_its_python_imports_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: Path, make: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    made(tmp_path, ["links", f".local/lib/{name}/site-packages"])
    link = tmp_path / "links" / name
    link.symlink_to(Path(sys.base_prefix) / "bin" / name)
    words: list[str | Path] = [uv, "venv", "-q", "-p", link]
    if make == "venv":
        words = [link, "-m", "venv", "--without-pip"]
    subprocess.run([*words, "--system-site-packages", tmp_path / "e"], check=True)
    code = "import sys; print(*[p for p in sys.path if p.endswith('-packages')], sep='\\n')"
    done = subprocess.run(
        [tmp_path / "e/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    (found,) = discovery.find(str(tmp_path / "e"))
    assert [os.path.realpath(each) for each in found.visible] == [
        os.path.realpath(each) for each in done.stdout.split()
    ]


# --- images -------------------------------------------------------------------------------------


def test_every_environment_of_an_image_is_found(tmp_path: Path) -> None:
    root = made(tmp_path / "root", ["etc", "usr/" + SITE])
    for place in ("opt/app", "usr/src/app/.venv", "root/.local/share/uv/tools/foo"):
        virtual(root / place)
    found = discovery.find(str(root))
    assert sorted(each.path for each in found) == [
        "/opt/app",
        "/root/.local/share/uv/tools/foo",
        "/usr",
        "/usr/src/app/.venv",
    ]
    assert {each.lock for each in found} == {None}
    (app,) = (each for each in found if each.path == "/opt/app")
    assert app.site_packages == (f"/opt/app/{SITE}",)
    assert app.on_disk == [f"{root}/opt/app/{SITE}"]


@pytest.mark.parametrize("prefix", ["usr", "usr/local", "opt/conda"])
def test_a_user_s_directories_in_an_image_belong_to_its_python(tmp_path: Path, prefix: str) -> None:
    """`pip install --user` in one stage of a Dockerfile, and a copy of it in the next."""
    user = "root/.local"
    root = made(tmp_path / "root", ["etc", "usr", f"{prefix}/{SITE}", f"{user}/{SITE}"])
    for place in (f"{prefix}/{SITE}", f"{user}/{SITE}"):
        (root / place / "six-1.0.dist-info").mkdir()
    made(root, [], [f"{user}/bin/python3.12"])  # which `uv python install` makes
    own = f"/{user}/{SITE}"

    def inherited() -> list[tuple[str, ...]]:
        found = discovery.in_image(DiskTree(str(root)))
        return [each.inherited for each in found if own in each.site_packages]

    assert inherited() == [()]
    made(root, [f"{prefix}/bin", "usr/local/bin"])
    program = SITE.split("/")[1]
    (root / prefix / "bin" / program).touch()
    assert inherited() == [(f"/{prefix}/{SITE}",)]
    if prefix != "usr/local":
        (root / "usr/local/bin" / program).symlink_to(f"/{prefix}/bin/{program}")
        assert inherited() == [(f"/{prefix}/{SITE}",)]
    virtual(root / user)
    assert inherited() == [()]


def test_each_python_of_a_prefix_in_an_image_is_one_of_its_own(tmp_path: Path) -> None:
    sites = [f"/usr/local/lib/python3.{minor}/site-packages" for minor in (9, 10)]
    root = made(tmp_path / "root", ["etc", "usr", *(site[1:] for site in sites)])
    assert paths(discovery.find(str(root))) == [("/usr/local", (site,)) for site in sites]


@pytest.mark.parametrize("prefix", ["prefix", "new\nline"])
def test_each_library_of_a_prefix_belongs_to_one_interpreter(tmp_path: Path, prefix: str) -> None:
    libraries = ("pypy3.11", "python3.11", "python3.11t")
    root = made(tmp_path / prefix, [f"lib/{each}/site-packages" for each in libraries])
    made(root, [], [f"bin/{each}" for each in libraries])
    sites = {each: (f"{root}/lib/{each}/site-packages",) for each in libraries}
    found = discovery.find(str(root))
    assert sorted(paths(found)) == sorted((str(root), site) for site in sites.values())
    assert sorted(each.visible for each in found) == sorted(sites.values())
    for name, site in sites.items():
        (one,) = discovery.find(str(root / "bin" / name))
        assert (one.site_packages, one.visible) == (site, site)


def test_a_python_in_usr_local_and_that_of_the_system_are_two(tmp_path: Path) -> None:
    """As in images on Docker's `python`, which is based on a Debian with its own Python."""
    own = [f"usr/local/lib/python3.{minor}/site-packages" for minor in (11, 12)]
    local, dpkg = "usr/local/lib/python3.11/dist-packages", "usr/lib/python3/dist-packages"
    root = made(tmp_path / "root", ["etc", *own, local, dpkg], ["usr/lib/python3.11/os.py"])
    for each in own:
        (root / each).with_name("os.py").touch()
    assert paths(discovery.find(str(root))) == [
        ("/usr", (f"/{local}", f"/{dpkg}")),
        *(("/usr/local", (f"/{each}",)) for each in own),
    ]


def test_a_local_directory_without_a_python_of_its_own_belongs_to_the_python_in_usr(
    tmp_path: Path,
) -> None:
    """As on Fedora, if root runs pip."""
    local = [f"usr/local/{lib}/python3.12/site-packages" for lib in ("lib", "lib64")]
    usr = "usr/lib/python3.12/site-packages"
    made(tmp_path, [*local, usr], ["usr/bin/python3.12", "usr/lib64/python3.12/os.py"])
    (found,) = discovery.find(str(tmp_path / "usr"))
    assert found.site_packages == tuple(str(tmp_path / each) for each in (*local, usr))


def test_site_packages_in_usr_local_is_nothing_to_the_python_of_debian(tmp_path: Path) -> None:
    other = "usr/local/lib/python3.11/site-packages"
    local, dpkg = "usr/local/lib/python3.11/dist-packages", "usr/lib/python3/dist-packages"
    made(tmp_path, [other, local, dpkg], ["usr/bin/python3.11", "usr/lib/python3.11/os.py"])
    (found,) = discovery.find(str(tmp_path / "usr" / "bin" / "python3.11"))
    own = tuple(str(tmp_path / each) for each in (local, dpkg))
    assert found.visible == found.site_packages == own
    (named,) = discovery.find(str(tmp_path / local))
    assert named.visible == own
    (there,) = discovery.find(str(tmp_path / other))
    assert there.visible == (str(tmp_path / other),)


def test_debians_local_directory_in_an_image_belongs_to_the_python_in_usr(tmp_path: Path) -> None:
    local, dpkg = "usr/local/lib/python3.11/dist-packages", "usr/lib/python3/dist-packages"
    root = made(tmp_path / "root", ["etc", local, dpkg])
    (found,) = discovery.find(str(root))
    assert found.site_packages == (f"/{local}", f"/{dpkg}")
    assert found.on_disk == [f"{root}/{local}"]


def test_a_link_in_an_image_is_neither_searched_nor_followed_out_of_it(tmp_path: Path) -> None:
    outside = virtual(tmp_path / "outside")
    root = virtual(tmp_path / "root" / "opt" / "app").parent.parent
    made(root, ["etc", "usr"])
    (root / "opt" / "again").symlink_to("app")
    (root / "srv").symlink_to(outside)
    assert [each.path for each in discovery.find(str(root))] == ["/opt/app"]


def test_the_kernels_file_systems_and_what_is_too_deep_are_not_searched(tmp_path: Path) -> None:
    root = made(tmp_path / "root", ["etc", "usr", SITE])
    for place in ("tmp/venv", "proc/venv", "sys/venv", "dev/venv", "a/" * 16 + "venv"):
        virtual(root / place)
    virtual(root / "usr/share/venv")
    found = [each.path for each in discovery.in_image(DiskTree(str(root)))]
    assert sorted(found) == ["/", "/usr/share/venv"]


@pytest.mark.parametrize(
    ("site", "path"),
    [
        ("var/task", "/var/task"),  # AWS Lambda
        ("opt/python", "/opt/python"),
        ("app/main.runfiles/pip_six/site-packages", "/app/main.runfiles/pip_six/site-packages"),
        ("nix/store/0-python3.11-six-1.0/" + SITE, "/nix/store/0-python3.11-six-1.0"),
        ("usr/share/tool/lib/deps", "/usr/share/tool/lib/deps"),
        ("usr/lib/tool/vendor", "/usr/lib/tool/vendor"),
        ("", "/"),
    ],
)
def test_any_directory_with_distributions_is_an_environment(
    tmp_path: Path, site: str, path: str
) -> None:
    inside = made(tmp_path, ["usr", "etc"]) / site
    copies = ("tool/_vendor", "tool/_vendored/deep")
    made(inside, [f"{each}/copy-1.0.dist-info" for each in copies])
    made(inside, ["six-1.0.dist-info/licenses/x-1.0.dist-info"])
    for found in (discovery.find(str(tmp_path)), list(discovery.in_image(DiskTree(str(tmp_path))))):
        assert paths(found) == [(path, (f"/{site}".rstrip("/") or "/",))]


def test_a_directory_of_distributions_and_an_environment_in_it_are_two(tmp_path: Path) -> None:
    made(tmp_path, ["usr", "etc", "app/six-1.0.dist-info"])
    virtual(tmp_path / "app" / ".venv")
    assert [each.path for each in discovery.find(str(tmp_path))] == ["/app/.venv", "/app"]


def test_a_virtual_environment_whose_lib_is_a_link_is_found_once(tmp_path: Path) -> None:
    root = virtual(made(tmp_path, ["usr", "etc"]) / "opt/app")
    (root / "lib").rename(tmp_path / "data")
    (root / "lib").symlink_to("/data")
    assert paths(discovery.find(str(tmp_path))) == [("/opt/app", (f"/opt/app/{SITE}",))]
    made(tmp_path, [f"data/{SITE.partition('/')[2]}/six-1.0.dist-info"])
    assert paths(discovery.find(str(tmp_path)))[-1] == ("/opt/app", (f"/opt/app/{SITE}",))


def test_distributions_beside_a_standard_library_belong_to_it(tmp_path: Path) -> None:
    """PyPy has such distributions."""
    library = "usr/lib/pypy3.9"
    made(tmp_path, ["etc", f"{library}/cffi.dist-info", f"{library}/site-packages"])
    made(tmp_path, [], [f"{library}/os.py"])
    assert paths(discovery.find(str(tmp_path))) == [("/usr", (f"/{library}/site-packages",))]


@pytest.mark.parametrize(
    ("store", "marks"),
    [
        ("containers/storage", ["overlay-layers", "storage.lock"]),
        ("docker", ["containers", "image", "network", "plugins", "swarm", "volumes"]),
        ("containerd", ["io.containerd.content.v1.content"]),
        ("buildkit", ["buildkitd.lock"]),
    ],
)
def test_the_images_of_a_container_engine_are_not_searched(
    tmp_path: Path, store: str, marks: list[str]
) -> None:
    root = made(tmp_path, ["etc", "usr/" + SITE, f"var/lib/{store}/overlay/1/diff/usr/{SITE}"])
    assert len(discovery.find(str(root))) == 2
    made(root, [f"var/lib/{store}/{mark}" for mark in marks])
    skipped: list[str] = []
    assert [each.path for each in discovery.find(str(root), skipped.append)] == ["/usr"]
    assert skipped == [f"/var/lib/{store}"]
    inside = f"{root}/var/lib/{store}/overlay/1/diff/usr"
    assert [each.path for each in discovery.find(inside)] == [inside]  # a person names it


def test_caches_in_an_image_are_nobodys_environment(tmp_path: Path) -> None:
    root = made(tmp_path / "root", ["etc", "usr/" + SITE])
    caches = ["/opt/conda/pkgs", "/root/.rattler", "/root/.uv"]
    for cache in caches:
        virtual(root / f".{cache}" / "environments-v2/inside")
        made(root / f".{cache}", [f"pkgs/x/{SITE}", SITE, "six-1.0.dist-info"])
    made(root, ["pkgs/" + SITE], ["opt/conda/pkgs/urls.txt"])
    assert "/root/.uv" in {each.path for each in discovery.find(str(root))}  # no cache yet
    made(root, [], ["root/.uv/CACHEDIR.TAG", "root/.rattler/CACHEDIR.TAG"])
    # uv marks an environment, pixi one of conda, and tox the directory of all environments.
    for each in ("opt/app", "src/.tox/py"):
        virtual(root / each)
    made(root, ["pixi/conda-meta", f"pixi/{SITE}"], ["pixi/CACHEDIR.TAG", "opt/app/CACHEDIR.TAG"])
    made(root, [], ["src/.tox/CACHEDIR.TAG"])
    skipped: list[str] = []
    found = [each.path for each in discovery.find(str(root), skipped.append)]
    assert found == ["/opt/app", "/pixi", "/pkgs", "/src/.tox/py", "/usr"]
    assert sorted(skipped) == caches


def test_an_application_with_directories_called_as_an_engines_is_searched(tmp_path: Path) -> None:
    made(tmp_path, ["etc", "usr", "app/containers", "app/network", "app/volumes"])
    virtual(tmp_path / "app/.venv")
    assert [each.path for each in discovery.find(str(tmp_path))] == ["/app/.venv"]


def test_an_egg_is_for_one_distribution_and_no_environment(tmp_path: Path) -> None:
    """buildout 5 puts the dist-info directory of a wheel into it, under a name for pkg_resources."""
    root = virtual(made(tmp_path / "root", ["etc", "usr"]) / "srv")
    egg = "zope.event-6.2-py3.11-linux-x86_64"
    made(root, [], [f"eggs/v5/{egg}.egg/{egg}.dist-info/METADATA"])
    (found,) = discovery.find(str(tmp_path / "root"))
    assert found.path == "/srv"
    with pytest.raises(EnvironmentUnknownError, match="is not an environment"):
        discovery.find(f"{root}/eggs/v5/{egg}.egg")
    (root / SITE / "easy-install.pth").write_text(f"{root}/eggs/v5/{egg}.egg\n")
    (found,) = discovery.find(str(root))
    assert search_path.added_directories(found) == []
