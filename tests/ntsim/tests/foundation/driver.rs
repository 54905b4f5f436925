//! Makes small driver files: code from an assembler, the headers by hand.
//!
//! The file is laid out as the image is in memory: each section is a page at the same offset in both.

use iced_x86::BlockEncoderOptions;
use iced_x86::code_asm::{AsmRegister64, CodeAssembler, CodeLabel, ptr, qword_ptr, r11, rsp};
use std::path::{Path, PathBuf};

const BASE: u64 = 0x1_4000_0000;
const TEXT: u32 = 0x1000;
const INIT: u32 = 0x2000;
const RDATA: u32 = 0x3000;
const DATA: u32 = 0x4000;
const RELOC: u32 = 0x5000;
const END: u32 = 0x6000;
/// In `.rdata`: import descriptors, look-up tables, names, exports, function table, unwind data.
const DESCRIPTORS: u32 = RDATA + 0x200;
const LOOKUP: u32 = RDATA + 0x300;
const NAMES: u32 = RDATA + 0x500;
const EXPORTS: u32 = RDATA + 0xA00;
const FUNCTIONS: u32 = RDATA + 0xD00;
const UNWIND: u32 = RDATA + 0xF00;

/// Builds one driver.
pub(crate) struct Builder {
    pub(crate) asm: CodeAssembler,
    imports: Vec<(String, String)>,
    exports: Vec<(String, CodeLabel)>,
    functions: Vec<Function>,
    relocated: Vec<usize>,
    data: Vec<u8>,
    /// Characteristics of `.text`.
    pub(crate) text_flags: u32,
    pub(crate) machine: u16,
    pub(crate) characteristics: u16,
}

