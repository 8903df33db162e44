use super::*;
use crate::opencost::field::{ALLOCATIONS, ASSETS};
use crate::opencost::item::{Item, labels};

fn item() -> Item {
    Item {
        cluster: "one".to_owned(),
        node: "node-a".to_owned(),
        namespace: "ml".to_owned(),
        pod: "train-0".to_owned(),
        container: "main".to_owned(),
        controller_kind: "job".to_owned(),
        controller: "train".to_owned(),
        team: "risk".to_owned(),
        pipeline: "daily".to_owned(),
        run: "r1".to_owned(),
        labels: labels(Some(
            r#"{"app": "web", "app.kubernetes.io/part-of": "shop", "env": "prod", "empty": ""}"#,
        )),
        annotations: labels(Some(r#"{"note": "x"}"#)),
        namespace_labels: labels(Some(r#"{"tier": "gold"}"#)),
        ..Item::default()
    }
}

#[test]
fn the_language_means_what_opencost_means() {
    for (text, is_let_through) in [
        ("", true),
        ("  ", true),
        (r#"namespace:"ml""#, true),
        (r#"namespace:"m""#, false),
        (r#"namespace:"ML""#, false),
        (r#"namespace!:"ml""#, false),
        (r#"namespace!:"other""#, true),
        (r#"namespace:"a","ml""#, true),
        // What is none of several.
        (r#"namespace!:"a","ml""#, false),
        (r#"namespace!:"a","b""#, true),
        (r#"pod~:"rain""#, true),
        (r#"pod!~:"rain""#, false),
        (r#"pod<~:"train""#, true),
        (r#"pod<~:"rain""#, false),
        (r#"pod!<~:"rain""#, true),
        (r#"pod~>:"-0""#, true),
        (r#"pod~>:"-1""#, false),
        (r#"pod!~>:"-1""#, true),
        (r#"cluster:"one"+namespace:"ml""#, true),
        (r#"cluster:"two"+namespace:"ml""#, false),
        (r#"cluster:"two"|namespace:"ml""#, true),
        (r#" ( cluster:"two" | node:"node-a" ) + namespace:"ml" "#, true),
        (r#"cluster:"two"|(node:"node-a"+namespace:"x")"#, false),
        (r#"((((namespace:"ml"))))"#, true),
        (r#"controllerKind:"job"+controllerName:"train""#, true),
        (r#"container:"main""#, true),
        (r#"team:"risk"+pipeline:"daily"+run:"r1""#, true),
        (r#"product:"web"+environment:"prod""#, true),
        (r#"label[app]:"web""#, true),
        (r#"label[app]!:"web""#, false),
        (r#"label[other]:"web""#, false),
        (r#"label[other]!:"web""#, true),
        (r#"label[app.kubernetes.io/part-of]:"shop""#, true),
        (r#"label[app_kubernetes_io_part_of]<~:"sh""#, true),
        (r#"label:"app""#, true),
        (r#"label~:"app""#, true),
        (r#"label:"ap""#, false),
        (r#"label<~:"ap""#, true),
        (r#"label!:"other""#, true),
        (r#"label!:"other","app""#, false),
        (r#"annotation[note]:"x""#, true),
        (r#"namespaceLabel[tier]:"gold""#, true),
        (r#"services:"__unallocated__""#, true),
        (r#"namespace:"__unallocated__""#, false),
        (r#"label[other]:"__unallocated__""#, true),
        (r#"label[empty]:"__unallocated__""#, true),
        (r#"label[app]!:"__unallocated__""#, true),
        (r#"namespace:"a'; drop table x; --""#, false),
        (r#"namespace!:"(+|)""#, true),
    ] {
        let filter = Filter::parse(text, &ALLOCATIONS).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.lets_through(&item()), is_let_through, "{text}");
    }
}

#[test]
fn what_is_no_filter_says_where() {
    for (text, wanted) in [
        ("namespace", "an operator"),
        ("namespace:ml", "a value in double quotes at position 10"),
        (r#"namespace:"ml"#, "expected `\"` at position 13"),
        (r#"namespace="ml""#, "an operator"),
        (r#"namespace~~:"ml""#, "an operator"),
        (r#"namespace<:"ml""#, "an operator"),
        (r#"namespace<~>:"ml""#, "an operator"),
        (r#"namespace:"ml","#, "a value in double quotes"),
        (r#"namespace:"ml"+"#, "a field or `(`"),
        (r#"(namespace:"ml""#, "expected `)`, `+` or `|`"),
        (r#"namespace:"ml")"#, "the end, `+` or `|`"),
        ("()", "a field or `(`"),
        (r#"nodeLabel[x]:"y""#, "there is no field `nodeLabel`"),
        (r#"gpuCount>0"#, "there is no field `gpuCount`"),
        (r#"namespace[x]:"y""#, "`namespace` has no keys"),
        (r#"label[x:"y""#, "expected `]`"),
        (r#"pod:"a"+pod:"b"|pod:"c""#, "beside each other at position 15"),
    ] {
        let error = Filter::parse(text, &ALLOCATIONS).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let nested = |depth: usize| format!("{}pod:\"a\"{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(DEEPEST), &ALLOCATIONS).is_ok());
    assert_eq!(
        Filter::parse(&nested(DEEPEST + 1), &ALLOCATIONS).unwrap_err(),
        FilterError::Deep
    );
    assert_eq!(
        Filter::parse(&nested(100_000), &ALLOCATIONS).unwrap_err(),
        FilterError::Deep
    );
    let many = vec![r#"pod:"a""#; MOST + 1].join("|");
    assert_eq!(Filter::parse(&many, &ALLOCATIONS).unwrap_err(), FilterError::Long);
}

#[test]
fn lists_of_the_first_version_are_alternatives() {
    for (field, text, is_let_through) in [
        (Field::Namespace, "ml", true),
        (Field::Namespace, "a, ml", true),
        (Field::Namespace, "a,b", false),
        (Field::Namespace, "m*", true),
        (Field::Namespace, "", true),
        (Field::Controller, "train", true),
        (Field::Controller, "job:train", true),
        (Field::Controller, "deployment:train", false),
        (Field::Label, "app:web", true),
        (Field::Label, "app.kubernetes.io/part-of:sh*", true),
        (Field::Label, "app:shop", false),
        (Field::Annotation, "note:x", true),
        (Field::Product, "web", true),
    ] {
        let filter = list(field, text).unwrap();
        assert_eq!(filter.lets_through(&item()), is_let_through, "{field:?} {text}");
    }
    assert!(list(Field::Label, "app").is_err());
}

#[test]
fn what_a_filter_needs_is_known_before() {
    for (text, descriptions, containers) in [
        (r#"namespace:"ml"+team:"x""#, false, false),
        (r#"namespace:"ml"+(pod:"x"|label[a]!:"x")"#, true, false),
        (r#"container!:"x""#, false, true),
        (r#"controllerKind:"job"|container:"x""#, true, true),
    ] {
        let needs = Filter::parse(text, &ALLOCATIONS).unwrap().needs();
        assert_eq!(
            (needs.descriptions, needs.containers),
            (descriptions, containers),
            "{text}"
        );
    }
}

#[test]
fn assets_have_fields_of_their_own() {
    for text in [
        r#"name:"a"+assetType:"node"+category:"Compute"+cluster:"one""#,
        r#"provider:"aws"|providerID:"i-1"|service:"Kubernetes""#,
        r#"account:"__unallocated__"+project:"__unallocated__"+label[region]:"x""#,
    ] {
        assert!(Filter::parse(text, &ASSETS).is_ok(), "{text}");
    }
    for text in [r#"namespace:"ml""#, r#"pod:"a""#, r#"team:"risk""#] {
        let error = Filter::parse(text, &ASSETS).unwrap_err().to_string();
        assert!(
            error.contains("there are name, assetType, category, cluster"),
            "{error}"
        );
    }
    // What they are is compared in lower case.
    let written = Filter::parse(r#"assetType:"LoadBalancer""#, &ASSETS);
    assert_eq!(written, Filter::parse(r#"assetType:"loadbalancer""#, &ASSETS));
    assert_eq!(
        list(Field::Category, "Stor*").unwrap(),
        list(Field::Category, "stor*").unwrap()
    );
}
