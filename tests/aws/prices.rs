//! The price list: what is asked of it, and what a price that changes restates.

use serde_json::{Value, json};

use super::{Request, Server, bad, error, facts, good, output, podledger, torn};
use crate::harness::World;

/// An entry of the list: JSON within JSON, as AWS has it.
fn entry(sku: &str, attributes: Value, unit: &str, prices: Value) -> Value {
    let entry = json!({
        "product": {"sku": sku, "productFamily": "any", "attributes": attributes},
        "serviceCode": "any",
        "terms": {
            "OnDemand": {format!("{sku}.JRTCKXETXF"): {
                "sku": sku,
                "offerTermCode": "JRTCKXETXF",
                "effectiveDate": "2025-03-01T00:00:00Z",
                "priceDimensions": {format!("{sku}.JRTCKXETXF.6YS6EN2CT7"): {
                    "unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": prices
                }},
                "termAttributes": {}
            }},
            "Reserved": {}
        },
        "version": "20250318213312",
        "publicationDate": "2025-03-18T21:33:12Z"
    });
    entry.to_string().into()
}

fn machine(sku: &str, instance_type: &str, price: &str, more: &[(&str, &str)]) -> Value {
    let mut attributes = json!({
        "regionCode": "us-east-1", "instanceType": instance_type, "operatingSystem": "Linux", "tenancy": "Shared",
        "preInstalledSw": "NA", "capacitystatus": "Used", "operation": "RunInstances", "usagetype": format!("BoxUsage:{instance_type}"),
    });
    for (name, value) in more {
        attributes[name] = (*value).into();
    }
    entry(sku, attributes, "Hrs", json!({"USD": price}))
}

fn service(name: &str) -> Vec<Value> {
    let of = |usage: &str, api_name: &str, unit: &str, price: &str| {
        let mut attributes = json!({"regionCode": "us-east-1", "usagetype": usage});
        if !api_name.is_empty() {
            attributes["volumeApiName"] = api_name.into();
        }
        entry(usage, attributes, unit, json!({"USD": price}))
    };
    match name {
        "AmazonEC2" => vec![
            of("EBS:VolumeUsage.gp3", "gp3", "GB-Mo", "0.0800000000"),
            of("EBS:VolumeP-IOPS.gp3", "gp3", "IOPS-Mo", "0.0050000000"),
        ],
        "AWSELB" => vec![
            of("LoadBalancerUsage", "", "Hrs", "0.0225000000"),
            of("LCUUsage", "", "LCU-Hrs", "0.0060000000"),
        ],
        _ => vec![of("USE1-AmazonEKS-Hours:perCluster", "", "Hours", "0.1000000000")],
    }
}

fn filter<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let filters = request.body["Filters"].as_array()?;
    filters.iter().find(|filter| filter["Field"] == name)?["Value"].as_str()
}

fn page(entries: &[Value], next: Option<&str>) -> Value {
    let mut page = json!({"FormatVersion": "aws_v1", "PriceList": entries});
    if let Some(token) = next {
        page["NextToken"] = token.into();
    }
    page
}

/// A price list in which an m5.large costs what is told by the number of times that it was asked for.
fn list(prices: &'static [&'static str]) -> Server {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Server::new(move |_, request| {
        let Some(instance_type) = filter(request, "instanceType") else {
            return good(&page(
                &service(request.body["ServiceCode"].as_str().unwrap()),
                None,
            ));
        };
        if instance_type != "m5.large" {
            return good(&page(&[], None));
        }
        if request.body.get("NextToken").is_none() {
            let others = [
                machine("W", "m5.large", "0.2", &[("operatingSystem", "Windows")]),
                machine("B", "m5.large", "0.0", &[("marketoption", "CapacityBlock")]),
            ];
            return good(&page(&others, Some("more")));
        }
        let price = prices[asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed)];
        good(&page(&[machine("L", "m5.large", price, &[])], None))
    })
}

fn world() -> World {
    let world = World::new();
    for (name, instance_type) in [("a", "m5.large"), ("b", "x9.huge")] {
        world.given(
            "machines",
            &format!(
                "select 'c' as cluster, '{name}' as machine, timestamp '2026-11-16 10:00:00' as observed_at, '{name}' as node_name, \
                 'aws' as provider, 'us-east-1' as region, '{instance_type}' as instance_type, 'on-demand' as capacity_type, \
                 'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source"
            ),
        );
    }
    world
}

fn asking<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["import", "aws-prices", "--endpoint-url", url];
    arguments.extend(more);
    arguments
}

