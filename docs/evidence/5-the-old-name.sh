echo 'setuptools==75.0.0' > build.txt
uv venv -q env
uv pip install -q --python env --no-deps --no-cache --no-binary :all: --build-constraints build.txt \
    XStatic-JQuery.TableSorter==2.14.5.3 backports.entry-points-selectable==1.3.0
cd env/lib/python*/site-packages
ls -d *.dist-info

# And what comes of a hyphen in the name part:
mv XStatic_JQuery.TableSorter-2.14.5.3.dist-info XStatic-JQuery.TableSorter-2.14.5.3.dist-info
uv pip list --python ../../.. 2>&1 | sed "1d; s|$PWD|…|"
