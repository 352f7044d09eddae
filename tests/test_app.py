"""What `python app.py` is told, and by whom: options first, then the environment."""

import pytest

import app
from forgetme.dataset.hub import Hub
from forgetme.errors import ForgetmeError
from forgetme.stages.chat import ChatClient


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


def test_an_unknown_verifier_is_refused_and_a_known_one_reaches_the_models(tmp_path, capsys):
    assert app.main(["--store", str(tmp_path / "s"), "--verifier", "gpt"]) == 1
    assert "openai/MODEL" in capsys.readouterr().err
    assert app._parser().parse_args(["--verifier", "openai/llava"]).verifier == "openai/llava"


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks://127.0.0.1:9", "ALL_PROXY=socks://127.0.0.1:9 is a proxy of an unknown kind"),
        ("socks5://me:secret@127.0.0.1:9", "ALL_PROXY=socks5://127.0.0.1:9 is a SOCKS proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch, tmp_path, capsys, proxy, words):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as without socksio
    assert app.main(["--store", str(tmp_path / "s")]) == 1
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1
    assert "secret" not in told
    with pytest.raises(ForgetmeError, match="proxy"):
        Hub("me/cats", token="hf_x").open(private=True)
    with pytest.raises(ForgetmeError, match="proxy"):
        ChatClient("m", api_key="k")
