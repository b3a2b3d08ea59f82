# azmend-guest service/1
# Sets the start type of one Windows service that a backup needs, and starts or stops it. Nothing else.
# name: one of the list below; start: Auto, Manual, Disabled or keep; state: Running, Stopped or keep.
# A service that others depend on is not stopped: there is no -Force. For Windows PowerShell 5.1; ASCII only.
# What is proven is what the probe reads afterwards, not what this prints.
param([string]$name, [string]$start, [string]$state)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Write-Output 'azmend-service/1'
try {
    if ('VSS', 'SwPrv', 'COMSysApp', 'EventSystem', 'MSDTC', 'CryptSvc' -cnotcontains $name) { throw 'unknown service' }
    $types = @{ Auto = 'Automatic'; Manual = 'Manual'; Disabled = 'Disabled' }
    if ($start -cne 'keep') {
        if (-not $types.ContainsKey($start)) { throw 'unknown start type' }
        Set-Service -Name $name -StartupType $types[$start]
    }
    if ($state -ceq 'Running') { Start-Service -Name $name }
    elseif ($state -ceq 'Stopped') { Stop-Service -Name $name }
    elseif ($state -cne 'keep') { throw 'unknown state' }
    Write-Output 'done=yes'
} catch { Write-Output ('failed=' + ($_.Exception.Message -replace '[^\x20-\x7e]', ' ')) }
Write-Output 'end=azmend-service/1'
