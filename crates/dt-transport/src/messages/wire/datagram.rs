//! The four kinds of datagrams: data, acknowledgement, forward, stop.

use std::{ops::Range, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Reader, VARINT_MAX, WireError, put_varint};

/// Ranges of one acknowledgement at most; more are left for the next.
pub const ACK_RANGES_MAX: usize = 64;
/// Bytes of a data datagram in front of its payload at most: tag, flags, id,
/// chunk, index, count, age and distance of the floor.
pub const DATA_OVERHEAD_BYTES_MAX: usize = 1 + 1 + 8 + 8 + 4 + 4 + 4 + 4;

const KIND: u8 = 0x03;
const KIND_DATA: u8 = 0;
const KIND_ACK: u8 = 1;
const KIND_FORWARD: u8 = 2;
const KIND_STOP: u8 = 3;
const FLAG_OPENER: u8 = 0x04;
const FLAG_FRAGMENT: u8 = 0x08;
const FLAG_FLOOR: u8 = 0x10;
const FLAG_AGE: u8 = 0x20;
const ATTEMPT_SHIFT: u8 = 6;

/// Delays of acknowledgements are told in units of 256 µs.
const DELAY_UNIT_MICROS: u64 = 256;

/// What a datagram says of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Which of the streams of whoever opened it.
    pub id: u32,
    /// Whether the one who sent this datagram opened the stream.
    pub by_opener: bool,
    /// What it says.
    pub body: Body,
}

/// The kinds of datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A message, or a part of one.
    Data(Data),
    /// What has arrived.
    Ack(Ack),
    /// Nothing below this chunk will be sent again.
    Forward {
        /// The first chunk that may still come.
        floor: u64,
    },
    /// The receiver is gone; nothing more is to be sent.
    Stop {
        /// Its reason.
        code: u32,
    },
}

/// A message that fits into a datagram, or one fragment of a longer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The fragments of all messages of a stream are counted through, from 0.
    pub chunk: u64,
    /// Which part of its message it is.
    pub fragment: Fragment,
    /// How often it was sent before, modulo 4.
    pub attempt: u8,
    /// How old the message was when this datagram left, in whole milliseconds.
    pub age: Duration,
    /// Nothing below this chunk will be sent again. At most `chunk`.
    pub floor: Option<u64>,
    /// The bytes.
    pub payload: Bytes,
}

/// Place of a fragment in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// From 0.
    pub index: u32,
    /// At least 1; 1 is a message in one piece.
    pub count: u32,
}

impl Fragment {
    /// A message in one piece.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// What has arrived of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// All chunks below have arrived or are not waited for.
    pub cumulative: u64,
    /// The chunk that arrived last.
    pub newest: u64,
    /// The attempt by which it arrived.
    pub attempt: u8,
    /// How long ago that was, in units of 256 µs.
    pub delay: Duration,
    /// Chunks that arrived more than once, so far.
    pub duplicates: u64,
    /// What has arrived above `cumulative`, ascending, with gaps between.
    pub ranges: Vec<Range<u64>>,
}

/// The datagram as bytes, with the tag byte in front.
#[must_use]
pub fn write_datagram(tag: u8, datagram: &Datagram) -> Bytes {
    let payload = match &datagram.body {
        Body::Data(data) => data.payload.len(),
        Body::Ack(ack) => 16 * ack.ranges.len(),
        Body::Forward { .. } | Body::Stop { .. } => 0,
    };
    let mut out = BytesMut::with_capacity(DATA_OVERHEAD_BYTES_MAX + payload);
    let opener = if datagram.by_opener { FLAG_OPENER } else { 0 };
    out.put_u8(tag);
    match &datagram.body {
        Body::Data(data) => put_data(&mut out, opener, datagram.id, data),
        Body::Ack(ack) => {
            out.put_u8(KIND_ACK | opener | (ack.attempt & 3) << ATTEMPT_SHIFT);
            put_varint(&mut out, u64::from(datagram.id));
            put_ack(&mut out, ack);
        }
        Body::Forward { floor } => {
            out.put_u8(KIND_FORWARD | opener);
            put_varint(&mut out, u64::from(datagram.id));
            put_varint(&mut out, *floor);
        }
        Body::Stop { code } => {
            out.put_u8(KIND_STOP | opener);
            put_varint(&mut out, u64::from(datagram.id));
            put_varint(&mut out, u64::from(*code));
        }
    }
    out.freeze()
}

fn put_data(out: &mut BytesMut, opener: u8, id: u32, data: &Data) {
    let fragmented = data.fragment.count > 1;
    let age = u64::try_from(data.age.as_millis()).unwrap_or(u64::MAX);
    let mut flags = KIND_DATA | opener | (data.attempt & 3) << ATTEMPT_SHIFT;
    for (set, flag) in [
        (fragmented, FLAG_FRAGMENT),
        (data.floor.is_some(), FLAG_FLOOR),
        (age > 0, FLAG_AGE),
    ] {
        if set {
            flags |= flag;
        }
    }
    out.put_u8(flags);
    put_varint(out, u64::from(id));
    put_varint(out, data.chunk);
    if fragmented {
        put_varint(out, u64::from(data.fragment.index));
        put_varint(out, u64::from(data.fragment.count));
    }
    if let Some(floor) = data.floor {
        put_varint(out, data.chunk.saturating_sub(floor));
    }
    if age > 0 {
        put_varint(out, age);
    }
    out.put_slice(&data.payload);
}

