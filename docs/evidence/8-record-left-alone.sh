uv venv -q env
uv pip install -q --python env --no-deps oslo.cache==3.10.2
(cd env/lib/python*/site-packages && mv oslo_cache-3.10.2.dist-info oslo.cache-3.10.2.dist-info)
uv pip uninstall -q --python env oslo.cache
ls env/lib/python*/site-packages | grep oslo
uv pip install --python env --no-deps oslo.cache==3.10.2 2>&1 | sed 's/ in .*//' | tail -n 1
env/bin/python -c 'import oslo_cache' 2>&1 | tail -n 1
