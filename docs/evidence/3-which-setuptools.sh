uv venv -q env
for version in 68.2.2 71.0.0 74.0.0 75.0.0 75.3.4 75.6.0 75.8.0 75.8.1 75.8.2 76.1.0 80.9.0 81.0.0 82.0.0
do
    uv pip install -q --python env --no-deps oslo.cache==3.10.2 setuptools==$version
    printf 'setuptools %s: ' $version
    env/bin/python -W ignore -c 'import pkg_resources as p; print(p.get_distribution("oslo.cache"))' \
        2>&1 | tail -n 1 | sed 's/ distribution was not found.*/ … not found/'
done
