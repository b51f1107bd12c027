uv venv -q app
uv pip install -q --python app --constraint constraints.txt --requirement requirements.txt
uvshim fix --dry-run app
uvshim fix app
uvshim check app
echo "exit code $?"
