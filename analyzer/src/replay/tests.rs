//! Small pools of which everything can be reckoned by hand.

use super::simulate::{Arrival, Setting, outcome};
use super::*;

const GIB: i64 = 1 << 30;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn rules() -> Rules {
    Rules {
        boot_ms: MINUTE,
        idle_ms: Some(10 * MINUTE),
        least_machines: 0,
        most_machines: 10,
        minimum_ms: 0,
        rounding_ms: 0,
        score: Score::Oldest,
        ordering: Ordering::BySum,
    }
}

fn arrival(minute: i64, minutes: i64, cores: i64) -> Arrival {
    Arrival {
        at_ms: minute * MINUTE,
        holds_ms: minutes * MINUTE,
        request: [cores * 1000, GIB, 0],
    }
}

/// Minutes for which machines of four cores are paid, at a nano-dollar a millisecond, in a window of a day.
fn paid_minutes(rules: Rules, arrivals: &[Arrival]) -> i64 {
    let prices = price::Prices::new(&[(0, HOUR, HOUR)]);
    let setting = Setting {
        from_ms: 0,
        to_ms: 24 * HOUR,
        billed_to_ms: 25 * HOUR,
        room: [4000, 16 * GIB, 0],
        rules,
        prices: &prices,
    };
    i64::try_from(outcome(&setting, arrivals).cost_nano).unwrap() / MINUTE
}

#[test]
fn a_machine_boots_works_idles_and_goes() {
    assert_eq!(paid_minutes(rules(), &[arrival(5, 30, 2)]), 1 + 30 + 10);
    // Two share it; a third comes while it is empty, and a fourth when it has gone.
    let shared = [
        arrival(5, 30, 2),
        arrival(6, 20, 2),
        arrival(45, 5, 4),
        arrival(90, 5, 4),
    ];
    assert_eq!(paid_minutes(rules(), &shared), (1 + 44 + 10) + (1 + 5 + 10));
}

#[test]
fn what_does_not_fit_has_a_machine_of_its_own() {
    let wide = [arrival(5, 30, 3), arrival(5, 30, 3)];
    assert_eq!(paid_minutes(rules(), &wide), 2 * 41);
    let narrow = [arrival(5, 30, 2), arrival(5, 30, 2)];
    assert_eq!(paid_minutes(rules(), &narrow), 41);
    // Nine cores fill three machines of four, whichever way they are counted.
    for ordering in [Ordering::BySum, Ordering::ByPod] {
        let three = [arrival(5, 30, 3), arrival(5, 30, 3), arrival(5, 30, 3)];
        assert_eq!(
            paid_minutes(Rules { ordering, ..rules() }, &three),
            3 * 41,
            "{ordering:?}"
        );
    }
}

#[test]
fn what_ran_when_the_window_began_shares_machines() {
    for ordering in [Ordering::BySum, Ordering::ByPod] {
        for score in [Score::Oldest, Score::MostAllocated, Score::LeastAllocated] {
            let rules = Rules {
                score,
                ordering,
                ..rules()
            };
            // Of one core each, four fill a machine and two have half of another; none of them boots.
            let narrow = [arrival(0, 30, 1); 6];
            assert_eq!(paid_minutes(rules, &narrow), 2 * 40, "{rules:?}");
            // Of three cores each needs its own: five, where their sum is that of four.
            let wide = [arrival(0, 30, 3); 5];
            assert_eq!(paid_minutes(rules, &wide), 5 * 40, "{rules:?}");
        }
    }
}

#[test]
fn machines_that_are_always_there_are_paid_for_all_day() {
    let fixed = Rules {
        least_machines: 2,
        ..rules()
    };
    assert_eq!(paid_minutes(fixed, &[]), 2 * 24 * 60);
    assert_eq!(paid_minutes(fixed, &[arrival(5, 30, 2)]), 2 * 24 * 60);
    // One that nobody ever saw going stays.
    let stays = Rules {
        idle_ms: None,
        ..rules()
    };
    assert_eq!(paid_minutes(stays, &[arrival(60, 1, 1)]), 23 * 60);
}

