//! Where one WebSocket frame ends and the next begins, in bytes that pass through untouched (RFC 6455 section 5.2).
//! Needed for one thing: a close frame of ours may only be put between two frames of the app's.

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    /// The bytes of an unfinished frame header.
    header: [u8; 14],
    have: usize,
    payload_left: u64,
}

impl FrameTracker {
    /// Whether the bytes seen so far end exactly between two frames.
    pub(super) fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload_left == 0
    }

    /// How many of the first bytes of `bytes` belong to the frame that is under way.
    pub(super) fn rest_of_frame(&self, bytes: &[u8]) -> usize {
        let mut probe =
            Self { header: self.header, have: self.have, payload_left: self.payload_left };
        for (taken, byte) in bytes.iter().enumerate() {
            if probe.at_boundary() {
                return taken;
            }
            probe.advance(std::slice::from_ref(byte));
        }
        bytes.len()
    }

    /// Follows bytes that were passed on.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let passed = self.payload_left.min(length);
                self.payload_left -= passed;
                bytes =
                    bytes.get(usize::try_from(passed).unwrap_or(usize::MAX)..).unwrap_or_default();
                continue;
            }
            let [byte, rest @ ..] = bytes else { return };
            bytes = rest;
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *byte;
                self.have += 1;
            }
            if let Some(length) = self.payload_length() {
                self.have = 0;
                self.payload_left = length;
            }
        }
    }

    /// The payload's length, once the header is complete.
    fn payload_length(&self) -> Option<u64> {
        let second = *self.header.get(1).filter(|_| self.have >= 2)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (extended, length) = match second & 0x7f {
            126 => (2, self.number(2)),
            127 => (8, self.number(8)),
            short => (0, u64::from(short)),
        };
        (self.have == 2 + extended + mask).then_some(length)
    }

    fn number(&self, bytes: usize) -> u64 {
        let bytes = self.header.get(2..2 + bytes).unwrap_or_default();
        bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(masked: bool, length: usize) -> Vec<u8> {
        let mut out = vec![0x82];
        let bit = if masked { 0x80 } else { 0 };
        match length {
            0..=125 => out.push(bit | u8::try_from(length).unwrap()),
            126..=65535 => {
                out.push(bit | 0x7e);
                out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                out.push(bit | 0x7f);
                out.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        if masked {
            out.extend_from_slice(&[1, 2, 3, 4]);
        }
        out.resize(out.len() + length, 0xff);
        out
    }

    #[test]
    fn boundaries_are_found_whatever_the_lengths_and_wherever_reads_are_cut() {
        let frames: Vec<Vec<u8>> = [0, 1, 125, 126, 127, 65535, 65536, 3]
            .into_iter()
            .flat_map(|length| [frame(true, length), frame(false, length)])
            .collect();
        let bytes: Vec<u8> = frames.concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |at, frame| {
                *at += frame.len();
                Some(*at)
            })
            .collect();
        for step in [1, 2, 3, 1000, 70_000, bytes.len()] {
            let mut tracker = FrameTracker::default();
            let mut at = 0;
            for piece in bytes.chunks(step) {
                tracker.advance(piece);
                at += piece.len();
                assert_eq!(tracker.at_boundary(), ends.contains(&at), "step {step}, at {at}");
            }
        }
    }

    #[test]
    fn the_rest_of_a_frame_ends_at_its_boundary() {
        let bytes = [frame(false, 10), frame(false, 5)].concat();
        let mut tracker = FrameTracker::default();
        tracker.advance(&bytes[..4]);
        assert_eq!(tracker.rest_of_frame(&bytes[4..]), 12 - 4);
        assert_eq!(FrameTracker::default().rest_of_frame(&bytes), 0);
    }
}
