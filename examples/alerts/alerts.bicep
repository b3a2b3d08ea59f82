// From a failed backup to the runbook: an action group that calls the webhook of examples/automation/fix.ps1, and two ways to get an
// alert to it. Deploy into a resource group:
//
//   az deployment group create -g rg-ops -f alerts.bicep -p webhookUri="$URI" vaultId="$VAULT"
//
// webhook.ps1 makes the webhook and shows its address once. Not deployed to Azure by azmend's tests: they read the syntax only.

@description('The address of the Automation webhook. It is a secret: whoever has it can start the runbook.')
@secure()
param webhookUri string

@description('The resource id of the vault that the metric alert is on.')
param vaultId string

@description('Where the built-in alerts of Azure Backup are taken from: subscriptions or resource groups.')
param scopes array = [
  subscription().id
]

@description('What the action group is called in messages, 12 characters at most.')
@maxLength(12)
param shortName string = 'azmend'

resource repair 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'azmend-repair'
  location: 'Global'
  properties: {
    groupShortName: shortName
    enabled: true
    webhookReceivers: [
      {
        name: 'azmend-runbook'
        serviceUri: webhookUri
        // azmend reads the common alert schema and no other.
        useCommonAlertSchema: true
      }
    ]
  }
}

// The built-in alerts of Azure Backup need no rule; this sends those of all Recovery Services vaults to the group.
// Job failures have to be switched on in the vault (monitoringSettings.azureMonitorAlertSettings.alertsForAllJobFailures).
resource backupAlerts 'Microsoft.AlertsManagement/actionRules@2021-08-08' = {
  name: 'azmend-backup-alerts'
  location: 'Global'
  properties: {
    description: 'Failed backups of VMs start the repair runbook'
    enabled: true
    scopes: scopes
    conditions: [
      {
        field: 'TargetResourceType'
        operator: 'Equals'
        values: [
          'microsoft.recoveryservices/vaults'
        ]
      }
      {
        field: 'MonitorCondition'
        operator: 'Equals'
        values: [
          'Fired'
        ]
      }
    ]
    actions: [
      {
        actionType: 'AddActionGroups'
        actionGroupIds: [
          repair.id
        ]
      }
    ]
  }
}

// Or the metric: one alert for each VM of the vault whose backup stays unhealthy (metric in preview).
resource backupHealth 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'azmend-backup-health'
  location: 'global'
  properties: {
    description: 'A VM of the vault is not backed up'
    severity: 1
    enabled: true
    scopes: [
      vaultId
    ]
    evaluationFrequency: 'PT1H'
    windowSize: 'P1D'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'unhealthy'
          metricNamespace: 'Microsoft.RecoveryServices/Vaults'
          metricName: 'BackupHealthEvent'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'healthStatus'
              operator: 'Include'
              values: [
                'Persistent Unhealthy'
              ]
            }
            {
              name: 'dataSourceURL'
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: repair.id
      }
    ]
  }
}

// Whoever runs the backups hears of jobs that failed: exit codes 1, 2, 4, 5, 6, 8 and 9 fail a job (docs/automation.md).
@description('The resource id of the Log Analytics workspace that gets the JobLogs of the Automation account; empty for none.')
param workspaceId string = ''

@description('The resource id of the action group of the people who look after failed jobs.')
param operatorsActionGroupId string = ''

resource failedJobs 'Microsoft.Insights/scheduledQueryRules@2021-08-01' = if (!empty(workspaceId)) {
  name: 'azmend-failed-jobs'
  location: resourceGroup().location
  properties: {
    description: 'A job of the azmend runbook failed'
    severity: 2
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: 'AzureDiagnostics | where ResourceProvider == "MICROSOFT.AUTOMATION" and Category == "JobLogs" and ResultType == "Failed" and RunbookName_s startswith "azmend"'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(operatorsActionGroupId) ? [] : [
        operatorsActionGroupId
      ]
    }
  }
}
