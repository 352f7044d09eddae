"""A real client and a real local server: retries, what servers take, bounds, cost, the key."""

from __future__ import annotations

import email.utils
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asking import cherry_scene, verifier
from openai_server import KEY, OpenAIServer, Reply, error, verdict

from forgetme.errors import MissingModelError, VerifierError
from forgetme.stages.verify import AskSettings, OpenAIVerifier


@pytest.fixture(scope="module")
def scene():
    """A picture, the mask of its cherry, and the mask of its ground."""
    return cherry_scene()


@pytest.fixture
def server():
    """A server that says yes until told otherwise."""
    with OpenAIServer() as running:
        yield running


JSON = verdict().content


class TestRetries:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 408])
    def test_a_passing_failure_is_asked_again(self, server, scene, status):
        server.queue.extend([error(status), error(status)])
        assert verifier(server)(*scene[:2], "cat").yes
        assert len(server.asked) == 3

    def test_the_servers_wish_to_wait_is_kept(self, server, scene):
        server.queue.append(error(429, retry_after="1"))
        start = time.monotonic()
        assert verifier(server)(*scene[:2], "cat").yes
        assert time.monotonic() - start >= 1

    def test_a_wish_in_milliseconds_or_as_a_date_is_understood(self, server, scene):
        soon = int(time.time()) + 3  # dates have whole seconds
        date = email.utils.formatdate(soon, usegmt=True)
        server.queue.extend([error(429, retry_after_ms="300"), error(503, retry_after=date)])
        assert verifier(server)(*scene[:2], "cat").yes
        assert time.time() >= soon - 0.01

    def test_a_wish_to_wait_too_long_ends_it_at_once(self, server, scene):
        server.queue.append(error(429, retry_after="3600"))
        with pytest.raises(VerifierError, match="wait 3600 s, longer than the 60 s allowed"):
            verifier(server)(*scene[:2], "cat")
        assert len(server.asked) == 1

    def test_waits_grow_and_differ(self, server, caplog):
        ask = verifier(server, backoff_s=1.0)
        waits = [[ask._wait(n, {}) for _ in range(50)] for n in range(4)]
        for n, several in enumerate(waits):
            assert all(0.5 * 2**n <= wait <= 2**n for wait in several)
            assert len(set(several)) > 1

    def test_a_slow_answer_is_asked_again(self, server, scene):
        server.queue.append(Reply(wait_s=20))
        assert verifier(server, timeout_s=0.5)(*scene[:2], "cat").yes
        assert len(server.asked) == 2

    def test_a_dropped_connection_is_asked_again(self, server, scene):
        server.queue.append(Reply(drop=True))
        assert verifier(server)(*scene[:2], "cat").yes
        assert len(server.asked) == 2

    def test_it_gives_up_and_says_why(self, server, scene):
        server.answer = lambda asked: error(500, "on fire")
        with pytest.raises(VerifierError, match=r"no verdict after 3 requests.*HTTP 500.*on fire"):
            verifier(server, tries=3)(*scene[:2], "cat")
        assert len(server.asked) == 3

    def test_it_gives_up_on_a_server_that_never_answers(self, server, scene):
        server.answer = lambda asked: Reply(wait_s=20)
        with pytest.raises(VerifierError, match=r"after 2 requests.*no answer within 0\.2 s"):
            verifier(server, tries=2, timeout_s=0.2)(*scene[:2], "cat")

    def test_nobody_there(self, scene):
        with OpenAIServer() as gone:
            pass
        with pytest.raises(VerifierError, match="no connection to http://127"):
            verifier(gone, tries=2)(*scene[:2], "cat")

    @pytest.mark.parametrize(
        ("reply", "message"),
        [
            (error(400, "flagged", "content_filter"), "HTTP 400: flagged"),
            (error(404, "no model gpt-4o"), "HTTP 404.*no model"),
            (error(403, "not you"), r"key was refused \(HTTP 403\).*says: not you"),
            (error(429, "out of money", "insufficient_quota"), "HTTP 429.*out of money"),
        ],
    )
    def test_a_lasting_failure_is_not_asked_again(self, server, scene, reply, message):
        server.queue.append(reply)
        with pytest.raises(VerifierError, match=message):
            verifier(server)(*scene[:2], "cat")
        assert len(server.asked) == 1


def test_parts_of_usage_are_added(server, scene):
    server.queue.append(Reply(JSON, usage={"prompt_tokens": 5, "completion_tokens": 2}))
    ask = verifier(server, max_tokens=100)
    ask(*scene[:2], "cat")
    assert ask.tokens == 7


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(finish="content_filter"), "filter held the answer back"),
        (Reply('{"answer": "ye', finish="length"), 'cut off .* {"answer": "ye'),
        (
            Reply(body='{"error": {"message": "no images here", "code": 404}}'),
            "404: no images here",
        ),
        (Reply(body='{"error": "no such model"}'), "no such model"),
    ],
)
def test_a_no_inside_http_200_is_said_in_the_servers_words(server, scene, reply, message):
    server.answer = lambda asked: reply
    with pytest.raises(VerifierError, match=message):
        verifier(server)(*scene[:2], "cat")
    assert len(server.asked) == 1


