//! Messages of the peer protocol: there and back, bounds, versions, and bytes of anybody.

use super::*;
use crate::formation::Standing;
use nodeimg_contract::birth::{Birth, Incarnation, Method, Participant, Permit};
use nodeimg_contract::image::Role;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn birth(names: Vec<String>, digit: char) -> Birth {
    let permit = Permit { cluster: "c".into(), nonce: "n".into(), not_after: jiff::Timestamp::UNIX_EPOCH };
    let participant = |name: String| Participant {
        name,
        address: "192.0.2.1".parse().expect("address"),
        incarnation: Incarnation(digit.to_string().repeat(32)),
    };
    Birth::new(permit, Method::Quorum, names.into_iter().map(participant).collect())
}

fn hello() -> Hello {
    Hello {
        name: "cp1".parse().expect("name"),
        address: "192.0.2.11".parse().expect("address"),
        role: Role::ControlPlane,
        cluster: "lab".into(),
        standing: Standing::Blank { incarnation: Incarnation("0".repeat(32)), promised: None },
        seed: BTreeMap::from([("nodeimg.cluster".into(), "ab".repeat(16))]),
        waits_for: None,
        control_planes: Vec::new(),
        kubernetes: "1.36.3".into(),
        nodeinit: "0.1.0".into(),
        last_contact: Vec::new(),
    }
}

/// As another node of version 1 says it: fields that came later are left out.
fn member(incarnation: &Incarnation, birth: &str) -> Standing {
    let json = serde_json::json!({"standing": "member", "incarnation": incarnation, "birth": birth});
    serde_json::from_value(json).expect("a standing")
}

fn standings() -> impl Strategy<Value = Standing> {
    let incarnation = || "[0-9a-f]{32}".prop_map(Incarnation);
    let births = || {
        (prop::collection::btree_set("[a-z]{1,8}", 1..6), prop::char::range('a', 'f'))
            .prop_map(|(names, digit)| birth(names.into_iter().collect(), digit))
    };
    prop_oneof![
        (incarnation(), prop::option::of(births()))
            .prop_map(|(incarnation, promised)| Standing::Blank { incarnation, promised }),
        (incarnation(), births()).prop_map(|(incarnation, birth)| Standing::Started { incarnation, birth }),
        (incarnation(), "[0-9a-f]{64}").prop_map(|(i, birth)| member(&i, &birth)),
        any::<String>().prop_map(|reason| Standing::CannotSay { reason }),
    ]
}

fn hellos() -> impl Strategy<Value = Hello> {
    let names = || "[a-z][a-z0-9]{0,12}".prop_map(|n| format!("n{n}").parse().expect("a node name"));
    let lists = prop::collection::vec((names(), any::<IpAddr>()), 0..9)
        .prop_map(|l| l.into_iter().map(|(name, address)| Listed { name, address }).collect());
    let contacts = prop::collection::vec((names(), "[0-9a-f]{32}", any::<u64>()), 0..9).prop_map(|l| {
        let contact = |(name, i, seconds)| Contact { name, incarnation: Incarnation(i), seconds };
        l.into_iter().map(contact).collect()
    });
    let fields = prop::collection::btree_map("[a-zA-Z.]{1,40}", "[0-9a-f]{32}", 0..20);
    let waits = prop::option::of(any::<String>());
    (names(), any::<IpAddr>(), standings(), fields, waits, lists, contacts).prop_map(
        |(name, address, standing, seed, waits_for, control_planes, last_contact)| Hello {
            name,
            address,
            standing,
            seed,
            waits_for,
            control_planes,
            last_contact,
            ..hello()
        },
    )
}

/// What the wire makes of free text.
fn cleaned(mut hello: Hello) -> Hello {
    hello.waits_for = hello.waits_for.map(|t| printable(&t, 500));
    if let Standing::CannotSay { reason } = &mut hello.standing {
        *reason = printable(reason, 500);
    }
    hello
}

fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Result<Hello, BadMessage> {
    let bytes = hello().to_bytes().expect("written");
    let mut value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    Hello::parse(&serde_json::to_vec(&value).expect("JSON"))
}

