cat > lookups.py <<'END'
import sys
try:
    import pkg_resources as p
except ImportError:
    sys.exit("    there is no pkg_resources")
name = "oslo.i18n"
(own,) = [each for each in p.working_set if each.key in ("oslo.i18n", "oslo-i18n")]
lookups = {
    "require": lambda: p.require(name),
    "get_distribution": lambda: p.get_distribution(name),
    "by_key": lambda: p.working_set.by_key[name],
    "Environment": lambda: p.Environment()[name],
    "in Requirement": lambda: own in p.Requirement.parse(name),
    "project_name": lambda: own.project_name == name,
}
answers = {"works": [], "fails": []}
for lookup, call in lookups.items():
    try:
        answers["works" if call() else "fails"].append(lookup)
    except Exception:
        answers["fails"].append(lookup)
for word, names in answers.items():
    if names:
        print("   ", word + ":", ", ".join(names))
END
for wanted in setuptools==61.3.1 setuptools==75.8.1 setuptools==75.8.2 setuptools==81.0.0 \
    setuptools==82.0.0 'setuptools==82.0.0 pkg-resources-backport==1.0.1'
do
    for installer in 'uv pip install' uvpip; do
        uv venv -q --clear env
        $installer -q --python env $wanted oslo.i18n==6.7.2
        echo "$wanted, $installer: $(ls env/lib/python*/site-packages | grep '^oslo.i18n-')"
        env/bin/python -W ignore lookups.py 2>&1
    done
done
