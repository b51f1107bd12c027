for python in 3.8 3.9 3.10 3.12; do
    for directory in oslo.i18n oslo_i18n; do
        uv venv -q --clear --python python$python env
        uv pip install -q --python env --no-deps oslo.i18n==5.1.0
        cd env/lib/python*/site-packages
        test -d $directory-5.1.0.dist-info || mv oslo?i18n-5.1.0.dist-info $directory-5.1.0.dist-info
        ../../../bin/python - $python $directory-5.1.0.dist-info <<'EOF'
import importlib.metadata, sys
for name in ("oslo.i18n", "oslo-i18n"):
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = "NOT FOUND"
    print("Python", sys.argv[1], sys.argv[2], "version('" + name + "'):", found)
EOF
        cd "$OLDPWD"
    done
done
