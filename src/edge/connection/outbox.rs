//! Bytes waiting to be written: small pieces copied together, large ones kept as they are.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Pieces below this are copied together rather than sent as a slice of their own.
const COPY_BELOW: usize = 2048;
/// Slices handed to one `writev`.
pub(super) const MAX_SLICES: usize = 16;
/// The smallest and the largest buffer worth keeping for the next response, and how many of them a thread keeps.
const WORTH: usize = 256;
const SPARE: usize = 16 << 10;
const SPARES: usize = 16;

thread_local! {
    /// Buffers of queues that have been written: the next ones begin with them, still warm and large enough.
    static SPARE_TAILS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Bytes waiting to be written, small pieces copied together and large ones kept as they are.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Outbox {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Gives back the memory of an empty queue.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Lets a writer append to the tail.
    pub fn write_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let tail = self.tail();
        let before = tail.len();
        write(tail);
        let added = tail.len() - before;
        self.length += added;
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < COPY_BELOW {
            self.tail().extend_from_slice(&piece);
            return;
        }
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
        self.queue.push_back(piece);
    }

    fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0
            && let Some(spare) = SPARE_TAILS.with_borrow_mut(Vec::pop)
        {
            self.tail = spare;
        }
        &mut self.tail
    }

    pub(super) fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let pieces = self.queue.iter().map(|piece| &piece[..]);
        let all = pieces.chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        let mut count = 0;
        for (slot, piece) in into.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    pub(super) fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
        if written >= self.tail.len() {
            self.give_back();
        } else {
            self.tail.advance(written);
        }
    }

    /// Everything has been written: an idle connection holds no buffer.
    fn give_back(&mut self) {
        let mut tail = std::mem::take(&mut self.tail);
        tail.clear();
        if (WORTH..=SPARE).contains(&tail.capacity()) {
            SPARE_TAILS.with_borrow_mut(|spares| {
                if spares.len() < SPARES {
                    spares.push(tail);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            let n = step.min(all.len());
            out.extend_from_slice(&all[..n]);
            outbox.advance(n);
        }
        out
    }

    #[test]
    fn pieces_leave_in_order_whatever_their_size_and_however_little_is_written() {
        for step in [1, 7, 2048, 5000, 1 << 20] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (i, len) in [10, 3000, 0, 5, 2048, 2047, 1, 9000].into_iter().enumerate() {
                let piece = vec![u8::try_from(i).unwrap(); len];
                expected.extend_from_slice(&piece);
                if i % 3 == 0 {
                    outbox.write_with(|tail| tail.extend_from_slice(&piece));
                } else {
                    outbox.push(Bytes::from(piece));
                }
            }
            assert_eq!(outbox.len(), expected.len());
            assert_eq!(drained(&mut outbox, step), expected, "step {step}");
        }
    }
}
