"""Every way in which a provider of credentials fails: exit code 4, one line with the cause, one with the remedy.

All cases run through the command line in one child process, in which nothing but the program writes to stderr: inside
pytest, the handlers of its own log capture would hide lines that Python's loggers print.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.kit.jobs import write_job

ROLE = "arn:aws:iam::123456789012:role/x"
SECRET = "sEcrEt0sEcrEt1sEcrEt2sEcrEt3sEcrEt4sEcrEt5"
QUOTED = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = s\n"
STS_AWAY = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}


class Case(NamedTuple):
    """A setting of a machine that cannot work.

    Attributes:
        words: Parts of the error's line.
        hint: A part of the remedy.
        config: The AWS config file; profile ``p`` is selected where it has one.
        env: Environment variables; ``{server}`` is the address of a server that answers as ``replies`` say.
    """

    words: tuple[str, ...]
    hint: str
    config: str = ""
    env: Mapping[str, str] = MappingProxyType({})


def keys_json(**fields: object) -> str:
    """What a credential process prints, with some fields replaced; None drops one."""
    whole = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": SECRET, "SessionToken": "t", **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not None})


def process(command: str, *words: str, hint: str = "credential_process") -> Case:
    """A profile with a credential process; the message names it."""
    named = ("credential process of profile 'p'", *words)
    return Case(named, hint, f"[profile p]\ncredential_process = {command}\n")


def printing(text: str, *words: str) -> Case:
    """A credential process that prints a text."""
    return process(f"printf %s {shlex.quote(text)}", *words)


def role(*words: str, hint: str, source: str = QUOTED, more: str = "", env: dict[str, str] | None = None) -> Case:
    """A profile with a role, whose keys come from profile ``q``."""
    config = f"[profile p]\nrole_arn = {ROLE}\nsource_profile = q\n{more}\n[profile q]\n{source}"
    return Case(("role of profile 'p'", *words), hint, config, env or {})


def sso(name: str, *words: str, env: dict[str, str] | None = None) -> Case:
    """A profile with an SSO session, whose cached login is that of ``CACHES``."""
    config = (
        f"[profile p]\nsso_session = {name}\nsso_account_id = 123456789012\nsso_role_name = r\n"
        f"[sso-session {name}]\nsso_region = us-east-1\nsso_start_url = https://example.invalid/start\n"
    )
    return Case(("SSO login of profile 'p'", *words), "aws sso login --profile p", config, env or {})


def container(url: str, *words: str, hint: str = "AWS_CONTAINER", **env: str) -> Case:
    """The endpoint for credentials of a container."""
    return Case(("container endpoint", *words), hint, "", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, **env})


def environment(*words: str, hint: str = "", **env: str) -> Case:
    """Keys in environment variables."""
    both = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": SECRET, **env}
    return Case(words, hint, "", both)


def web(*words: str, hint: str = "AWS_WEB_IDENTITY_TOKEN_FILE", **env: str) -> Case:
    """A web identity token."""
    return Case(("web identity token", *words), hint, "", {"AWS_ROLE_ARN": ROLE, **env})


def login(*words: str, more: str = "", path: str = "/nonexistent") -> Case:
    """A profile of ``aws login``."""
    config = f"[profile p]\nlogin_session = arn:aws:iam::123456789012:user/u\n{more}"
    return Case(("console login of profile 'p'", *words), "aws login --profile p", config, {"PATH": path})


CACHES = {
    "cut": '{"startUrl":"https://exa',
    "list": "[1, 2]",
    "fields": '{"accessToken": "t"}',
    "no-date": '{"accessToken": "t", "expiresAt": "soon"}',
    "ended": '{"accessToken": "t", "expiresAt": "2020-01-01T00:00:00Z"}',
    "good": '{"accessToken": "t", "expiresAt": "2099-01-01T00:00:00Z"}',
    "broken": '{"accessToken": "t\\r\\nX-Injected: 1", "expiresAt": "2099-01-01T00:00:00Z"}',
}
REPLIES = {
    "/refused": (403, f"no\nsecond line: token={SECRET}\n{SECRET}"),
    "/list": (200, "[]"),
    "/html": (200, "<html>proxy</html>"),
    "/fields": (200, '{"AccessKeyId": "A"}'),
    "/expired": (200, '{"AccessKeyId":"A","SecretAccessKey":"B","Token":"C","Expiration":"2020-01-01T00:00:00Z"}'),
    "/newline": (200, '{"AccessKeyId":"A\\n","SecretAccessKey":"B","Token":"C","Expiration":"2099-01-01T00:00:00Z"}'),
}
FAULTY_STS = {"AWS_ENDPOINT_URL_STS": "{server}/html"}

CASES = {
    # A credential process
    "process missing": process("/nonexistent/tool --key x", "/nonexistent/tool: No such file"),
    "process is a folder": process("/", "Permission denied"),
    "process quoted wrongly": process("tool 'x", "quotation"),
    "process fails": process("sh -c 'echo one >&2; echo the last line >&2; exit 3'", "the last line"),
    "process fails silently": process("false", "without a message"),
    "process tells a secret": process(f"sh -c 'echo password: {SECRET}x >&2; exit 1'", "[hidden]"),
    "process tells a bare secret": process(f"sh -c 'echo got {SECRET} >&2; exit 1'", "got [hidden]"),
    "process prints no JSON": process("echo no json", "not JSON"),
    "process prints nothing": process("true", "not JSON"),
    "process prints a list": printing("[]", "cannot be used"),
    "process prints a number": printing("5", "cannot be used"),
    "process prints another version": printing(keys_json(Version=2), "version '2'"),
    "process prints no secret": printing(keys_json(SecretAccessKey=None), "SecretAccessKey"),
    "process prints no text": process(r"printf '\377\376'", "not text"),
    "expiry is no date": printing(keys_json(Expiration="soon"), "not a time", "soon"),
    "expiry has no zone": printing(keys_json(Expiration="2099-01-01T00:00:00"), "naive"),
    "expired already": printing(keys_json(Expiration="2020-01-01T00:00:00Z"), "expired already"),
    "key is a number": printing(keys_json(AccessKeyId=5), "AccessKeyId", "not text")._replace(hint="alone"),
    "key is empty": printing(keys_json(AccessKeyId="", SessionToken="t"), "AccessKeyId", "empty")._replace(hint="key"),
    "line break from a process": printing(keys_json(SessionToken="a\nb"), "SessionToken", "line break")._replace(
        hint="alone"
    ),
    # A role
    "STS cannot be reached": role("Could not connect", hint="network", env=STS_AWAY),
    "STS is a proxy's page": role("role", hint="source_profile", env=FAULTY_STS),
    "no source profile": Case(("profile 'p'",), "profile", f"[profile p]\nrole_arn = {ROLE}\nsource_profile = q\n"),
    "no source": Case(("role of profile 'p'",), "", f"[profile p]\nrole_arn = {ROLE}\ncredential_source = Nowhere\n"),
    "source without keys": role("must have credentials", hint="source_profile", source="region = us-east-1"),
    "roles in a circle": Case(
        ("role of profile 'p'", "Infinite loop"),
        "source_profile",
        f"[profile p]\nrole_arn = {ROLE}\nsource_profile = q\n[profile q]\nrole_arn = {ROLE}\nsource_profile = p\n",
    ),
    "source of a role: process missing": role(
        "/nonexistent/tool", hint="source_profile", source="credential_process = /nonexistent/tool"
    ),
    "source of a role: process fails": Case(
        ("credential process", "without a message"),
        "credential_process",
        f"[profile p]\nrole_arn = {ROLE}\nsource_profile = q\n[profile q]\ncredential_process = false\n",
    ),
    "session too short": role("DurationSeconds", hint="source_profile", more="duration_seconds = 5"),
    "MFA without a terminal": role(
        "MFA device", "no terminal", hint="on a terminal", more="mfa_serial = arn:aws:iam::1:mfa/me"
    ),
    "line break in a source's secret": Case(
        ("aws_secret_access_key of profile 'q'", "line break"),
        "alone",
        f"[profile p]\nrole_arn = {ROLE}\nsource_profile = q\n"
        "[profile q]\naws_access_key_id = A\naws_secret_access_key = B\n  C\n",
    ),
    # SSO
    "never logged in": sso("never", "does not exist"),
    "cache is cut": sso("cut", "damaged"),
    "cache is a list": sso("list"),
    "cache lacks a field": sso("fields", "invalid"),
    "cache has no date": sso("no-date", "soon"),
    "login ended": sso("ended", "expired"),
    "line break in the SSO token": sso("broken", "header", env={"AWS_ENDPOINT_URL_SSO": "{server}/html"}),
    "SSO cannot be reached": sso(
        "good", "Could not connect", env={"AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:1"}
    )._replace(hint="network"),
    "SSO settings incomplete": Case(
        ("SSO login of profile 'p'", "sso_account_id")[1:],
        "",
        "[profile p]\nsso_start_url = https://example.invalid/start\nsso_region = us-east-1\nsso_role_name = r\n",
    ),
    # Web identity
    "token missing": web("/nonexistent: No such file", AWS_WEB_IDENTITY_TOKEN_FILE="/nonexistent"),
    "token is a folder": web("/: Is a directory", AWS_WEB_IDENTITY_TOKEN_FILE="/"),
    "token is empty": web("WebIdentityToken", AWS_WEB_IDENTITY_TOKEN_FILE="/dev/null"),
    "token without role": web("role ARN", AWS_WEB_IDENTITY_TOKEN_FILE="{home}/token", AWS_ROLE_ARN=""),
    "STS away for a token": web(
        "Could not connect", hint="network", AWS_WEB_IDENTITY_TOKEN_FILE="{home}/token", **STS_AWAY
    ),
    # A container
    "endpoint not allowed": container("http://10.1.2.3/creds", "10.1.2.3"),
    "endpoint away": container("http://127.0.0.1:1/creds", "Could not connect", hint="network"),
    "endpoint refuses": container("{server}/refused", "[hidden]"),
    "endpoint answers a list": container("{server}/list", "cannot be used"),
    "endpoint answers a page": container("{server}/html", "JSON"),
    "endpoint lacks fields": container("{server}/fields", "lacks 'SecretAccessKey'"),
    "endpoint gives old keys": container("{server}/expired", "expired already"),
    "endpoint gives a line break": container("{server}/newline", "AccessKeyId", "line break", hint="alone"),
    "container token missing": container(
        "{server}/list", "/nonexistent: No such file", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="/nonexistent"
    ),
    "line break in the container token": container(
        "{server}/list", "legal header", AWS_CONTAINER_AUTHORIZATION_TOKEN=f"{SECRET}\nX: 1"
    ),
    # Keys in the environment and in files
    "no keys at all": Case(("locate credentials",), "AWS_PROFILE"),
    "half a key": environment("AWS_SECRET_ACCESS_KEY", hint="AWS_SECRET_ACCESS_KEY", AWS_SECRET_ACCESS_KEY=""),
    "line break in the key": environment("AWS_ACCESS_KEY_ID", "line break", AWS_ACCESS_KEY_ID="AKIA\nX"),
    "line break in the secret": environment("AWS_SECRET_ACCESS_KEY", AWS_SECRET_ACCESS_KEY=f"{SECRET}\r"),
    "line break in the token": environment("AWS_SESSION_TOKEN", AWS_SESSION_TOKEN=f"{SECRET}\n"),
    "escape in the old token": environment("AWS_SECURITY_TOKEN", AWS_SECURITY_TOKEN=f"{SECRET}\x1b[2J"),
    "line separator in the key": environment("AWS_ACCESS_KEY_ID", AWS_ACCESS_KEY_ID="AKIA\u2028X"),
    "blank after the secret": environment("AWS_SECRET_ACCESS_KEY", "blank", AWS_SECRET_ACCESS_KEY=f"{SECRET} "),
    "keys in the environment expired": environment(
        "environment variables",
        "expired already",
        hint="AWS_SESSION_TOKEN",
        AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z",
        AWS_SESSION_TOKEN="t",
    ),
    "line break in a file": Case(
        ("aws_session_token of profile 'p'",), "alone", f"[profile p]\n{QUOTED}aws_session_token = a\n  b\n"
    ),
    # Profiles and files
    "unknown profile": Case(("p",), "AWS_PROFILE", "", {"AWS_PROFILE": "p"}),
    "config cannot be parsed": Case(("config",), "AWS_CONFIG_FILE", "[profile p\nx"),
    "metadata setting is no number": Case(("abc",), "", "", {"AWS_METADATA_SERVICE_TIMEOUT": "abc"}),
    # aws login
    "login without the CLI": login("PATH"),
    "login as source, without the CLI": login(more=f"[profile r]\nrole_arn = {ROLE}\nsource_profile = p\n")._replace(
        words=("console login of profile 'r'",), hint="aws login --profile r", env={"AWS_PROFILE": "r", "PATH": "/x"}
    ),
    "login ended, says the CLI": login("Your session has expired", path="{home}/bin/ended"),
    "old CLI": login("without a message", path="{home}/bin/old"),
}

RUNNER = """
import http.server, json, logging, os, sys, threading
from botocore.utils import ContainerMetadataFetcher
from asyncfilter.aws import credentials
from asyncfilter.cli.app import command_line

