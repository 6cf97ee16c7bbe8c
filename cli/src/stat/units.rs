//! Numbers and names as people read them.

use std::time::Duration;

/// `1,234`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// `512 B`, `1.5 KiB`, `12 MiB`: three digits at most, or four before the next unit.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut units = UNITS.into_iter().peekable();
    let mut unit = units.next().unwrap_or_default();
    // 1023.95 would be printed as 1024.
    while value >= 1023.5 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `0.4 s`, `12 s`, `3 m 05 s`, `2 h 07 m`, `9 d 03 h`
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, age.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How often a second; nothing for never.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => String::new(),
        rate if rate < 0.05 => "<0.1/s".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}/s"),
        rate => format!("{}/s", grouped(rate.round() as u64)),
    }
}

/// The same of bytes.
pub fn byte_rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => String::new(),
        rate => format!("{}/s", bytes(rate.ceil() as u64)),
    }
}

/// A name that a process gave itself: what would move the cursor or colour the terminal is written as an escape.
pub fn printable(name: &str) -> String {
    let direction =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::new();
    for c in name.chars() {
        if c.is_control() || direction(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_189, "10 KiB"),
            (10_240, "10 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_064, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0.0 s"),
            (449, "0.4 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 m 00 s"),
            (185_000, "3 m 05 s"),
            (3_600_000, "1 h 00 m"),
            (7_620_000, "2 h 07 m"),
            (86_400_000, "1 d 00 h"),
            (u64::MAX, "213503982334 d 14 h"),
        ] {
            assert_eq!(age(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn rates_say_nothing_where_nothing_happened() {
        for (per_second, text) in [
            (0.0, ""),
            (0.01, "<0.1/s"),
            (0.25, "0.2/s"),
            (5.0, "5.0/s"),
            (9.96, "10/s"),
            (1234.4, "1,234/s"),
        ] {
            assert_eq!(rate(per_second), text);
        }
        assert_eq!(
            (byte_rate(0.0), byte_rate(0.5), byte_rate(2048.0)),
            (String::new(), "1 B/s".into(), "2.0 KiB/s".into())
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("nginx: worker"), "nginx: worker");
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("\u{202e}gnp"), "\\u{202e}gnp");
        assert_eq!(printable("größe"), "größe");
    }
}
