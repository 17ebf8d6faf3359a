//! Which encoding of each source a receiver gets, from what it shows and what
//! its path carries. Pure functions; [`receiver`](crate::receiver) keeps what
//! has to last.
//!
//! Sound is paid for before this is asked. Of the pictures everybody visible
//! first gets the smallest one, so that nobody is frozen for the sake of another
//! one's sharpness; what is left goes to screens, then to speakers, then to the
//! rest, a step each in turn.

use crate::{EncodingSpec, types::ENCODINGS_MAX};

/// An encoding is large enough for a tile when it has so much of its width.
const WIDTH_ENOUGH: f64 = 0.8;
/// A smaller one than the present one is taken when it has so much.
const WIDTH_ENOUGH_DOWN: f64 = 0.9;
/// Bits a second for each pixel of an encoding of which nothing is known: what
/// a camera's three encodings have.
const BPS_PER_PIXEL: f64 = 1.7;
/// The base layer's part of an encoding of which nothing came yet.
const BASE_SHARE: f64 = 0.65;
/// Key frames alone.
const KEYS_BPS: f64 = 20_000.0;

/// Who gets bandwidth first; sound goes before every class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Anybody.
    #[default]
    Other,
    /// Somebody who speaks.
    Speaker,
    /// A shared screen.
    Screen,
}

/// How much of an encoding a receiver gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Key frames only: the last resort where even its base layer is too much.
    Keys,
    /// What can't be left out: the base layer.
    Base,
    /// All of it.
    #[default]
    Full,
}

/// What an encoding takes, in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) full_bps: f64,
    pub(crate) base_bps: f64,
}

impl Cost {
    pub(crate) fn of(self, detail: Detail) -> f64 {
        match detail {
            Detail::Keys => KEYS_BPS.min(self.base_bps),
            Detail::Base => self.base_bps,
            Detail::Full => self.full_bps,
        }
    }

    /// What an encoding takes of which nothing was measured.
    pub(crate) fn expected(spec: &EncodingSpec) -> Self {
        let pixels = f64::from(spec.width) * f64::from(spec.height);
        let full_bps = match spec.max_bitrate_bps {
            0 if pixels > 0.0 => pixels * BPS_PER_PIXEL,
            0 => 500_000.0,
            bps => f64::from(bps),
        };
        Self {
            full_bps,
            base_bps: full_bps * BASE_SHARE,
        }
    }
}

/// A video slot that is to be filled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) class: Class,
    /// The best encoding that it makes use of.
    pub(crate) useful: u8,
    /// Of the encodings up to that one.
    pub(crate) costs: Vec<Cost>,
    /// No more detail than this.
    pub(crate) detail: Detail,
    /// What the smallest takes if its sender is not limited.
    pub(crate) published_bps: f64,
}

/// What a slot gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    pub(crate) encoding: u8,
    pub(crate) detail: Detail,
}

impl Ask {
    pub(crate) fn cost(&self, share: Share) -> f64 {
        self.costs
            .get(usize::from(share.encoding))
            .map_or(0.0, |cost| cost.of(share.detail))
    }

    /// The best that it makes use of.
    pub(crate) fn best(&self) -> Share {
        Share {
            encoding: self.useful,
            detail: self.detail,
        }
    }

    /// The next better one, if there is one of use.
    fn above(&self, share: Share) -> Option<Share> {
        if share.detail < self.detail {
            let detail = self.detail;
            return Some(Share { detail, ..share });
        }
        (share.encoding < self.useful).then(|| Share {
            encoding: share.encoding + 1,
            detail: self.detail,
        })
    }
}

/// What is shared out, in the order of the asks.
#[derive(Debug)]
pub(crate) struct Shares {
    pub(crate) slots: Vec<Share>,
    /// All of them together.
    pub(crate) total_bps: f64,
    /// What the first better picture in the order of classes takes beyond that.
    pub(crate) next_step_bps: Option<f64>,
}

/// Shares a budget out.
pub(crate) fn share(asks: &[Ask], budget_bps: f64) -> Shares {
    let mut order: Vec<usize> = (0..asks.len()).collect();
    // Stable: the order of the receiver's slots among equals.
    order.sort_by_key(|place| std::cmp::Reverse(asks[*place].class));
    let mut left = budget_bps;
    let mut slots: Vec<Share> = asks
        .iter()
        .map(|_| Share {
            encoding: 0,
            detail: Detail::Keys,
        })
        .collect();
    let mut next_step = None;
    for place in &order {
        let ask = &asks[*place];
        let fitting = [Detail::Full, Detail::Base]
            .into_iter()
            .filter(|detail| *detail <= ask.detail)
            .map(|detail| Share {
                encoding: 0,
                detail,
            })
            .find(|share| ask.cost(*share) <= left);
        if let Some(share) = fitting {
            slots[*place] = share;
        }
        left -= ask.cost(slots[*place]);
    }
    for class in [Class::Screen, Class::Speaker, Class::Other] {
        let of_class: Vec<usize> = order
            .iter()
            .copied()
            .filter(|place| asks[*place].class == class)
            .collect();
        let mut improved = true;
        while improved {
            improved = false;
            for place in &of_class {
                let ask = &asks[*place];
                let Some(better) = ask.above(slots[*place]) else {
                    continue;
                };
                let step = (ask.cost(better) - ask.cost(slots[*place])).max(0.0);
                if step <= left {
                    left -= step;
                    slots[*place] = better;
                    improved = true;
                } else if next_step.is_none_or(|least| step < least) {
                    next_step = Some(step);
                }
            }
        }
    }
    let costs = asks.iter().zip(&slots).map(|(ask, slot)| ask.cost(*slot));
    Shares {
        total_bps: costs.sum(),
        slots,
        next_step_bps: next_step,
    }
}

