//! A page of functions with honest prologues and unwind information, so that stacks can be walked through them.
//!
//! Source of the formats: "x64 exception handling" (learn.microsoft.com/cpp/build/exception-handling-x64).

/// A function: where it begins and ends, how much stack it takes, where a call in it returns to.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// First byte's RVA.
    pub start: u64,
    /// RVA behind its last byte.
    pub end: u64,
    /// Registers pushed by the prologue.
    pub pushes: Vec<u8>,
    /// Bytes of locals below the pushed registers.
    pub locals: u64,
    /// RVA a callee returns to (just behind a call).
    pub returns_to: u64,
    /// The bytes.
    pub code: Vec<u8>,
}

impl Function {
    /// Bytes from the stack pointer inside the body to the return address.
    pub fn frame(&self) -> u64 {
        self.locals + 8 * self.pushes.len() as u64
    }

    /// `UNWIND_INFO`: version 1, the codes in reverse order of the prologue.
    pub fn unwind_info(&self) -> Vec<u8> {
        let mut codes: Vec<u8> = Vec::new();
        let prologue = self.prologue_len();
        if self.locals >= 0x88 {
            codes.extend([prologue, 0x01]); // UWOP_ALLOC_LARGE, size / 8 in the next slot
            codes.extend(((self.locals / 8) as u16).to_le_bytes());
        } else {
            codes.extend([prologue, 0x02 | ((self.locals / 8 - 1) as u8) << 4]); // UWOP_ALLOC_SMALL
        }
        let mut at: u8 = self.pushes.iter().map(|r| push(*r).len() as u8).sum();
        for register in self.pushes.iter().rev() {
            codes.extend([at, register << 4]); // UWOP_PUSH_NONVOL
            at -= push(*register).len() as u8;
        }
        let mut out = vec![1, prologue, (codes.len() / 2) as u8, 0];
        if !codes.len().is_multiple_of(4) {
            codes.extend([0, 0]);
        }
        out.extend(codes);
        out
    }

    /// The packed record of a function of ARM64 ("ARM64 exception handling", learn.microsoft.com/cpp/build/arm64-exception-handling): flag 1,
    /// the length in instructions, nothing saved but a chained frame (CR 3) of so many times 16 bytes.
    pub fn packed(&self) -> u32 {
        let instructions = (self.end - self.start) as u32 / 4;
        1 | instructions << 2 | 3 << 21 | (self.locals as u32 / 16) << 23
    }

    fn prologue_len(&self) -> u8 {
        let pushes: usize = self.pushes.iter().map(|r| push(*r).len()).sum();
        (pushes + allocate(self.locals).len()) as u8
    }
}

/// Names of the functions placed in the kernel: what a waiting thread's stack runs through.
pub const FUNCTION_NAMES: [&str; 6] = [
    "KiSwapContext",
    "KiSwapThread",
    "KiCommitThreadWait",
    "KeWaitForSingleObject",
    "ObWaitForSingleObject",
    "NtWaitForSingleObject",
];

/// `push r64`.
fn push(register: u8) -> Vec<u8> {
    if register < 8 { vec![0x50 | register] } else { vec![0x41, 0x50 | (register & 7)] }
}

/// `pop r64`.
fn pop(register: u8) -> Vec<u8> {
    if register < 8 { vec![0x58 | register] } else { vec![0x41, 0x58 | (register & 7)] }
}

/// `sub rsp, n`.
fn allocate(n: u64) -> Vec<u8> {
    if n < 0x80 {
        vec![0x48, 0x83, 0xEC, n as u8]
    } else {
        [vec![0x48, 0x81, 0xEC], (n as u32).to_le_bytes().to_vec()].concat()
    }
}

/// `add rsp, n`.
fn release(n: u64) -> Vec<u8> {
    if n < 0x80 {
        vec![0x48, 0x83, 0xC4, n as u8]
    } else {
        [vec![0x48, 0x81, 0xC4], (n as u32).to_le_bytes().to_vec()].concat()
    }
}

