//! The terminal while it shows a live view.
//!
//! **Promises:** whatever ends the view, the terminal is as it was before: also a signal, also while it is stopped.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{isatty, tcgetattr, tcgetwinsize, tcsetattr, LocalModes, OptionalActions, Termios};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level::{emulate_default_handler, pipe};

use super::table::{cut, Line};

/// The other screen, no cursor (xterm's control sequences, which every terminal of today has).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";
/// To the top left; the rest of the line, of the screen, is empty.
const TOP: &[u8] = b"\x1b[H";
const REST_OF_LINE: &[u8] = b"\x1b[K";
const REST_OF_SCREEN: &[u8] = b"\x1b[J";

/// The live view's.
pub struct Screen {
    /// How the keyboard was, where there is one.
    keyboard: Option<Termios>,
    ends: UnixStream,
    changes: UnixStream,
    stops: UnixStream,
}

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is time for the next look.
    Due,
    /// The view must be drawn again.
    Changed,
    /// Somebody wants to leave.
    Leave,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter() -> io::Result<Screen> {
        let ends = signals(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
        let changes = signals(&[SIGWINCH, SIGCONT])?;
        let stops = signals(&[SIGTSTP])?;
        let keyboard = if isatty(stdin()) { Some(tcgetattr(stdin())?) } else { None };
        let screen = Screen { keyboard, ends, changes, stops };
        screen.take()?;
        Ok(screen)
    }

    fn take(&self) -> io::Result<()> {
        if let Some(keyboard) = &self.keyboard {
            let mut immediate = keyboard.clone();
            // Keys at once and unseen; Ctrl-C and Ctrl-Z are signals as ever.
            immediate.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            tcsetattr(stdin(), OptionalActions::Flush, &immediate)?;
        }
        put(ENTER)
    }

    fn give_back(&self) {
        // What cannot be given back is gone: a terminal that was closed.
        let _ = put(LEAVE);
        if let Some(keyboard) = &self.keyboard {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, keyboard);
        }
    }

    /// Shows as many of the lines as there is room for.
    pub fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or((80, 24));
        let colours = anstream::AutoStream::choice(&io::stdout());
        let hidden = lines.len().saturating_sub(rows);
        let shown = if hidden > 0 { rows.saturating_sub(1) } else { lines.len() };
        let mut text = vec![TOP.to_vec()];
        for line in lines.iter().take(shown) {
            let mut drawn = anstream::AutoStream::new(Vec::new(), colours);
            for span in cut(line, columns) {
                write!(drawn, "{}{}{:#}", span.style, span.text, span.style)?;
            }
            text.extend([drawn.into_inner(), REST_OF_LINE.to_vec(), b"\r\n".to_vec()]);
        }
        if hidden > 0 {
            text.push(format!("... {} more lines", hidden + 1).into_bytes());
            text.push(REST_OF_LINE.to_vec());
        } else if shown == rows {
            // A newline in the last row would scroll the first one away.
            text.pop();
        }
        if shown < rows && hidden == 0 {
            text.push(REST_OF_SCREEN.to_vec());
        }
        put(&text.concat())
    }

    /// Waits for something to do, at most until then.
    pub fn wait(&mut self, until: Instant) -> io::Result<Event> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let ready = self.poll(left)?;
            if ready.ends || (ready.keyboard && self.wants_to_leave()?) {
                return Ok(Event::Leave);
            }
            if ready.stops {
                drain(&mut self.stops);
                self.give_back();
                emulate_default_handler(SIGTSTP)?;
                self.take()?;
                return Ok(Event::Changed);
            }
            if ready.changes {
                drain(&mut self.changes);
                return Ok(Event::Changed);
            }
            if Instant::now() >= until {
                return Ok(Event::Due);
            }
        }
    }

    fn poll(&self, left: Duration) -> io::Result<Ready> {
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let signals: [BorrowedFd<'_>; 3] = [self.ends.as_fd(), self.changes.as_fd(), self.stops.as_fd()];
        let mut fds: Vec<_> = signals.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let keyboard = stdin();
        if self.keyboard.is_some() {
            fds.push(PollFd::new(&keyboard, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { ends: ready(0), changes: ready(1), stops: ready(2), keyboard: ready(3) })
    }

    /// Whether a key says so, or there will be no more keys.
    fn wants_to_leave(&self) -> io::Result<bool> {
        let mut keys = [0; 64];
        match rustix::io::read(stdin(), &mut keys) {
            Ok(0) => Ok(true),
            // Ctrl-C comes as a byte where somebody has turned signals off.
            Ok(count) => Ok(keys.iter().take(count).any(|key| matches!(key, b'q' | b'Q' | 3))),
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            // The terminal is gone.
            Err(Errno::IO) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

struct Ready {
    ends: bool,
    changes: bool,
    stops: bool,
    keyboard: bool,
}

/// Readable once one of them has come.
fn signals(numbers: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for number in numbers {
        pipe::register(*number, writer.try_clone()?)?;
    }
    Ok(reader)
}

fn drain(signals: &mut UnixStream) {
    let mut bytes = [0; 64];
    while matches!(signals.read(&mut bytes), Ok(count) if count > 0) {}
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Columns and rows of the terminal, if stdout is one.
pub fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(stdout()).ok()?;
    // A terminal that does not know its size says 0.
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Whether a live view can be shown.
pub fn is_terminal() -> bool {
    isatty(stdout())
}
