//! The way of frames to one stream of a receiver. While its task has nothing to do,
//! the stream itself waits here, and whoever has a frame writes it at once; else
//! frames wait, and the task is woken for them. So no task runs for a frame that the
//! path takes, which is nearly every one.
//!
//! Order is kept by one rule: the stream is here only while no frame waits.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dt_forward_core::FrameBytes;
use dt_transport::SendStream;
use tokio::sync::Notify;

use crate::lock;

/// Why no more frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// All were given; they are to arrive.
    Finished,
    /// It is given up, with this code.
    Reset(u32),
}

/// Shared by the port that gives frames and the task of the stream.
#[derive(Default)]
pub(crate) struct Lane {
    state: Mutex<State>,
    /// There is something to do.
    filled: Notify,
    /// It was given up.
    given_up: Notify,
}

#[derive(Default)]
struct State {
    stream: Option<Arc<dyn Direct>>,
    /// What waits is bounded by the forwarder, which resets a stream that is late or
    /// holds too much.
    waiting: Vec<FrameBytes>,
    end: Option<LaneEnd>,
}

impl Lane {
    /// Takes a frame; `true` when the stream has it already. Else its task says so
    /// later. What comes behind the end is dropped.
    pub(crate) fn give(&self, frame: FrameBytes) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return false;
        }
        let left = match &state.stream {
            Some(stream) => stream.write(frame),
            None => Some(frame),
        };
        let Some(left) = left else {
            return true;
        };
        state.stream = None;
        state.waiting.push(left);
        drop(state);
        self.filled.notify_one();
        false
    }

    /// No more frames come. Of no effect behind another end.
    pub(crate) fn end(&self, end: LaneEnd) {
        lock(&self.state).end.get_or_insert(end);
        self.filled.notify_one();
        self.given_up.notify_one();
    }

    /// Takes all frames that wait. Until there are some, `stream` waits here, if there
    /// is one, and its owner must not touch it. The end comes behind the last frame,
    /// without any; that of a lane that is given up comes before them.
    pub(crate) async fn next(
        &self,
        stream: Option<&Arc<dyn Direct>>,
        frames: &mut Vec<FrameBytes>,
    ) -> Option<LaneEnd> {
        loop {
            {
                let mut state = lock(&self.state);
                state.stream = None;
                let given_up = matches!(state.end, Some(LaneEnd::Reset(_)));
                if !given_up && !state.waiting.is_empty() {
                    frames.append(&mut state.waiting);
                    return None;
                }
                if state.end.is_some() {
                    return state.end;
                }
                state.stream = stream.map(Arc::clone);
            }
            self.filled.notified().await;
        }
    }

    /// Waits until it is given up, for this code; for ever when it is finished.
    pub(crate) async fn reset(&self) -> u32 {
        loop {
            if let Some(LaneEnd::Reset(code)) = lock(&self.state).end {
                return code;
            }
            self.given_up.notified().await;
        }
    }
}

/// A stream that can be written to without waiting.
pub(crate) trait Direct: Send + Sync {
    /// Writes as much of the frame as goes; what is left of it.
    fn write(&self, frame: FrameBytes) -> Option<FrameBytes>;
}

/// A stream that its task uses, or a [`Lane`] while that has nothing to do.
pub(crate) struct Shared<W>(Mutex<Option<W>>);

impl<W: SendStream> Shared<W> {
    /// One that is with its task.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    /// For the task alone, as [`put`](Self::put) is.
    pub(crate) fn take(&self) -> Option<W> {
        lock(&self.0).take()
    }

    pub(crate) fn put(&self, stream: Option<W>) {
        *lock(&self.0) = stream;
    }
}

