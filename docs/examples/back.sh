uv venv -q app
uvpip -q --python app --no-deps oslo.cache==3.10.2 oslo.i18n==6.8.0
ls app/lib/python*/site-packages | grep dist-info

# One of the two goes back, and stays so:
UVSHIM_EXCLUDE=oslo.cache uvpip -q --python app --no-deps --reinstall oslo.cache==3.10.2 oslo.i18n==6.8.0
ls app/lib/python*/site-packages | grep dist-info

# Both go back:
uv pip install -q --python app --no-deps --reinstall oslo.cache==3.10.2 oslo.i18n==6.8.0
ls app/lib/python*/site-packages | grep dist-info
