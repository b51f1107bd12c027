for tool in 'uv pip uninstall -q --python env' 'python3 -m pip --python env/bin/python uninstall -qq -y'; do
    uv venv -q --clear env
    uv pip install -q --python env --no-deps oslo.cache==3.10.2
    cd env/lib/python*/site-packages/oslo_cache-3.10.2.dist-info
    grep '^oslo_cache-' RECORD | sed 's/^oslo_cache-/oslo.cache-/' > second && cat second >> RECORD && rm second
    cut -d/ -f1 RECORD | grep dist-info | sort | uniq -c
    cd "$OLDPWD"
    $tool oslo.cache
    ls env/lib/python*/site-packages | grep oslo || echo "$tool: nothing is left"
done
