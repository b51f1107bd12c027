uv venv -q app
uv pip install -q --python app --constraint constraints.txt --requirement requirements.txt
uvshim check app
echo "exit code $?"
