"""The package, on the embedded Azure: what is returned, raised, logged, and what Ctrl-C does. Needs nothing but the wheel.

`.ci/run python` runs it; the served tests also need `AZMEND_BINARY`, the program with `sandbox serve`.
"""

import inspect
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

import azmend

LIMIT = "rp-collection-limit"
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "examples", "automation")


class Case(unittest.TestCase):
    """A sandbox of its own."""

    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.state = os.path.join(self.home.name, "state")
        self.here = {"sandbox": True, "state": self.state}


class Results(Case):
    def test_a_dry_run_returns_a_plan_and_keeps_nothing(self):
        result = azmend.fix(LIMIT, vm="web-01", dry_run=True, **self.here)
        self.assertEqual((result["status"], result["exit_code"], result["sandbox"]), ("planned", 3, True))
        self.assertEqual(result["next"], f"azmend --sandbox fix {LIMIT} --vm web-01")
        self.assertFalse(os.path.exists(self.state))

    def test_fix_repairs_and_undo_restores(self):
        done = azmend.fix(LIMIT, vm="web-01", yes=True, **self.here)
        self.assertEqual((done["status"], done["exit_code"]), ("succeeded", 0))
        self.assertTrue(done["locks_removed"])
        listed = azmend.runs(state=self.state)
        self.assertEqual([run["run_id"] for run in listed["runs"]], [done["run_id"]])
        # Points were deleted, and that cannot be undone: exit code 6, with every lock restored.
        with self.assertRaises(azmend.Partial) as partly:
            azmend.undo(done["run_id"][:13], yes=True, **self.here)
        locks = partly.exception.result["locks_removed"]
        self.assertTrue(locks and all(lock["restored"] for lock in locks))

    def test_readings(self):
        audit = azmend.audit(min_severity="high", fail_on="never", **self.here)
        self.assertEqual((audit["schema"], audit["exit_code"]), ("azmend.audit/v1", 0))
        self.assertTrue(all(finding["level"] == "high" for finding in audit["findings"]))
        again = azmend.audit(min_severity="high", baseline=audit, **self.here)
        self.assertEqual({finding["change"] for finding in again["findings"]}, {"unchanged"})
        self.assertEqual(azmend.diagnose(vm="web-01", **self.here)["exit_code"], 3)
        self.assertEqual(azmend.explain(400196)["code"], "UserErrorGuestAgentStatusUnavailable")
        self.assertEqual(azmend.explain("400196", lang="ko")["lang"], "ko")

    def test_confirm_gets_the_plan(self):
        plans = []
        with self.assertRaises(azmend.Refused) as refused:
            azmend.fix(LIMIT, vm="web-01", confirm=lambda plan: plans.append(plan), **self.here)
        self.assertEqual(refused.exception.code, "not_confirmed")
        self.assertEqual((len(plans), plans[0]["playbook"]), (1, LIMIT))
        self.assertEqual(azmend.runs(state=self.state)["runs"], [])
        done = azmend.fix(LIMIT, vm="web-01", confirm=lambda plan: len(plan["hash"]) == 64, **self.here)
        self.assertEqual(done["exit_code"], 0)

    def test_what_confirm_raises_is_raised_and_nothing_is_changed(self):
        def confirm(_):
            raise LookupError("the approval service does not answer")

        with self.assertRaisesRegex(LookupError, "approval service"):
            azmend.fix(LIMIT, vm="web-01", confirm=confirm, **self.here)
        self.assertEqual(azmend.runs(state=self.state)["runs"], [])