def test_a_busy_server_inside_http_200_is_asked_again(server, scene):
    server.queue.append(Reply(body='{"error": {"message": "overloaded", "code": 503}}'))
    assert verifier(server)(*scene[:2], "cat").yes


class TestWhatServersTake:
    def test_a_temperature_and_the_whole_of_openais_api_are_sent_first(self, server, scene):
        verifier(server)(*scene[:2], "cat")
        body = server.asked[0].body
        assert body["temperature"] == 0
        assert body["response_format"]["type"] == "json_schema"
        assert [one["role"] for one in body["messages"]] == ["system", "user"]
        assert body["messages"][1]["content"][1]["image_url"]["detail"] == "low"

    @pytest.mark.parametrize("status", [400, 422, 500])
    @pytest.mark.parametrize(
        ("minds", "words", "refusals"),
        [
            ("json_schema", "'response_format.type' must be 'text' or 'json_object'", 1),
            ("response_format", "Extra inputs are not permitted: response_format", 2),
            ("system", "System role not supported", 1),
            ("system", "Conversation roles must alternate user/assistant", 1),
            ('"detail"', "image_url.detail: extra field", 1),
            ("temperature", "Unsupported value: 'temperature' does not support 0", 1),
        ],
    )
    def test_what_a_server_names_is_left_out_and_remembered(
        self, server, scene, minds, words, refusals, status
    ):
        server.minds = lambda body: error(status, words) if minds in json.dumps(body) else None
        ask = verifier(server)
        for concept in ("cat", "dog"):
            assert ask(*scene[:2], concept).yes
        assert (server.refused, len(server.asked)) == (refusals, 2)
        body = json.dumps(server.asked[-1].body)
        assert minds not in body
        kept = {'"system"', '"detail"', '"temperature"', "response_format"} - {minds, f'"{minds}"'}
        assert all(one in body for one in kept)
        assert "never an instruction" in body
        assert "confidence" in body

    def test_a_server_that_does_not_say_what_it_minds_is_asked_the_plain_way(self, server, scene):
        server.minds = lambda body: error(400, "bad request") if "system" in str(body) else None
        ask = verifier(server)
        assert ask(*scene[:2], "cat").yes
        assert server.refused == 1
        assert set(server.asked[0].body) == {"model", "messages"}
        server.minds = lambda body: error(400, "this picture is broken")
        with pytest.raises(VerifierError, match="HTTP 400: this picture is broken"):
            ask(*scene[:2], "dog")
        assert server.refused == 2

    def test_the_first_refusal_is_told_where_nothing_helps(self, server, scene):
        server.minds = lambda body: error(
            400, f"not {'with' if 'temp' in str(body) else 'without'}"
        )
        with pytest.raises(VerifierError, match="HTTP 400: not with$"):
            verifier(server)(*scene[:2], "cat")
        assert server.refused == 2


class TestBounds:
    @pytest.mark.parametrize("drip", ["head", "body"])
    def test_a_server_that_never_ends_is_left(self, server, scene, drip):
        server.answer = lambda asked: Reply(drip=drip)
        start = time.monotonic()
        with pytest.raises(VerifierError, match=r"after 1 requests; last: no answer within 0\.4 s"):
            verifier(server, timeout_s=0.4, tries=1)(*scene[:2], "cat")
        assert time.monotonic() - start < 5

    def test_an_answer_of_gigabytes_is_left(self, server, scene):
        server.answer = lambda asked: Reply(endless=True)
        with pytest.raises(VerifierError, match="longer than 4 MiB"):
            verifier(server)(*scene[:2], "cat")
        assert len(server.asked) == 1

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_no_redirect_is_followed(self, server, scene, status):
        with OpenAIServer() as other:
            place = f"{other.url}/chat/completions?token={KEY}"
            server.queue.append(Reply(status=status, body="", headers={"location": place}))
            with pytest.raises(
                VerifierError, match=f"sends on to '{other.url}/chat/c.*HTTP {status}"
            ) as raised:
                verifier(server)(*scene[:2], "cat")
            assert KEY not in str(raised.value)
            assert other.asked == []

    def test_a_packed_answer_is_refused(self, server, scene):
        server.queue.append(Reply(JSON, headers={"content-encoding": "gzip"}))
        with pytest.raises(VerifierError, match=r"packed \(gzip\)"):
            verifier(server)(*scene[:2], "cat")

    @pytest.mark.parametrize(
        "url",
        ["file:///etc/passwd", "localhost:11434/v1", "http://", "http://x:y/v1", "http://a\nb/"],
    )
    def test_an_address_that_is_none_is_refused(self, url):
        with pytest.raises(MissingModelError, match="OPENAI_BASE_URL must be an address"):
            OpenAIVerifier("m", api_key="k", base_url=url)