struct Function {
    begin: CodeLabel,
    end: CodeLabel,
    unwind: Vec<u8>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            asm: CodeAssembler::new(64).unwrap(),
            imports: Vec::new(),
            exports: Vec::new(),
            functions: Vec::new(),
            relocated: Vec::new(),
            data: Vec::new(),
            text_flags: 0x6000_0020,
            machine: 0x8664,
            characteristics: 0x22,
        }
    }

    /// Puts bytes into `.data` and returns their address before relocation.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> u64 {
        let at = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(16), 0);
        BASE + u64::from(DATA) + at
    }

    /// Loads an address of the image, with a relocation.
    pub(crate) fn address(&mut self, register: AsmRegister64, address: u64) {
        self.relocated.push(self.asm.instructions().len());
        self.asm.mov(register, address).unwrap();
    }

    /// An exported function with `sub rsp, frame`, described by unwind data; `body` leaves the result in rax.
    pub(crate) fn function(
        &mut self,
        name: &str,
        frame: u8,
        body: impl FnOnce(&mut Self),
    ) -> CodeLabel {
        let (mut begin, mut end) = (self.asm.create_label(), self.asm.create_label());
        self.asm.set_label(&mut begin).unwrap();
        self.asm.sub(rsp, i32::from(frame)).unwrap();
        body(self);
        self.asm.add(rsp, i32::from(frame)).unwrap();
        self.asm.ret().unwrap();
        self.asm.set_label(&mut end).unwrap();
        self.asm.int3().unwrap();
        self.exports.push((name.to_owned(), begin));
        // UNWIND_INFO version 1: prolog of 4 bytes, one code: UWOP_ALLOC_SMALL at 4.
        let unwind = vec![1, 4, 1, 0, 4, ((frame / 8 - 1) << 4) | 2, 0, 0];
        self.functions.push(Function { begin, end, unwind });
        begin
    }

    /// `call [import]`.
    pub(crate) fn call_import(&mut self, module: &str, name: &str) {
        let slot = self.import(module, name);
        self.address(r11, slot);
        self.asm.call(qword_ptr(r11)).unwrap();
    }

    /// The address of an import's slot.
    pub(crate) fn import(&mut self, module: &str, name: &str) -> u64 {
        let key = (module.to_owned(), name.to_owned());
        let index = self
            .imports
            .iter()
            .position(|import| *import == key)
            .unwrap_or_else(|| {
                self.imports.push(key);
                self.imports.len() - 1
            });
        // One module has its slots in a row with a terminator; with one descriptor per import, each has two slots.
        BASE + u64::from(RDATA) + index as u64 * 16
    }

    /// An export `do_<name>` that passes eight arguments on to a kernel routine.
    pub(crate) fn forward(&mut self, name: &str) {
        self.forward_to("ntoskrnl.exe", name);
    }

    pub(crate) fn forward_to(&mut self, module: &str, name: &str) {
        use iced_x86::code_asm::rax;
        self.function(&format!("do_{name}"), 0x48, |driver| {
            for argument in 4..8 {
                driver.asm.mov(rax, ptr(rsp + 0x50 + argument * 8)).unwrap();
                driver.asm.mov(ptr(rsp + argument * 8), rax).unwrap();
            }
            driver.call_import(module, name);
        });
    }

    /// Writes the file and returns its path.
    pub(crate) fn write(mut self, folder: &Path, name: &str) -> PathBuf {
        let code = self
            .asm
            .assemble_options(
                BASE + u64::from(TEXT),
                BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS,
            )
            .unwrap();
        let offsets = &code.inner.new_instruction_offsets;
        let mut file = vec![0u8; END as usize];
        put(&mut file, TEXT, &code.inner.code_buffer);
        put(&mut file, DATA, &self.data);
        self.put_imports(&mut file);
        let rva = |label: &CodeLabel| u32::try_from(code.label_ip(label).unwrap() - BASE).unwrap();
        self.put_exports(&mut file, &rva);
        for (index, function) in self.functions.iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            let unwind = UNWIND + index * 8;
            put(&mut file, unwind, &function.unwind);
            for (n, value) in [rva(&function.begin), rva(&function.end), unwind]
                .into_iter()
                .enumerate()
            {
                put(
                    &mut file,
                    FUNCTIONS + index * 12 + u32::try_from(n).unwrap() * 4,
                    &value.to_le_bytes(),
                );
            }
        }
        let mut relocations: Vec<u16> = self
            .relocated
            .iter()
            .map(|&n| 0xA000 | u16::try_from(offsets[n] + 2).unwrap())
            .collect();
        // Blocks are a multiple of 4 bytes long; type 0 is padding.
        relocations.resize(relocations.len().next_multiple_of(2).max(2), 0);
        let bytes = 8 + u32::try_from(relocations.len()).unwrap() * 2;
        put(&mut file, RELOC, &TEXT.to_le_bytes());
        put(&mut file, RELOC + 4, &bytes.to_le_bytes());
        for (n, relocation) in relocations.iter().enumerate() {
            put(
                &mut file,
                RELOC + 8 + u32::try_from(n).unwrap() * 2,
                &relocation.to_le_bytes(),
            );
        }
        let entry = self
            .exports
            .iter()
            .find(|(name, _)| name == "DriverEntry")
            .map_or(0, |(_, label)| rva(label));
        self.put_headers(&mut file, entry, bytes);
        let path = folder.join(name);
        std::fs::write(&path, file).unwrap();
        path
    }

    fn put_imports(&self, file: &mut [u8]) {
        let mut names = NAMES;
        let mut text = |file: &mut [u8], bytes: &[u8]| {
            let at = names;
            put(file, at, bytes);
            names += u32::try_from(bytes.len() + 1).unwrap().next_multiple_of(2);
            at
        };
        for (index, (module, name)) in self.imports.iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            let hint = text(file, &[b"\0\0", name.as_bytes()].concat());
            let module = text(file, module.as_bytes());
            for table in [LOOKUP, RDATA] {
                put(file, table + index * 16, &u64::from(hint).to_le_bytes());
            }
            for (n, value) in [LOOKUP + index * 16, 0, 0, module, RDATA + index * 16]
                .into_iter()
                .enumerate()
            {
                put(
                    file,
                    DESCRIPTORS + index * 20 + u32::try_from(n).unwrap() * 4,
                    &value.to_le_bytes(),
                );
            }
        }
        assert!(
            self.imports.len() <= 12 && names <= EXPORTS,
            "too many imports for the fixed layout"
        );
    }

    fn put_exports(&mut self, file: &mut [u8], rva: &dyn Fn(&CodeLabel) -> u32) {
        self.exports.sort_by(|left, right| left.0.cmp(&right.0));
        let count = u32::try_from(self.exports.len()).unwrap();
        let (addresses, names) = (EXPORTS + 40, EXPORTS + 40 + count * 4);
        let ordinals = names + count * 4;
        let mut text = ordinals + count * 2;
        for (index, (name, label)) in self.exports.iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            put(file, addresses + index * 4, &rva(label).to_le_bytes());
            put(file, names + index * 4, &text.to_le_bytes());
            put(
                file,
                ordinals + index * 2,
                &u16::try_from(index).unwrap().to_le_bytes(),
            );
            put(file, text, name.as_bytes());
            text += u32::try_from(name.len()).unwrap() + 1;
        }
        assert!(text <= FUNCTIONS, "too many exports for the fixed layout");
        for (n, value) in [1, count, count, addresses, names, ordinals]
            .into_iter()
            .enumerate()
        {
            put(
                file,
                EXPORTS + 16 + u32::try_from(n).unwrap() * 4,
                &value.to_le_bytes(),
            );
        }
    }

    fn put_headers(&self, file: &mut [u8], entry: u32, relocation_bytes: u32) {
        put(file, 0, b"MZ");
        put(file, 0x3C, &0x40u32.to_le_bytes());
        put(file, 0x40, b"PE\0\0");
        put(file, 0x44, &self.machine.to_le_bytes());
        put(file, 0x46, &5u16.to_le_bytes());
        put(file, 0x54, &240u16.to_le_bytes());
        put(file, 0x56, &self.characteristics.to_le_bytes());
        let optional = 0x58;
        put(file, optional, &0x20Bu16.to_le_bytes());
        for (at, value) in [
            (16, entry),
            (32, 0x1000),
            (36, 0x1000),
            (56, END),
            (60, 0x1000),
            (108, 16),
        ] {
            put(file, optional + at, &value.to_le_bytes());
        }
        put(file, optional + 24, &BASE.to_le_bytes());
        put(file, optional + 68, &1u16.to_le_bytes());
        let functions = u32::try_from(self.functions.len()).unwrap() * 12;
        let imports = (u32::try_from(self.imports.len()).unwrap() + 1) * 20;
        for (index, start, bytes) in [
            (0, EXPORTS, FUNCTIONS - EXPORTS),
            (1, DESCRIPTORS, imports),
            (3, FUNCTIONS, functions),
            (5, RELOC, relocation_bytes),
        ] {
            put(file, optional + 112 + index * 8, &start.to_le_bytes());
            put(file, optional + 116 + index * 8, &bytes.to_le_bytes());
        }
        let sections: [(&[u8], u32, u32); 5] = [
            (b".text", TEXT, self.text_flags),
            (b"INIT", INIT, 0x6200_0020),
            (b".rdata", RDATA, 0x4000_0040),
            (b".data", DATA, 0xC000_0040),
            (b".reloc", RELOC, 0x4200_0040),
        ];
        for (index, (name, rva, flags)) in sections.into_iter().enumerate() {
            let at = optional + 240 + u32::try_from(index).unwrap() * 40;
            put(file, at, name);
            for (offset, value) in [(8, 0x1000), (12, rva), (16, 0x1000), (20, rva), (36, flags)] {
                put(file, at + offset, &value.to_le_bytes());
            }
        }
    }
}

pub(crate) fn put(file: &mut [u8], at: u32, bytes: &[u8]) {
    let at = at as usize;
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