#[test]
fn machines_that_ended_are_billed_at_least_for_a_while_and_in_full_steps() {
    let paid = |minimum_ms, rounding_ms, arrivals: &[Arrival]| {
        let billed = Rules {
            minimum_ms,
            rounding_ms,
            ..rules()
        };
        paid_minutes(billed, arrivals)
    };
    // Up for 41 minutes, and one for 71.
    let (short, long) = ([arrival(5, 30, 2)], [arrival(5, 60, 2)]);
    assert_eq!(paid(2 * HOUR, 0, &short), 120);
    assert_eq!((paid(0, HOUR, &short), paid(0, HOUR, &long)), (60, 120));
    assert_eq!(
        (paid(90 * MINUTE, HOUR, &short), paid(90 * MINUTE, HOUR, &long)),
        (90, 120)
    );
    // What is billed may end after the window; what is up when it ends has no end yet.
    assert_eq!(paid(0, HOUR, &[arrival(23 * 60 + 10, 30, 2)]), 60);
    assert_eq!(paid(0, HOUR, &[arrival(23 * 60 + 40, 30, 2)]), 20);
}

#[test]
fn what_a_pool_has_no_machine_for_waits() {
    for ordering in [Ordering::BySum, Ordering::ByPod] {
        let one = Rules {
            most_machines: 1,
            ordering,
            ..rules()
        };
        // The second follows the first on the same machine.
        assert_eq!(
            paid_minutes(one, &[arrival(5, 30, 3), arrival(5, 30, 3)]),
            1 + 60 + 10,
            "{ordering:?}"
        );
    }
}

#[test]
fn the_score_says_which_machine_takes_a_pod() {
    // The last pod keeps the machine that it is on: the one with a core left, which is there for long anyway, or the other.
    let arrivals = [arrival(5, 300, 3), arrival(5, 30, 2), arrival(20, 200, 1)];
    let with = |score| paid_minutes(Rules { score, ..rules() }, &arrivals);
    assert_eq!(with(Score::Oldest), 311 + 41);
    assert_eq!(with(Score::MostAllocated), 311 + 41);
    assert_eq!(with(Score::LeastAllocated), 311 + 225);
}

#[test]
fn prices_change_by_the_hour_and_last_where_none_is_known() {
    let prices = price::Prices::new(&[(0, 100, HOUR), (HOUR, 400, 2 * HOUR), (3 * HOUR, 300, HOUR)]);
    assert_eq!(prices.cost(0, HOUR), 100);
    assert_eq!(prices.cost(HOUR / 2, HOUR + HOUR / 2), 50 + 100);
    // In the third hour nothing was up; after the fourth nothing is known.
    assert_eq!(prices.cost(2 * HOUR, 3 * HOUR), 200);
    assert_eq!(prices.cost(3 * HOUR, 6 * HOUR), 900);
    assert_eq!(prices.cost(-HOUR, 0), 100);
    assert_eq!(prices.cost(5, 5), 0);
}

fn machine(start: i64, end: i64, is_ended: bool) -> Machine {
    Machine {
        start_ms: start * MINUTE,
        registered_ms: (start + 1) * MINUTE,
        up_to_ms: end * MINUTE,
        minimum_ms: 10 * MINUTE,
        rounding_ms: MINUTE,
        is_ended,
        last_workload_ms: Some((end - 10) * MINUTE),
    }
}

fn pool(cost_minutes: i64) -> Pool {
    let container = Asked {
        template: 0,
        kind: ContainerKind::Container,
        cpu_millicores: 3000,
        memory_bytes: GIB,
    };
    let pod = |minute: i64| Pod {
        arrives_ms: minute * MINUTE,
        bound_ms: minute * MINUTE,
        holds_ms: 30 * MINUTE,
        request: [3000, GIB, 0],
        containers: vec![container],
    };
    Pool {
        name: PoolName {
            cluster: "c".to_owned(),
            pool: "batch".to_owned(),
            instance_type: "t".to_owned(),
            capacity_type: "spot".to_owned(),
        },
        from_ms: 0,
        to_ms: 24 * HOUR,
        billed_to_ms: 24 * HOUR,
        machines: vec![machine(60, 101, true), machine(60, 101, true)],
        pods: vec![pod(60), pod(60)],
        room: [4000, 16 * GIB, 0],
        prices: price::Prices::new(&[(0, HOUR, HOUR)]),
        cost: NanoUsd::from_nano(cost_minutes * MINUTE),
        unusable: None,
    }
}