cases, replies = json.load(open("cases.json")), json.load(open("replies.json"))
credentials._PAUSE_S = ContainerMetadataFetcher.SLEEP_TIME = 0.01

class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.rstrip("/")
        status, text = replies.get(path, (404, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    do_POST = do_GET
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
before = dict(os.environ)
for name, (_, _, config, env) in cases.items():
    os.environ.clear()
    os.environ.update(before)
    os.environ["AWS_CONFIG_FILE"] = "config"
    open("config", "w").write(config)
    if "[profile p]" in config:
        os.environ["AWS_PROFILE"] = "p"
    for key, value in env.items():
        os.environ[key] = value.replace("{server}", address).replace("{home}", os.environ["HOME"])
    code = command_line(["run", "job.yaml", "--set", "limits.max_images=1"])
    for logger in ("asyncio", "aiohttp.client", "urllib3", "botocore", "aiobotocore.credentials"):
        logging.getLogger(logger).error("Task exception was never retrieved")
    print(f"@@ {name} {code}", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str]]]:
    """Exit code and lines on stderr of every case."""
    folder = tmp_path_factory.mktemp("credentials")
    write_job(folder / "job.yaml")
    cache = folder / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    for name, text in CACHES.items():
        (cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json").write_text(text)
    for name, script in {"ended": "echo 'Your session has expired.' >&2; exit 255", "old": "exit 252"}.items():
        (folder / "bin" / name).mkdir(parents=True)
        tool = folder / "bin" / name / "aws"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    (folder / "token").write_text("a web identity token")
    plain = {name: (*case[:3], dict(case.env)) for name, case in CASES.items()}
    (folder / "cases.json").write_text(json.dumps(plain))
    (folder / "replies.json").write_text(json.dumps(REPLIES))
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    given = {"HOME": str(folder), "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "80"}
    files = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=folder,
        env={**kept, **given, **files},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    found: dict[str, tuple[int, list[str]]] = {}
    lines: list[str] = []
    for line in done.stderr.splitlines():
        if end := re.fullmatch(r"@@ (.*) (\d+)", line):
            found[end[1]] = (int(end[2]), lines)
            lines = []
        else:
            lines.append(line)
    assert found.keys() == CASES.keys(), lines
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_provider_that_fails_is_one_line_and_the_remedy(name: str, results: dict[str, tuple[int, list[str]]]) -> None:
    """Exit code 4; the provider is named; no traceback, no line of another package, no secret."""
    case = CASES[name]
    code, lines = results[name]
    assert len(lines) == 2, lines
    error, hint = lines
    assert (code, error[:32]) == (4, "error: No usable AWS credentials")
    for word in case.words:
        assert word in error
    assert hint.startswith("hint: ")
    assert case.hint in hint
    assert SECRET not in error + hint
    assert (error + hint).isprintable()