class Errors(Case):
    def test_each_exit_code_has_its_class(self):
        cases = [
            (azmend.InputError, 2, lambda: azmend.fix("no-such-playbook", vm="web-01", dry_run=True, **self.here)),
            (azmend.InputError, 2, lambda: azmend.diagnose(vm="no-such-vm", **self.here)),
            (azmend.InputError, 2, lambda: azmend.explain("xyzzy")),
            (azmend.InputError, 2, lambda: azmend.resume("0199", yes=True, **self.here)),
            (azmend.InputError, 2, lambda: azmend.fix("auto", vm="web-01", dry_run=True, deadline="soon", **self.here)),
            (azmend.InputError, 2, lambda: azmend.fix("auto", vm="web-01", dry_run=True, override="s9.x", **self.here)),
            (azmend.InputError, 2, lambda: azmend.audit(sandbox=os.path.join(self.home.name, "none.yaml"), state=self.state)),
            (azmend.InputError, 2, lambda: azmend.runs(state="azblob://contoso")),
            (azmend.InputError, 2, lambda: azmend.fix("auto", vm="web-01", yes=True, state="azblob://Contoso/state/team")),
            (azmend.AccessError, 4, lambda: azmend.diagnose(vm="web-01", auth="service-principal")),
            (azmend.Refused, 5, lambda: azmend.fix(LIMIT, vm="web-01", **self.here)),
        ]
        for kind, code, call in cases:
            with self.assertRaises(kind) as raised:
                call()
            error = raised.exception
            self.assertIs(type(error), kind)
            self.assertEqual((error.exit_code, error.result["exit_code"]), (code, code))
            self.assertTrue(error.code and str(error))
            self.assertEqual(str(pickle.loads(pickle.dumps(error))), str(error))

    def test_a_deadline_pauses_and_resume_finishes(self):
        with self.assertRaises(azmend.NotFinished) as paused:
            azmend.fix(LIMIT, vm="web-01", yes=True, deadline=1, **self.here)
        self.assertEqual(paused.exception.result["status"], "paused")
        done = azmend.resume(paused.exception.run_id, yes=True, **self.here)
        self.assertEqual(done["exit_code"], 0)

    def test_a_wrong_keyword_is_a_type_error(self):
        with self.assertRaises(TypeError):
            azmend.fix(LIMIT, vm="web-01", dryrun=True)

    def test_a_journal_that_would_be_lost_is_refused_in_a_job(self):
        here = {"vm": "web-01", "yes": True, "auth": "managed-identity"}
        for name in ("AUTOMATION_ASSET_ACCOUNTID", "AUTOMATION_ASSET_SANDBOX_ID"):
            os.environ[name] = "1"
            try:
                for state in (None, self.state):
                    with self.assertRaises(azmend.Refused) as refused:
                        azmend.fix(LIMIT, state=state, **here)
                    self.assertEqual(refused.exception.code, "s2.not-durable")
                    self.assertIn("durable_state=True", refused.exception.hint)
                # The embedded Azure has nothing to lose.
                self.assertEqual(azmend.fix(LIMIT, vm="web-01", dry_run=True, **self.here)["exit_code"], 3)
            finally:
                del os.environ[name]
        self.assertFalse(os.path.exists(self.state))


class Logs(Case):
    def test_progress_and_diagnostics_go_through_logging(self):
        with self.assertLogs("azmend", logging.INFO) as logs:
            azmend.fix(LIMIT, vm="web-01", yes=True, **self.here)
        texts = [record.getMessage() for record in logs.records]
        self.assertTrue(any(text.startswith("step 1 of ") for text in texts), texts)
        by_hand = [record for record in logs.records if "to restore the lock" in record.getMessage()]
        self.assertTrue(by_hand and all(record.levelno == logging.WARNING for record in by_hand))

    def test_a_broken_handler_stops_no_run(self):
        class Broken(logging.Handler):
            def handle(self, record):
                raise RuntimeError("broken")

        log, handler, hook = logging.getLogger("azmend"), Broken(), sys.unraisablehook
        seen = []
        sys.unraisablehook = seen.append
        log.addHandler(handler)
        try:
            self.assertEqual(azmend.fix(LIMIT, vm="web-01", yes=True, **self.here)["exit_code"], 0)
        finally:
            log.removeHandler(handler)
            sys.unraisablehook = hook
        self.assertTrue(seen)

    def test_nothing_is_printed(self):
        script = f"import azmend; azmend.fix({LIMIT!r}, vm='web-01', yes=True, sandbox=True, state={self.state!r})"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        # Without a handler logging itself writes warnings to stderr: those, and nothing else.
        self.assertEqual(done.stdout, b"")
        for line in done.stderr.decode().splitlines():
            self.assertIn("to restore the lock", line)


class Typing(unittest.TestCase):
    def test_the_package_is_typed_and_complete(self):
        here = os.path.dirname(azmend.__file__)
        self.assertTrue(os.path.exists(os.path.join(here, "py.typed")))
        for name in azmend.__all__:
            self.assertTrue(inspect.getdoc(getattr(azmend, name)), name)


class Runbook(unittest.TestCase):
    """The parameters of examples/automation/sandbox_runbook.py; tests/it/python.rs runs it for real."""

    SUB = "5b1c0de0-0000-4000-8000-000000000009"

    def setUp(self):
        sys.path.insert(0, EXAMPLES)
        self.addCleanup(sys.path.remove, EXAMPLES)
        import sandbox_runbook

        self.runbook = sandbox_runbook

    def test_a_webhooks_data_is_read_in_each_of_its_forms(self):
        body = json.dumps({"vm": "rg-app/app-01", "subscription": self.SUB, "playbook": "auto"})
        loose = f"{{WebhookName:hook,RequestBody:{body},RequestHeader:{{Host:x}}}}"
        for words in ([loose], loose.split(" "), [json.dumps({"WebhookName": "hook", "RequestBody": body})]):
            given = self.runbook.parameters(words)
            self.assertEqual((given.playbook, given.relock, given.durable_state), ("auto", False, False))
            self.assertTrue(given.vm_id.endswith("/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/app-01"))
        given = self.runbook.parameters(["rg-app/app-01", self.SUB, "--state=azblob://a/b/c", "--relock"])
        self.assertEqual((given.playbook, given.state, given.relock), ("rp-collection-limit", "azblob://a/b/c", True))

    def test_whoever_knows_a_webhooks_address_switches_nothing_off(self):
        good = {"vm": "rg-app/app-01", "subscription": self.SUB}
        bodies = [
            "x",
            [1],
            {},
            {**good, "override": "s8.newest"},
            {**good, "state": "/tmp"},
            {**good, "playbook": "--durable-state"},
            {**good, "vm": {"x": 1}},
            {**good, "vm": "web-01"},
            {**good, "vm": "/subscriptions/5b1c0de0-0000-4000-8000-000000000008/resourceGroups/a/x/y"},
            {**good, "subscription": "not an id"},
        ]
        for body in bodies:
            with self.assertRaises(self.runbook.JobFailed, msg=body):
                self.runbook.parameters([json.dumps({"RequestBody": body})])
        for words in ([], ["rg-app/app-01"], ["rg-app/app-01", self.SUB, "auto", "--yes"], ["{RequestBody:{"], ["{}"]):
            with self.assertRaises(self.runbook.JobFailed, msg=words):
                self.runbook.parameters(words)


