//! Whether the library can be preloaded into a program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use object::elf::{ET_DYN, ET_EXEC};

use super::privilege;
use super::refusal::Refusal;
use super::route::Route;
use crate::elf::Elf;
use crate::library::Library;

/// Refuses what cannot be preloaded into. A program that cannot be read is not judged: it may work.
pub fn judge(route: &Route, library: &Library) -> Result<(), Refusal> {
    let Some((file, elf)) = &route.program else { return Ok(()) };
    judge_headers(route.last(), elf, library)?;
    match privilege::raised(file) {
        None => Ok(()),
        Some(raised) => {
            Err(Refusal::Privileged { file: route.last().to_owned(), raised, library: library.path.clone() })
        }
    }
}

fn judge_headers(path: &Path, elf: &Elf, library: &Library) -> Result<(), Refusal> {
    let file = path.to_owned();
    if elf.kind != ET_EXEC && elf.kind != ET_DYN {
        return Err(Refusal::NotAProgram(file));
    }
    if elf.bits == 32 {
        return Err(Refusal::ThirtyTwoBit(file));
    }
    if !elf.is_of_the_same_machine(&library.elf) {
        return Err(Refusal::OtherMachine {
            file,
            machine: elf.machine_name(),
            library: library.path.clone(),
            library_machine: library.elf.machine_name(),
        });
    }
    let Some(loader) = &elf.loader else {
        return match () {
            // ld.so PROGRAM: the loader preloads into the program that it is told to run.
            () if is_glibc(&path.canonicalize().unwrap_or_else(|_| file.clone())) => Ok(()),
            () if elf.is_go => Err(Refusal::StaticGo(file)),
            () => Err(Refusal::Static(file)),
        };
    };
    let name = loader.file_name().map(OsStr::as_bytes).unwrap_or_default();
    if name.starts_with(b"ld-musl") {
        Err(Refusal::Musl(file))
    } else if !is_glibc(loader) {
        Err(Refusal::OtherLoader { file, loader: loader.clone() })
    } else if !loader.exists() {
        Err(Refusal::NothingToRunIt { file, wants: loader.clone() })
    } else {
        Ok(())
    }
}

/// glibc's loader: `ld-linux-x86-64.so.2`, `ld64.so.1`, `ld-2.31.so`, `ld.so.1`.
fn is_glibc(loader: &Path) -> bool {
    let name = loader.file_name().map(OsStr::as_bytes).unwrap_or_default();
    [&b"ld-linux"[..], b"ld64.so", b"ld.so", b"ld-2"].iter().any(|start| name.starts_with(start))
}
