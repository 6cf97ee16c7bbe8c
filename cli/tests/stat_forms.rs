//! The forms in which `linger stat` tells: for people, for Prometheus, again and again.

mod stat_subjects;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use linger_testbed::netns::isolated;
use linger_testbed::server::Preload;
use serde_json::Value;
use stat_subjects::{busy, closer, linger, patient_closer, stat};

#[test]
fn a_table_for_people() {
    isolated(|| {
        let (_closer, pid, clients) = busy(2);
        let told = stat(&[&pid.to_string(), "--connections"]);
        told.assert_well();
        assert!(!told.stdout.contains('\u{1b}'), "colours where no terminal is: {told:?}");
        let lines: Vec<&str> = told.stdout.lines().collect();
        let cells = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let named = |name: &str| {
            let index = cells(lines[0]).iter().position(|one| one == name).expect(name);
            // The age and the bytes are two words.
            cells(lines[1])[index + if index > 3 { 1 } else { 0 }].clone()
        };
        assert_eq!((named("PID"), named("COMMAND")), (pid.to_string(), "call-latency".to_owned()));
        assert_eq!(
            (named("LINGERING"), named("LINGERED"), named("FIN")),
            ("2".into(), "3".into(), "1".into())
        );
        assert!(lines[1].contains("  4 B  "), "{told:?}");
        assert_eq!(lines[0].len(), lines[1].len(), "aligned");
        for client in &clients {
            let peer = client.local_addr().expect("address").to_string();
            assert_eq!(lines.iter().filter(|line| line.starts_with(&peer)).count(), 1, "{told:?}");
        }
    });
}

#[test]
fn without_a_pid_all_are_told_of_and_those_without_the_library_are_not() {
    isolated(|| {
        let (_busy, with, _clients) = busy(1);
        let (_quiet, quiet) = patient_closer();
        let (_other, without) = closer(Preload::None, &[]);
        let told = stat(&["--json"]);
        assert_eq!(told.code, 0, "{told:?}");
        let document = told.json();
        let states: HashMap<u64, String> = document["processes"]
            .as_array()
            .expect("processes")
            .iter()
            .map(|one| (one["pid"].as_u64().expect("pid"), one["state"].as_str().expect("state").to_owned()))
            .collect();
        let state = |pid: u32| states.get(&pid.into()).map(String::as_str);
        assert_eq!(state(with), Some("publishing"));
        assert_eq!(state(quiet), Some("nothing_lingered_yet"));
        assert_eq!(state(without), None);
    });
}

/// One sample: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// `name{label="value",...} number`
fn sample(line: &str) -> Sample {
    let (series, number) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closing brace")),
        None => (series, ""),
    };
    assert!(name.starts_with("linger_"), "{line}");
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
    let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once('=').expect("a label");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        assert!(!value.contains(['"', '\\']), "{line}");
        (label.to_owned(), value.to_owned())
    });
    (name.to_owned(), pairs.collect(), number.parse().expect("a number"))
}

/// Checks that it is the format, and gives the samples.
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut families) = (Vec::new(), HashSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help");
            assert!(help.ends_with('.') && families.insert(name.to_owned()), "{line}");
            (family, kind) = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, rest) = rest.split_once(' ').expect("a type");
            assert_eq!((name, kind.as_str()), (family.as_str(), ""), "HELP, then TYPE, then samples");
            assert_eq!(rest, if name.ends_with("_total") { "counter" } else { "gauge" }, "{line}");
            kind = rest.to_owned();
        } else {
            let sample = sample(line);
            assert_eq!(sample.0, family, "every sample is with its family");
            assert!(!kind.is_empty(), "{line}");
            samples.push(sample);
        }
    }
    let series: HashSet<_> = samples.iter().map(|(name, labels, _)| (name, labels)).collect();
    assert_eq!(series.len(), samples.len(), "every series once");
    samples
}

