"""Repairs the backup of one virtual machine with azmend: a runbook for a Hybrid Runbook Worker (Python 3.10 or later).

Parameters, in this order (Azure Automation passes them by position):
  1. the virtual machine: group/name or its resource id (a bare name may be that of two machines)
  2. the id of its subscription
  3. the playbook; default rp-collection-limit
and then, in any order: --azmend=PATH, --state-dir=DIR, --client-id=ID, and after "--" more arguments for `azmend fix`.
Or, instead of the machine: --alert-base64=TEXT, an alert of Azure Monitor or an event of Event Grid in Base64, and the id of
the subscription; azmend finds the machine in it. (Webhooks start PowerShell runbooks only; examples/alerts shows the Logic App.)

What it does: a run of this machine that was paused or killed within the last 24 hours is resumed, at most once per job, and
its result is the job's. Otherwise `azmend fix` runs. A native exit code does not fail a job, so each is mapped: done,
warning (not finished: the next job continues), or an exception, which fails the job. See docs/automation.md.

fix.ps1 is the same script in PowerShell, part by part.
"""

import argparse
import base64
import binascii
import datetime
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
# azmend stops at its deadline; this is for an azmend that hangs.
TIMEOUT_SECONDS = 3 * 3600
STOP_SECONDS = 300
RESUME_HOURS = 24

# ---- Exit codes of azmend (its --help lists them).
DONE, WARNING, ERROR = "done", "warning", "error"
OUTCOMES = {
    0: (DONE, "verified, or nothing to do"),
    1: (ERROR, "a bug in azmend"),
    2: (ERROR, "wrong input: arguments, files, or the virtual machine was not found"),
    3: (WARNING, "a dry run found something to do"),
    4: (ERROR, "sign-in or permission; nothing changed"),
    5: (ERROR, "refused by a rule; nothing changed"),
    6: (ERROR, "partly done, or something could not be read"),
    7: (WARNING, "not finished yet: the next job resumes it"),
    8: (ERROR, "stuck: a person is needed (a lock is not restored, or an outcome is unknown)"),
    9: (ERROR, "everything was done, and the backup still fails"),
}


class AzmendFailed(Exception):
    """Fails the job."""


def outcome(code):
    """What an exit code means for the job."""
    return OUTCOMES.get(code, (ERROR, f"azmend ended with {code}, which is not one of its exit codes: was it killed?"))


# ---- Parameters.


def parameters(words):
    """The parameters of the job."""
    extra = []
    if "--" in words:
        at = words.index("--")
        words, extra = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(prog="fix.py", allow_abbrev=False)
    alerted = [word for word in words if word.startswith("--alert-base64")]
    if not alerted:
        parser.add_argument("vm")
    parser.add_argument("subscription")
    parser.add_argument("playbook", nargs="?", default="auto" if alerted else "rp-collection-limit")
    parser.add_argument("--alert-base64")
    parser.add_argument("--azmend", default="azmend")
    parser.add_argument("--state-dir")
    parser.add_argument("--client-id")
    given = parser.parse_args(words)
    given.extra = extra
    # What changes nothing is neither confirmed nor a reason to resume what an earlier job started.
    given.only_looks = any(word in ("-n", "--dry-run") or word.split("=")[0] == "--plan-out" for word in extra)
    given.alert = None
    if alerted:
        try:
            given.alert = base64.b64decode(given.alert_base64, validate=True)
        except (binascii.Error, ValueError):
            raise AzmendFailed("--alert-base64 is not Base64") from None
        given.vm_id = None
    else:
        given.vm_id = vm_id(given.vm, given.subscription)
    return given


def vm_id(vm, subscription):
    """The resource id of the machine, so that another one of the same name is never mistaken for it."""
    if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", subscription):
        raise AzmendFailed(f"{subscription!r} is not the id of a subscription")
    if re.fullmatch(r"[^/]+/[^/]+", vm):
        group, name = vm.split("/")
        vm = (
            f"/subscriptions/{subscription}/resourceGroups/{group}"
            f"/providers/Microsoft.Compute/virtualMachines/{name}"
        )
    if not vm.lower().startswith(f"/subscriptions/{subscription.lower()}/resourcegroups/"):
        raise AzmendFailed(f"{vm!r} is neither group/name nor a resource id in the subscription {subscription}")
    return vm


# ---- Output.


def shorten(text, limit):
    """The text, with its middle omitted when it is too long."""
    if len(text.encode("utf-8", "replace")) <= limit:
        return text
    data = text.encode("utf-8", "replace")
    half = limit // 2
    left_out = len(data) - 2 * half
    head = data[:half].decode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore")
    return f"{head}\n[... {left_out} bytes omitted; all of it: azmend runs show ...]\n{tail}"


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


