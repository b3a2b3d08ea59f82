//! Who has a port of this machine: for the error that says that it is taken.
//!
//! Only Linux tells without tools: `/proc/net/tcp` names the socket, `/proc/PID/fd` whose it is (of processes that this user may look
//! at). Elsewhere, and for other users' processes, the hint names the command that tells.

use std::path::Path;

/// The process that listens on a TCP port: `azmend (pid 3739)`.
#[must_use]
pub fn holder(port: u16) -> Option<String> {
    holder_in(Path::new("/proc"), port)
}

fn holder_in(proc: &Path, port: u16) -> Option<String> {
    let tables: Vec<String> =
        ["net/tcp", "net/tcp6"].iter().filter_map(|name| std::fs::read_to_string(proc.join(name)).ok()).collect();
    let lines = tables.iter().flat_map(|table| table.lines());
    let inodes: Vec<String> =
        lines.filter_map(|line| listening(line, port)).map(|inode| format!("socket:[{inode}]")).collect();
    if inodes.is_empty() {
        return None;
    }
    for process in std::fs::read_dir(proc).ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
        };
        if files.flatten().any(holds) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", crate::text::safe_short(name.trim(), 40)));
        }
    }
    None
}

/// The inode of a line of `/proc/net/tcp` (proc_pid_net(5)) that listens on the port.
fn listening(line: &str, port: u16) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (local, state, inode) = (words.nth(1)?, words.nth(1)?, words.nth(5)?);
    let here = local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
    (here == Some(port) && state == "0A").then_some(inode)
}

/// The command that tells whose port it is.
#[must_use]
pub fn command(port: u16) -> String {
    if cfg!(windows) {
        format!("Get-NetTCPConnection -LocalPort {port} -State Listen")
    } else if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_line_names_its_socket() {
        let line = "   0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 112233 1 0 100 0 0 10 0";
        assert_eq!(listening(line, 18080), Some("112233"));
        assert_eq!(listening(line, 18081), None);
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), 18080), None, "a connection, not a listener");
        assert_eq!(listening("  sl  local_address rem_address   st tx_queue", 18080), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_holder_of_a_port_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        assert!(holder(port).unwrap().ends_with(&format!("(pid {pid})")), "{:?}", holder(port));
        drop(listener);
        assert_eq!(holder(port), None);
    }
}
