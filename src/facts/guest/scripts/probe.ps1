# azmend-guest probe/1
# What can stop Azure Backup inside Windows, one line for each fact. It changes nothing and writes no file.
# vssadmin and the COM+ catalogue start their services (VSS, COM+ System Application) for a moment, as every backup
# does; the states of the services are therefore read first. For Windows PowerShell 5.1; ASCII only.
# Lines: key=value. A fact that cannot be read: key=unread why. The first and the last line prove that all is there.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function Clean([string]$Text, [int]$Longest) {
    $Text = ($Text -replace '[^\x20-\x7e]', ' ').Trim()
    if ($Text.Length -gt $Longest) { $Text = $Text.Substring(0, $Longest).Trim() }
    $Text
}

function Say([string]$Key, [scriptblock]$Read) {
    try { $value = Clean ([string](& $Read)) 60 } catch { $value = 'unread ' + (Clean $_.Exception.Message 40) }
    Write-Output "$Key=$value"
}

Write-Output 'azmend-probe/1'
Write-Output 'os=windows'

foreach ($service in 'VSS', 'SwPrv', 'COMSysApp', 'EventSystem', 'MSDTC', 'CryptSvc', 'RpcSs', 'msiserver', 'Dhcp',
    'WindowsAzureGuestAgent', 'RdAgent') {
    Say "service.$service" {
        $found = Get-CimInstance -ClassName Win32_Service -Filter "Name='$service'"
        if ($null -eq $found) { 'absent' } else { ($found.State -replace ' ', '') + ' ' + $found.StartMode }
    }
}

# The account of MSDTC: Network Service is S-1-5-20 in every language.
Say 'dtc.account' {
    $found = Get-CimInstance -ClassName Win32_Service -Filter "Name='MSDTC'"
    if ($null -eq $found) { 'absent' } else {
        $account = New-Object Security.Principal.NTAccount($found.StartName)
        $sid = $account.Translate([Security.Principal.SecurityIdentifier]).Value
        if ($sid -eq 'S-1-5-20') { 'network-service' } else { 'other' }
    }
}

# The Visual C++ 2013 runtime that the backup extension needs.
Say 'vc.x64' {
    $file = Join-Path $env:SystemRoot 'System32\msvcr120.dll'
    if (-not (Test-Path -LiteralPath $file)) { 'absent' } else {
        $version = (Get-Item -LiteralPath $file).VersionInfo
        '{0}.{1}.{2}.{3}' -f $version.FileMajorPart, $version.FileMinorPart, $version.FileBuildPart, $version.FilePrivatePart
    }
}

# How many connected adapters get their address by DHCP, and how many there are.
Say 'dhcp' {
    $all = @(Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter 'IPEnabled=TRUE')
    $dynamic = @($all | Where-Object { $_.DHCPEnabled })
    '{0} {1}' -f $dynamic.Count, $all.Count
}

# Crashes of the backup extension in 14 days: how many, and the last one. Property 0 of event 1000 names the program.
Say 'crash' {
    $query = @{ LogName = 'Application'; ProviderName = 'Application Error'; Id = 1000; StartTime = (Get-Date).AddDays(-14) }
    $events = @()
    try { $events = @(Get-WinEvent -FilterHashtable $query -MaxEvents 500) } catch {
        if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
    }
    $ours = @($events | Where-Object { "$($_.Properties[0].Value)" -like 'IaaSBcdrExtension*' })
    if ($ours.Count -eq 0) { '0 -' } else {
        $last = ($ours | Sort-Object TimeCreated | Select-Object -Last 1).TimeCreated.ToUniversalTime()
        '{0} {1}' -f $ours.Count, $last.ToString('yyyy-MM-ddTHH:mm:ssZ', [Globalization.CultureInfo]::InvariantCulture)
    }
}

# Microsoft Defender: real-time protection, and whether the extension's folders are excluded. Others cannot be asked.
Say 'defender' {
    if ($null -eq (Get-Command Get-MpComputerStatus -ErrorAction SilentlyContinue)) { 'absent' }
    elseif ((Get-MpComputerStatus).RealTimeProtectionEnabled) { 'on' } else { 'off' }
}
function Excluded([string]$Folder) {
    foreach ($path in @((Get-MpPreference).ExclusionPath)) {
        $path = "$path".TrimEnd('*').TrimEnd('\')
        if ($path -and ("$Folder\").StartsWith("$path\", [StringComparison]::OrdinalIgnoreCase)) { return 'yes' }
    }
    'no'
}
foreach ($pair in @(@('plugins', 'C:\Packages\Plugins'), @('logs', 'C:\WindowsAzure\Logs\Plugins'))) {
    Say "exclusion.$($pair[0])" {
        if ($null -eq (Get-Command Get-MpPreference -ErrorAction SilentlyContinue)) { 'absent' }
        else { Excluded "$($pair[1])\Microsoft.Azure.RecoveryServices.VMSnapshot" }
    }
}

# The COM+ catalogue: the backup extension registers its VSS provider there.
Say 'com' {
    try {
        $applications = (New-Object -ComObject COMAdmin.COMAdminCatalog).GetCollection('Applications')
        $applications.Populate()
        'works'
    } catch { 'fails 0x{0:X8}' -f $_.Exception.GetBaseException().HResult }
}

# The VSS writers, last because it takes longest. vssadmin prints in the language of the system: only the number in
# brackets, the quoted name and the English "Last error" are used.
function Writers {
    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName = Join-Path $env:SystemRoot 'System32\vssadmin.exe'
    $start.Arguments = 'list writers'
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $process = [Diagnostics.Process]::Start($start)
    $text = $process.StandardOutput.ReadToEndAsync()
    if (-not $process.WaitForExit(120000)) { $process.Kill(); throw 'vssadmin did not end in 120 seconds' }
    if ($process.ExitCode -ne 0) { throw "vssadmin ended with $($process.ExitCode)" }
    $all = @()
    $name = '?'
    foreach ($line in $text.Result -split "`r?`n") {
        if ($line -match "'([^']+)'") { $name = $Matches[1] }
        elseif ($line -match '\[(\d+)\]') { $all += @{ Name = $name; State = [int]$Matches[1]; Error = 'none' }; $name = '?' }
        elseif ($line -match '^\s*Last error: (?!No error)' -and $all.Count -gt 0) { $all[-1].Error = 'error' }
    }
    if ($all.Count -eq 0) { throw 'vssadmin named no writer' }
    $all
}
try {
    $writers = @(Writers)
    $unwell = @($writers | Where-Object { $_.State -ne 1 -or $_.Error -ne 'none' })
    Write-Output "writers=$($writers.Count) $($unwell.Count)"
    $number = 0
    foreach ($writer in ($unwell | Select-Object -First 8)) {
        $number++
        Write-Output "writer.$number=$($writer.State) $($writer.Error) $(Clean $writer.Name 40)"
    }
} catch { Write-Output ('writers=unread ' + (Clean $_.Exception.Message 40)) }

Write-Output 'end=azmend-probe/1'