#[test]
fn prometheus_can_read_it() {
    isolated(|| {
        let (_closer, pid, mut clients) = busy(3);
        clients[0].write_all(b"late, too").expect("send");
        let seen = stat_subjects::look_until(pid, |seen| seen["lingering_discarded_bytes"] == 9);
        let told = stat(&["--prometheus"]);
        assert_eq!(told.code, 0, "{told:?}");
        let mut values = HashMap::new();
        for (name, labels, value) in parse(&told.stdout) {
            let mut labels: HashMap<_, _> = labels.into_iter().collect();
            if labels.remove("pid") == Some(pid.to_string()) {
                assert_eq!(labels.remove("comm").as_deref(), Some("call-latency"));
                let outcome = labels.remove("outcome").unwrap_or_default();
                assert!(labels.is_empty(), "{labels:?}");
                values.insert((name, outcome), value);
            }
        }
        let value = |name: &str, outcome: &str| values.get(&(name.to_owned(), outcome.to_owned())).copied();
        for (name, field) in [
            ("linger_connections", "lingering"),
            ("linger_connections_discarded_bytes", "lingering_discarded_bytes"),
            ("linger_drain_threads", "drain_threads"),
            ("linger_lingered_total", "lingered"),
            ("linger_discarded_bytes_total", "discarded_bytes"),
            ("linger_fallbacks_total", "fallbacks"),
            ("linger_shared_total", "shared"),
        ] {
            assert_eq!(value(name, ""), seen[field].as_f64(), "{name}");
        }
        for (outcome, number) in seen["outcomes"].as_object().expect("outcomes") {
            assert_eq!(value("linger_ended_total", outcome), number.as_f64(), "{outcome}");
        }
        assert!(value("linger_oldest_seconds", "") >= seen["oldest_ms"].as_f64().map(|ms| ms / 1000.0));
        assert_eq!(values.len(), 8 + 7);
    });
}

#[test]
fn nobody_needs_to_read_all_of_it() {
    isolated(|| {
        let (_closer, pid, _clients) = busy(1);
        for form in [&[][..], &["--json"], &["--prometheus"], &["--watch=0.1"], &["--watch=0.1", "--json"]] {
            let (reader, writer) = std::io::pipe().expect("pipe");
            drop(reader);
            let mut command = linger();
            command.arg(pid.to_string()).args(form).stdout(writer).stderr(Stdio::piped());
            let output = command.spawn().expect("start").wait_with_output().expect("wait");
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{form:?}");
        }
    });
}

#[test]
fn watching_elsewhere_than_on_a_terminal_tells_again_and_again_until_the_process_is_gone() {
    isolated(|| {
        let (closer, pid, clients) = busy(2);
        let watch = |form: &[&str]| {
            let mut command = linger();
            command.arg(pid.to_string()).arg("--watch=0.1").args(form);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start")
        };
        let (mut for_people, mut for_programs) = (watch(&[]), watch(&["--json"]));
        let mut documents = BufReader::new(for_programs.stdout.take().expect("stdout")).lines();
        let mut next = move || documents.next().map(|line| line.expect("a line"));
        let mut lingering = || -> Option<Value> {
            let document: Value = serde_json::from_str(&next()?).expect("a document");
            Some(document["processes"][0]["lingering"].clone())
        };
        assert_eq!((lingering(), lingering()), (Some(2.into()), Some(2.into())));
        let mut blocks =
            BufReader::new(for_people.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        assert!(blocks.any(|line| line.contains("each second")), "no rates");
        drop(clients);
        while lingering().expect("one more document") != 0 {}
        assert!(blocks.any(|line| line.contains("/s")), "no rate though two connections ended");
        drop(closer);
        while lingering().is_some() {}
        blocks.for_each(drop);
        for mut watch in [for_people, for_programs] {
            let mut said = String::new();
            watch.stderr.take().expect("stderr").read_to_string(&mut said).expect("UTF-8");
            assert_eq!(watch.wait().expect("wait").code(), Some(3), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    });
}
