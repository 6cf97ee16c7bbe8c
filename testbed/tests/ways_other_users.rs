//! Processes that may not look into others: a server of an ordinary user, beside those of others in its session (under a
//! supervisor, in a terminal) and its own children that have ended; and a child that gave up its privilege. Nobody holds
//! anything of theirs.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use linger_testbed::client::Exchange;
use linger_testbed::dialogue::Dialogue;
use linger_testbed::netns::isolated;
use linger_testbed::processes::Process;
use linger_testbed::proof;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::{find_program, Program, Recipe};

const NOBODY: u32 = 65534;

/// The parent answers when its child has ended: it may be the last to hold the connection, and has to look.
const FORKING: Recipe = Recipe {
    name: "a forking server of nobody's",
    prepare: |_, address| forking_server_of_nobodys(address, "parent"),
};

const SLOW_TO_REAP: Recipe = Recipe {
    name: "one that does not wait for its children at once",
    prepare: |_, address| forking_server_of_nobodys(address, "unreaped"),
};

/// Root's, with a child for each connection that becomes somebody else and closes it.
const GIVING_UP_PRIVILEGE: Recipe = Recipe {
    name: "a forking server whose children give up their privilege",
    prepare: |_, address| forking_server(address, "gives-up"),
};

const DEPARTING: Recipe = Recipe {
    name: "one whose children exit with the connection open",
    prepare: |_, address| forking_server(address, "departs"),
};

fn forking_server(address: SocketAddr, who: &str) -> Result<Command> {
    let mut command = Command::new(find_program("perl", "perl")?);
    // Not by its name: nobody may be unable to read it there.
    command.arg("-e").arg(include_str!("../servers/forking.pl"));
    command.args([&address.ip().to_string(), &address.port().to_string(), who]);
    Ok(command)
}

fn forking_server_of_nobodys(address: SocketAddr, who: &str) -> Result<Command> {
    let mut command = forking_server(address, who)?;
    command.uid(NOBODY).gid(NOBODY);
    Ok(command)
}

/// Younger than the server, as its children are.
struct Bystander(Child);

impl Bystander {
    fn start() -> Result<Self> {
        let child = Command::new("sleep").arg("60").spawn();
        Ok(Self(child.context("start a process of another user")?))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whose connection is answered by a child, too, for as long as ours is.
fn ask_late_beside_another_client(server: SocketAddr) -> Result<Exchange> {
    let mut other = Dialogue::open(server)?;
    other.say(b"GET ");
    Process::holding_alone("perl", server, other.local())?;
    let exchange = Scenario::Late.play(server);
    other.leave()?;
    exchange
}

fn ask_late_beside_another_user(server: SocketAddr) -> Result<Exchange> {
    let _bystander = Bystander::start()?;
    Scenario::Late.play(server)
}

#[test]
fn a_server_loses_its_answer_without_the_shim() {
    isolated(|| proof::late_requests_cost_the_answer_without_the_shim(&Program::Recipe(FORKING)));
}

#[test]
fn a_server_beside_another_user_loses_nothing_with_the_shim() {
    isolated(|| {
        proof::everything_arrives_with_the_shim(&Program::Recipe(FORKING), ask_late_beside_another_user)
    });
}

#[test]
fn a_server_slow_to_reap_loses_its_answer_without_the_shim() {
    isolated(|| proof::late_requests_cost_the_answer_without_the_shim(&Program::Recipe(SLOW_TO_REAP)));
}

#[test]
fn a_server_slow_to_reap_loses_nothing_with_the_shim() {
    isolated(|| {
        let play = |server| Scenario::Late.play(server);
        proof::everything_arrives_with_the_shim(&Program::Recipe(SLOW_TO_REAP), play);
    });
}

#[test]
fn a_child_without_privilege_loses_its_answer_without_the_shim() {
    isolated(|| proof::late_requests_cost_the_answer_without_the_shim(&Program::Recipe(GIVING_UP_PRIVILEGE)));
}

#[test]
fn a_child_without_privilege_loses_nothing_with_the_shim() {
    isolated(|| {
        let program = Program::Recipe(GIVING_UP_PRIVILEGE);
        proof::everything_arrives_with_the_shim(&program, ask_late_beside_another_client);
    });
}

#[test]
fn a_child_without_privilege_that_exits_loses_its_answer_without_the_shim() {
    isolated(|| proof::late_requests_cost_the_answer_without_the_shim(&Program::Recipe(DEPARTING)));
}

#[test]
fn a_child_without_privilege_that_exits_loses_nothing_with_the_shim() {
    isolated(|| {
        proof::everything_arrives_with_the_shim(&Program::Recipe(DEPARTING), ask_late_beside_another_client);
    });
}
