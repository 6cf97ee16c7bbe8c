//! Programs that let go of their connection by exiting, and how long that may take.

use anyhow::Result;
use linger_testbed::answers;
use linger_testbed::client::Ending;
use linger_testbed::dialogue::{Dialogue, Heard};
use linger_testbed::netns::isolated;
use linger_testbed::processes::Process;
use linger_testbed::scenario::{request, LARGE};
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::specimens::Specimen;

linger_testbed::late_answers! {
    micro_httpd: Specimen::MicroHttpd,
    busybox_under_inetd: Specimen::BusyboxInetd,
    busybox: Specimen::Busybox,
}

/// micro-httpd with one setting of the shim, and a client that has asked it for an answer larger than its window.
struct Asked {
    _server: Server,
    client: Dialogue,
    process: Process,
}

impl Asked {
    fn with(wait_ms: &'static str) -> Result<Self> {
        let settings = [("LINGER_EXIT_MS", wait_ms)];
        Self::of(&Specimen::MicroHttpd.with(&settings))
    }

    fn of(program: &Program) -> Result<Self> {
        let server = Server::start(program, &Preload::shim()?)?;
        let mut client = Dialogue::open(server.address())?;
        let process = Process::holding_alone("micro-httpd", server.address(), client.local())?;
        client.say(request(LARGE, "close").as_bytes());
        client.wait_until_let_go()?;
        Ok(Self { _server: server, client, process })
    }
}

fn is_whole(heard: &Heard) -> bool {
    let answers = answers::parse(&heard.bytes);
    heard.ending == Ending::CleanEof && answers.len() == 1 && answers.iter().all(|one| one.is_complete(200))
}

#[test]
fn an_exit_waits_until_its_client_is_done() {
    isolated(|| {
        let mut asked = Asked::with("600000").expect("answer");
        assert!(!asked.process.has_ended().expect("observe"), "it ended while its client was reading");
        asked.client.say(b"GET / HTTP/1.0\r\n\r\n");
        assert!(!asked.process.has_ended().expect("observe"), "it ended before its client did");
        let heard = asked.client.hear_to_end();
        assert!(is_whole(&heard), "{:?} after {} bytes", heard.ending, heard.bytes.len());
        assert!(asked.process.ends().expect("observe"), "it waits, though its client is gone");
    });
}

#[test]
fn by_default_an_exit_does_not_wait_for_ever() {
    isolated(|| {
        let asked = Asked::of(&Specimen::MicroHttpd.program()).expect("answer");
        assert!(asked.process.ends().expect("observe"), "a client that does not read keeps it");
        let heard = asked.client.hear_to_end();
        assert!(is_whole(&heard), "{:?} after {} bytes", heard.ending, heard.bytes.len());
    });
}

#[test]
fn an_exit_that_is_told_not_to_wait_does_not() {
    isolated(|| {
        let mut asked = Asked::with("0").expect("answer");
        assert!(asked.process.ends().expect("observe"), "it waits for its client");
        asked.client.say(b"GET / HTTP/1.0\r\n\r\n");
        let heard = asked.client.hear_to_end();
        assert!(!is_whole(&heard), "without waiting nobody was there to discard the second request");
    });
}
