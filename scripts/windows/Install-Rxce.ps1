<#
.SYNOPSIS
Installs the driver by its INF, makes services for the test clients, and starts all of them.
#>
[CmdletBinding()]
param()

. (Join-Path -Path $PSScriptRoot -ChildPath 'Common.ps1')
Assert-Administrator

$package = Get-Folder -Name 'package'
$clientFolder = Get-Folder -Name 'clients'
$files = @('rxce.sys', 'rxce.cat') | ForEach-Object { Join-Path -Path $package -ChildPath $_ }
$files += $Clients | ForEach-Object { Join-Path -Path $clientFolder -ChildPath "$_.sys" }
foreach ($file in $files) {
    $signature = Get-AuthenticodeSignature -FilePath $file
    if ($signature.Status -ne 'Valid') {
        throw "The signature of $file is not valid ($($signature.StatusMessage)): run Initialize-Vm.ps1 first."
    }
}

$inf = Join-Path -Path $package -ChildPath 'rxce.inf'
# 259: nothing to do for any device, which is right: the driver has none.
Invoke-Program -Program 'pnputil.exe' -Arguments @('/add-driver', $inf, '/install') -Expected @(0, 259)
if (-not (Test-DriverService -Name $Product)) {
    # Some builds stage the package and leave the rest to SetupAPI. It tells of nothing: the service is the answer.
    Invoke-Program -Program 'rundll32.exe' -Arguments @('setupapi.dll,InstallHinfSection', 'DefaultInstall', '132', $inf)
    Start-Sleep -Seconds 10
}
if (-not (Test-DriverService -Name $Product)) {
    throw 'There is no service rxce: read the end of C:\Windows\INF\setupapi.dev.log.'
}

# 1056: it runs already.
Invoke-Program -Program 'sc.exe' -Arguments @('start', $Product) -Expected @(0, 1056)
foreach ($client in $Clients) {
    if (-not (Test-DriverService -Name $client)) {
        $image = Join-Path -Path $env:SystemRoot -ChildPath "System32\drivers\$client.sys"
        Copy-Item -Path (Join-Path -Path $clientFolder -ChildPath "$client.sys") -Destination $image
        Invoke-Program -Program 'sc.exe' -Arguments @(
            'create', $client, 'type=', 'kernel', 'start=', 'demand', 'error=', 'normal',
            'binPath=', $image, 'depend=', $Product)
    }
    Invoke-Program -Program 'sc.exe' -Arguments @('start', $client) -Expected @(0, 1056)
}
foreach ($name in @($Product) + $Clients) {
    if (-not (Test-DriverRunning -Name $name)) {
        throw "$name does not run."
    }
}
Write-Host 'INSTALLED: rxce and its test clients run.'
