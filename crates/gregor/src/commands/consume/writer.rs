//! Standard output, written by a thread of its own.
//!
//! Invariants: pieces are written whole and in order; there is one at most that was handed over and
//! is not written; whoever waits for it may stop waiting, and it is written all the same.

use std::io::{self, Write};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::failure::Failure;

/// See the module head.
pub struct Writer {
    pieces: Sender<Vec<u8>>,
    /// One outcome for each piece.
    written: Receiver<io::Result<()>>,
    busy: bool,
}

impl Writer {
    /// A thread that writes to `out`, and ends with this or with the first error.
    ///
    /// # Errors
    /// [`Failure::System`] if there is no thread to be had.
    pub fn new(mut out: impl Write + Send + 'static) -> Result<Self, Failure> {
        let (pieces, mut come) = channel::<Vec<u8>>(1);
        let (tell, written) = channel(1);
        let write = move || {
            while let Some(piece) = come.blocking_recv() {
                let outcome = out.write_all(&piece).and_then(|()| out.flush());
                let failed = outcome.is_err();
                if tell.blocking_send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        let what = || "starting a thread".to_owned();
        let spawned = std::thread::Builder::new().name("stdout".to_owned()).spawn(write);
        spawned.map_err(|source| Failure::System { what: what(), source })?;
        Ok(Self { pieces, written, busy: false })
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub async fn idle(&mut self) -> Result<(), Failure> {
        if !self.busy {
            return Ok(());
        }
        let outcome = self.written.recv().await.unwrap_or_else(|| Err(gone()));
        self.busy = false;
        outcome.map_err(Failure::Output)
    }

    /// Hands a piece over.
    ///
    /// # Errors
    /// [`Failure::Output`] if there was an error before.
    ///
    /// # Panics
    /// If one is under way.
    pub fn write(&mut self, piece: Vec<u8>) -> Result<(), Failure> {
        assert!(!self.busy, "one piece at a time");
        self.pieces.try_send(piece).map_err(|_| Failure::Output(gone()))?;
        self.busy = true;
        Ok(())
    }
}

/// The thread has ended, so what it wrote to is of no more use.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver as Taken, SyncSender, sync_channel};

    use super::*;

    /// Takes what is written when somebody takes it from the other side.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| gone())?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn with_pipe(check: impl AsyncFnOnce(Writer, Taken<Vec<u8>>)) {
        let (pipe, taken) = sync_channel(0);
        let writer = Writer::new(Pipe(pipe)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(writer, taken));
    }

    #[test]
    fn pieces_are_written_in_order_and_whoever_waits_may_stop_waiting() {
        with_pipe(async |mut writer, taken| {
            writer.idle().await.unwrap();
            writer.write(b"one".to_vec()).unwrap();
            tokio::select! {
                biased;
                _ = writer.idle() => panic!("nobody has taken it"),
                () = std::future::ready(()) => {},
            }
            assert_eq!(taken.recv().unwrap(), b"one");
            writer.idle().await.unwrap();
            writer.write(b"two".to_vec()).unwrap();
            assert_eq!(taken.recv().unwrap(), b"two");
            writer.idle().await.unwrap();
        });
    }

    #[test]
    fn an_error_is_told_once_the_piece_is_waited_for_and_again_later() {
        with_pipe(async |mut writer, taken| {
            drop(taken);
            writer.write(b"one".to_vec()).unwrap();
            let Err(Failure::Output(error)) = writer.idle().await else { panic!() };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            // The thread may still be about to end.
            let again = writer.write(b"two".to_vec());
            let again = if again.is_ok() { writer.idle().await } else { again };
            assert!(matches!(again, Err(Failure::Output(_))));
        });
    }
}