/// The functions, one behind the other from `rva`; each calls the one before it.
pub fn functions(rva: u64) -> Vec<Function> {
    // Registers as the encoding numbers them: 3 rbx, 5 rbp, 6 rsi, 7 rdi, 12..15 r12..r15.
    let shapes: [(&[u8], u64); 6] = [
        (&[], 0x138),
        (&[3, 5, 6, 7], 0x28),
        (&[3, 6, 7, 14], 0x48),
        (&[3, 5, 6, 7, 12, 13, 14, 15], 0x68),
        (&[3, 7], 0x58),
        (&[3], 0x30),
    ];
    let mut at = rva;
    let mut out: Vec<Function> = Vec::new();
    for (name, (pushes, locals)) in FUNCTION_NAMES.into_iter().zip(shapes) {
        let mut code: Vec<u8> = pushes.iter().flat_map(|r| push(*r)).collect();
        code.extend(allocate(locals));
        code.extend([0x33, 0xC0]); // xor eax, eax
        let target = out.last().map_or(rva, |f| f.start);
        let next = at + code.len() as u64 + 5;
        code.push(0xE8); // call rel32
        code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
        code.push(0x90);
        code.extend(release(locals));
        code.extend(pushes.iter().rev().flat_map(|r| pop(*r)));
        code.push(0xC3);
        let end = at + code.len() as u64;
        out.push(Function { name, start: at, end, pushes: pushes.to_vec(), locals, returns_to: next, code });
        at = end.next_multiple_of(16);
    }
    out
}

/// The same functions for x86, with frame pointers: each but the first calls the one before it.
pub fn functions_x86(rva: u64) -> Vec<Function> {
    let mut at = rva;
    let mut out: Vec<Function> = Vec::new();
    for (name, locals) in FUNCTION_NAMES.into_iter().zip([0u64, 0x20, 0x10, 0x38, 0x14, 0x0C]) {
        let mut code = vec![0x55, 0x8B, 0xEC, 0x83, 0xEC, locals as u8]; // push ebp; mov ebp, esp; sub esp, locals
        let target = out.last().map_or(rva, |f| f.start);
        let next = at + code.len() as u64 + 5;
        code.push(0xE8); // call rel32
        code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
        code.extend([0xC9, 0xC3]); // leave; ret
        let end = at + code.len() as u64;
        out.push(Function { name, start: at, end, pushes: Vec::new(), locals, returns_to: next, code });
        at = end.next_multiple_of(16);
    }
    out
}

/// The same functions for ARM64, each with a frame record at the bottom of its frame (Arm ARM, C6.2: STP, ADD, BL, LDP, RET).
pub fn functions_arm64(rva: u64) -> Vec<Function> {
    let mut at = rva;
    let mut out: Vec<Function> = Vec::new();
    for (name, locals) in FUNCTION_NAMES.into_iter().zip([0x20u64, 0x40, 0x60, 0x80, 0x50, 0x30]) {
        let target = out.last().map_or(rva, |f| f.start);
        let words = (target.wrapping_sub(at + 8) as i64 / 4) as u32 & 0x3FF_FFFF;
        let eighths = locals as u32 / 8;
        let code = [
            0xA980_0000 | (eighths.wrapping_neg() & 0x7F) << 15 | 30 << 10 | 31 << 5 | 29, // stp x29, x30, [sp, #-locals]!
            0x9100_03FD,                                                                   // mov x29, sp
            0x9400_0000 | words,                                                           // bl
            0xA8C0_0000 | eighths << 15 | 30 << 10 | 31 << 5 | 29, // ldp x29, x30, [sp], #locals
            0xD65F_03C0,                                           // ret
        ];
        let code: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let end = at + code.len() as u64;
        out.push(Function { name, start: at, end, pushes: Vec::new(), locals, returns_to: at + 12, code });
        at = end.next_multiple_of(16);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwind_codes_cover_the_frame() {
        for f in functions(0x5000) {
            let info = f.unwind_info();
            assert_eq!(info[0], 1);
            assert_eq!(info.len() % 4, 0);
            let slots = f.pushes.len() + if f.locals >= 0x88 { 2 } else { 1 };
            assert_eq!(usize::from(info[2]), slots, "{}", f.name);
        }
    }
}
