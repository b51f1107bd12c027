uv venv -q app
cat > example.py <<'EOF'
import glob, subprocess, uvshim

[site_packages] = glob.glob("app/lib/python*/site-packages")
before = uvshim.Snapshot.take([site_packages])
install = ["uv", "pip", "install", "-q", "--python", "app", "--no-deps"]
subprocess.run([*install, "oslo.cache==3.10.2", "setuptools==75.8.0"], check=True)

found = uvshim.diagnose(uvshim.DiskTree(), [site_packages])
print([(one.kind, one.name) for one in found.findings])

outcome = uvshim.renormalize(site_packages, since=before)
print([(one.name, one.version) for one in outcome.renamed], outcome.left_alone)
EOF
python3 example.py
