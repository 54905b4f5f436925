# What the scripts of this folder share. Windows PowerShell 5.1, elevated; nothing has to be installed.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# The service of the product, and those of the test clients, which import from it.
$Product = 'rxce'
$Clients = @('conform', 'p9probe')

# Ends the script unless it runs elevated.
function Assert-Administrator {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object -TypeName Security.Principal.WindowsPrincipal -ArgumentList $identity
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'Start PowerShell with "Run as administrator" and try again.'
    }
}

# Runs a program of Windows and ends the script if it fails with another code than those that are expected.
function Invoke-Program {
    param(
        [Parameter(Mandatory = $true)] [string] $Program,
        [string[]] $Arguments = @(),
        [int[]] $Expected = @(0)
    )
    Write-Host "> $Program $Arguments"
    & $Program $Arguments | Out-Host
    if ($Expected -notcontains $LASTEXITCODE) {
        throw "$Program failed with code $LASTEXITCODE."
    }
}

# The folder that was copied to the VM: this script's parent.
function Get-Folder {
    param([Parameter(Mandatory = $true)] [string] $Name)
    $folder = Join-Path -Path (Split-Path -Path $PSScriptRoot -Parent) -ChildPath $Name
    if (-not (Test-Path -Path $folder)) {
        throw "$folder is missing: copy the whole folder that 'cargo xtask package' made."
    }
    return $folder
}

# Whether a service exists. Get-Service would not list drivers.
function Test-DriverService {
    param([Parameter(Mandatory = $true)] [string] $Name)
    return Test-Path -Path "HKLM:\SYSTEM\CurrentControlSet\Services\$Name"
}

# Whether a driver's service runs.
function Test-DriverRunning {
    param([Parameter(Mandatory = $true)] [string] $Name)
    $driver = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Name'"
    return ($null -ne $driver) -and ($driver.State -eq 'Running')
}
