//! What `linger stat` reads of another process's memory, which may be anything: no panic, and no number that the bytes do not
//! have.

use linger::drain::Record;
use linger::publication::{Published, MAGIC, READ_BYTES};

pub fn check(bytes: &[u8]) {
    if let Some(published) = Published::read(bytes) {
        assert!(bytes.len() >= READ_BYTES);
        assert_eq!(bytes[..8], MAGIC.to_ne_bytes());
        // Places that were used are places there are: the third number of the file.
        let places = u64::from_ne_bytes(bytes[16..24].try_into().expect("eight bytes"));
        assert!(published.used <= places);
    }
    // With the right beginning, so that half of the runs get past it.
    let mut marked = MAGIC.to_ne_bytes().to_vec();
    marked.extend_from_slice(bytes);
    assert_eq!(Published::read(&marked).is_some(), marked.len() >= READ_BYTES);
    if let Some(record) = Record::read(bytes) {
        assert_eq!(bytes[..8], record.discarded.to_ne_bytes());
    }
}
