//! `linger probe` within TLS, with a certificate that nobody has signed.

mod probing;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use linger_testbed::netns::isolated;
use probing::{probe, run, serve, Nginx};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn nginx(settings: &str) -> Nginx {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let settings = format!("ssl_certificate $DIR/cert.pem; ssl_certificate_key $DIR/key.pem; {settings}");
    Nginx::start("ssl", &settings, &[("cert.pem", &certificate), ("key.pem", &key)])
}

#[test]
fn a_lost_answer_is_lost_within_tls_too() {
    isolated(|| {
        let nginx = nginx("");
        let probed = probe(&[&nginx.url("https", 3_000_000), "--insecure", "--scenario", "late"]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert!(probed.scenario("late")["lost"].as_u64() > Some(0), "{probed:?}");
    });
}

#[test]
fn a_server_that_lingers_is_clean_within_tls() {
    isolated(|| {
        let nginx = nginx("lingering_close always; client_max_body_size 1m;");
        let probed = probe(&[&nginx.url("https", 3_000_000), "--insecure"]);
        probed.assert_clean();
        assert!(probed.scenario("polite")["results"][0]["close_notify"].is_boolean());
    });
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_unless_told_otherwise() {
    isolated(|| {
        let nginx = nginx("");
        let probed = probe(&[&nginx.url("https", 100)]);
        probed.assert_trouble("tls");
        assert!(probed.stderr.contains("--insecure"), "{probed:?}");
    });
}

#[test]
fn a_server_without_tls_is_told_apart() {
    isolated(|| {
        let plain = Nginx::start("", "", &[]);
        probe(&[&plain.address().to_string(), "--tls", "--insecure"]).assert_trouble("tls");
    });
}

/// Answers without a length; says goodbye in TLS, or just ends the connection.
fn serve_until_the_end(goodbye: bool) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("configuration");
    let config = Arc::new(config);
    serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("TLS");
        let mut stream = StreamOwned::new(connection, stream);
        // That the client goes away is its own affair.
        let _ = answer(&mut stream, goodbye);
    })
}

fn answer(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>, goodbye: bool) -> io::Result<()> {
    probing::read_head(&mut *stream);
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
    stream.write_all(&vec![b'x'; 200_000])?;
    if goodbye {
        stream.conn.send_close_notify();
    }
    stream.flush()?;
    stream.sock.shutdown(std::net::Shutdown::Write)?;
    // Everything is read before the close, so that no reset follows.
    io::copy(&mut stream.sock, &mut io::sink()).map(drop)
}

#[test]
fn an_end_without_a_close_notify_is_reported() {
    isolated(|| {
        for goodbye in [true, false] {
            let url = format!("https://{}/", serve_until_the_end(goodbye));
            let arguments = [&url, "--insecure", "--scenario", "late", "--repeat", "1"];
            let probed = probe(&arguments);
            probed.assert_clean();
            let result = &probed.scenario("late")["results"][0];
            assert_eq!(result["close_notify"], goodbye, "{probed:?}");
            assert_eq!(run(&arguments).stdout.contains("without a close_notify"), !goodbye);
        }
    });
}