class CommandLine(Case):
    def run_words(self, *words):
        return subprocess.run([*words], capture_output=True, text=True, timeout=120)

    def test_the_console_command_is_the_program(self):
        command = os.path.join(os.path.dirname(sys.executable), "azmend")
        for words in ([command], [sys.executable, "-m", "azmend"]):
            done = self.run_words(*words, "--sandbox", "--state-dir", self.state, "fix", LIMIT, "--vm", "web-01", "-n", "-o", "json")
            self.assertEqual((done.returncode, json.loads(done.stdout)["status"]), (3, "planned"), done.stderr)
            self.assertEqual(self.run_words(*words, "fixx").returncode, 2)
            self.assertIn("azmend", self.run_words(*words, "--version").stdout)


@unittest.skipUnless(os.environ.get("AZMEND_BINARY"), "needs AZMEND_BINARY")
class Served(Case):
    """Against the embedded Azure over HTTP, in real time."""

    def setUp(self):
        super().setUp()
        words = ["sandbox", "serve", "--port", "0", "--speed", "10", "-o", "json", "--sandbox"]
        words += ["--state-dir", os.path.join(self.home.name, "world")]
        self.server = subprocess.Popen([os.environ["AZMEND_BINARY"], *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop)
        self.environment = json.loads(self.server.stdout.readline())["environment"]

    def stop(self):
        self.server.terminate()
        self.server.wait()
        self.server.stdout.close()

    def start(self, script):
        script = textwrap.dedent(script).format(state=self.state, limit=LIMIT)
        environment = {**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)

    def test_ctrl_c_pauses_in_a_state_that_resume_continues_and_other_threads_run_meanwhile(self):
        program = self.start(
            """
            import azmend, logging, sys, threading, time
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
            beats = []
            def beat():
                while True:
                    beats.append(time.monotonic())
                    time.sleep(0.01)
            threading.Thread(target=beat, daemon=True).start()
            began = time.monotonic()
            try:
                azmend.fix("{limit}", vm="web-01", yes=True, state="{state}", durable_state=True, auth="managed-identity")
            except KeyboardInterrupt as stop:
                took = time.monotonic() - began
                gap = max(b - a for a, b in zip(beats, beats[1:]))
                print("stopped:", type(stop.__cause__).__name__, stop.__cause__.run_id, stop.result["status"])
                print("free:", len(beats) > 20 * took and gap < 1.0, len(beats), took, gap)
            """
        )
        lines = []
        for line in program.stdout:
            lines.append(line.rstrip())
            if line.startswith("step "):
                program.send_signal(signal.SIGINT)
                break
        rest, _ = program.communicate(timeout=120)
        lines += rest.splitlines()
        stopped = [line for line in lines if line.startswith("stopped: ")]
        self.assertEqual(len(stopped), 1, lines)
        _, cause, run, status = stopped[0].split()
        self.assertEqual((cause, status), ("NotFinished", "paused"), lines)
        self.assertTrue([line for line in lines if line.startswith("free: True")], lines)
        os.environ.update(self.environment)
        try:
            started = time.monotonic()
            done = azmend.resume(
                run, yes=True, state=self.state, durable_state=True, auth="managed-identity", deadline="30m"
            )
        finally:
            for name in self.environment:
                del os.environ[name]
        self.assertEqual(done["exit_code"], 0, time.monotonic() - started)

    def test_two_threads_work_at_the_same_time(self):
        os.environ.update(self.environment)
        found, threads = {}, []
        try:
            for vm in ("web-01", "db-03"):
                call = lambda vm=vm: found.update({vm: azmend.diagnose(vm=vm, auth="managed-identity")["exit_code"]})
                threads.append(threading.Thread(target=call))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
        finally:
            for name in self.environment:
                del os.environ[name]
        self.assertEqual(set(found), {"web-01", "db-03"}, found)


if __name__ == "__main__":
    unittest.main()
