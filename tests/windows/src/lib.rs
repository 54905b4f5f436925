//! Checks of files that only Windows or a forge runs, as far as a Linux host can: [`powershell`] parses scripts and names the commands
//! they call, [`reviewed`] lists the commands and parameters that somebody has looked up, [`markdown`] finds the code in the guide,
//! [`mod@workflow`] reads the forge's workflow.

pub mod markdown;
pub mod powershell;
pub mod reviewed;
pub mod workflow;
