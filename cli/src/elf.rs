//! What an ELF file says about itself (elf(5)), as far as preloading depends on it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use object::{Endianness, ReadCache, ReadRef};

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = elf::ELFMAG;

/// A name that only liblinger.so defines.
const OUR_NAME: &[u8] = b"linger_shim_active";

/// Sections that the Go linker writes, static or not.
const GO: [&[u8]; 2] = [b".go.buildinfo", b".note.go.buildid"];

/// What is known of one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// 32 or 64.
    pub bits: u8,
    /// `e_machine`.
    pub machine: elf::Machine,
    /// Big-endian or little-endian: MIPS and Power have both.
    pub big_endian: bool,
    /// `e_type`.
    pub kind: elf::FileType,
    /// PT_INTERP: the loader, if it has one.
    pub loader: Option<PathBuf>,
    /// Whether the Go toolchain made it.
    pub is_go: bool,
    /// Whether it defines what only liblinger.so defines.
    pub is_liblinger: bool,
}

impl Elf {
    /// Reads the headers of an open file; none of the rest of a large program is read.
    pub fn read(file: &File) -> object::Result<Elf> {
        let cache = ReadCache::new(file);
        match cache.read_at::<FileHeader32<Endianness>>(0) {
            Ok(header) if header.e_ident.class == elf::ELFCLASS32 => {
                read::<FileHeader32<Endianness>>(&cache, 32)
            }
            _ => read::<FileHeader64<Endianness>>(&cache, 64),
        }
    }

    /// Whether programs of this file and those of `other` can share a process.
    pub fn is_of_the_same_machine(&self, other: &Elf) -> bool {
        (self.machine, self.bits, self.big_endian) == (other.machine, other.bits, other.big_endian)
    }

    /// The machine's name, as people write it.
    pub fn machine_name(&self) -> String {
        let name = match self.machine {
            elf::EM_X86_64 => "x86-64",
            elf::EM_386 => "i386",
            elf::EM_AARCH64 => "aarch64",
            elf::EM_ARM => "arm",
            elf::EM_RISCV => "riscv",
            elf::EM_PPC64 => "ppc64",
            elf::EM_PPC => "powerpc",
            elf::EM_S390 => "s390",
            elf::EM_MIPS => "mips",
            elf::EM_LOONGARCH => "loongarch",
            elf::EM_SPARCV9 => "sparc64",
            other => return format!("machine {}", other.0),
        };
        let little_power = self.machine == elf::EM_PPC64 && !self.big_endian;
        format!("{name}{}", if little_power { "le" } else { "" })
    }
}

fn read<H>(data: &ReadCache<&File>, bits: u8) -> object::Result<Elf>
where
    H: FileHeader<Endian = Endianness>,
{
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let mut loader = None;
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            loader = Some(PathBuf::from(OsString::from_vec(path.to_vec())));
        }
    }
    // A file may do without sections, and a broken table of them does not keep the kernel from running it.
    let sections = header.sections(endian, data).unwrap_or_default();
    let is_go = GO.iter().any(|name| sections.section_by_name(endian, name).is_some());
    let is_liblinger = sections.symbols(endian, data, elf::SHT_DYNSYM).is_ok_and(|symbols| {
        symbols.iter().any(|symbol| {
            symbol.st_shndx(endian) != elf::SHN_UNDEF && symbols.symbol_name(endian, symbol) == Ok(OUR_NAME)
        })
    });
    Ok(Elf {
        bits,
        machine: header.e_machine(endian),
        big_endian: endian == Endianness::Big,
        kind: header.e_type(endian),
        loader,
        is_go,
        is_liblinger,
    })
}
