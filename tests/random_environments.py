"""Random environments, each from a number: distributions of every kind, in one or two places."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.corpus import metadata

if TYPE_CHECKING:
    from tests.corpus import Files

PROJECTS = ["a", "B", "a.b", "a-b", "A_b", "c.d.e", "c-d.e", "c_d-e", "f"]
EXTRAS = ["x", "y-z", "Y_z", "y.z", "A_b"]
GROUPS = ["g", "h"]

# What is asked for.
NAMES = [*PROJECTS, "a[x]", "a.b[A_b]", "c-d-e", "a.B[y-z]"]

VERSIONS = ["1.0", "2.0", "2.0rc1", "info", "1.0_1", "3.0+local", "1", "10.0"]
SPECIFIERS = [
    *("", "", "", ">=2", "==1.0", "!=2.0", "<2.1,>1", "===info", "~=2.0"),
    *(">=2004d", "~=1", ">=1.0,"),
]
MARKERS = [
    *("", "", "", "; extra == 'x'", "; extra == 'y-z'", "; 'A_b' == extra", "; extra != 'x'"),
    *("; extra == 'Y_z' and python_version > '3'", "; python_version < '3'"),
    "; sys_platform == 'linux' or extra == 'x'",
]
SECTIONS = [*EXTRAS, ":python_version<'3'", "x:sys_platform=='linux'"]
ENTRY_POINTS = [
    *("p = m\n", "p = m:o\nq = m.n:o.p [x]\n", "q = m [y-z,x]\n"),
    *("p = m\np = n\n", "p=\n", "[h]\np = m\n"),
]


def environment(number: int) -> list[Files]:
    """Return the files of each directory on the search path of the environment `number`."""
    chance = random.Random(number)
    places: list[Files] = []
    for _ in range(chance.choice([1, 1, 2])):
        files: dict[str, str | bytes] = {}
        for _ in range(chance.randint(1, 5)):
            files.update(_distribution(chance))
        places.append(files)
    return places


def _requirement(chance: random.Random) -> str:
    extra = chance.choice(["", "", "", f"[{chance.choice(EXTRAS)}]"])
    return chance.choice(PROJECTS) + extra + chance.choice(SPECIFIERS) + chance.choice(MARKERS)


def _distribution(chance: random.Random) -> Files:
    name = chance.choice(PROJECTS)
    stem = chance.choice([name, name.replace(".", "_").replace("-", "_").lower()])
    version = chance.choice(VERSIONS)
    requires = [_requirement(chance) for _ in range(chance.randint(0, 3))]
    plain = "".join(f"{line}\n" for line in requires if ";" not in line)
    if chance.random() < 0.3:
        plain += f"[{chance.choice(SECTIONS)}]\n{chance.choice(PROJECTS)}\n"
    kind = chance.choice(["dist-info"] * 4 + ["egg-info", "egg", "file", "egg-link"])
    files: dict[str, str | bytes] = {}
    if kind == "dist-info":
        directory = f"{stem}-{version}.dist-info"
        extras = chance.sample(EXTRAS, chance.randint(0, 2))
        files[f"{directory}/METADATA"] = metadata(name, version, requires, extras)
    elif kind == "file":
        return {f"{stem}-{version}-py3.11.egg-info": metadata(name, version)}
    else:
        if kind == "egg-info":
            python = chance.choice(["", "-py3.7"])
            directory = f"{stem}-{version}{python}.egg-info"
            version = chance.choice([version, "2.0"])
        elif kind == "egg":
            python = chance.choice(["3.11", "3.11", "3.7"])
            platform = chance.choice(["", "", "-linux-x86_64", "-linux-aarch64", "-win32"])
            directory = f"{stem}-{version}-py{python}{platform}.egg/EGG-INFO"
        else:
            source = f"src{chance.randint(0, 1)}"
            files[f"{stem}.egg-link"] = f"{source}\n.\n"
            directory = f"{source}/{stem}.egg-info"
        files[f"{directory}/PKG-INFO"] = metadata(name, version)
        files[f"{directory}/requires.txt"] = plain
    if chance.random() < 0.5:
        files[f"{directory}/entry_points.txt"] = f"[g]\n{chance.choice(ENTRY_POINTS)}"
    return files
