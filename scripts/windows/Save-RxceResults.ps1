<#
.SYNOPSIS
Collects what a report needs: dumps, logs, the state of the drivers. Ends with one .zip file.

.PARAMETER Results
The results folder of Test-Rxce.ps1.
#>
[CmdletBinding()]
param(
    [string] $Results = 'C:\rxce-results'
)

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

New-Item -Path $Results -ItemType Directory -Force | Out-Null
& cmd.exe /c ver | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'ver.txt')
& verifier.exe /querysettings | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'verifier-settings.txt')
& verifier.exe /query | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'verifier-query.txt')
& driverquery.exe /v /fo csv | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'drivers.csv')
foreach ($name in @($Product) + $Clients) {
    & sc.exe qc $name | Out-File -FilePath (Join-Path -Path $Results -ChildPath "service-$name.txt")
}
$logs = @{
    'System' = 'system-log.txt'
    'Microsoft-Windows-CodeIntegrity/Operational' = 'code-integrity-log.txt'
}
foreach ($log in $logs.Keys) {
    Get-WinEvent -LogName $log -MaxEvents 200 -ErrorAction SilentlyContinue |
        Format-List -Property TimeCreated, ProviderName, Id, Message |
        Out-File -FilePath (Join-Path -Path $Results -ChildPath $logs[$log])
}
foreach ($file in "$env:SystemRoot\INF\setupapi.dev.log", "$env:SystemRoot\MEMORY.DMP") {
    if (Test-Path -Path $file) {
        Copy-Item -Path $file -Destination $Results
    }
}
if (Test-Path -Path "$env:SystemRoot\Minidump") {
    Copy-Item -Path "$env:SystemRoot\Minidump\*" -Destination $Results
}
# The debugger needs exactly these.
foreach ($file in 'rxce.sys', 'rxce.pdb') {
    Copy-Item -Path (Join-Path -Path (Get-Folder -Name 'package') -ChildPath $file) -Destination $Results
}
$archive = "$Results.zip"
Compress-Archive -Path "$Results\*" -DestinationPath $archive -Force
Write-Host "SAVED: $archive"
