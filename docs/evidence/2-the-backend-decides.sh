for version in 75.0.0 80.9.0; do
    echo "setuptools==$version" > build-$version.txt
    uv pip install -q --no-cache --no-deps --no-binary oslo.cache \
        --build-constraints build-$version.txt --target built-by-$version oslo.cache==3.10.2
    ls -d built-by-$version/*.dist-info
done
