"""Audits every virtual machine of a scope, or repairs those that need it: a runbook for a Hybrid Runbook Worker (Python 3.10 or later).

Parameters, in this order (Azure Automation passes them by position):
  1. what: audit (changes nothing) or fix
  2. the id of the subscription; several, separated by commas
and then, in any order: --azmend=PATH, --state-dir=DIR, --client-id=ID, and after "--" more arguments for `azmend audit` or
`azmend fix auto --all`, for example --tag env=prod.

What it does: `azmend audit --fail-on high`, or `azmend fix auto --all`: one VM first, then a tenth, then all; it stops after the first
failure. --jitter keeps the jobs of many schedules apart. What is not finished is planned again by the next job. See docs/automation.md.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading

# ---- Limits. A job's streams take 1 MiB, and 200 KB of that are shown.
RESULT_LIMIT = 120_000
STDERR_LIMIT = 60_000
DEADLINE = "2h45m"
JITTER = "5m"
# azmend stops at its deadline; this is for an azmend that hangs.
TIMEOUT_SECONDS = 3 * 3600
STOP_SECONDS = 300

# ---- Exit codes of azmend (its --help lists them). Of an audit 3 is a finding, and someone should look.
DONE, WARNING, ERROR = "done", "warning", "error"
OUTCOMES = {
    0: (DONE, "verified, or nothing to do"),
    3: (WARNING, "something was found"),
    7: (WARNING, "not finished yet: the next job plans again"),
}


class AzmendFailed(Exception):
    """Fails the job."""


def parameters(words):
    """The parameters of the job."""
    extra = []
    if "--" in words:
        at = words.index("--")
        words, extra = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(prog="fleet.py", allow_abbrev=False)
    parser.add_argument("what", choices=("audit", "fix"))
    parser.add_argument("subscriptions")
    parser.add_argument("--azmend", default="azmend")
    parser.add_argument("--state-dir")
    parser.add_argument("--client-id")
    given = parser.parse_args(words)
    given.extra = extra
    given.subscriptions = [one.strip() for one in given.subscriptions.split(",")]
    for one in given.subscriptions:
        if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", one):
            raise AzmendFailed(f"{one!r} is not the id of a subscription")
    return given


def command(given):
    """The words for azmend."""
    scope = [word for one in given.subscriptions for word in ("--subscription", one)]
    sign_in = ["--auth", "managed-identity"] + (["--client-id", given.client_id] if given.client_id else [])
    state = ["--state-dir", given.state_dir] if given.state_dir else []
    common = [*scope, *given.extra, "-o", "json", "--jitter", JITTER, *sign_in, *state]
    if given.what == "audit":
        return [given.azmend, "audit", "--fail-on", "high", *common]
    looks = any(word in ("-n", "--dry-run") for word in given.extra)
    confirm = [] if looks else ["--yes"]
    return [given.azmend, "fix", "auto", "--all", *confirm, "--deadline", DEADLINE, *common]


def shorten(text, limit):
    """The text, with its middle omitted when it is too long."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    half = limit // 2
    head, tail = data[:half].decode("utf-8", "ignore"), data[-half:].decode("utf-8", "ignore")
    return f"{head}\n[... {len(data) - 2 * half} bytes omitted]\n{tail}"


def say(text):
    """A line on the output stream, without secrets of the environment."""
    for name in ("IDENTITY_HEADER", "MSI_SECRET", "AZURE_CLIENT_SECRET"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "(redacted)")
    print(text, flush=True)


def run(words):
    """Runs azmend. Its exit code, its stdout and its stderr."""
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise AzmendFailed(f"cannot start {words[0]}: {error.strerror}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            out, err = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def main(words):
    """One job."""
    code, out, err = run(command(parameters(words)))
    if err.strip():
        say("azmend said:\n" + shorten(err.strip(), STDERR_LIMIT))
    say(shorten(out.strip(), RESULT_LIMIT) or "azmend wrote no result")
    try:
        result = json.loads(out)
    except ValueError:
        result = None
    kind, meaning = OUTCOMES.get(code, (ERROR, "see the messages above, and azmend --help for the codes"))
    if not isinstance(result, dict) and kind != ERROR:
        kind, meaning = ERROR, "azmend wrote no result object"
    text = f"exit code {code}: {meaning}"
    if isinstance(result, dict) and result.get("next"):
        text += f"; next: {result['next']}"
    if kind == ERROR:
        raise AzmendFailed(text)
    # Python runbooks have no warning stream; the word comes first so that a search or an alert finds it.
    say(f"WARNING: {text}" if kind == WARNING else text)


if __name__ == "__main__":
    main(sys.argv[1:])