/// The smallest of a stream's encodings that is not smaller than a tile, or the
/// largest. `now`: the one that it has. Where sizes are not known it is the
/// largest.
pub(crate) fn useful(
    encodings: &[EncodingSpec],
    tile: (u32, u32),
    now: Option<u8>,
    limit_bps: Option<f64>,
) -> u8 {
    let last = encodings.len().clamp(1, ENCODINGS_MAX) - 1;
    let enough = |spec: &EncodingSpec, share: f64| {
        if spec.width == 0 || spec.height == 0 {
            return false;
        }
        let (width, height) = (f64::from(spec.width), f64::from(spec.height));
        // It is shown whole.
        let shown = f64::from(tile.0).min(f64::from(tile.1) * width / height);
        width >= share * shown
    };
    let first = |share| encodings.iter().position(|spec| enough(spec, share));
    let mut place = first(WIDTH_ENOUGH).unwrap_or(last);
    if now.is_some_and(|now| usize::from(now) > place) {
        let now = usize::from(now.unwrap_or(0)).min(last);
        place = first(WIDTH_ENOUGH_DOWN).unwrap_or(last).min(now);
    }
    if let Some(limit) = limit_bps {
        let fits = |spec: &EncodingSpec| Cost::expected(spec).full_bps <= limit;
        while place > 0 && !fits(&encodings[place]) {
            place -= 1;
        }
    }
    #[allow(clippy::cast_possible_truncation)] // at most 16
    let place = place as u8;
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: [EncodingSpec; 3] = [
        EncodingSpec::new(320, 180, 100_000),
        EncodingSpec::new(640, 360, 400_000),
        EncodingSpec::new(1280, 720, 1_500_000),
    ];

    fn ask(class: Class, encodings: &[EncodingSpec]) -> Ask {
        Ask {
            class,
            useful: u8::try_from(encodings.len() - 1).unwrap(),
            costs: encodings.iter().map(Cost::expected).collect(),
            detail: Detail::Full,
            published_bps: 0.0,
        }
    }

    fn encodings(shares: &Shares) -> Vec<(u8, Detail)> {
        shares
            .slots
            .iter()
            .map(|s| (s.encoding, s.detail))
            .collect()
    }

    #[test]
    fn the_smallest_encoding_that_fills_a_tile_is_useful() {
        for (tile, expected) in [
            ((160, 90), 0),
            ((320, 180), 0),
            ((400, 225), 0),
            ((480, 270), 1),
            ((640, 360), 1),
            ((1000, 560), 2),
            ((3840, 2160), 2),
            // Shown whole, a tall tile is filled by its width.
            ((320, 1000), 0),
        ] {
            assert_eq!(useful(&CAMERA, tile, None, None), expected, "{tile:?}");
        }
        assert_eq!(useful(&CAMERA, (3840, 2160), None, Some(500_000.0)), 1);
        assert_eq!(useful(&CAMERA, (3840, 2160), None, Some(50_000.0)), 0);
        let unknown = [EncodingSpec::default(); 3];
        assert_eq!(useful(&unknown, (10, 10), None, None), 2);
    }

    #[test]
    fn a_tile_about_the_size_of_an_encoding_does_not_change_it_back_and_forth() {
        let mut now = None;
        let mut changes = 0;
        for n in 0..100 {
            let width = if n % 2 == 0 { 399 } else { 401 };
            let next = useful(&CAMERA, (width, width * 9 / 16), now, None);
            changes += u32::from(now.is_some_and(|now| now != next));
            now = Some(next);
        }
        assert!(changes <= 1, "{changes}");
    }

    #[test]
    fn everybody_has_a_picture_before_anybody_has_a_sharper_one() {
        let asks = [
            ask(Class::Other, &CAMERA),
            ask(Class::Speaker, &CAMERA),
            ask(Class::Other, &CAMERA),
        ];
        let full = Detail::Full;
        let of = |budget| encodings(&share(&asks, budget));
        assert_eq!(of(300_000.0), [(0, full), (0, full), (0, full)]);
        assert_eq!(of(600_000.0), [(0, full), (1, full), (0, full)]);
        assert_eq!(of(1_700_000.0), [(0, full), (2, full), (0, full)]);
        assert_eq!(of(2_300_000.0), [(1, full), (2, full), (1, full)]);
        assert_eq!(of(f64::INFINITY), [(2, full), (2, full), (2, full)]);
    }

    #[test]
    fn where_there_is_little_layers_are_left_out_in_the_order_of_classes() {
        let asks = [
            ask(Class::Other, &CAMERA),
            ask(Class::Screen, &[EncodingSpec::new(1920, 1080, 200_000)]),
        ];
        let of = |budget| encodings(&share(&asks, budget));
        assert_eq!(of(270_000.0), [(0, Detail::Base), (0, Detail::Full)]);
        assert_eq!(of(220_000.0), [(0, Detail::Keys), (0, Detail::Full)]);
        assert_eq!(of(150_000.0), [(0, Detail::Keys), (0, Detail::Base)]);
        assert_eq!(of(0.0), [(0, Detail::Keys), (0, Detail::Keys)]);
    }

    #[test]
    fn what_is_shared_out_is_no_more_than_there_is_and_the_next_step_is_not_in_it() {
        let asks = [ask(Class::Other, &CAMERA), ask(Class::Speaker, &CAMERA)];
        for budget in (200_000..3_000_000).step_by(10_000) {
            let budget = f64::from(budget);
            let shares = share(&asks, budget);
            assert!(shares.total_bps <= budget);
            match shares.next_step_bps {
                Some(step) => assert!(shares.total_bps + step > budget),
                None => assert!(shares.slots.iter().all(|slot| slot.encoding == 2)),
            }
        }
    }
}
