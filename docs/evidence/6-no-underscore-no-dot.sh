python3 -c 'import re; print([re.sub(r"[-_.]+", "_", name) for name in ("oslo.cache", "a.b", "requests")])'