fn advice(cpu_millicores: Option<u64>) -> crate::rightsizing::Recommendation {
    let mut seen = crate::rightsizing::tests::observation(0, 0, 30 * MINUTE);
    seen.cpu_request_millicores = 3000;
    let observed = crate::rightsizing::Observed {
        runs: vec![crate::rightsizing::Run {
            pipeline: 0,
            started_ms: 0,
        }],
        histories: vec![crate::rightsizing::tests::history("job", vec![seen])],
    };
    let strategy = crate::rightsizing::Strategy::Podledger;
    let mut rows =
        crate::rightsizing::recommendations(&observed, strategy, &crate::rightsizing::Settings::default());
    let mut row = rows.remove(0);
    row.cpu_millicores.recommended = cpu_millicores;
    row.memory_bytes.recommended = None;
    row
}

fn replay(pool: Pool) -> Replay {
    Replay::new(Schedule {
        pools: vec![pool],
        templates: vec![advice(None).template],
    })
}

#[test]
fn rules_are_read_off_machines() {
    let mut pool = pool(82);
    pool.machines.push(machine(0, 24 * 60, false));
    let found = rules::observed(&pool);
    assert_eq!(
        (
            found.boot_ms,
            found.idle_ms,
            found.least_machines,
            found.most_machines
        ),
        (MINUTE, Some(10 * MINUTE), 1, 3)
    );
    assert_eq!((found.minimum_ms, found.rounding_ms), (10 * MINUTE, MINUTE));
}

#[test]
fn a_saving_is_what_machines_would_have_cost_less() {
    let replay = replay(pool(82));
    let told = replay.pools().next().unwrap();
    assert_eq!((told.deviation_ppm, told.withheld), (Some(0), None));
    let rows = [advice(Some(2000)), advice(None)];
    let each = replay.each(&rows);
    let found = each[0].saving.unwrap().get();
    // Both fit on one machine now; in variants the second comes some seconds later.
    assert!((40 * MINUTE..=41 * MINUTE).contains(&found), "{found}");
    assert!(each[0].least <= each[0].saving && each[0].saving <= each[0].most);
    assert_eq!(each[1].withheld, Some(NotReplayed::NothingAdvised));
    let total = replay.together(&rows[..1]);
    assert_eq!(total.realisable, each[0]);
    assert_eq!(
        (total.cost.get(), total.cost_not_replayed.get()),
        (82 * MINUTE, 0)
    );
    // A fraction of a core is reserved less, and no machine is spared.
    assert_eq!(replay.each(&[advice(Some(2500))])[0].saving.unwrap().get(), 0);
}

#[test]
fn what_cannot_be_reproduced_is_withheld() {
    let off = replay(pool(90));
    let told = off.pools().next().unwrap();
    assert_eq!(told.withheld, Some(NotReplayed::NotReproduced));
    assert!(told.deviation_ppm.unwrap() < -20_000, "{told:?}");
    let each = off.each(&[advice(Some(2000))]);
    assert_eq!(
        (each[0].saving, each[0].withheld),
        (None, Some(NotReplayed::NotReproduced))
    );
    assert_eq!(
        off.together(&[advice(Some(2000))]).cost_not_replayed.get(),
        90 * MINUTE
    );
    let mut unpriced = pool(82);
    unpriced.unusable = Some(NotReplayed::Unpriced);
    let unpriced = replay(unpriced);
    assert_eq!(
        unpriced.each(&[advice(Some(2000))])[0].withheld,
        Some(NotReplayed::Unpriced)
    );
    let told = unpriced.pools().next().unwrap();
    assert_eq!((told.replayed_cost, told.deviation_ppm), (None, None));
}