class TestSpending:
    def test_the_cap_on_requests_counts_retries(self, server, scene):
        server.queue.extend([error(500)] * 2)
        ask = verifier(server, max_calls=3)
        assert ask(*scene[:2], "cat").yes
        with pytest.raises(VerifierError, match=r"spend cap .* 3 requests \(cap 3\)"):
            ask(*scene[:2], "cat")
        assert len(server.asked) == ask.calls == 3

    def test_the_cap_on_tokens(self, server, scene):
        ask = verifier(server, max_tokens=200)
        ask(*scene[:2], "cat")
        ask(*scene[:2], "cat")
        assert ask.tokens == 240
        with pytest.raises(VerifierError, match=r"spend cap .* 240 tokens \(cap 200\)"):
            ask(*scene[:2], "cat")
        assert len(server.asked) == 2

    def test_wrong_answers_cost_tokens_too(self, server, scene):
        server.queue.append(Reply("hm"))
        ask = verifier(server)
        ask(*scene[:2], "cat")
        assert ask.tokens == 240

    def test_a_server_that_does_not_count_tokens_cannot_be_capped_by_them(self, server, scene):
        server.answer = lambda asked: Reply(verdict().content, usage=False)
        with pytest.raises(VerifierError, match="cap max_calls instead"):
            verifier(server, max_tokens=1000)(*scene[:2], "cat")
        assert verifier(server)(*scene[:2], "cat").yes

    def test_threads_together_keep_the_cap(self, server, scene):
        ask = verifier(server, max_calls=5)

        def outcome(n):
            try:
                return ask(*scene[:2], f"cat {n}").yes
            except VerifierError:
                return None

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(outcome, range(16)))
        assert outcomes.count(True) == len(server.asked) == 5


class TestKey:
    def test_it_goes_to_the_server_and_nowhere_else(self, server, scene, tmp_path, caplog):
        path = tmp_path / "answers.db"
        long = "x" * 290 + KEY  # what is shown ends within the key
        server.queue.extend([error(500, f"bad day for {KEY}"), error(404, f"{KEY} {long}")])
        with caplog.at_level(logging.DEBUG):
            ask = verifier(server, cache=path)
            with pytest.raises(VerifierError) as raised:
                ask(*scene[:2], "cat")
            ask(*scene[:2], "cat")
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
        assert KEY[:8] not in str(raised.value)
        assert "***" in str(raised.value)
        assert "asking again" in caplog.text
        assert KEY not in caplog.text
        assert KEY not in str(vars(ask.settings))
        assert KEY.encode() not in path.read_bytes()

    @pytest.mark.parametrize("end", ["\r", "\n", " ", "\r\n", "\ufeff"])
    def test_it_is_used_without_what_was_copied_with_it(self, server, scene, end):
        if end == "\ufeff":
            with pytest.raises(
                MissingModelError, match="OPENAI_API_KEY must be one word"
            ) as raised:
                verifier(server, key=KEY + end)
            assert KEY not in str(raised.value)
            return
        assert verifier(server, key=f" {KEY}{end}")(*scene[:2], "cat").yes

    def test_a_server_cannot_have_it_written_down(self, server, scene, tmp_path):
        path = tmp_path / "answers.db"
        server.queue.append(verdict(reason=f"your key is {KEY}"))
        assert verifier(server, cache=path)(*scene[:2], "cat").reason == "your key is ***"
        assert KEY.encode() not in path.read_bytes()

    def test_a_short_one_blots_out_no_words(self, server):
        hide = verifier(server, key="ollama")._key.hide
        assert hide("ollama has no ollama model") == "ollama has no ollama model"
        assert hide("Incorrect API key: ollama") == "Incorrect API key: ***"
        assert hide("{'Authorization': 'Bearer ollama'}") == "{'Authorization': 'Bearer ***'}"

    def test_it_is_not_shown_as_part_of_an_address(self, scene):
        url = f"http://me:{KEY}@127.0.0.1:9/v1?api-key={KEY}"
        ask = OpenAIVerifier("m", api_key=None, base_url=url, settings=AskSettings(tries=1))
        with pytest.raises(VerifierError, match="no connection to http://127") as raised:
            ask(*scene[:2], "cat")
        assert KEY not in str(raised.value)

    def test_a_refused_key_says_what_to_check(self, server, scene):
        with pytest.raises(VerifierError, match=r"key was refused \(HTTP 401\); check OPENAI_API"):
            verifier(server, key="sk-wrong")(*scene[:2], "cat")

    @pytest.mark.parametrize("key", [None, ""])
    def test_openais_server_needs_one(self, key):
        with pytest.raises(MissingModelError, match="set OPENAI_API_KEY"):
            OpenAIVerifier("gpt-4o", api_key=key)

    def test_a_server_of_ones_own_may_do_without(self, server):
        assert verifier(server, key=None).made_by == "gpt-4o"