impl<W: SendStream> Direct for Shared<W> {
    fn write(&self, frame: FrameBytes) -> Option<FrameBytes> {
        let mut stream = lock(&self.0);
        let mut chunks: [Bytes; 2] = [frame.header, frame.payload];
        let whole = stream
            .as_mut()
            .is_some_and(|s| s.try_write_chunks(&mut chunks));
        let [header, payload] = chunks;
        (!whole).then_some(FrameBytes { header, payload })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use dt_transport::StreamError;
    use futures::FutureExt as _;

    use super::*;

    /// Takes so many bytes at once.
    struct Narrow {
        room: usize,
        got: Vec<u8>,
    }

    impl SendStream for Narrow {
        async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
            for chunk in chunks {
                self.got.extend_from_slice(chunk);
            }
            Ok(())
        }

        fn try_write_chunks(&mut self, chunks: &mut [Bytes]) -> bool {
            for chunk in chunks.iter_mut() {
                let taken = chunk.split_to(self.room.min(chunk.len()));
                self.room -= taken.len();
                self.got.extend_from_slice(&taken);
            }
            chunks.iter().all(Bytes::is_empty)
        }

        fn set_priority(&mut self, _: i32) {}

        fn finish(&mut self) -> Result<(), StreamError> {
            Ok(())
        }

        fn reset(&mut self, _: u32) {}
    }

    fn frame(mark: u8) -> FrameBytes {
        FrameBytes {
            header: vec![mark; 3].into(),
            payload: vec![mark; 7].into(),
        }
    }

    fn bytes(frames: &[FrameBytes]) -> Vec<u8> {
        let pieces = frames.iter().flat_map(|f| [&f.header[..], &f.payload]);
        pieces.flatten().copied().collect()
    }

    /// A lane whose task waits, with a stream that has room for so many bytes.
    fn parked(lane: &Lane, room: usize) -> (Arc<Shared<Narrow>>, Arc<dyn Direct>) {
        let shared = Shared::new();
        shared.put(Some(Narrow { room, got: vec![] }));
        let direct: Arc<dyn Direct> = Arc::clone(&shared) as _;
        let mut none = vec![];
        let waits = pin!(lane.next(Some(&direct), &mut none)).now_or_never();
        assert_eq!(waits, None);
        (shared, direct)
    }

    #[test]
    fn what_goes_is_written_at_once_and_what_does_not_waits_in_order() {
        let lane = Lane::default();
        assert!(!lane.give(frame(0)), "its task has not opened the stream");
        let mut taken = vec![];
        let next = lane.next(None, &mut taken).now_or_never();
        assert_eq!((next, bytes(&taken)), (Some(None), bytes(&[frame(0)])));

        let (shared, direct) = parked(&lane, 25);
        assert!(lane.give(frame(1)));
        assert!(lane.give(frame(2)));
        assert!(!lane.give(frame(3)), "half of it went");
        // Room or not: nothing overtakes what waits.
        shared.take().into_iter().for_each(|stream| {
            shared.put(Some(Narrow { room: 99, ..stream }));
        });
        assert!(!lane.give(frame(4)));
        lane.end(LaneEnd::Finished);
        assert!(!lane.give(frame(5)), "it came behind the end");

        let mut left = vec![];
        let next = lane.next(Some(&direct), &mut left).now_or_never();
        assert_eq!(next, Some(None));
        let mut all = shared.take().expect("nobody took it").got;
        all.extend(bytes(&left));
        let whole: Vec<_> = (1..=4).map(frame).collect();
        assert_eq!(all, bytes(&whole));
        let end = lane.next(Some(&direct), &mut left).now_or_never();
        assert_eq!(end, Some(Some(LaneEnd::Finished)));
    }

    #[test]
    fn who_gives_up_waits_for_no_frame() {
        let lane = Lane::default();
        assert!(!lane.give(frame(1)));
        lane.end(LaneEnd::Reset(7));
        lane.end(LaneEnd::Finished);
        let mut none = vec![];
        let end = lane.next(None, &mut none).now_or_never();
        assert_eq!((end, none.len()), (Some(Some(LaneEnd::Reset(7))), 0));
        assert_eq!(lane.reset().now_or_never(), Some(7));
    }
}
