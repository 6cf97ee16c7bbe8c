//! exim as a daemon that takes one client at a time.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

pub(super) fn exim(command: &mut Command, dir: &Path, address: SocketAddr) -> Result<()> {
    let file = dir.join("exim.conf");
    let spool = dir.display();
    let configuration = format!(
        "exim_user = root
exim_group = root
never_users =
spool_directory = {spool}
log_file_path = {spool}/exim-%s.log
primary_hostname = localhost
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 1
smtp_enforce_sync = false
acl_smtp_rcpt = deny
begin acl
deny:
  deny
"
    );
    fs::write(&file, configuration)?;
    let listener = format!("{}.{}", address.ip(), address.port());
    command.arg("-C").arg(file).args(["-bdf", "-oX", &listener, "-oP"]).arg(dir.join("exim.pid"));
    Ok(())
}
