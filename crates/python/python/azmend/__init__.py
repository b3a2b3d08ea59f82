"""Repairs Azure VM backup through the management plane: finds what stops a backup, shows the exact changes, makes them safely,
proves the result, and can undo what can be undone.

    import azmend

    azmend.diagnose(vm="rg-shop/web-01")                                        # reads only
    azmend.fix("auto", vm="rg-shop/web-01", dry_run=True)                       # the plan
    azmend.fix("auto", vm="rg-shop/web-01", yes=True, relock=True)              # the changes

Keywords are named as the options of the command line, and mean the same; what is not given comes from the same variables
(`AZMEND_SUBSCRIPTION`, `AZMEND_AUTH`, `AZURE_CLIENT_ID`, ...). Every function returns the object that the command prints with
`-o json`, as a dict. Exit code 0, and 3 ("there is something to do"), return; every other one raises: see `AzmendError`.

Progress is logged by the logger `azmend` (INFO; WARNING for what must be seen), diagnostics by `azmend.<room>`. While a call works
other threads run, and Ctrl-C stops it cleanly: a run pauses in a state that `resume` continues.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union

from . import _azmend

__all__ = [
    "AccessError",
    "AzmendError",
    "InputError",
    "NotFinished",
    "Partial",
    "Refused",
    "StillFails",
    "Stuck",
    "audit",
    "diagnose",
    "explain",
    "fix",
    "main",
    "resume",
    "runs",
    "undo",
]

Result = dict[str, Any]
Auth = Literal["auto", "cli", "managed-identity", "service-principal", "workload"]
Cloud = Literal["public", "usgov", "china"]
Severity = Literal["info", "low", "medium", "high"]
PathLike = Union[str, "os.PathLike[str]"]
Words = Union[str, Iterable[str]]
Span = Union[str, int, datetime.timedelta]
Confirm = Callable[[dict[str, Any]], bool]

_log = logging.getLogger("azmend")


class AzmendError(Exception):
    """azmend did not do what was asked, or not all of it. This class itself is raised for exit code 1, a bug in azmend."""

    #: The exit code of the command line; the class says the same.
    exit_code: int
    #: The whole result, as the command prints it with `-o json`: what was changed before it failed is in `changes`.
    result: Result
    #: A stable word: `sign_in`, `vm_not_found`, `s8.newest`.
    code: str | None
    #: What to do.
    hint: str | None

    def __init__(self, exit_code: int, result: Result) -> None:
        error = result.get("error") or {}
        self.exit_code = exit_code
        self.result = result
        self.code = error.get("code")
        self.hint = error.get("hint") or result.get("next")
        text = error.get("message") or f"azmend ended with exit code {exit_code} ({result.get('status', 'not complete')})"
        super().__init__(f"{text}\n{self.hint}" if self.hint else text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.exit_code, self.result)


class InputError(AzmendError):
    """Exit code 2: a keyword is wrong, a file cannot be used, the VM was not found or is ambiguous."""


class AccessError(AzmendError):
    """Exit code 4: no sign-in, or a permission is missing; nothing was changed."""


class Refused(AzmendError):
    """Exit code 5: a rule refused it, or it was not confirmed; nothing was changed."""


class Partial(AzmendError):
    """Exit code 6: partly done, or something could not be read. `result` has all that there is."""


class NotFinished(AzmendError):
    """Exit code 7: not finished, resume it later (deadline, Ctrl-C, a clean-up that Azure has not done yet)."""

    @property
    def retry_after(self) -> int | None:
        """Seconds after which it makes sense to try again."""
        return self.result.get("retry_after")

    @property
    def run_id(self) -> str | None:
        """The run to resume; None when none was started."""
        return self.result.get("run_id")


class Stuck(AzmendError):
    """Exit code 8: a person is needed: a lock is not restored, or an outcome stays unknown."""


class StillFails(AzmendError):
    """Exit code 9: everything was done, and the backup still fails."""


_ERRORS: dict[int, type[AzmendError]] = {
    2: InputError,
    4: AccessError,
    5: Refused,
    6: Partial,
    7: NotFinished,
    8: Stuck,
    9: StillFails,
}


def fix(
    playbook: str = "auto",
    *,
    vm: str,
    set: Mapping[str, object] | None = None,
    dry_run: bool = False,
    yes: bool = False,
    confirm: Confirm | None = None,
    relock: bool = False,
    allow_guest: bool = False,
    max_changes: int | None = None,
    deadline: Span | None = None,
    playbooks: PathLike | None = None,
    override: Words = (),
    lock: Words = (),
    loop_guard: str | None = None,
    subscription: Words = (),
    state: PathLike | None = None,
    durable_state: bool = False,
    sandbox: bool | PathLike = False,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    arm_endpoint: str | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Repairs one VM; the object is `azmend.result/v1`.

    Without `dry_run` either `yes=True` confirms whatever the plan says, or `confirm` gets the plan as a dict and answers. `state` is
    where the journal is kept, a directory or `azblob://ACCOUNT/CONTAINER/PREFIX`; inside of a job whose disk may go with it nothing is
    changed unless it is a storage account, or `durable_state=True` vouches for the directory. `sandbox=True` works on the embedded Azure, a path on an estate of yours.
    A VM that earlier runs repaired three times in a week is refused; `loop_guard="5/7d"` is another limit, "off" none.
    """
    here = _here(subscription, state, durable_state, sandbox, tenant, client_id, auth, cloud, arm_endpoint, blob_endpoint)
    return _call(
        "fix",
        here,
        confirm,
        playbook=playbook,
        vm=vm,
        set={key: _parameter(value) for key, value in (set or {}).items()},
        dry_run=dry_run,
        yes=yes,
        relock=relock,
        allow_guest=allow_guest,
        max_changes=max_changes,
        deadline=_span(deadline),
        playbooks=_path(playbooks),
        override=_words(override),
        lock=_words(lock),
        loop_guard=loop_guard,
    )


