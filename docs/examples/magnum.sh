uv venv -q app
uv pip install -q --python app --no-deps --build-constraints $CORPORA/build-constraints.txt \
    -r $CORPORA/magnum-2025.1.txt setuptools==75.8.0
uvshim check -v app | grep -A 99 'entry points' | grep 'magnum.drivers'