#[test]
fn prices_of_the_lake_s_machines_become_facts_and_a_refresh_leaves_the_past_alone() {
    let server = list(&["0.0960000000", "0.0960000000", "0.0900000000", "0.0900000000"]);
    let world = world();
    let run = |more: &[&str]| output(&mut podledger(&world, &asking(&server.url, more)));
    let said = run(&[]);
    assert!(
        said.contains("4 prices in us-east-1, 0 of them known before"),
        "{said}"
    );
    assert!(
        said.contains("no on-demand price for aws/us-east-1/x9.huge"),
        "{said}"
    );
    let sent = server.sent();
    let asked = sent
        .iter()
        .find(|request| filter(request, "instanceType").is_some())
        .unwrap();
    assert_eq!(asked.target, "AWSPriceListService.GetProducts");
    for (name, value) in [
        ("regionCode", "us-east-1"),
        ("instanceType", "m5.large"),
        ("operatingSystem", "Linux"),
        ("tenancy", "Shared"),
        ("preInstalledSw", "NA"),
        ("capacitystatus", "Used"),
    ] {
        assert_eq!(filter(asked, name), Some(value));
    }
    let prices = || {
        facts(
            world.folder.path(),
            "prices",
            "instance_type, capacity_type, hourly_usd, source, if(valid_from_at < timestamp '2025-03-02', valid_from_at::varchar, 'since it was asked')",
        )
    };
    let listed = "m5.large|on-demand|0.096000000|AWS price list of 2025-03-18T21:33:12Z|2025-03-01 00:00:00";
    assert_eq!(prices(), [listed]);
    assert_eq!(
        facts(
            world.folder.path(),
            "service_prices",
            "service, item, unit, price_usd, valid_from_at"
        ),
        [
            "EBS|gp3 storage|GB-month|0.080000000|2025-03-01 00:00:00",
            "EKS|control plane, standard support|cluster-hour|0.100000000|2025-03-01 00:00:00",
            "ELB|Network Load Balancer|hour|0.022500000|2025-03-01 00:00:00",
        ]
    );
    let said = run(&[]);
    assert!(
        said.contains("4 of them known before") && said.contains("imported before"),
        "{said}"
    );
    run(&[]);
    let cheaper = |since: &str| {
        format!("m5.large|on-demand|0.090000000|AWS price list of 2025-03-18T21:33:12Z|{since}")
    };
    assert_eq!(prices(), [cheaper("since it was asked"), listed.to_owned()]);
    run(&["--restate"]);
    // Of two prices of one instant the higher stands: the lower one follows it at once.
    assert_eq!(
        prices(),
        [
            cheaper("2025-03-01 00:00:00.001"),
            cheaper("since it was asked"),
            listed.to_owned()
        ]
    );
}

#[test]
fn all_of_a_region_is_asked_for_by_name() {
    let server = Server::new(|_, request| {
        let service_code = request.body["ServiceCode"].as_str().unwrap();
        if filter(request, "productFamily").is_some() || service_code == "AmazonEKS" {
            return good(&page(&service(service_code), None));
        }
        let entries = [
            machine("1", "m5.large", "0.096", &[]),
            machine("2", "m5.xlarge", "0.192", &[]),
            machine("3", "m5.metal", "4.608", &[]),
            machine("4", "m5.metal", "5.069", &[]),
        ];
        good(&page(&entries, None))
    });
    let world = World::new();
    let said = output(&mut podledger(
        &world,
        &asking(&server.url, &["--region", "us-east-1", "--all-types"]),
    ));
    assert!(
        said.contains(
            "two prices, of which none is taken: aws/us-east-1/m5.metal: 4.608000000 (3) and 5.069000000 (4)"
        ),
        "{said}"
    );
    assert_eq!(
        facts(world.folder.path(), "prices", "instance_type, hourly_usd"),
        ["m5.large|0.096000000", "m5.xlarge|0.192000000"]
    );
}

#[test]
fn what_is_no_price_list_stores_nothing() {
    let yuan = entry(
        "Y",
        json!({"regionCode": "us-east-1", "instanceType": "m5.large"}),
        "Hrs",
        json!({"CNY": "1.0"}),
    );
    for (reply, expected) in [
        (
            good(&page(&[yuan], None)),
            "aws/us-east-1/m5.large (Y): costs CNY, and the ledger is in USD",
        ),
        (
            good(&page(&[machine("L", "m5.large", "0.09.6", &[])], None)),
            "aws/us-east-1/m5.large (L)",
        ),
        (
            good(&page(&["{\"product\": {".into()], None)),
            "an entry of the price list cannot be read",
        ),
        (
            torn(&page(&[machine("L", "m5.large", "1", &[])], None)),
            "the answer breaks off",
        ),
        (bad("ExpiredTokenException"), "the credentials have expired"),
        (bad("ThrottlingException"), "AWS says that it is asked too often"),
        (bad("AccessDeniedException"), "allow them `pricing:GetProducts`"),
    ] {
        let server = Server::new(move |_, request| match filter(request, "instanceType") {
            None => good(&page(
                &service(request.body["ServiceCode"].as_str().unwrap()),
                None,
            )),
            Some(_) if request.body.get("NextToken").is_none() => {
                good(&page(&[machine("L", "m5.large", "0.096", &[])], Some("more")))
            }
            Some(_) => reply.clone(),
        });
        let world = world();
        let said = error(&mut podledger(&world, &asking(&server.url, &[])));
        assert!(
            said.contains(expected) && said.contains("nothing was written"),
            "{expected}: {said}"
        );
        for table in ["prices", "service_prices"] {
            assert_eq!(facts(world.folder.path(), table, "*"), [""; 0], "{expected}");
        }
    }
    let said = error(&mut podledger(&World::new(), &asking("http://127.0.0.1:9", &[])));
    assert!(said.contains("the lake knows no machine of AWS"), "{said}");
}