proptest! {
    #[test]
    fn what_is_written_is_read(hello in hellos()) {
        let bytes = hello.to_bytes().expect("within its bounds");
        prop_assert_eq!(Hello::parse(&bytes), Ok(cleaned(hello)));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (Hello::parse(&bytes), Rejection::parse(&bytes), Subject::of(&bytes));
        let _ = Asker::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_damage_to_a_good_message_panics(hello in hellos(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = hello.to_bytes().expect("within its bounds");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Err(bad) = Hello::parse(&bytes) {
            prop_assert!(!bad.to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn a_rejection_is_read(error in any::<String>()) {
        let bytes = Rejection { error: error.clone() }.to_bytes().expect("written");
        prop_assert_eq!(Rejection::parse(&bytes), Ok(Rejection::new(&error)));
    }
}

#[test]
fn another_version_is_named_whatever_else_it_says() {
    let bytes = br#"{"protocol":2,"standings":[[1]],"name":7}"#;
    let version = BadMessage::Version { own: 1, theirs: 2 };
    assert_eq!(Hello::parse(bytes), Err(version.clone()));
    let text = "it speaks version 2 of the peer protocol, this node version 1";
    assert_eq!(version.to_string(), text);
    assert_eq!(Rejection::parse(bytes), Err(version));
}

#[test]
fn newer_fields_are_passed_over_but_not_within_a_birth() {
    assert_eq!(changed(|v| v["zone"] = "a".into()), Ok(hello()));
    assert_eq!(changed(|v| v["standing"]["zone"] = "a".into()), Ok(hello()));
    let promised = serde_json::to_value(birth(vec!["cp1".into()], 'a')).expect("JSON");
    assert!(changed(|v| v["standing"]["promised"] = promised.clone()).is_ok());
    let extended = changed(|v| {
        v["standing"]["promised"] = promised;
        v["standing"]["promised"]["zone"] = "a".into();
    });
    assert!(matches!(extended, Err(BadMessage::Malformed(_))), "{extended:?}");
}

#[test]
fn bounds_hold_at_both_ends() {
    let too_long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Hello::parse(&too_long), Err(BadMessage::TooLong));
    let field = |r: Result<Hello, BadMessage>| match r {
        Err(BadMessage::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(changed(|v| v["cluster"] = "".into())), "cluster");
    assert_eq!(field(changed(|v| v["nodeinit"] = "\u{1b}[2J".into())), "nodeinit");
    assert_eq!(field(changed(|v| v["waitsFor"] = "x".repeat(501).into())), "waitsFor");
    assert_eq!(field(changed(|v| v["standing"]["incarnation"] = "A".repeat(32).into())), "standing");
    assert_eq!(field(changed(|v| v["seed"]["a b"] = "c".into())), "seed");
    let many = vec![serde_json::json!({"name": "cp1", "address": "192.0.2.1"}); 65];
    assert_eq!(field(changed(|v| v["controlPlanes"] = many.into())), "controlPlanes");

    let crowd = hello_with_contacts(65);
    assert!(matches!(crowd.to_bytes(), Err(BadMessage::Field { field: "lastContact", .. })));
}

fn hello_with_contacts(count: usize) -> Hello {
    let contact = Contact { name: hello().name, incarnation: Incarnation("0".repeat(32)), seconds: 1 };
    Hello { last_contact: vec![contact; count], ..hello() }
}

#[test]
fn a_birth_that_birth_new_does_not_make_is_refused() {
    let started = |change: fn(&mut serde_json::Value)| {
        changed(|v| {
            let birth = birth(vec!["cp1".into(), "cp2".into()], 'a');
            v["standing"]["standing"] = "started".into();
            v["standing"]["birth"] = serde_json::to_value(birth).expect("JSON");
            change(&mut v["standing"]["birth"]["participants"]);
        })
    };
    assert!(started(|_| ()).is_ok());
    let refused = |r| matches!(r, Err(BadMessage::Field { field: "standing", .. }));
    assert!(refused(started(|p| p.as_array_mut().expect("a list").reverse())), "another order");
    assert!(refused(started(|p| p[1] = p[0].clone())), "one name twice");
    assert!(refused(started(|p| *p = serde_json::json!([]))), "nobody");
    assert!(refused(started(|p| p[0]["name"] = "CP 1".into())), "no name");
}

#[test]
fn what_an_asker_is_goes_there_and_back() {
    let birth = birth(vec!["cp1".into()], 'a');
    let started = Standing::Started { incarnation: Incarnation("1".repeat(32)), birth: birth.clone() };
    let asker = Asker::of(&started).expect("it belongs to a cluster");
    assert!(asker.holds);
    assert_eq!(asker.to_text(), format!("member {} {}", "1".repeat(32), birth.id()));
    for holds in [true, false] {
        let asker = Asker { holds, ..asker.clone() };
        assert_eq!(Asker::parse(&asker.to_text()).as_ref(), Some(&asker));
        assert_eq!(Asker::of(&asker.standing()), Some(asker));
    }
    assert_eq!(Asker::of(&hello().standing), None, "a blank node says nothing");
    for bad in ["", "member", "blank a b", "member 1 2", &format!("{} x", asker.to_text())] {
        assert_eq!(Asker::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_disagreement_names_the_field() {
    let own = BTreeMap::from([("nodeimg.cluster", "cd".repeat(16)), ("nodeimg.pki.ca", "ab".repeat(16))]);
    assert_eq!(hello().differs_from(&own), ["nodeimg.cluster"]);
    let same = BTreeMap::from([("nodeimg.cluster", "ab".repeat(16))]);
    assert!(hello().differs_from(&same).is_empty());
}
