//! What a server may do with its connections, and its peers with theirs: one batch, made of arbitrary bytes.

use arbitrary::{Arbitrary, Unstructured};

/// Indices are taken modulo what there is.
#[derive(Arbitrary, Clone, Debug)]
pub enum Operation {
    Accept,
    Dup { number: u8 },
    DupOver { from: u8, onto: u8 },
    Close { number: u8, way: Way },
    Shutdown { number: u8, how: How },
    Write { number: u8, bytes: u16, many: bool },
    Read { number: u8 },
    EpollCreate,
    EpollAdd { epoll: u8, number: u8 },
    EpollDel { epoll: u8, number: u8 },
    EpollWait { epoll: u8 },
    PeerSends { connection: u8, bytes: u16 },
    PeerEnds { connection: u8 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Way {
    Close,
    Syscall,
    CloseRange,
    Fclose,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum How {
    Read,
    Write,
    Both,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Ending {
    Exit,
    AbruptExit,
    QuickExit,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub ending: Ending,
    pub operations: Vec<Operation>,
}

/// Longer ones find nothing that shorter ones do not.
const MOST: usize = 40;

impl Batch {
    /// Batches that no kernel carries out well without the library: a harness that finds nothing wrong with them finds nothing
    /// at all.
    pub fn controls() -> Vec<Batch> {
        let answer = Operation::Write { number: 0, bytes: 1000, many: false };
        let close = Operation::Close { number: 0, way: Way::Close };
        let unread = Operation::PeerSends { connection: 0, bytes: 100 };
        let batch = |operations: &[Operation]| Batch {
            ending: Ending::Exit,
            operations: [&[Operation::Accept], operations].concat(),
        };
        vec![
            batch(&[unread.clone(), answer.clone(), close.clone()]),
            // What is sent late is answered with RST.
            batch(&[answer.clone(), close]),
            // Held until the process ends.
            batch(&[unread, answer]),
        ]
    }

    /// Any bytes are a batch; those that are missing are zeros.
    pub fn from_bytes(bytes: &[u8]) -> Batch {
        let mut source = Unstructured::new(bytes);
        let ending = source.arbitrary().unwrap_or(Ending::Exit);
        let mut operations = vec![Operation::Accept];
        while !source.is_empty() && operations.len() < MOST {
            match source.arbitrary() {
                Ok(operation) => operations.push(operation),
                Err(_) => break,
            }
        }
        Batch { ending, operations }
    }
}
