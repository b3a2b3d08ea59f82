#Requires -Version 7.2
#Requires -Modules Az.Automation
<#
.SYNOPSIS
Makes the webhook that starts the runbook fix.ps1 on a hybrid worker group, and writes its address once.

.DESCRIPTION
The address is a secret that Azure shows only now: whoever has it can start the runbook. It works until ExpiryTime. The runbook gets
the subscription from the webhook's parameters, which a caller cannot change, and the alert from the body of the request. That a
webhook starts a Python runbook is not verified. Not run against Azure by azmend's tests: a grammar reads it.
#>
param(
    [Parameter(Mandatory)] [string] $ResourceGroup,
    [Parameter(Mandatory)] [string] $AutomationAccount,
    [Parameter(Mandatory)] [string] $WorkerGroup,
    [Parameter(Mandatory)] [string] $Subscription,
    [string] $Runbook = 'azmend-fix',
    [string] $StateDir = ''
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 3.0

$parameters = @{ Subscription = $Subscription }
if ($StateDir) { $parameters['StateDir'] = $StateDir }
$webhook = @{
    ResourceGroupName     = $ResourceGroup
    AutomationAccountName = $AutomationAccount
    Name                  = 'azmend-backup-alerts'
    RunbookName           = $Runbook
    RunOn                 = $WorkerGroup
    Parameters            = $parameters
    IsEnabled             = $true
    ExpiryTime            = [DateTimeOffset]::UtcNow.AddDays(365)
    Force                 = $true
}
(New-AzAutomationWebhook @webhook).WebhookURI