fn put_ack(out: &mut BytesMut, ack: &Ack) {
    put_varint(out, ack.cumulative);
    // The newest is near, above or below: its distance, with the sign last.
    let below = ack.newest < ack.cumulative;
    put_varint(
        out,
        ack.newest.abs_diff(ack.cumulative) << 1 | u64::from(below),
    );
    let micros = u64::try_from(ack.delay.as_micros()).unwrap_or(u64::MAX);
    put_varint(out, micros / DELAY_UNIT_MICROS);
    put_varint(out, ack.duplicates);
    let mut from = ack.cumulative;
    for range in ack.ranges.iter().take(ACK_RANGES_MAX) {
        put_varint(out, range.start.saturating_sub(from));
        put_varint(out, range.end.saturating_sub(range.start));
        from = range.end;
    }
}

/// Reads a datagram whose first byte is the tag; the tag itself is not looked
/// at.
///
/// # Errors
/// When it is none of this layer.
pub fn parse_datagram(datagram: &Bytes) -> Result<Datagram, WireError> {
    let mut reader = Reader::new(datagram);
    let [_tag, flags] = reader.take()?;
    let id = reader.varint_u32("stream id")?;
    let kind = flags & KIND;
    let allowed = match kind {
        KIND_DATA => 0xff,
        KIND_ACK => KIND | FLAG_OPENER | 3 << ATTEMPT_SHIFT,
        _ => KIND | FLAG_OPENER,
    };
    if flags & !allowed != 0 {
        return Err(WireError::Reserved);
    }
    let body = match kind {
        KIND_DATA => Body::Data(parse_data(flags, &mut reader, datagram)?),
        KIND_ACK => Body::Ack(parse_ack(flags, &mut reader)?),
        KIND_FORWARD => Body::Forward {
            floor: reader.varint()?,
        },
        _ => Body::Stop {
            code: reader.varint_u32("code")?,
        },
    };
    if kind != KIND_DATA && reader.remaining() > 0 {
        return Err(WireError::OutOfRange("datagram length"));
    }
    Ok(Datagram {
        id,
        by_opener: flags & FLAG_OPENER != 0,
        body,
    })
}

fn parse_data(flags: u8, reader: &mut Reader<'_>, datagram: &Bytes) -> Result<Data, WireError> {
    let chunk = reader.varint()?;
    let mut fragment = Fragment::WHOLE;
    if flags & FLAG_FRAGMENT != 0 {
        fragment.index = reader.varint_u32("fragment index")?;
        fragment.count = reader.varint_u32("fragment count")?;
        if fragment.count < 2
            || fragment.index >= fragment.count
            || u64::from(fragment.index) > chunk
        {
            return Err(WireError::OutOfRange("fragment"));
        }
    }
    let mut floor = None;
    if flags & FLAG_FLOOR != 0 {
        let distance = reader.varint()?;
        let at = chunk
            .checked_sub(distance)
            .ok_or(WireError::OutOfRange("floor"))?;
        floor = Some(at);
    }
    let mut age = Duration::ZERO;
    if flags & FLAG_AGE != 0 {
        age = Duration::from_millis(u64::from(reader.varint_u32("age")?));
    }
    let payload = datagram.slice(datagram.len() - reader.remaining()..);
    if payload.is_empty() && fragment.count > 1 {
        return Err(WireError::OutOfRange("fragment length"));
    }
    Ok(Data {
        chunk,
        fragment,
        attempt: flags >> ATTEMPT_SHIFT,
        age,
        floor,
        payload,
    })
}

fn parse_ack(flags: u8, reader: &mut Reader<'_>) -> Result<Ack, WireError> {
    let cumulative = reader.varint()?;
    let newest = reader.varint()?;
    let distance = newest >> 1;
    let newest = if newest & 1 == 0 {
        cumulative.checked_add(distance)
    } else {
        cumulative.checked_sub(distance)
    };
    let newest = newest
        .filter(|newest| *newest <= VARINT_MAX)
        .ok_or(WireError::OutOfRange("newest"))?;
    let units = u64::from(reader.varint_u32("delay")?);
    let duplicates = reader.varint()?;
    let mut ranges = Vec::new();
    let mut from = cumulative;
    while reader.remaining() > 0 {
        if ranges.len() == ACK_RANGES_MAX {
            return Err(WireError::OutOfRange("number of ranges"));
        }
        let (gap, length) = (reader.varint()?, reader.varint()?);
        // Two numbers of 62 bits on one of 62 bits do not overflow 64.
        let start = from + gap;
        let end = start + length;
        if gap == 0 || length == 0 || end > VARINT_MAX {
            return Err(WireError::OutOfRange("range"));
        }
        ranges.push(start..end);
        from = end;
    }
    Ok(Ack {
        cumulative,
        newest,
        attempt: flags >> ATTEMPT_SHIFT,
        delay: Duration::from_micros(units * DELAY_UNIT_MICROS),
        duplicates,
        ranges,
    })
}
