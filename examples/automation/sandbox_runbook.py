"""Repairs the backup of one virtual machine from a Python runbook that runs in the cloud: no worker, no child process.

Needs the wheel of azmend in the runbook's environment (docs/automation.md). The job signs in with the account's managed identity.

As a scheduled job, by position (Azure Automation passes parameters that way):
  1. the virtual machine: group/name or its resource id
  2. the id of its subscription
  3. the playbook; default rp-collection-limit
and then, in any order:
  --state=PLACE      where the journal is kept, azblob://ACCOUNT/CONTAINER/PREFIX: it must outlive the job. Default: the Automation
                     variable azmend_state
  --durable-state    PLACE is a directory, and it outlives the job: a hybrid worker's disk, a mounted share
  --client-id=ID     a user-assigned identity
  --relock           restore removed locks at the end of the run

As a webhook, with this body; the other settings then come from the Automation variables azmend_state and azmend_client_id:
  {"vm": "rg-shop/web-01", "subscription": "5b1c0de0-...", "playbook": "auto"}

What it does: a run of this machine that was paused or killed within the last 24 hours is resumed, at most once per job, and its
result is the job's. Otherwise azmend plans and repairs. An exception fails the job; "not finished" is a warning, for the next job
continues. A job is stopped after three hours, and one that was interrupted starts again from the top, elsewhere: both are such a
"paused or killed".
"""

import argparse
import datetime
import json
import logging
import os
import re
import sys

import azmend

# ---- Limits. A job's streams take 1 MiB, and 200 KB of that are shown.
RESULT_LIMIT = 120_000
LOG_LIMIT = 60_000
DEADLINE = "2h45m"
RESUME_HOURS = 24
WEBHOOK_KEYS = {"vm", "subscription", "playbook"}


class JobFailed(Exception):
    """Fails the job."""


# ---- Parameters.


def variable(name):
    """An Automation variable; nothing where there is none, or outside of Azure Automation."""
    try:
        import automationassets
    except ImportError:
        return None
    try:
        return automationassets.get_automation_variable(name) or None
    except Exception:
        # What a missing variable raises is a class of that module. Without a state azmend itself says what is missing.
        return None


def webhook_body(words):
    """The body that a webhook was called with; None for a scheduled job.

    A Python runbook gets the webhook's data as text, which is not always JSON: names without quotes around a body that is. The
    pieces are put together again where it was split at spaces.
    """
    text = " ".join(words).strip()
    if not text.startswith("{"):
        return None
    try:
        body = json.loads(text).get("RequestBody")
    except ValueError:
        found = re.search(r"[\"']?RequestBody[\"']?\s*:\s*", text)
        if not found:
            raise JobFailed("the webhook's data has no RequestBody") from None
        try:
            body, _ = json.JSONDecoder().raw_decode(text, found.end())
        except ValueError:
            raise JobFailed("the webhook's body is not JSON") from None
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            raise JobFailed("the webhook's body is not JSON") from None
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise JobFailed("the webhook's body is not an object of texts")
    unknown = sorted(set(body) - WEBHOOK_KEYS)
    if unknown:
        # Whoever knows the webhook's address can send anything: it names a machine and a playbook, and switches nothing off.
        raise JobFailed(f"the webhook's body has unknown keys: {', '.join(unknown)[:200]}")
    return body


class Parser(argparse.ArgumentParser):
    """argparse writes to stderr and ends the process: no one would see why, and an exit code does not fail the job."""

    def error(self, message):
        raise JobFailed(f"wrong parameters: {message}")


def parameters(words):
    """The parameters of the job."""
    parser = Parser(prog="sandbox_runbook.py", allow_abbrev=False, add_help=False)
    parser.add_argument("vm")
    parser.add_argument("subscription")
    parser.add_argument("playbook", nargs="?", default="rp-collection-limit")
    parser.add_argument("--state")
    parser.add_argument("--durable-state", action="store_true")
    parser.add_argument("--client-id")
    parser.add_argument("--relock", action="store_true")
    body = webhook_body(words)
    if body is not None:
        words = [body.get("vm", ""), body.get("subscription", "")]
        if body.get("playbook"):
            words.append(body["playbook"])
        if any(word.startswith("-") for word in words):
            raise JobFailed("the webhook's body has an option where a name is expected")
    given = parser.parse_args(words)
    given.state = given.state or variable("azmend_state")
    given.client_id = given.client_id or variable("azmend_client_id")
    given.vm_id = vm_id(given.vm, given.subscription)
    return given


