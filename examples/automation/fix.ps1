#Requires -Version 7.2
<#
.SYNOPSIS
Repairs the backup of one virtual machine with azmend: a runbook for a Hybrid Runbook Worker (PowerShell 7.2 or later).

.DESCRIPTION
A run of this machine that was paused or killed within the last 24 hours is resumed, at most once per job, and its result is the
job's. Otherwise `azmend fix` runs. A native exit code does not fail a job, so each is mapped: done, warning (not finished: the
next job continues), or an exception, which fails the job. See docs/automation.md.

fix.py is the same script in Python, part by part, and is the one that is tested.

.PARAMETER Vm
The virtual machine: group/name or its resource id (a bare name may be that of two machines). Not with WebhookData.

.PARAMETER WebhookData
What a webhook passes: its body is an alert of Azure Monitor or an event of Event Grid, and azmend finds the machine in it.

.PARAMETER Extra
More arguments for `azmend fix`, each a text of its own. Azure Automation takes a list as JSON: ["--relock","--set","retain=14d"]
#>
param(
    [string] $Vm = '',
    [Parameter(Mandatory)] [string] $Subscription,
    [string] $Playbook = '',
    [string] $Azmend = 'azmend',
    [string] $StateDir = '',
    [string] $ClientId = '',
    [string[]] $Extra = @(),
    [object] $WebhookData = $null
)

$ErrorActionPreference = 'Stop'
# An exit code is data here: it is mapped below, because a code must neither fail nor pass a job.
$PSNativeCommandUseErrorActionPreference = $false
Set-StrictMode -Version 3.0

# ---- Limits. A job's streams take 1 MiB, and 200 KB of that are shown.
$ResultLimit = 120000
$StderrLimit = 60000
$Deadline = '2h45m'
# azmend stops at its deadline; this is for an azmend that hangs.
$TimeoutSeconds = 3 * 3600
$ResumeHours = 24

# ---- Exit codes of azmend (its --help lists them).
$Outcomes = @{
    0 = @('done', 'verified, or nothing to do')
    1 = @('error', 'a bug in azmend')
    2 = @('error', 'wrong input: arguments, files, or the virtual machine was not found')
    3 = @('warning', 'a dry run found something to do')
    4 = @('error', 'sign-in or permission; nothing changed')
    5 = @('error', 'refused by a rule; nothing changed')
    6 = @('error', 'partly done, or something could not be read')
    7 = @('warning', 'not finished yet: the next job resumes it')
    8 = @('error', 'stuck: a person is needed (a lock is not restored, or an outcome is unknown)')
    9 = @('error', 'everything was done, and the backup still fails')
}

function Get-Outcome([int] $Code) {
    if ($Outcomes.ContainsKey($Code)) { return $Outcomes[$Code] }
    return @('error', "azmend ended with $Code, which is not one of its exit codes: was it killed?")
}

# ---- Parameters.

# The resource id of the machine, so that another one of the same name is never mistaken for it.
function Get-VmId([string] $Vm, [string] $Subscription) {
    if ($Subscription -notmatch '\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\z') {
        throw "'$Subscription' is not the id of a subscription"
    }
    if ($Vm -match '\A([^/]+)/([^/]+)\z') {
        $Vm = "/subscriptions/$Subscription/resourceGroups/$($Matches[1])/providers/Microsoft.Compute/virtualMachines/$($Matches[2])"
    }
    $prefix = "/subscriptions/$Subscription/resourceGroups/"
    if (-not $Vm.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)) {
        throw "'$Vm' is neither group/name nor a resource id in the subscription $Subscription"
    }
    return $Vm
}

# The body of the request that a webhook was called with. It is an object with RequestBody, or JSON of one. PowerShell 7.1
# runbooks were known to get a text that is neither (Microsoft's known issues): what follows RequestBody is read then.
function Get-AlertBody([object] $Data) {
    if ($Data -isnot [string]) { return [string] $Data.RequestBody }
    try { $found = $Data | ConvertFrom-Json -AsHashtable -ErrorAction Stop } catch { $found = $null }
    if ($found -is [Collections.IDictionary]) {
        if ($found.Contains('RequestBody')) { return [string] $found['RequestBody'] }
        return $Data
    }
    if ($Data -match '(?s)[{,]\s*RequestBody:(?<body>.*),\s*RequestHeader:') { return $Matches['body'] }
    throw 'the webhook passed no body that can be read'
}

