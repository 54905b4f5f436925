//! Nothing: the manifest is what counts.

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, process::Command};

    /// Packages that commands of the documentation name alone.
    const ALONE: [&str; 4] = ["suites", "verify", "ntsim", "packaging"];

    /// Libraries with their features, as cargo takes them for these packages; for all that plain `cargo test` has, if none is named.
    fn libraries(package: Option<&str>) -> BTreeSet<String> {
        let mut tree = Command::new(env!("CARGO"));
        tree.args(["tree", "--offline", "--prefix=none", "--format={p} {f}"])
            .args(["--edges=normal,build,dev", "--no-dedupe"]);
        match package {
            Some(package) => tree.args(["--package", package]),
            None => tree.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")),
        };
        let output = tree.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn packages_alone_have_the_features_of_all_together() {
        let together = libraries(None);
        for package in ALONE {
            let others: Vec<String> = libraries(Some(package))
                .difference(&together)
                .cloned()
                .collect();
            assert!(others.is_empty(), "with {package} alone: {others:#?}");
        }
    }
}
