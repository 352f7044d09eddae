"""What the page is told at its start, and by whom: options first, then the environment."""

import pytest
from typer.testing import CliRunner

from forgetme.cli import app, serve
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
    assert serve._parser("forgetme serve").parse_args(arguments).store == store


def test_guests_of_an_unknown_role_are_refused_before_anything_opens(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FORGETME_GUESTS", "lead")
    monkeypatch.chdir(tmp_path)
    assert serve.main([]) == 1
    assert "viewer or curator, got 'lead'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unknown_verifier_is_refused_and_a_known_one_reaches_the_models(tmp_path, capsys):
    assert serve.main(["--store", str(tmp_path / "s"), "--verifier", "gpt"]) == 1
    assert "openai/MODEL" in capsys.readouterr().err
    assert (
        serve._parser("forgetme serve").parse_args(["--verifier", "openai/llava"]).verifier
        == "openai/llava"
    )


def test_serve_is_the_same_command_as_app_py_under_its_own_name(tmp_path):
    run = CliRunner().invoke
    told = run(app, ["serve", "--help"], prog_name="forgetme")
    assert told.exit_code == 0
    assert told.output.startswith("usage: forgetme serve ")
    assert "--public-url" in told.output
    assert run(app, ["serve", "--port", "many"]).exit_code == 2
    refused = run(app, ["serve", "--images", str(tmp_path)])
    assert refused.exit_code == 1
    assert "--images and --concept belong together" in refused.output


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
    assert serve.main(["--store", str(tmp_path / "s")]) == 1
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1
    assert "secret" not in told
    with pytest.raises(ForgetmeError, match="proxy"):
        Hub("me/cats", token="hf_x").open(private=True)
    with pytest.raises(ForgetmeError, match="proxy"):
        ChatClient("m", api_key="k")
