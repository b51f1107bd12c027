cat > count.py <<'EOF'
import importlib.metadata as m, pkg_resources, sys
failures = 0
for name in {d.metadata["Name"] for d in m.distributions() if d.metadata["Name"]}:
    try:
        pkg_resources.require(name)
    except Exception:
        failures += 1
print(sys.argv[1], "pkg_resources.require fails for", failures)
EOF
cat > snippet.py <<'EOF'
import importlib.metadata as m
for d in m.distributions():
    name, path = d.metadata["Name"], d._path
    if "." in name and path.name.endswith(".dist-info"):
        version = path.name.rsplit("-", 1)[1].removesuffix(".dist-info")
        path.rename(path.with_name(f"{name}-{version}.dist-info"))
EOF
wanted="--no-deps --build-constraints $CORPORA/build-constraints.txt -r $CORPORA/openstack-2025.2.txt"

uv venv -q plain
uv pip install -q --python plain $wanted setuptools==75.8.0
plain/bin/python -W ignore count.py 'Plain uv:'
plain/bin/python -W ignore snippet.py
plain/bin/python -W ignore count.py 'After the snippet:'
ls plain/lib/python*/site-packages | grep '^oslo.cache-'
uv pip list --python plain 2>&1 | sed "1d; s|$PWD|…|; s|python3.1[0-9]|python3.X|"

uv venv -q cured
uvpip -q --python cured $wanted setuptools==75.8.0
cured/bin/python -W ignore count.py 'With uvpip:'
