//! Input that wants to hurt: never a panic, never more than 64 KiB allocated for one message.

use bgpd::wire::{Context, Framer, Message};

use crate::samples::{EXTERNAL, INTERNAL, TWO_OCTET, hex, message, seeds, update};

const LIMIT: u64 = 64 * 1024;
const CONTEXTS: [Context; 3] = [EXTERNAL, INTERNAL, TWO_OCTET];

/// A message through framer and decoder, everything in it looked at; answers the bytes allocated in all.
fn digest(bytes: &[u8], context: &Context) -> u64 {
    let mut framer = Framer::default();
    framer.push(bytes);
    let allocated = allocation_counter::measure(|| {
        while let Some(frame) = framer.next_frame() {
            let Ok(frame) = frame else { break };
            if let Ok(Message::Update(update)) = Message::decode(frame, context) {
                let seen = &update.attributes;
                let items = update.withdrawn.iter().count()
                    + update.announced.iter().count()
                    + seen.as_path.map_or(0, |path| path.asns().count())
                    + seen.communities.iter().count()
                    + seen.mp_reach.map_or(0, |reach| reach.prefixes.iter().count())
                    + seen.mp_unreach.map_or(0, |prefixes| prefixes.iter().count())
                    + seen.unknown().count();
                assert!(items <= 3 * 4096);
            }
        }
    });
    allocated.bytes_total
}

/// SplitMix64: the same mutations in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// Flips, cuts, doubles and overwrites; the header's length mostly stays right, so that the damage gets through.
fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)],
            2 => bytes[at] = dice.roll(256) as u8,
            3 => drop(bytes.drain(at..(at + 1 + dice.roll(8)).min(bytes.len()))),
            4 => {
                let end = (at + 1 + dice.roll(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => drop(bytes.splice(at..at, std::iter::repeat_n(dice.roll(256) as u8, dice.roll(20)))),
        }
        if bytes.is_empty() {
            bytes.push(0xff);
        }
    }
    if dice.roll(8) != 0 && bytes.len() >= 19 {
        bytes.truncate(4096);
        bytes[..16].fill(0xff);
        let length = (bytes.len() as u16).to_be_bytes();
        bytes[16..18].copy_from_slice(&length);
    }
    bytes
}

#[test]
fn mutations() {
    let seeds = seeds();
    let mut dice = Dice(20);
    let mut most = 0;
    for round in 0..150_000 {
        let bytes = mutate(&seeds[round % seeds.len()], &mut dice);
        most = most.max(digest(&bytes, &CONTEXTS[round % 3]));
    }
    assert!(most <= LIMIT, "{most} bytes for one message");
}

#[test]
fn every_length_of_every_seed() {
    for seed in seeds() {
        for length in 0..seed.len() {
            let mut bytes = seed[..length].to_vec();
            digest(&bytes, &EXTERNAL);
            if length >= 19 {
                bytes[16..18].copy_from_slice(&(length as u16).to_be_bytes());
                digest(&bytes, &EXTERNAL);
            }
        }
    }
}

#[test]
fn every_byte_of_every_short_seed() {
    for seed in seeds().into_iter().filter(|seed| seed.len() < 300) {
        for at in 0..seed.len() {
            for value in 0..=255 {
                let mut bytes = seed.clone();
                bytes[at] = value;
                digest(&bytes, &EXTERNAL);
            }
        }
    }
}

/// The messages that would cost most if each of their items became a value of ours.
#[test]
fn the_most_expensive_messages() {
    let room = 4096 - 23;
    let capabilities = |parameters: Vec<u8>| {
        let length = (parameters.len() as u16).to_be_bytes();
        message(1, &[&hex("04 fc00 005a 0a000002 ff ff")[..], &length, &parameters].concat())
    };
    let parameter = |value: Vec<u8>| [&[2][..], &(value.len() as u16).to_be_bytes(), &value].concat();
    let restart = [&hex("40fe 800f")[..], &[0, 1, 1, 0].repeat(63)].concat();
    let expensive = [
        update(&vec![0; room], &[], &[]),
        update(&[], &[], &vec![0; room]),
        update(
            &[],
            &[&[0x90, 15][..], &((room - 4) as u16).to_be_bytes(), &[0, 2, 1], &vec![0; room - 7]].concat(),
            &[],
        ),
        update(&[], &[0xe0, 240, 0].repeat(room / 3), &[]),
        update(
            &[],
            &(0..room / 3).flat_map(|code| [0xe0, (code % 200) as u8 + 40, 0]).collect::<Vec<_>>(),
            &[],
        ),
        message(3, &vec![6; 4096 - 19]),
        capabilities(parameter([200, 0].repeat(2000))),
        capabilities(parameter([200, 0].repeat(256))),
        capabilities(parameter([200, 1, 7].repeat(256))),
        capabilities(parameter(restart.repeat(15))),
    ];
    for bytes in expensive {
        assert!(bytes.len() <= 4096, "{}", bytes.len());
        for context in CONTEXTS {
            let allocated = digest(&bytes, &context);
            assert!(allocated <= LIMIT, "{allocated} bytes for {:02x?}…", &bytes[..40]);
        }
    }
}

/// The AS_PATH with one stray byte that makes another decoder allocate for ever.
#[test]
fn as_path_with_a_stray_byte() {
    let bytes = hex("ffffffffffffffffffffffffffffffff 0021 02 0000 000a 400207 0201 0000fde9 00");
    assert!(digest(&bytes, &EXTERNAL) < 1024);
    assert!(Message::decode(&bytes, &EXTERNAL).is_err(), "no route to treat as withdrawn: the session goes");
}

/// A stream without end costs no more than a chunk and a message, and so does one after an error.
#[test]
fn endless_stream() {
    let stream = update(&[], &[], &[]).repeat(16 * 1024);
    let mut framer = Framer::default();
    let mut frames = 0;
    let allocated = allocation_counter::measure(|| {
        for chunk in stream.chunks(16 * 1024) {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame() {
                frames += usize::from(frame.is_ok());
            }
        }
    });
    assert_eq!(frames, 16 * 1024);
    assert!(allocated.bytes_max <= LIMIT, "{} bytes held", allocated.bytes_max);

    let allocated = allocation_counter::measure(|| {
        for chunk in [0; 1 << 20].chunks(16 * 1024) {
            framer.push(chunk);
            assert!(framer.next_frame().is_some_and(|frame| frame.is_err()), "an error stays");
        }
    });
    assert!(allocated.bytes_max <= LIMIT, "{} bytes held after an error", allocated.bytes_max);
}
