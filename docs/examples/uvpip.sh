uv venv -q app
uvpip --python app --no-deps oslo.cache==3.10.2 requests==2.34.2
