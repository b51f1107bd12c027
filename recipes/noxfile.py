"""Sessions of nox, whose environments uvpip fills."""

import nox


@nox.session(venv_backend="uv")
def tests(session: nox.Session) -> None:
    """Install what the application needs, and see that everything is found."""
    install = ["uvpip", "--python", session.virtualenv.location]
    wanted = ["--constraint", "constraints.txt", "--requirement", "requirements.txt"]
    session.run_install(*install, *wanted, external=True)
    # --strict: a requirement that is missing or in conflict is a failure too.
    session.run("uvshim", "check", "--strict", session.virtualenv.location, external=True)
    session.run("python", "-c", "import pkg_resources; pkg_resources.require('oslo.cache')")
