for installer in 'uv pip install' uvpip; do
    uv venv -q --clear env
    $installer -q --python env setuptools==81.0.0 oslo.config==10.2.0 oslo.i18n==6.7.2 \
        pipdeptree==2.3.0 pip==20.3.4
    echo "$installer:"
    env/bin/python -W ignore -m pipdeptree 2>&1 | grep -m 1 'oslo.i18n \['
    uvshim check env | sed -n '2,3p'
done
