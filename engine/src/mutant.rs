//! Places where a test image can have a defect.

/// Whether the defect of this name is planted: `false`, unless the image is built with the feature `mutants`. The
/// catalogue of the crate `mutants` says what each is.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

/// Whether the defect of this name is planted.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_selected($crate::mutants::Mutant::$name)
    };
}
