//! HAProxy: SHUT_WR and `close` at once, with the connection still in its epoll set.

use linger_testbed::netns::isolated;
use linger_testbed::proof::{clients_are_reset_without_the_shim, everything_arrives_with_the_shim};
use linger_testbed::scenario::Scenario;
use linger_testbed::specimens::Specimen;

linger_testbed::late_answers! {
    answering: Specimen::HaProxy,
}

#[test]
fn refused_uploads_cannot_be_sent_without_the_shim() {
    let play = |server| Scenario::Upload.play(server);
    isolated(move || clients_are_reset_without_the_shim(&Specimen::HaProxy.program(), play));
}

#[test]
fn refused_uploads_are_sent_and_their_413_arrives_with_the_shim() {
    let play = |server| Scenario::Upload.play(server);
    isolated(move || everything_arrives_with_the_shim(&Specimen::HaProxy.program(), play));
}
