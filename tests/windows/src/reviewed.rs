//! The commands that scripts and guide may use, with those of their parameters and switches that are used. Each was looked up in the
//! command's reference; a misspelt one is not here, and so is found.

/// A command and what it takes.
pub struct Reviewed {
    /// Its name; upper and lower case are one, as in PowerShell.
    pub name: &'static str,
    /// Parameters, or the first words of a program's command line.
    pub parameters: &'static [&'static str],
}

const fn reviewed(name: &'static str, parameters: &'static [&'static str]) -> Reviewed {
    Reviewed { name, parameters }
}

/// Cmdlets.
pub const CMDLETS: &[Reviewed] = &[
    reviewed("Compress-Archive", &["-Path", "-DestinationPath", "-Force"]),
    reviewed("Confirm-SecureBootUEFI", &[]),
    reviewed("ConvertFrom-Json", &[]),
    reviewed("ConvertTo-Json", &["-Depth"]),
    reviewed("Copy-Item", &["-Path", "-Destination", "-Recurse"]),
    reviewed("Expand-Archive", &["-Path", "-DestinationPath"]),
    reviewed("ForEach-Object", &[]),
    reviewed("Format-List", &["-Property"]),
    reviewed("Get-AuthenticodeSignature", &["-FilePath"]),
    reviewed("Get-ChildItem", &["-Path"]),
    reviewed("Get-CimInstance", &["-ClassName", "-Filter", "-Namespace"]),
    reviewed("Get-Content", &["-Path", "-Tail"]),
    reviewed("Get-Date", &[]),
    reviewed("Get-FileHash", &["-Path", "-Algorithm"]),
    reviewed("Get-Item", &["-Path"]),
    reviewed("Get-PfxCertificate", &["-FilePath"]),
    reviewed("Get-WinEvent", &["-LogName", "-MaxEvents", "-ErrorAction"]),
    reviewed("Get-WindowsDriver", &["-Online"]),
    reviewed("Join-Path", &["-Path", "-ChildPath"]),
    reviewed("New-Item", &["-Path", "-ItemType", "-Force"]),
    reviewed("New-Object", &["-TypeName", "-ArgumentList"]),
    reviewed("Out-File", &["-FilePath", "-Encoding"]),
    reviewed("Out-Host", &[]),
    reviewed("Out-Null", &[]),
    reviewed("Remove-Item", &["-Path", "-ErrorAction"]),
    reviewed("Restart-Computer", &[]),
    reviewed("Select-Object", &["-ExpandProperty"]),
    reviewed("Set-ExecutionPolicy", &["-ExecutionPolicy", "-Scope"]),
    reviewed("Set-ItemProperty", &["-Path", "-Name", "-Type", "-Value"]),
    reviewed("Set-Location", &["-Path"]),
    reviewed("Set-StrictMode", &["-Version"]),
    reviewed("Split-Path", &["-Path", "-Parent", "-Leaf"]),
    reviewed("Start-Sleep", &["-Seconds"]),
    reviewed("Test-Path", &["-Path"]),
    reviewed("Unblock-File", &["-Path"]),
    reviewed("Where-Object", &[]),
    reviewed("Write-Host", &[]),
];

/// Programs of Windows, its kits, and this project, with the options that are used.
pub const PROGRAMS: &[Reviewed] = &[
    reviewed("bcdedit.exe", &["/set"]),
    reviewed("certutil.exe", &["-addstore", "-delstore", "-dump", "-f"]),
    reviewed("cmd.exe", &["/c"]),
    reviewed("driverquery.exe", &["/v", "/fo"]),
    reviewed("infverif.exe", &["/v", "/w", "/h"]),
    reviewed("logman.exe", &["-ets", "-o", "-p"]),
    reviewed(
        "pnputil.exe",
        &["/add-driver", "/install", "/delete-driver", "/uninstall"],
    ),
    reviewed("rundll32.exe", &[]),
    reviewed("sc.exe", &[]),
    reviewed("signtool.exe", &["/v", "/pa", "/c"]),
    reviewed("tracerpt.exe", &["-o", "-of", "-y"]),
    reviewed(
        "verifier.exe",
        &[
            "/query",
            "/querysettings",
            "/standard",
            "/rc",
            "/driver",
            "/bootmode",
            "/reset",
        ],
    ),
    reviewed("windbg.exe", &["-z", "-y"]),
    // Read by rxcectl's own parser in the test.
    reviewed(
        "rxcectl.exe",
        &[
            "--json",
            "--repeat",
            "--only",
            "--list",
            "--help",
            "--version",
        ],
    ),
];

/// What is known of a command.
#[must_use]
pub fn find(name: &str) -> Option<&'static Reviewed> {
    CMDLETS
        .iter()
        .chain(PROGRAMS)
        .find(|one| one.name.eq_ignore_ascii_case(name))
}

impl Reviewed {
    /// Whether it takes this parameter, or this word that looks like an option.
    #[must_use]
    pub fn takes(&self, parameter: &str) -> bool {
        let name = parameter.split(':').next().unwrap_or(parameter);
        self.parameters
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name))
    }
}
