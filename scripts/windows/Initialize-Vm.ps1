<#
.SYNOPSIS
Prepares a VM for drivers that are signed with a test key. Restart it afterwards.

.DESCRIPTION
Turns test signing on, trusts the package's certificate, and makes Windows keep a kernel dump of every crash.
#>
[CmdletBinding()]
param()

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

$build = [Environment]::OSVersion.Version.Build
if ($build -lt 19041) {
    throw "Windows build $build is too old: the driver needs 19041 (Windows 10, version 2004) or later."
}
$secureBoot = $false
try {
    $secureBoot = Confirm-SecureBootUEFI
} catch [PlatformNotSupportedException] {
    Write-Host 'This VM has no UEFI, and so no Secure Boot.'
}
if ($secureBoot) {
    throw 'Secure Boot is on: turn it off in the settings of the VM, or test signing is refused.'
}

$certificate = Join-Path -Path (Get-Folder -Name 'package') -ChildPath 'rxce-test.cer'
Invoke-Program -Program 'bcdedit.exe' -Arguments @('/set', 'testsigning', 'on')
foreach ($store in 'Root', 'TrustedPublisher') {
    Invoke-Program -Program 'certutil.exe' -Arguments @('-addstore', '-f', $store, $certificate)
}

$crash = 'HKLM:\SYSTEM\CurrentControlSet\Control\CrashControl'
# 2: kernel memory.
Set-ItemProperty -Path $crash -Name 'CrashDumpEnabled' -Type DWord -Value 2
Set-ItemProperty -Path $crash -Name 'AlwaysKeepMemoryDump' -Type DWord -Value 1
$filter = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Debug Print Filter'
if (-not (Test-Path -Path $filter)) {
    New-Item -Path $filter | Out-Null
}
# All bits: what drivers print reaches a debugger.
Set-ItemProperty -Path $filter -Name 'DEFAULT' -Type DWord -Value -1

Write-Host 'READY: restart the VM now. The desktop shows "Test Mode" then.'
