//! Lines of the tie-out: how an invoice and the clusters hang together.

/// Each line with what it says to who reads it, in the order in which they add up to the invoice.
pub const BILL_LINES: &[(&str, &str)] = &[
    ("attributed", "pods of teams and jobs"),
    ("shared", "node reservation, system, platform"),
    ("idle", "capacity that nobody held"),
    ("unobserved", "time in which nobody watched"),
    ("volumes", "volumes of the clusters, used or not"),
    ("load_balancers", "load balancers of the clusters"),
    ("quantity_variance", "time charged for and not seen"),
    ("machines_not_seen", "machines of the scope that nobody saw"),
    ("out_of_scope", "charges outside of the scope"),
    (
        "commitment_unused",
        "savings plans and reservations that nobody used",
    ),
    ("network", "traffic, and what carries it"),
    ("fees", "support plans"),
    ("other_services", "usage of what is not the clusters'"),
    ("purchases", "fees of commitments and others"),
    ("amortization", "fees paid at another time than what they are for"),
    ("credits", ""),
    ("tax", ""),
    ("adjustments", ""),
    ("partly_billed", "hours of machines that were charged for in part"),
    ("rounding", "below a nano-dollar per hour and charge"),
];

/// What machines were billed more than estimated: told besides, and no part of the invoice.
pub const PRICE_VARIANCE: &str = "price_variance";
