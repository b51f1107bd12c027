uv venv -q app
uv pip install -q --python app --no-deps oslo.cache==3.10.2 setuptools==75.8.0
uvshim check --format json app
