//! Arbitrary sequences of calls through the real hooks of liblinger.so, each in a process of its own, against a model.
//!
//! `linger-fuzz-hooks LIBRARY` first sees to it that it finds what is wrong without the library, and then runs the committed batches
//! in `corpus/hooks` and random ones, for FUZZ_S seconds (default: FUZZ_CASES=200 batches). A batch that fails is made as short as it can be, printed, and kept in that folder.

mod model;
mod operation;
mod peer;
mod server;

use operation::Batch;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const AS_SERVER: &str = "--as-the-server";
/// Bytes of a random batch.
const LONGEST: usize = 160;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [AS_SERVER] => {
            // SAFETY: started as `run` starts it, number 0 is one end of a pair of sockets.
            let control = unsafe { UnixStream::from_raw_fd(0) };
            if server::serve(control).is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        [library] => fuzz(Path::new(library)),
        [library, file] => {
            match std::fs::read(file).map(|bytes| run(Some(library.as_ref()), &Batch::from_bytes(&bytes))) {
                Ok(Ok(())) => ExitCode::SUCCESS,
                Ok(Err(why)) => complain(&why),
                Err(why) => complain(&format!("{file}: {why}")),
            }
        }
        _ => complain("usage: linger-fuzz-hooks LIBLINGER.SO [BATCH]"),
    }
}

fn complain(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fuzz(library: &Path) -> ExitCode {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/hooks");
    let mut committed: Vec<PathBuf> = match std::fs::read_dir(&corpus) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(why) => return complain(&format!("{}: {why}", corpus.display())),
    };
    committed.sort();
    for control in Batch::controls() {
        if let Err(why) = run(Some(library), &control) {
            return complain(&format!("{control:#?}: {why}"));
        }
        if run(None, &control).is_ok() {
            return complain(&format!("{control:#?} holds without the library: nothing would be found here"));
        }
    }
    let mut run_so_far = 0;
    for file in &committed {
        let bytes = std::fs::read(file).unwrap_or_default();
        if let Err(why) = run(Some(library), &Batch::from_bytes(&bytes)) {
            return complain(&format!("{}: {why}", file.display()));
        }
        run_so_far += 1;
    }

    let seed = setting("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let end = setting("FUZZ_S").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let cases = setting("FUZZ_CASES").unwrap_or(200);
    let mut made = 0;
    while end.map_or(made < cases, |end| Instant::now() < end) {
        let bytes: Vec<u8> = (0..random.usize(4..LONGEST)).map(|_| random.u8(..)).collect();
        let batch = Batch::from_bytes(&bytes);
        if let Err(why) = run(Some(library), &batch) {
            eprintln!("FUZZ_SEED={seed}, batch {made}: {why}\nmaking it shorter");
            let (batch, why) = shorten(library, batch, why);
            let kept = corpus.join(format!("found-{seed:016x}-{made}"));
            let _ = std::fs::write(&kept, &bytes);
            eprintln!("kept as {}", kept.display());
            eprintln!("{batch:#?}");
            return complain(&why);
        }
        made += 1;
    }
    run_so_far += made;
    println!("{run_so_far} batches held ({} of them committed; FUZZ_SEED={seed})", committed.len());
    ExitCode::SUCCESS
}

/// Leaves out what the failure does not need.
fn shorten(library: &Path, mut batch: Batch, mut why: String) -> (Batch, String) {
    let mut at = batch.operations.len();
    while at > 0 {
        at -= 1;
        let mut shorter = batch.clone();
        shorter.operations.remove(at);
        if let Err(still) = run(Some(library), &shorter) {
            (batch, why) = (shorter, still);
        }
    }
    (batch, why)
}

/// In a process of its own, with the library preloaded or without.
fn run(library: Option<&Path>, batch: &Batch) -> Result<(), String> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
    ours.set_read_timeout(Some(peer::GENEROUS)).map_err(|e| e.to_string())?;
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut server = Command::new(own);
    server.arg(AS_SERVER).env_clear();
    if let Some(library) = library {
        server.env("LD_PRELOAD", library.canonicalize().map_err(|e| format!("{}: {e}", library.display()))?);
    }
    let mut server = server
        // Peers say when they are done; none is quiet for so long.
        .envs([("LINGER_EXIT_MS", "20000"), ("LINGER_IDLE_MS", "20000"), ("LINGER_TIMEOUT_MS", "30000")])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|e| e.to_string())?;
    let held = model::Model::new(ours).and_then(|mut model| {
        for operation in &batch.operations {
            model.apply(operation)?;
        }
        model.finish(batch)
    });
    let held = held.and_then(|()| has_ended_well(&mut server));
    if held.is_err() {
        let _ = server.kill();
    }
    let _ = server.wait();
    held
}

fn has_ended_well(server: &mut std::process::Child) -> Result<(), String> {
    let until = Instant::now() + peer::GENEROUS;
    while Instant::now() < until {
        match server.try_wait().map_err(|e| e.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("the server ended with {status}")),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Err("the server did not end".into())
}
