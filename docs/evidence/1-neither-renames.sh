for version in 3.10.1 3.10.2; do
    uv pip install -q --no-deps --target uv-$version oslo.cache==$version
    python3 -m pip install -qq --no-deps --target pip-$version oslo.cache==$version
    grep -h Generator uv-$version/*.dist-info/WHEEL
    ls -d uv-$version/*.dist-info pip-$version/*.dist-info
done
