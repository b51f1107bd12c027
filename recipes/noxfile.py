"""A nox session that installs with uvpip."""

import nox


@nox.session(venv_backend="uv")
def tests(session: nox.Session) -> None:
    """Install the application's requirements and check that every package is found."""
    install = ["uvpip", "--python", session.virtualenv.location]
    wanted = ["--constraint", "constraints.txt", "--requirement", "requirements.txt"]
    session.run_install(*install, *wanted, external=True)
    # --strict also fails for missing and conflicting requirements.
    session.run("uvshim", "check", "--strict", session.virtualenv.location, external=True)
    session.run("python", "-c", "import pkg_resources; pkg_resources.require('oslo.cache')")
