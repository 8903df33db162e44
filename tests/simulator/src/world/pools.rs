//! Node pools: which machines they have, what these cost, and how they come and go.

use super::{MINUTE, SECOND};

/// Pools, by number.
pub(crate) const SERVICES: i64 = 0;
pub(crate) const SPOT: i64 = 1;
pub(crate) const LARGE: i64 = 2;
pub(crate) const GPU: i64 = 3;

/// A kind of machines.
#[derive(Debug)]
pub(crate) struct Pool {
    pub name: &'static str,
    pub instance_type: &'static str,
    pub capacity_type: &'static str,
    pub capacity: [i64; 3],
    pub reserved: [i64; 3],
    pub hourly_nano: i64,
    /// Whether machines are ordered one by one, by claims, as Karpenter does; else a group of them grows.
    pub has_claims: bool,
    /// Machines that are always there.
    pub least: usize,
    pub boot_ms: i64,
    /// How long a machine may be empty.
    pub idle_ms: i64,
    /// How many of a thousand machines are taken away while they work.
    pub interrupted_permille: i64,
}

/// The price of a machine's hour from an instant on.
pub(crate) struct Price {
    pub provider: &'static str,
    pub region: &'static str,
    pub instance_type: &'static str,
    pub capacity_type: &'static str,
    pub since_ms: i64,
    pub nano: i64,
}

pub(crate) const GIB: i64 = 1 << 30;
pub(crate) const MIB: i64 = 1 << 20;

pub(crate) const POOLS: [Pool; 4] = [
    Pool {
        name: "services",
        instance_type: "m5.xlarge",
        capacity_type: "on-demand",
        capacity: [4000, 16 * GIB, 0],
        reserved: [80, GIB, 0],
        hourly_nano: 192_000_000,
        has_claims: false,
        least: 2,
        boot_ms: 0,
        idle_ms: 10 * MINUTE,
        interrupted_permille: 0,
    },
    Pool {
        name: "batch-spot",
        instance_type: "m5.2xlarge",
        capacity_type: "spot",
        capacity: [8000, 32 * GIB, 0],
        reserved: [90, 1_536 * MIB, 0],
        hourly_nano: 153_700_000,
        has_claims: true,
        least: 0,
        boot_ms: 47 * SECOND,
        idle_ms: 30 * SECOND,
        interrupted_permille: 60,
    },
    Pool {
        name: "batch-large",
        instance_type: "r5.4xlarge",
        capacity_type: "on-demand",
        capacity: [16_000, 128 * GIB, 0],
        reserved: [110, 2 * GIB, 0],
        hourly_nano: 1_008_000_000,
        has_claims: false,
        least: 0,
        boot_ms: 0,
        idle_ms: 10 * MINUTE,
        interrupted_permille: 0,
    },
    Pool {
        name: "gpu",
        instance_type: "g4dn.2xlarge",
        capacity_type: "on-demand",
        capacity: [8000, 32 * GIB, 1000],
        reserved: [90, 1_536 * MIB, 0],
        hourly_nano: 752_000_000,
        has_claims: true,
        least: 0,
        boot_ms: 95 * SECOND,
        idle_ms: 5 * MINUTE,
        interrupted_permille: 0,
    },
];

/// From the middle of the scenario on, spot machines cost so much.
pub(crate) const LATER_SPOT_NANO: i64 = 171_300_001;

/// What the static pod asks for.
pub(crate) const STATIC: [i64; 3] = [100, 64 * MIB, 0];

/// What the DaemonSet's pod asks for.
pub(crate) const DAEMON: [i64; 3] = [100, 128 * MIB, 0];

/// What a machine of the pool has for pods beside those of its own.
pub(crate) fn room(pool: &Pool) -> [i64; 3] {
    let mut room = pool.capacity;
    for (resource, room) in room.iter_mut().enumerate() {
        *room -= pool.reserved[resource] + DAEMON[resource];
        if !pool.has_claims {
            *room -= STATIC[resource];
        }
    }
    room
}
