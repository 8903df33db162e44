//! NodeClaims of Karpenter.

use super::*;

pub(super) fn claim() -> Value {
    json!({
        "kind": "NodeClaim",
        "metadata": {"name": "batch-x", "uid": "claim", "creationTimestamp": "2026-11-16T08:58:00Z",
            "labels": {"karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "batch"}},
        "status": {"nodeName": "n", "providerID": "aws:///a/i-1", "conditions": [
            {"type": "Launched", "status": "True", "lastTransitionTime": "2026-11-16T08:58:30Z"}]},
    })
}

#[test]
fn a_claim_dates_the_launch_and_the_end_of_its_machine_in_any_order() {
    for claim_first in [true, false] {
        let mut index = index();
        let node = object(&node("n", "aws:///a/i-1", "b1"));
        let claim = object(&claim());
        let order = if claim_first {
            [&claim, &node]
        } else {
            [&node, &claim]
        };
        let mut facts = Vec::new();
        for each in order {
            facts.extend(index.apply(each, watched("09:02:00")).unwrap());
        }
        let machine = machines(&facts).pop().unwrap();
        assert_eq!(
            (machine.launched_at, machine.launch_source),
            (at("08:58:30"), "node_claim")
        );
        index.delete(&node, watched("10:00:00")).unwrap();
        let ended = machines(&index.delete(&claim, watched("10:00:40")).unwrap())
            .pop()
            .unwrap();
        assert_eq!(
            (ended.ended_at, ended.end_source),
            (Some(at("10:00:40")), Some("node_claim"))
        );
    }
}