def audit(
    *,
    subscription: Words = (),
    whole_tenant: bool | str = False,
    management_group: Words = (),
    resource_group: str | None = None,
    tag: Words = (),
    vault: str | None = None,
    playbooks: PathLike | None = None,
    playbook: Words = (),
    code: Words = (),
    min_severity: Severity = "info",
    fail_on: Severity | Literal["never"] = "medium",
    plans: bool = False,
    baseline: Result | None = None,
    collector: Literal["auto", "graph", "arm"] = "auto",
    thorough: bool = False,
    state: PathLike | None = None,
    sandbox: bool | PathLike = False,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    arm_endpoint: str | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Checks every VM of a scope and changes nothing; the object is `azmend.audit/v1`.

    `whole_tenant=True` is all of the tenant that is signed in to, whatever subscription the environment names; an id is that
    tenant. `baseline` is an earlier audit of the same scope.
    """
    here = _here(subscription, state, False, sandbox, tenant, client_id, auth, cloud, arm_endpoint, blob_endpoint)
    whole = ("" if whole_tenant else None) if isinstance(whole_tenant, bool) else whole_tenant
    return _call(
        "audit",
        here,
        None,
        whole_tenant=whole,
        management_group=_words(management_group),
        resource_group=resource_group,
        tag=_words(tag),
        vault=vault,
        playbooks=_path(playbooks),
        playbook=_words(playbook),
        code=_words(code),
        min_severity=min_severity,
        fail_on=None if fail_on == "never" else fail_on,
        plans=plans,
        baseline=baseline,
        collector=collector,
        thorough=thorough,
    )


def diagnose(
    *,
    vm: str,
    code: str | int | None = None,
    job: str | None = None,
    network: bool = False,
    locks: bool = False,
    allow_guest: bool = False,
    playbooks: PathLike | None = None,
    subscription: Words = (),
    state: PathLike | None = None,
    sandbox: bool | PathLike = False,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    arm_endpoint: str | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Checks one VM, step by step, and changes nothing; the object is `azmend.diagnose/v1`."""
    here = _here(subscription, state, False, sandbox, tenant, client_id, auth, cloud, arm_endpoint, blob_endpoint)
    return _call(
        "diagnose",
        here,
        None,
        vm=vm,
        code=None if code is None else str(code),
        job=job,
        network=network,
        locks=locks,
        allow_guest=allow_guest,
        playbooks=_path(playbooks),
    )


def explain(text: str | int, *, lang: Literal["en", "ko"] = "en", playbooks: PathLike | None = None) -> Result:
    """Explains an error: its code, its number, or what was printed; the object is `azmend.explain/v1`. Works offline."""
    return _call("explain", {}, None, text=str(text), lang=lang, playbooks=_path(playbooks))


def resume(
    run: str,
    *,
    yes: bool = False,
    confirm: Confirm | None = None,
    deadline: Span | None = None,
    subscription: Words = (),
    state: PathLike | None = None,
    durable_state: bool = False,
    sandbox: bool | PathLike = False,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    arm_endpoint: str | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Continues a run that was paused or killed, by its id or the first characters of it; the object is `azmend.result/v1`."""
    here = _here(subscription, state, durable_state, sandbox, tenant, client_id, auth, cloud, arm_endpoint, blob_endpoint)
    return _call("resume", here, confirm, run=run, yes=yes, deadline=_span(deadline))


def undo(
    run: str,
    *,
    yes: bool = False,
    confirm: Confirm | None = None,
    subscription: Words = (),
    state: PathLike | None = None,
    sandbox: bool | PathLike = False,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    arm_endpoint: str | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Undoes what can be undone of a run: restores the locks that it removed; the object is `azmend.result/v1`."""
    here = _here(subscription, state, False, sandbox, tenant, client_id, auth, cloud, arm_endpoint, blob_endpoint)
    return _call("undo", here, confirm, run=run, yes=yes, deadline=None)


def runs(
    *,
    state: PathLike | None = None,
    tenant: str | None = None,
    client_id: str | None = None,
    auth: Auth | None = None,
    cloud: Cloud | None = None,
    blob_endpoint: str | None = None,
) -> Result:
    """Lists the runs of a state, the newest first; the object is `azmend.runs/v1`. What signs in does so to a storage account."""
    here = _here((), state, False, False, tenant, client_id, auth, cloud, None, blob_endpoint)
    return _call("runs", here, None)


def main(words: Iterable[str] | None = None) -> int:
    """The command line, in this process: the words after `azmend`, by default those of this program. Returns the exit code.

    It writes to the process's own stdout and stderr and takes over Ctrl-C and SIGTERM: for the command `azmend`. Programs call
    the functions above.
    """
    from . import _cli

    return _cli.run(words)


def _here(
    subscription: Words,
    state: PathLike | None,
    durable_state: bool,
    sandbox: bool | PathLike,
    tenant: str | None,
    client_id: str | None,
    auth: str | None,
    cloud: str | None,
    arm_endpoint: str | None,
    blob_endpoint: str | None,
) -> dict[str, Any]:
    if isinstance(sandbox, bool):
        estate = "built-in" if sandbox else None
    else:
        estate = os.fspath(sandbox)
    return {
        "subscription": _words(subscription),
        "state": _path(state),
        "durable_state": durable_state,
        "sandbox": estate,
        "tenant": tenant,
        "client_id": client_id,
        "auth": auth,
        "cloud": cloud,
        "arm_endpoint": arm_endpoint,
        "blob_endpoint": blob_endpoint,
    }


def _call(operation: str, here: dict[str, Any], confirm: Confirm | None, **options: Any) -> Result:
    asked = json.dumps({"operation": operation, **here, **options})
    ask = None if confirm is None else (lambda plan: confirm(json.loads(plan)))
    level = min(max(_log.getEffectiveLevel(), 0), 255)
    code, text, stopped = _azmend.call(asked, _write, level, ask)
    result: Result = json.loads(text)
    error = None if code in (0, 3) else _ERRORS.get(code, AzmendError)(code, result)
    if stopped is not None:
        # Ctrl-C: what it came to by then is the cause, or in `result`.
        setattr(stopped, "result", result)
        raise stopped from error
    if error is not None:
        raise error
    return result


def _write(level: int, name: str, text: str) -> None:
    logging.getLogger(name).log(level, "%s", text)


def _words(words: Words) -> list[str]:
    return [words] if isinstance(words, str) else [str(word) for word in words]


def _path(path: PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)


def _span(span: Span | None) -> str | None:
    if isinstance(span, datetime.timedelta):
        span = int(span.total_seconds())
    return f"{span}s" if isinstance(span, int) else span


def _parameter(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