# What changes nothing is neither confirmed nor a reason to resume what an earlier job started.
function Test-OnlyLooks([string[]] $Words) {
    foreach ($word in $Words) { if ($word -in '-n', '--dry-run' -or $word.Split('=')[0] -eq '--plan-out') { return $true } }
    return $false
}

# ---- Output.

# The text, with its middle omitted when it is too long.
function Get-Short([string] $Text, [int] $Limit) {
    $data = [Text.Encoding]::UTF8.GetBytes($Text)
    if ($data.Length -le $Limit) { return $Text }
    $half = [Math]::Floor($Limit / 2)
    $leftOut = $data.Length - 2 * $half
    $head = [Text.Encoding]::UTF8.GetString($data, 0, $half)
    $tail = [Text.Encoding]::UTF8.GetString($data, $data.Length - $half, $half)
    return "$head`n[... $leftOut bytes omitted; all of it: azmend runs show ...]`n$tail"
}

# The text without secrets of the environment. azmend prints none; this is the second lock on that door.
function Get-Harmless([string] $Text) {
    foreach ($name in 'IDENTITY_HEADER', 'MSI_SECRET', 'AZURE_CLIENT_SECRET') {
        $value = [Environment]::GetEnvironmentVariable($name)
        if ($value) { $Text = $Text.Replace($value, '(redacted)') }
    }
    return $Text
}

# A line on the output stream.
function Write-Line([string] $Text) { Write-Output (Get-Harmless $Text) }

# ---- azmend.

# Runs azmend, with the alert on its stdin where it reads one. Its exit code, its stdout and its stderr.
function Invoke-Azmend([string[]] $Words, [string] $Body = '') {
    $start = [Diagnostics.ProcessStartInfo]::new($Azmend)
    foreach ($word in $Words) { $start.ArgumentList.Add($word) }
    if ($StateDir) { $start.ArgumentList.Add('--state-dir'); $start.ArgumentList.Add($StateDir) }
    # Pipes, never this job's own streams: stderr is progress, not a sequence of errors.
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardInputEncoding = [Text.UTF8Encoding]::new($false)
    $start.StandardOutputEncoding = [Text.Encoding]::UTF8
    $start.StandardErrorEncoding = [Text.Encoding]::UTF8
    $start.UseShellExecute = $false
    try { $process = [Diagnostics.Process]::Start($start) }
    catch { throw "cannot start ${Azmend}: $($_.Exception.InnerException.Message)" }
    try {
        $out = $process.StandardOutput.ReadToEndAsync()
        $err = $process.StandardError.ReadToEndAsync()
        if ($Body) { $process.StandardInput.Write($Body) }
        $process.StandardInput.Close()
        # .NET has no gentle end for a process: an azmend that hangs is killed, and its journal lets the next job resume.
        if (-not $process.WaitForExit($TimeoutSeconds * 1000)) { $process.Kill() }
        $process.WaitForExit()
        return @{ Code = $process.ExitCode; Out = $out.GetAwaiter().GetResult(); Err = $err.GetAwaiter().GetResult() }
    }
    finally { $process.Dispose() }
}

# How azmend signs in: as the machine, never as a person who happens to be logged in to the Azure CLI.
function Get-SignIn {
    $words = @('--auth', 'managed-identity')
    if ($ClientId) { $words += @('--client-id', $ClientId) }
    return $words
}

# The one object of `-o json`, or an empty one.
function Get-Parsed([string] $Text) {
    try { $found = $Text | ConvertFrom-Json -AsHashtable -ErrorAction Stop } catch { return @{} }
    if ($found -is [Collections.IDictionary]) { return $found }
    return @{}
}

# ---- The run to resume.