#[test]
fn all_together_are_held_against_what_ran_where_machines_are_replayed() {
    let (usable, mut off) = (pool(82), pool(90));
    for asked in off.pods.iter_mut().flat_map(|pod| &mut pod.containers) {
        asked.template = 1;
    }
    let (mut here, mut there) = (advice(Some(2000)), advice(Some(2000)));
    there.template.job = "elsewhere".to_owned();
    here.nominal_saving = NanoUsd::from_nano(700);
    there.nominal_saving = NanoUsd::from_nano(50);
    let replay = Replay::new(Schedule {
        pools: vec![usable, off],
        templates: vec![here.template.clone(), there.template.clone()],
    });
    let both = replay.together(&[here.clone(), there.clone()]);
    assert_eq!(both.realisable, replay.each(&[here])[0]);
    assert_eq!(both.nominal.get(), 700);
    // Nothing changes in the pool that is replayed: that is no saving of nothing.
    let alone = replay.together(&[there]);
    assert_eq!(
        (alone.realisable.saving, alone.realisable.withheld),
        (None, Some(NotReplayed::NotReproduced))
    );
    assert_eq!(alone.nominal.get(), 0);
}

#[test]
fn more_than_a_pool_can_give_is_withheld() {
    // Four machines that are always there, and all of them full.
    let mut full = pool(4 * 24 * 60);
    full.machines = vec![machine(0, 24 * 60, false); 4];
    full.pods = vec![
        Pod {
            arrives_ms: 0,
            bound_ms: 0,
            holds_ms: 24 * HOUR,
            request: [1000, GIB, 0],
            containers: vec![Asked {
                cpu_millicores: 1000,
                ..full.pods[0].containers[0]
            }],
        };
        16
    ];
    let full = replay(full);
    assert_eq!(full.pools().next().unwrap().withheld, None);
    let found = |replay: &Replay, row: &crate::rightsizing::Recommendation| {
        let rows = std::slice::from_ref(row);
        let each = replay.each(rows)[0];
        let total = replay.together(rows);
        assert_eq!(total.realisable, each);
        assert_eq!(
            total.left_out.first().and_then(|pool| pool.withheld),
            each.withheld
        );
        (each.saving.map(NanoUsd::get), each.withheld)
    };
    assert_eq!(found(&full, &advice(Some(1000))), (Some(0), None));
    // Eight of sixteen would never run.
    assert_eq!(
        found(&full, &advice(Some(2000))),
        (None, Some(NotReplayed::PoolTooSmall))
    );

    // Two that came for half an hour each have a machine each: more CPU costs nothing, as long as a machine has it.
    let two = replay(pool(82));
    assert_eq!(found(&two, &advice(Some(4000))), (Some(0), None));
    let larger = (None, Some(NotReplayed::LargerThanMachine));
    assert_eq!(found(&two, &advice(Some(4001))), larger);
    let mut memory = advice(None);
    memory.memory_bytes.recommended = Some(64 << 30);
    assert_eq!(found(&two, &memory), larger);

    // What ran beside fewer daemons than there are on average may ask for as much as it did.
    let mut tight = pool(82);
    for pod in &mut tight.pods {
        pod.request[0] = 4200;
        pod.containers[0].cpu_millicores = 4200;
    }
    let tight = replay(tight);
    assert_eq!(found(&tight, &advice(Some(4100))), (Some(0), None));
    assert_eq!(found(&tight, &advice(Some(4300))), larger);
}

#[test]
fn containers_of_a_pod_are_changed_one_by_one() {
    let asked = |template, kind, cpu_millicores| Asked {
        template,
        kind,
        cpu_millicores,
        memory_bytes: GIB,
    };
    let pod = Pod {
        arrives_ms: 0,
        bound_ms: 0,
        holds_ms: 1,
        // A hundred millicores are the pod's overhead.
        request: [3100, 2 * GIB, 0],
        containers: vec![
            asked(0, ContainerKind::Container, 2000),
            asked(1, ContainerKind::Sidecar, 1000),
            asked(2, ContainerKind::Init, 1500),
        ],
    };
    let with = |changes: &[(u32, Option<i64>)]| {
        let changes = changes
            .iter()
            .map(|(template, cpu)| (*template, (*cpu, None)))
            .collect();
        savings::request(&pod, &changes)[0]
    };
    assert_eq!(with(&[]), 3100);
    assert_eq!(with(&[(7, Some(1))]), 3100);
    assert_eq!(with(&[(0, Some(1800))]), 2900);
    // Below the init container nothing is won.
    assert_eq!(with(&[(0, Some(100))]), 2600);
    assert_eq!(with(&[(0, Some(100)), (2, Some(100))]), 1200);
}
