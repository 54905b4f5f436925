<#
.SYNOPSIS
Runs the acceptance vectors and writes a report: rxce-report.json in the results folder.

.PARAMETER Repeat
How often the whole table is run.

.PARAMETER Results
Where the report goes.
#>
[CmdletBinding()]
param(
    [ValidateRange(1, 1000)] [int] $Repeat = 1,
    [string] $Results = 'C:\rxce-results'
)

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

$rxcectl = Join-Path -Path (Get-Folder -Name 'clients') -ChildPath 'rxcectl.exe'
New-Item -Path $Results -ItemType Directory -Force | Out-Null
& verifier.exe /query | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'verifier-before.txt')
$text = & $rxcectl conformance --json --repeat $Repeat
$code = $LASTEXITCODE
& verifier.exe /query | Out-File -FilePath (Join-Path -Path $Results -ChildPath 'verifier-after.txt')

$conformance = $null
if ($text) {
    $conformance = ($text -join "`n") | ConvertFrom-Json
}
$image = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Product'"
$report = [ordered]@{
    date = (Get-Date).ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ')
    windows = [Environment]::OSVersion.Version.ToString()
    ver = (& cmd.exe /c ver) -join ' '
    driver = (Get-Item -Path $image.PathName).VersionInfo.FileVersion
    driverHash = (Get-FileHash -Path $image.PathName -Algorithm SHA256).Hash
    verifier = (& verifier.exe /querysettings) -join "`n"
    exitCode = $code
    conformance = $conformance
}
$file = Join-Path -Path $Results -ChildPath 'rxce-report.json'
$report | ConvertTo-Json -Depth 20 | Out-File -FilePath $file -Encoding utf8
Write-Host "REPORT: $file"
if ($code -ne 0) {
    throw "rxcectl ended with code ${code}: the report says which vectors failed."
}
Write-Host 'PASSED: no vector failed.'
