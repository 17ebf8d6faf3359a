//! Reads the stream that a session was asked for on: capsules inside DATA frames
//! (RFC 9297 section 3.2), of which only the one that closes the session is wanted.
//!
//! Everything else is skipped without being kept, so that whatever a peer writes
//! here costs a kilobyte of memory. Our own reader, because the one of
//! `web-transport-proto` gathers without a bound behind a close capsule that is
//! too short.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The frame that carries capsules (RFC 9114 section 7.2.1).
const FRAME_DATA: u64 = 0;
/// `CLOSE_WEBTRANSPORT_SESSION` (draft-ietf-webtrans-http3 section 6).
const CLOSE_SESSION: u64 = 0x2843;
/// Bytes of a close reason at most (the same section).
pub(super) const REASON_BYTES_MAX: usize = 1024;
const CODE_BYTES: usize = 4;

/// Why the stream could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum CapsuleError {
    /// What was read is no capsule, or the stream ended in the middle of one.
    #[error("a malformed capsule")]
    Malformed,
    /// The stream was reset, or the connection is gone.
    #[error("the stream broke")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for CapsuleError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed,
            _ => Self::Broken(error),
        }
    }
}

/// The code and reason with which the peer closes the session, or `None` when it
/// ended the stream without a word.
///
/// # Errors
/// When the peer breaks the format, or the stream breaks.
pub(super) async fn until_close<R: AsyncRead + Unpin>(
    stream: R,
) -> Result<Option<(u32, String)>, CapsuleError> {
    let mut data = Data { stream, left: 0 };
    loop {
        let Some(kind) = data.varint().await? else {
            return Ok(None);
        };
        let length = data.varint().await?.ok_or(CapsuleError::Malformed)?;
        if kind != CLOSE_SESSION {
            data.skip(length).await?;
            continue;
        }
        let length = usize::try_from(length).map_err(|_| CapsuleError::Malformed)?;
        if !(CODE_BYTES..=CODE_BYTES + REASON_BYTES_MAX).contains(&length) {
            return Err(CapsuleError::Malformed);
        }
        let mut close = vec![0; length];
        data.read_exact(&mut close).await?;
        let (code, reason) = close
            .split_first_chunk::<CODE_BYTES>()
            .ok_or(CapsuleError::Malformed)?;
        let reason = std::str::from_utf8(reason).map_err(|_| CapsuleError::Malformed)?;
        return Ok(Some((u32::from_be_bytes(*code), reason.to_owned())));
    }
}

/// What the DATA frames of a stream hold; other frames are skipped.
struct Data<R> {
    stream: R,
    /// Bytes of the current frame that are still to come.
    left: u64,
}

impl<R: AsyncRead + Unpin> Data<R> {
    /// `false` at the end of the stream.
    async fn advance(&mut self) -> Result<bool, CapsuleError> {
        while self.left == 0 {
            let Some(kind) = varint(&mut self.stream).await? else {
                return Ok(false);
            };
            let length = varint(&mut self.stream).await?;
            let length = length.ok_or(CapsuleError::Malformed)?;
            if kind == FRAME_DATA {
                self.left = length;
            } else {
                skip(&mut self.stream, length).await?;
            }
        }
        Ok(true)
    }

    async fn read_exact(&mut self, mut into: &mut [u8]) -> Result<(), CapsuleError> {
        while !into.is_empty() {
            if !self.advance().await? {
                return Err(CapsuleError::Malformed);
            }
            let here = into
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, later) = into.split_at_mut(here);
            self.stream.read_exact(now).await?;
            self.left -= here as u64;
            into = later;
        }
        Ok(())
    }

    /// A variable-length integer, `None` at the end.
    async fn varint(&mut self) -> Result<Option<u64>, CapsuleError> {
        if !self.advance().await? {
            return Ok(None);
        }
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes[..1]).await?;
        let length = varint_bytes(bytes[0]);
        self.read_exact(&mut bytes[1..length]).await?;
        Ok(Some(varint_value(&bytes[..length])))
    }

    async fn skip(&mut self, mut bytes: u64) -> Result<(), CapsuleError> {
        while bytes > 0 {
            if !self.advance().await? {
                return Err(CapsuleError::Malformed);
            }
            let here = bytes.min(self.left);
            skip(&mut self.stream, here).await?;
            self.left -= here;
            bytes -= here;
        }
        Ok(())
    }
}

/// Bytes of a variable-length integer that begins with this one (RFC 9000
/// section 16).
const fn varint_bytes(first: u8) -> usize {
    1 << (first >> 6)
}

