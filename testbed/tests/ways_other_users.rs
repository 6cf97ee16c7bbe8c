//! A server of an ordinary user, which may not look into every process: those of others, in one session with it under a
//! supervisor or a terminal, and its own children once they have ended. None of them holds anything of it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use linger_testbed::client::Exchange;
use linger_testbed::netns::isolated;
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

fn forking_server_of_nobodys(address: SocketAddr, who: &str) -> Result<Command> {
    let mut command = Command::new(find_program("perl", "perl")?);
    // Not by its name: nobody may be unable to read it there.
    command.arg("-e").arg(include_str!("../servers/forking.pl"));
    command.args([&address.ip().to_string(), &address.port().to_string(), who]);
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
