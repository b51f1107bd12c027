uv venv -q app
uvshim run --env app -- uv pip install -q --python app --no-deps oslo.cache==3.10.2
