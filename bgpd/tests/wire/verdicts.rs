//! RFC 7606: what each fault of each attribute does to its message.

use bgpd::wire::attribute::Handling;
use bgpd::wire::{Context, Message, Notification, Reason, Update, Verdict};

use crate::samples::{BASE, EXTERNAL, INTERNAL, TWO_OCTET, hex, update};

/// Decodes an UPDATE with these attributes and one classic prefix.
fn judge<R>(
    attributes: &str,
    context: &Context,
    look: impl FnOnce(Result<Update<'_>, Notification>) -> R,
) -> R {
    let bytes = update(&[], &hex(attributes), &hex("20 14141401"));
    look(Message::decode(&bytes, context).map(|message| match message {
        Message::Update(update) => update,
        other => panic!("{other:?}"),
    }))
}

fn fault(attributes: &str, context: &Context) -> (u8, Handling) {
    judge(attributes, context, |update| match update.unwrap().verdict {
        Verdict::Accept => panic!("accepted: {attributes}"),
        Verdict::AttributeDiscard(fault) | Verdict::TreatAsWithdraw(fault) => {
            (fault.attribute, fault.handling)
        }
    })
}

#[test]
fn base_is_accepted() {
    for context in [EXTERNAL, INTERNAL] {
        judge(BASE, &context, |update| assert_eq!(update.unwrap().verdict, Verdict::Accept));
    }
}

#[test]
fn treated_as_withdraw() {
    let rest = "4002060201 0000fc00 400304 0a000001";
    for (attributes, code) in [
        (format!("40010103 {rest}"), 1),
        (format!("4001020000 {rest}"), 1),
        (format!("400100 {rest}"), 1),
        (format!("c0010100 {rest}"), 1),
        ("40010100 400207 0201 0000fc00 00 400304 0a000001".to_owned(), 2),
        ("40010100 400202 0200 400304 0a000001".to_owned(), 2),
        ("40010100 400206 0501 0000fc00 400304 0a000001".to_owned(), 2),
        ("40010100 400206 0202 0000fc00 400304 0a000001".to_owned(), 2),
        ("40010100 4002060201 0000fc00 400303 0a0000".to_owned(), 3),
        ("40010100 4002060201 0000fc00 400310 20010db8000000000000000000000001".to_owned(), 3),
        (format!("{BASE} 800403 000007"), 4),
        (format!("{BASE} c00803 ffff00"), 8),
        (format!("{BASE} c00800"), 8),
        (format!("{BASE} 400804 ffff0000"), 8),
        (format!("{BASE} c01007 0002fc00000000"), 16),
        (format!("{BASE} c0200b 0000fc00 00000001 000000"), 32),
        // Missing mandatory attributes.
        ("4002060201 0000fc00 400304 0a000001".to_owned(), 1),
        ("40010100 400304 0a000001".to_owned(), 2),
        ("40010100 4002060201 0000fc00".to_owned(), 3),
        // The list itself: an attribute beyond its end, a header cut short.
        (format!("{BASE} c008ff 00"), 0),
        (format!("{BASE} c0"), 0),
        (format!("{BASE} d00800"), 0),
    ] {
        assert_eq!(fault(&attributes, &EXTERNAL), (code, Handling::TreatAsWithdraw), "{attributes}");
    }
    for (attributes, code) in [
        (format!("{BASE} 400503 000064"), 5),
        (format!("{BASE} 800903 0a0000"), 9),
        (format!("{BASE} 800a00"), 10),
    ] {
        assert_eq!(fault(&attributes, &INTERNAL), (code, Handling::TreatAsWithdraw), "{attributes}");
    }
}

#[test]
fn attribute_discarded() {
    for (attributes, code) in [
        (format!("{BASE} 40060100"), 6),
        (format!("{BASE} c00706 fc00 0a000001"), 7),
        // Not the neighbour's to say, whatever its length.
        (format!("{BASE} 400504 00000064"), 5),
        (format!("{BASE} 400503 000064"), 5),
        (format!("{BASE} 800904 0a000001"), 9),
        (format!("{BASE} 800a04 0a000001"), 10),
        // Between two speakers with four-octet ASNs (RFC 6793).
        (format!("{BASE} c01106 0201 0000fc00"), 17),
        (format!("{BASE} c01208 0000fc00 0a000001"), 18),
        // The second of two.
        (format!("{BASE} 800404 00000007 800404 00000008"), 4),
        (format!("{BASE} e0f001 01 e0f001 02"), 240),
    ] {
        assert_eq!(fault(&attributes, &EXTERNAL), (code, Handling::AttributeDiscard), "{attributes}");
    }
    let twice = format!("{BASE} 800404 00000007 800404 00000008");
    judge(&twice, &EXTERNAL, |update| assert_eq!(update.unwrap().attributes.med, Some(7)));
    let external = format!("{BASE} 400504 00000064");
    judge(&external, &EXTERNAL, |update| assert_eq!(update.unwrap().attributes.local_pref, None));
    let short = "40010100 4002040201 fc00 400304 0a000001 c01103 020100";
    assert_eq!(fault(short, &TWO_OCTET), (17, Handling::AttributeDiscard));
}

#[test]
fn the_gravest_fault_decides() {
    let both = format!("{BASE} 40060100 c00803 ffff00 c00706 fc000a000001");
    assert_eq!(fault(&both, &EXTERNAL), (8, Handling::TreatAsWithdraw));
}

#[test]
fn session_reset_says_which_attribute() {
    for (attributes, reason, data) in [
        // Unknown, yet well-known.
        (format!("{BASE} 406301 01"), Reason::UnrecognizedWellKnownAttribute, "406301 01"),
        // MP_REACH_NLRI: next hop of 5 octets, prefix of 129 bits, prefix beyond the end, no room for AFI and SAFI.
        (
            format!("800e0b 0002 01 05 0102030405 00 00 {BASE}"),
            Reason::OptionalAttributeError,
            "800e0b 0002 01 05 0102030405 00 00",
        ),
        (
            format!("800e16 0002 01 10 20010db8000000000000000000000001 00 81 {BASE}"),
            Reason::OptionalAttributeError,
            "800e16 0002 01 10 20010db8000000000000000000000001 00 81",
        ),
        (
            format!("800e17 0002 01 10 20010db8000000000000000000000001 00 40 20 {BASE}"),
            Reason::OptionalAttributeError,
            "800e17 0002 01 10 20010db8000000000000000000000001 00 40 20",
        ),
        (format!("800e02 0002 {BASE}"), Reason::OptionalAttributeError, "800e02 0002"),
        (format!("800f04 0002 01 81 {BASE}"), Reason::OptionalAttributeError, "800f04 0002 01 81"),
        // Either of them twice.
        (format!("800f03 0002 01 800f03 0002 01 {BASE}"), Reason::MalformedAttributeList, ""),
    ] {
        let expected = Notification::with_data(reason, &hex(data));
        judge(&attributes, &EXTERNAL, |update| assert_eq!(update.unwrap_err(), expected, "{attributes}"));
    }
}

#[test]
fn session_reset_when_the_routes_cannot_be_read() {
    let reason = |bytes: &[u8]| Message::decode(bytes, &EXTERNAL).unwrap_err().reason;
    assert_eq!(reason(&update(&hex("21 0102030405"), &[], &[])), Reason::InvalidNetworkField);
    assert_eq!(reason(&update(&hex("20 010203"), &[], &[])), Reason::InvalidNetworkField);
    assert_eq!(reason(&update(&[], &hex(BASE), &hex("20 010203"))), Reason::InvalidNetworkField);
    // Lengths that run over the end.
    let mut bytes = update(&[], &hex(BASE), &hex("20 14141401"));
    bytes[19..21].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(reason(&bytes), Reason::MalformedAttributeList);
    // A fault without any route to treat as withdrawn (RFC 7606 5.2).
    assert_eq!(reason(&update(&[], &hex("40010103"), &[])), Reason::InvalidOrigin);
}

#[test]
fn foreign_families_and_unknown_attributes_do_no_harm() {
    let vpn = format!("{BASE} 800e05 0019 46 00 00 e0f002 0102");
    judge(&vpn, &EXTERNAL, |update| {
        let update = update.unwrap();
        assert_eq!(update.verdict, Verdict::Accept);
        assert_eq!(update.attributes.foreign_family.map(|family| (family.afi, family.safi)), Some((25, 70)));
        assert_eq!(update.attributes.unknown().map(|raw| raw.code).collect::<Vec<_>>(), [240]);
    });
}
