<#
.SYNOPSIS
Stops and removes the test clients and the driver.

.PARAMETER RemoveCertificate
Trust the test certificate no more, and turn test signing off.
#>
[CmdletBinding()]
param(
    [switch] $RemoveCertificate
)

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

foreach ($client in $Clients) {
    if (Test-DriverService -Name $client) {
        # 1062: it does not run.
        Invoke-Program -Program 'sc.exe' -Arguments @('stop', $client) -Expected @(0, 1062)
        Invoke-Program -Program 'sc.exe' -Arguments @('delete', $client)
    }
    Remove-Item -Path "$env:SystemRoot\System32\drivers\$client.sys" -ErrorAction SilentlyContinue
}
if (Test-DriverService -Name $Product) {
    Invoke-Program -Program 'sc.exe' -Arguments @('stop', $Product) -Expected @(0, 1062)
}
$published = Get-WindowsDriver -Online |
    Where-Object { (Split-Path -Path $_.OriginalFileName -Leaf) -eq 'rxce.inf' }
foreach ($driver in $published) {
    Invoke-Program -Program 'pnputil.exe' -Arguments @('/delete-driver', $driver.Driver, '/uninstall')
}
if (Test-DriverService -Name $Product) {
    # The variant of the package for System32\drivers: Windows leaves the service and the file.
    Invoke-Program -Program 'sc.exe' -Arguments @('delete', $Product)
    Remove-Item -Path "$env:SystemRoot\System32\drivers\rxce.sys" -ErrorAction SilentlyContinue
}
if (Test-DriverService -Name $Product) {
    throw 'The service rxce is still there: restart the VM and run this script again.'
}
if ($RemoveCertificate) {
    $certificate = Get-PfxCertificate -FilePath (Join-Path -Path (Get-Folder -Name 'package') -ChildPath 'rxce-test.cer')
    foreach ($store in 'Root', 'TrustedPublisher') {
        Invoke-Program -Program 'certutil.exe' -Arguments @('-delstore', $store, $certificate.Thumbprint)
    }
    Invoke-Program -Program 'bcdedit.exe' -Arguments @('/set', 'testsigning', 'off')
}
Write-Host 'REMOVED: no service and no package of rxce is left.'
