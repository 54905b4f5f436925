//! Who asks. Wine has one user, who may do everything.

use wdk_sys::{BOOLEAN, PACCESS_TOKEN, PSECURITY_SUBJECT_CONTEXT, SECURITY_SUBJECT_CONTEXT};

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_SeCaptureSubjectContext(context: PSECURITY_SUBJECT_CONTEXT) {
    // SAFETY: The caller's structure.
    unsafe { context.write(SECURITY_SUBJECT_CONTEXT::default()) };
}

#[unsafe(no_mangle)]
extern "C" fn shim_SeReleaseSubjectContext(_: PSECURITY_SUBJECT_CONTEXT) {}

#[unsafe(no_mangle)]
extern "C" fn shim_SeTokenIsAdmin(_: PACCESS_TOKEN) -> BOOLEAN {
    1
}
