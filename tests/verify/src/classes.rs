//! The rule classes of Driver Verifier, by number and by flag, and what becomes of each here.
//!
//! Facts: "Driver Verifier options" and "Driver Verifier command syntax" of the driver documentation.

use ntsim::Rules;
use ntsim::stop::Stop;

/// What choosing a class does here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Here {
    /// It switches these rules of ntsim on.
    Rules(Rules),
    /// Every call that can fail does so, one a run.
    Systematic,
    /// It is there anyway.
    Always(&'static str),
    /// It has nothing to look at.
    Nothing(&'static str),
}

/// A rule class.
pub(crate) struct Class {
    /// Its number, if it has one.
    pub(crate) number: Option<u32>,
    /// Its flag, if it has one.
    pub(crate) flag: u32,
    pub(crate) name: &'static str,
    pub(crate) here: Here,
    /// The number of the class that it needs.
    pub(crate) needs: Option<u32>,
}

const fn class(number: u32, flag: u32, name: &'static str, here: Here) -> Class {
    Class {
        number: Some(number),
        flag,
        name,
        here,
        needs: None,
    }
}

impl Class {
    const fn needing(mut self, number: u32) -> Self {
        self.needs = Some(number);
        self
    }

    /// As it is shown.
    pub(crate) fn title(&self) -> String {
        match (self.number, self.flag) {
            (Some(number), 0) => format!("{} (class {number})", self.name),
            (Some(number), flag) => format!("{} (class {number}, flag 0x{flag:X})", self.name),
            (None, flag) => format!("{} (flag 0x{flag:X})", self.name),
        }
    }
}

use Here::{Always, Nothing};

const fn rules(rules: Rules) -> Here {
    Here::Rules(rules)
}

/// All classes.
pub(crate) const ALL: &[Class] = &[
    class(1, 0x1, "special pool", rules(Rules::SPECIAL_POOL)),
    class(2, 0x2, "force IRQL checking", rules(Rules::FORCE_IRQL)),
    class(3, 0x4, "low resources", rules(Rules::LOW_RESOURCES)),
    class(4, 0x8, "pool tracking", rules(Rules::POOL_TRACKING)),
    class(5, 0x10, "I/O verification", rules(Rules::IO)),
    class(6, 0x20, "deadlock detection", rules(Rules::DEADLOCK)),
    Class {
        number: None,
        flag: 0x40,
        name: "enhanced I/O verification",
        here: Always("it is part of I/O verification"),
        needs: Some(5),
    },
    class(8, 0x80, "DMA checking", Nothing("nothing here has DMA")),
    class(9, 0x100, "security checks", rules(Rules::SECURITY)),
    class(10, 0x200, "force pending I/O", rules(Rules::FORCE_PENDING)).needing(5),
    class(
        11,
        0x400,
        "IRP logging",
        Always("the last calls are always in the report of a stop"),
    )
    .needing(5),
    class(
        12,
        0x800,
        "miscellaneous checks",
        rules(Rules::MISCELLANEOUS),
    ),
    class(
        14,
        0x2000,
        "invariant MDL checking for stack",
        rules(Rules::INVARIANT_MDL_STACK),
    )
    .needing(5),
    class(
        15,
        0x4000,
        "invariant MDL checking for driver",
        rules(Rules::INVARIANT_MDL_DRIVER),
    )
    .needing(5),
    class(
        16,
        0x8000,
        "power framework delay fuzzing",
        Nothing("power management is not simulated"),
    ),
    class(
        17,
        0x1_0000,
        "port/miniport interface checking",
        Nothing("no port driver is simulated"),
    ),
    class(18, 0x2_0000, "DDI compliance checking", rules(Rules::DDI)),
    class(19, 0x4_0000, "systematic low resources", Here::Systematic).needing(36),
    class(
        20,
        0x8_0000,
        "DDI compliance checking (additional)",
        rules(Rules::DDI_ADDITIONAL),
    ),
    class(
        22,
        0x20_0000,
        "NDIS/WIFI verification",
        Nothing("no network stack is simulated"),
    ),
    class(
        24,
        0x80_0000,
        "kernel synchronization delay fuzzing",
        rules(Rules::DELAY_FUZZING),
    ),
    class(
        25,
        0x100_0000,
        "VM switch verification",
        Nothing("no virtual switch is simulated"),
    ),
    class(
        26,
        0x200_0000,
        "code integrity checks",
        rules(Rules::CODE_INTEGRITY),
    ),
    class(
        33,
        0,
        "driver isolation checks",
        Nothing("what a driver may touch outside of its package is not simulated"),
    )
    .needing(36),
    class(34, 0, "WDF verification", Nothing("no WDF is simulated")),
    class(
        35,
        0,
        "additional IRQL checking",
        rules(Rules::DDI_ADDITIONAL),
    ),
    class(
        36,
        0,
        "DIF mode",
        Always("it only lets other classes be chosen"),
    ),
    class(
        37,
        0,
        "file system filter verification",
        Nothing("no file system is simulated"),
    )
    .needing(5),
];

/// Flags of `--standard`.
pub(crate) const STANDARD: u32 = 0x209BB;

/// The class with this number.
pub(crate) fn of_number(number: u32) -> Option<&'static Class> {
    ALL.iter().find(|class| class.number == Some(number))
}

/// The names of the classes that a stop belongs to; none for what stops whatever the choice.
pub(crate) fn of_stop(code: u32, sub: u64) -> Vec<&'static str> {
    let owners = Rules::of(Stop { code, sub });
    ALL.iter()
        .filter(|class| matches!(class.here, Here::Rules(rules) if owners.intersects(rules)))
        .filter(|class| class.flag != 0)
        .map(|class| class.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_ntsims_rules_are_verifiers() {
        for class in ALL.iter().filter(|class| class.flag != 0) {
            if let Here::Rules(rules) = class.here {
                assert_eq!(rules.bits(), class.flag, "{}", class.name);
            }
        }
    }

    #[test]
    fn no_number_and_no_flag_is_there_twice() {
        for (place, class) in ALL.iter().enumerate() {
            for other in &ALL[place + 1..] {
                assert!(class.number.is_none() || class.number != other.number);
                assert_eq!(class.flag & other.flag, 0);
            }
        }
    }

    #[test]
    fn stops_have_their_classes() {
        assert_eq!(of_stop(0xC9, 0x226), ["I/O verification"]);
        assert_eq!(of_stop(0xC4, 0x62), ["pool tracking"]);
        assert!(of_stop(0xC4, 0x13).is_empty());
    }
}
