//! Pipes of the kernel, through which a large body goes from socket to socket without its bytes ever coming into this process.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe is asked to hold. The kernel may grant less: 64 KiB, when this user's pipes hold much already (pipe(7)).
const ROOM: usize = 256 << 10;
/// Empty pipes that a thread keeps for the next body.
const SPARES: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe; an error when the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        if let Some(spare) = SPARE.with_borrow_mut(Vec::pop) {
            return Ok(spare);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // What it holds then is what it holds.
        fcntl_setpipe_size(&write, ROOM).ok();
        Ok(Self { read, write, held: 0 })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves at most so many bytes into an empty pipe without waiting; 0 is the end of what is read.
    pub fn fill(&mut self, from: impl AsFd, most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(ROOM).min(ROOM);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(from, None, &self.write, None, most, flags)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in it on, as far as that goes without waiting.
    pub fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(&self.read, None, to, None, self.held, flags)?;
        self.held = self.held.saturating_sub(moved);
        Ok(moved)
    }

    /// Keeps an empty pipe for the next body. One that holds something is closed: what is in it belongs to nobody else.
    pub fn give_back(self) {
        if self.is_empty() {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARES {
                    spare.push(self);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_only_an_empty_pipe_is_used_again() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        source.write_all(b"a body and what follows it").unwrap();
        let mut pipe = Pipe::new().unwrap();
        assert_eq!(pipe.fill(&from, 6).unwrap(), 6);
        assert_eq!(pipe.held, 6);
        assert_eq!(pipe.drain(&to).unwrap(), 6);
        assert!(pipe.is_empty());
        let mut got = [0; 6];
        sink.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"a body");
        pipe.fill(&from, 4).unwrap();
        pipe.give_back();
        assert!(Pipe::new().unwrap().is_empty(), "another body's bytes");
        drop(source);
        let mut pipe = Pipe::new().unwrap();
        while pipe.fill(&from, 100).unwrap() > 0 {}
    }
}