def vm_id(vm, subscription):
    """The resource id of the machine, so that another one of the same name is never mistaken for it."""
    if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", subscription):
        raise JobFailed(f"{subscription!r} is not the id of a subscription")
    if re.fullmatch(r"[^/]+/[^/]+", vm):
        group, name = vm.split("/")
        vm = (
            f"/subscriptions/{subscription}/resourceGroups/{group}"
            f"/providers/Microsoft.Compute/virtualMachines/{name}"
        )
    if not vm.lower().startswith(f"/subscriptions/{subscription.lower()}/resourcegroups/"):
        raise JobFailed(f"{vm!r} is neither group/name nor a resource id in the subscription {subscription}")
    return vm


# ---- Output: stdout only, for stderr of a Python runbook is not captured.


def shorten(text, limit):
    """The text, with its middle omitted when it is too long."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    half = limit // 2
    head, tail = data[:half].decode("utf-8", "ignore"), data[-half:].decode("utf-8", "ignore")
    return f"{head}\n[... {len(data) - 2 * half} bytes omitted; all of it: azmend runs show ...]\n{tail}"


def harmless(text):
    """The text without secrets of the environment. azmend prints none; this is the second lock on that door."""
    for name in ("IDENTITY_HEADER", "MSI_SECRET", "AZURE_CLIENT_SECRET"):
        value = os.environ.get(name, "")
        if value:
            text = text.replace(value, "(redacted)")
    return text


def say(text):
    """A line on the output stream."""
    print(harmless(text), flush=True)


class Stream(logging.Handler):
    """azmend's log on the output stream, within the limit; what must be seen is always written."""

    left = LOG_LIMIT

    def emit(self, record):
        text = record.getMessage()
        self.left -= len(text.encode("utf-8", "replace"))
        if record.levelno >= logging.WARNING:
            say(f"WARNING: {text}")
        elif self.left > 0:
            say(text)


# ---- The run to resume.


def unfinished(given):
    """The newest run of this machine that can be resumed, or None."""
    for run in azmend.runs(state=given.state, auth="managed-identity", client_id=given.client_id)["runs"]:
        if run["sandbox"] or str(run["vm"] or "").lower() != given.vm_id.lower():
            continue
        open_run = run["state"] in ("paused", "running", "undoing")
        if open_run and young(run["started"]):
            return run["run_id"]
        if run["locks_off"]:
            raise JobFailed(
                f"the run {run['run_id']} ({run['state']}) has removed {run['locks_off']} lock(s) and cannot be resumed: "
                f"azmend runs undo {run['run_id']}"
            )
        if open_run:
            say(f"WARNING: the run {run['run_id']} was never finished and is too old to be resumed; a new plan is made")
    return None


def young(started):
    """Whether deletions that were planned then can still be made: azmend resumes them for 24 hours."""
    try:
        at = datetime.datetime.fromisoformat(str(started)[:19]).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return False
    return datetime.datetime.now(datetime.timezone.utc) - at < datetime.timedelta(hours=RESUME_HOURS)


# ---- The job.


def work(given):
    """Resumes or repairs."""
    here = {
        "state": given.state,
        "durable_state": given.durable_state,
        "subscription": given.subscription,
        "auth": "managed-identity",
        "client_id": given.client_id,
    }
    try:
        run = unfinished(given)
    except azmend.InputError:
        # There is no state yet, or no place for one: azmend.fix makes it, or says what is missing.
        run = None
    if run:
        say(f"resuming the run {run}")
        return azmend.resume(run, yes=True, deadline=DEADLINE, **here)
    return azmend.fix(given.playbook, vm=given.vm_id, relock=given.relock, yes=True, deadline=DEADLINE, **here)


def main(words):
    """One job."""
    log = logging.getLogger("azmend")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [Stream()]
    given = parameters(words)
    try:
        result = work(given)
    except azmend.NotFinished as error:
        say(shorten(json.dumps(error.result, indent=1), RESULT_LIMIT))
        # Python runbooks have no warning stream; the word comes first so that a search or an alert finds it.
        say(f"WARNING: not finished, the next job resumes it (not before {error.retry_after or 0} s): {error}")
        return
    except azmend.AzmendError as error:
        say(shorten(json.dumps(error.result, indent=1), RESULT_LIMIT))
        raise JobFailed(harmless(f"exit code {error.exit_code}: {error}")) from None
    say(shorten(json.dumps(result, indent=1), RESULT_LIMIT))
    say("exit code 0: verified, or nothing to do")


if __name__ == "__main__":
    main(sys.argv[1:])
