"""What `python app.py` is told, and by whom: options first, then the environment."""

import pytest

import app


@pytest.mark.parametrize(
    ("environment", "arguments", "store"),
    [
        (None, [], "forgetme-store"),
        ("/data/store", [], "/data/store"),
        ("/data/store", ["--store", "mine"], "mine"),
    ],
)
def test_the_store_is_the_options_or_else_the_environments(
    monkeypatch, environment, arguments, store
):
    monkeypatch.delenv("FORGETME_STORE", raising=False)
    if environment:
        monkeypatch.setenv("FORGETME_STORE", environment)
    assert app._parser().parse_args(arguments).store == store


def test_guests_of_an_unknown_role_are_refused_before_anything_opens(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FORGETME_GUESTS", "lead")
    monkeypatch.chdir(tmp_path)
    assert app.main([]) == 1
    assert "viewer or curator, got 'lead'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
