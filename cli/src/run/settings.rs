//! What can be set on the command line, in people's units, and the variables of liblinger(7) that it becomes.

use std::time::Duration;

/// The longest time that the library takes, in milliseconds.
const LONGEST_MS: u128 = i32::MAX as u128;

/// How many connections the library lets linger at most.
const MOST: u32 = 1_000_000;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings (unset: as the environment says, else liblinger's defaults)")]
pub struct Settings {
    /// How long a connection lingers [LINGER_TIMEOUT_MS; 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<u32>,

    /// How long a silent client that has everything is waited for [LINGER_IDLE_MS; 5s]
    #[arg(long, value_name = "TIME", value_parser = idle_time)]
    idle: Option<u32>,

    /// How far --timeout is extended while the client still takes the response [LINGER_MAX_MS; 2m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_timeout: Option<u32>,

    /// How long the program's end may wait for its connections [LINGER_EXIT_MS; 2s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    exit_wait: Option<u32>,

    /// How much of one connection's input is discarded at most, 0: no limit [LINGER_MAX_BYTES; 0]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_bytes: Option<u64>,

    /// How many connections may linger at once, 0: none [LINGER_MAX; 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST)))]
    max: Option<u32>,

    /// Linger while the client may still send, or only with unread input at the close [LINGER_WHEN; open]
    #[arg(long, value_parser = ["open", "unread"])]
    when: Option<String>,

    /// Connections that were accepted, or those the program opened, too [LINGER_SIDE; server]
    #[arg(long, value_parser = ["server", "both"])]
    side: Option<String>,

    /// What liblinger says on stderr: nothing, a line at start, a line for each connection [LINGER_LOG; off]
    #[arg(long, value_name = "LEVEL", value_parser = ["off", "info", "debug"])]
    log: Option<String>,
}

impl Settings {
    /// Names and values of the variables to set; what was not given is not among them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        [
            ("LINGER_TIMEOUT_MS", number(self.timeout)),
            ("LINGER_IDLE_MS", number(self.idle)),
            ("LINGER_MAX_MS", number(self.max_timeout)),
            ("LINGER_EXIT_MS", number(self.exit_wait)),
            ("LINGER_MAX_BYTES", self.max_bytes.map(|value| value.to_string())),
            ("LINGER_MAX", number(self.max)),
            ("LINGER_WHEN", self.when.clone()),
            ("LINGER_SIDE", self.side.clone()),
            ("LINGER_LOG", self.log.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// A bare number is refused: the library counts milliseconds and people mean seconds.
fn time(text: &str) -> Result<u32, String> {
    if text != "0" && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("it has no unit: write {text}s for seconds or {text}ms for milliseconds"));
    }
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 500ms, 30s, 2m or 1m30s"))?;
    if time != Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)) {
        return Err("liblinger counts whole milliseconds".to_owned());
    }
    u32::try_from(time.as_millis().min(LONGEST_MS + 1))
        .ok()
        .filter(|milliseconds| u128::from(*milliseconds) <= LONGEST_MS)
        .ok_or_else(|| format!("24days is the longest that liblinger counts ({LONGEST_MS}ms)"))
}

fn idle_time(text: &str) -> Result<u32, String> {
    match time(text)? {
        0 => Err("it must be at least 1ms: with no idle time nothing would linger".to_owned()),
        milliseconds => Ok(milliseconds),
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_size::parse_size(text)
        .ok()
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "write it as 65536, 64KiB (65536) or 10MB (10000000)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("0", 0),
            ("0s", 0),
            ("2147483647ms", 2_147_483_647),
        ] {
            assert_eq!(time(text), Ok(milliseconds), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_what_may_be_meant() {
        let hint = time("30").expect_err("no unit");
        assert!(hint.contains("30s") && hint.contains("30ms"), "{hint}");
    }

    #[test]
    fn what_the_library_would_not_take_is_refused() {
        for text in ["", "s", "-1s", "2147483648ms", "1us", "1000years", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(idle_time("0s").is_err());
        assert!(idle_time("1ms").is_ok());
        for text in ["", "-1", "10 apples", "9223372036854775808"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_unless_they_say_ki() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("64k"), Ok(64_000));
        assert_eq!(size("0"), Ok(0));
    }

    #[test]
    fn what_is_not_given_is_not_set() {
        assert_eq!(Settings::default().variables(), []);
    }
}
