<#
.SYNOPSIS
Chooses what Driver Verifier does with rxce.sys and the test clients. Restart the VM afterwards.

.PARAMETER Pass
Standard: the standard classes. Pending: with forced pending I/O, IRP logging and invariant MDLs. LowResources: allocations fail at
random. Off: no verification.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateSet('Standard', 'Pending', 'LowResources', 'Off')]
    [string] $Pass
)

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

$images = @($Product) + $Clients | ForEach-Object { "$_.sys" }
$classes = @(switch ($Pass) {
    'Standard' { @('/standard') }
    'Pending' { @('/rc', '1', '2', '4', '5', '6', '9', '12', '18', '10', '11', '14', '15') }
    'LowResources' { @('/rc', '1', '2', '3', '4', '5', '6', '9', '12', '18') }
    'Off' { @() }
})
if ($Pass -eq 'Off') {
    # 2: nothing was set.
    Invoke-Program -Program 'verifier.exe' -Arguments @('/reset') -Expected @(0, 2)
} else {
    # 2: it takes effect with the next start of the VM.
    Invoke-Program -Program 'verifier.exe' -Arguments ($classes + @('/driver') + $images) -Expected @(0, 2)
    Invoke-Program -Program 'verifier.exe' -Arguments @('/bootmode', 'resetonbootfail') -Expected @(0, 2)
}
Write-Host "SET: ${Pass}. Restart the VM now."