# ---- azmend.


def call(given, words):
    """Runs azmend, with the alert on its stdin where it reads one. Its exit code, its stdout and its stderr."""
    command = [given.azmend, *words]
    alert = given.alert if "--from-alert" in words else None
    if given.state_dir:
        command += ["--state-dir", given.state_dir]
    try:
        # Files or pipes, never this job's own streams: stderr is progress, not a sequence of errors.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if alert is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise AzmendFailed(f"cannot start {given.azmend}: {error.strerror}") from None

    # A job that is stopped stops azmend cleanly: it pauses, restores locks with --relock, and can be resumed.
    def stop(*_):
        process.terminate()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
    try:
        out, err = process.communicate(alert, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        stop()
        try:
            out, err = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def sign_in(given):
    """How azmend signs in: as the machine, never as a person who happens to be logged in to the Azure CLI."""
    words = ["--auth", "managed-identity"]
    if given.client_id:
        words += ["--client-id", given.client_id]
    return words


def parsed(text):
    """The one object of `-o json`, or an empty one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ---- The run to resume.


def unfinished(given):
    """The newest run of this machine that can be resumed, or None."""
    code, out, err = call(given, ["runs", "list", "-o", "json"])
    if code != 0:
        raise AzmendFailed(f"the runs could not be listed (exit code {code}): {shorten(harmless(err), 4_000)}")
    runs = [
        run
        for run in parsed(out).get("runs", [])
        if bool(run.get("sandbox")) == rehearsal() and str(run.get("vm") or "").lower() == given.vm_id.lower()
    ]
    for run in runs:
        state, locks_off = run.get("state"), run.get("locks_off") or 0
        open_run = state in ("paused", "running", "undoing")
        if open_run and young(run.get("started")):
            return run["run_id"]
        if locks_off:
            raise AzmendFailed(
                f"the run {run['run_id']} ({state}) has removed {locks_off} lock(s) and cannot be resumed: "
                f"azmend runs undo {run['run_id']}"
            )
        if open_run:
            say(f"WARNING: the run {run['run_id']} was never finished and is too old to be resumed; a new plan is made")
    return None


def rehearsal():
    """Whether this job works on `azmend sandbox serve`: plain http is accepted on this machine only, and no real Azure has it."""
    return os.environ.get("AZMEND_ARM_ENDPOINT", "").startswith("http://")


def young(started):
    """Whether deletions that were planned then may still be made: azmend resumes them for 24 hours."""
    try:
        seconds = datetime.datetime.fromisoformat(str(started)[:19]).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return False
    return datetime.datetime.now(datetime.timezone.utc) - seconds < datetime.timedelta(hours=RESUME_HOURS)


# ---- The job.


def report(code, out, err):
    """Writes what happened; fails the job if it must."""
    kind, meaning = outcome(code)
    result = parsed(out)
    if err.strip():
        say("azmend said:\n" + shorten(err.strip(), STDERR_LIMIT))
    say(shorten(out.strip(), RESULT_LIMIT) or "azmend wrote no result")
    if not result and kind != ERROR:
        kind, meaning = ERROR, f"azmend ended with {code} and wrote no result object"
    text = f"exit code {code}: {meaning}"
    if result.get("next"):
        text += f"; next: {result['next']}"
    if result.get("retry_after"):
        text += f"; try again in {result['retry_after']} seconds"
    if kind == ERROR:
        raise AzmendFailed(harmless(text))
    # Python runbooks have no warning stream; the word comes first so that a search or an alert finds it.
    say(f"WARNING: {text}" if kind == WARNING else text)


def main(words):
    """One job."""
    given = parameters(words)
    which = ["--vm", given.vm_id] if given.alert is None else ["--from-alert", "-"]
    fix = ["fix", given.playbook, *which, "--subscription", given.subscription, *given.extra]
    common = ["-o", "json", "--deadline", DEADLINE, *sign_in(given)]
    if given.only_looks:
        report(*call(given, [*fix, *common]))
        return
    looked = None
    if given.alert is not None:
        # Which machine it is about: nothing is changed by that, and an unfinished run of it comes first.
        looked = call(given, [*fix, "--dry-run", *common])
        given.vm_id = parsed(looked[1]).get("vm")
    run = unfinished(given) if given.vm_id else None
    if run:
        say(f"resuming the run {run}")
        fix = ["runs", "resume", run]
    elif looked and (not given.vm_id or parsed(looked[1]).get("status") == "nothing_to_do"):
        report(*looked)
        return
    report(*call(given, [*fix, "--yes", *common]))


if __name__ == "__main__":
    main(sys.argv[1:])
