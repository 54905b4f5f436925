//! Build script: the linker arguments of a console program without a C runtime.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        "/SUBSYSTEM:CONSOLE",
        "/ENTRY:start",
        "/NODEFAULTLIB",
        // The checksum; a reproducible time stamp; no path in the image.
        "/RELEASE",
        "/Brepro",
        "/PDBALTPATH:rxcectl.pdb",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