# The newest run of this machine that can be resumed, or an empty text. Warnings go to the warning stream.
function Get-Unfinished([string] $VmId) {
    $list = Invoke-Azmend @('runs', 'list', '-o', 'json')
    if ($list.Code -ne 0) {
        throw "the runs could not be listed (exit code $($list.Code)): $(Get-Short (Get-Harmless $list.Err) 4000)"
    }
    $runs = @((Get-Parsed $list.Out)['runs'] | Where-Object { $_ -and [bool] $_['sandbox'] -eq (Test-Rehearsal) -and $_['vm'] -ieq $VmId })
    foreach ($run in $runs) {
        $state = $run['state']
        $locksOff = [int] $run['locks_off']
        $openRun = $state -in 'paused', 'running', 'undoing'
        if ($openRun -and (Test-Young $run['started'])) { return $run['run_id'] }
        if ($locksOff) {
            throw "the run $($run['run_id']) ($state) has removed $locksOff lock(s) and cannot be resumed: azmend runs undo $($run['run_id'])"
        }
        if ($openRun) {
            Write-Warning "the run $($run['run_id']) was never finished and is too old to be resumed; a new plan is made"
        }
    }
    return ''
}

# Whether this job works on `azmend sandbox serve`: plain http is accepted on this machine only, and no real Azure has it.
function Test-Rehearsal { return "$env:AZMEND_ARM_ENDPOINT".StartsWith('http://') }

# Whether deletions that were planned then may still be made: azmend resumes them for 24 hours.
function Test-Young($Started) {
    # ConvertFrom-Json makes times of texts that look like them.
    if ($Started -isnot [datetime]) { return $false }
    return ([datetime]::UtcNow - $Started.ToUniversalTime()).TotalHours -lt $ResumeHours
}

# ---- The job.

# Writes what happened; fails the job if it must.
function Write-Report([hashtable] $Ended) {
    $kind, $meaning = Get-Outcome $Ended.Code
    $result = Get-Parsed $Ended.Out
    if ($Ended.Err.Trim()) { Write-Line "azmend said:`n$(Get-Short $Ended.Err.Trim() $StderrLimit)" }
    $shown = Get-Short $Ended.Out.Trim() $ResultLimit
    Write-Line ($shown ? $shown : 'azmend wrote no result')
    if (-not $result.Count -and $kind -ne 'error') {
        $kind, $meaning = 'error', "azmend ended with $($Ended.Code) and wrote no result object"
    }
    $text = "exit code $($Ended.Code): $meaning"
    if ($result['next']) { $text += "; next: $($result['next'])" }
    if ($result['retry_after']) { $text += "; try again in $($result['retry_after']) seconds" }
    if ($kind -eq 'error') { throw (Get-Harmless $text) }
    if ($kind -eq 'warning') { Write-Warning (Get-Harmless $text) } else { Write-Line $text }
}

# One job.
$body = ''
if ($null -ne $WebhookData) {
    if ($Vm) { throw 'a webhook names the machine itself: omit -Vm' }
    $body = Get-AlertBody $WebhookData
    if (-not $body.Trim()) { throw 'the webhook was called without a body' }
}
if (-not $Playbook) { $Playbook = $body ? 'auto' : 'rp-collection-limit' }
$vmId = $body ? '' : (Get-VmId $Vm $Subscription)
$which = $body ? @('--from-alert', '-') : @('--vm', $vmId)
$fix = @('fix', $Playbook) + $which + @('--subscription', $Subscription) + $Extra
$common = @('-o', 'json', '--deadline', $Deadline) + (Get-SignIn)
if (Test-OnlyLooks $Extra) {
    Write-Report (Invoke-Azmend ($fix + $common) $body)
    return
}
$looked = $null
if ($body) {
    # Which machine it is about: nothing is changed by that, and an unfinished run of it comes first.
    $looked = Invoke-Azmend ($fix + @('--dry-run') + $common) $body
    $vmId = [string] (Get-Parsed $looked.Out)['vm']
}
$run = $vmId ? (Get-Unfinished $vmId) : ''
if ($run) {
    Write-Line "resuming the run $run"
    $fix = @('runs', 'resume', $run)
    $body = ''
}
elseif ($looked -and (-not $vmId -or (Get-Parsed $looked.Out)['status'] -eq 'nothing_to_do')) {
    Write-Report $looked
    return
}
Write-Report (Invoke-Azmend ($fix + @('--yes') + $common) $body)
