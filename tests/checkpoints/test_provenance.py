"""The origin of results: the revision of the code, the packages and the machine."""

import subprocess

import jax

from relo_jax.checkpoints import provenance


def test_the_revision_is_that_of_the_checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("init")
    assert provenance.revision(package)["changed"] is None  # untracked, as if installed below a repository
    git("add", ".")
    git("commit", "-m", "one")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert provenance.revision(package) == {"revision": head.stdout.strip(), "changed": False}
    (package / "__init__.py").write_text("changed = 1")
    assert provenance.revision(package)["changed"] is True


def test_without_git_the_revision_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.revision() == {"revision": None, "changed": None}


def test_a_session_has_code_packages_machine_and_command():
    session = provenance.session(batch=8)
    assert session["batch"] == 8 and session["packages"]["jax"] == jax.__version__
    assert session["code"]["relo_jax"] and "changed" in session["code"] and session["machine"]["devices"]
    assert session["command"] and session["date"].endswith("UTC")