fn varint_value(bytes: &[u8]) -> u64 {
    let raw = bytes
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    // Without the two bits that say the length.
    raw & (u64::MAX >> (66 - 8 * bytes.len()))
}

/// The next integer of the stream itself, `None` at its end.
async fn varint<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<u64>, CapsuleError> {
    let mut bytes = [0; 8];
    if stream.read(&mut bytes[..1]).await? == 0 {
        return Ok(None);
    }
    let length = varint_bytes(bytes[0]);
    stream.read_exact(&mut bytes[1..length]).await?;
    Ok(Some(varint_value(&bytes[..length])))
}

async fn skip<R: AsyncRead + Unpin>(stream: &mut R, bytes: u64) -> Result<(), CapsuleError> {
    let mut skipped = stream.take(bytes);
    if tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await? < bytes {
        return Err(CapsuleError::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use web_transport_proto::VarInt;

    use super::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        VarInt::from_u64(value).unwrap().encode(&mut bytes);
        bytes
    }

    #[test]
    fn integers_of_every_length_are_read() {
        for value in [
            0,
            63,
            64,
            16383,
            16384,
            (1 << 30) - 1,
            1 << 30,
            (1 << 62) - 1,
        ] {
            let bytes = encoded(value);
            assert_eq!(varint_bytes(bytes[0]), bytes.len());
            assert_eq!(varint_value(&bytes), value);
        }
    }

    fn capsule(kind: u64, payload: &[u8]) -> Vec<u8> {
        let length = encoded(payload.len() as u64);
        [encoded(kind), length, payload.to_vec()].concat()
    }

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        capsule(kind, payload)
    }

    fn close(code: u32, reason: &[u8]) -> Vec<u8> {
        capsule(CLOSE_SESSION, &[&code.to_be_bytes()[..], reason].concat())
    }

    async fn read(bytes: &[u8]) -> Result<Option<(u32, String)>, CapsuleError> {
        until_close(bytes).await
    }

    #[tokio::test]
    async fn the_code_and_the_reason_are_found_however_the_capsule_is_cut_into_frames() {
        let wire = close(0xdead_beef, "größer".as_bytes());
        let expected = Some((0xdead_beef, "größer".to_owned()));
        assert_eq!(read(&frame(0, &wire)).await.unwrap(), expected);
        for pieces in 1..wire.len() {
            let cut: Vec<u8> = wire
                .chunks(pieces)
                .flat_map(|c| [frame(0, c), frame(0, b"")].concat())
                .collect();
            assert_eq!(read(&cut).await.unwrap(), expected, "{pieces}");
        }
    }

    #[tokio::test]
    async fn other_capsules_and_other_frames_are_skipped() {
        let junk = [
            frame(0x21, &[7; 5000]),
            frame(0, &capsule(0x17, &[1; 3000])),
            frame(0, &capsule(0x78ae, b"drain")),
            frame(1, b"trailers"),
            frame(0, &close(6, b"bye")),
        ];
        assert_eq!(read(&junk.concat()).await.unwrap(), Some((6, "bye".into())));
    }

    #[tokio::test]
    async fn a_stream_that_ends_between_capsules_ends_without_a_word() {
        assert_eq!(read(b"").await.unwrap(), None);
        assert_eq!(read(&frame(0, &capsule(0x17, b"x"))).await.unwrap(), None);
    }

    #[tokio::test]
    async fn malformed_close_capsules_and_cut_off_ones_are_errors() {
        let mut long = vec![0; 4];
        long.extend([b'x'; REASON_BYTES_MAX + 1]);
        for bytes in [
            frame(0, &capsule(CLOSE_SESSION, b"")),
            frame(0, &capsule(CLOSE_SESSION, b"abc")),
            frame(0, &capsule(CLOSE_SESSION, &long)),
            frame(0, &close(1, b"\xff\xfe")),
            frame(0, &close(1, b"cut")[..5]),
            frame(0, &close(1, b"cut"))[..5].to_vec(),
            vec![0xff],
            vec![0x00],
        ] {
            assert!(
                matches!(read(&bytes).await, Err(CapsuleError::Malformed)),
                "{bytes:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_short_close_capsule_is_refused_at_once_and_gathers_nothing() {
        let endless = tokio::io::repeat(0);
        let begin = frame(0, &capsule(CLOSE_SESSION, b""));
        let stream = AsyncReadExt::chain(&begin[..], endless);
        assert!(matches!(
            until_close(stream).await,
            Err(CapsuleError::Malformed)
        ));
    }
}
