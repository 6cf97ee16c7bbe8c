use linger_testbed::faults::{launch::*, session::*, log::Log};
const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");
#[test]
fn smoke() {
    let s = Surroundings::default();
    let t = std::time::Instant::now();
    let c = play(PROGRAM, &s, &["close","shutdown","dup2","duplicated","epoll","syscall","fork","exit"], 1).unwrap();
    println!("bare {:?} {:#?}", t.elapsed(), c);
    let log = Log::new().unwrap();
    let s = Surroundings { library: Some(library().unwrap()), environment: vec![("LINGER_FAULTS_LOG".into(), log.path().to_str().unwrap().into()), ("LINGER_IDLE_MS".into(),"150".into()), ("LINGER_TIMEOUT_MS".into(),"1500".into()), ("LINGER_MAX_MS".into(),"3000".into()), ("LINGER_EXIT_MS".into(),"1000".into())], ..Default::default() };
    let t = std::time::Instant::now();
    let c = play(PROGRAM, &s, PRELOADED, 1).unwrap();
    println!("shim {:?} {:#?}", t.elapsed(), c);
    println!("{:?}", log.calls());
}
