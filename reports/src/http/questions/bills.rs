//! Bills held against what machines cost, and what prices rest on.

use super::super::question::Kind::{Count, Duration, ExactUsd, Instant, Permille, Text, Usd};
use super::super::question::{Column, Question, column, key};
use super::columns::{CLUSTER_SHOWN, PRICE_SOURCE, TEAM};

const MONTH: Column = column("month", "month", Text, "Month, UTC.");
const FIRST_DATE: Column = key("first_date", Text, "First day of the month.");
const LAST_DATE: Column = key("last_date", Text, "Last day of the month.");
const THIS_MONTH: &[(&str, &str)] = &[("from", "first_date"), ("to", "last_date")];
const PROVIDER: Column = column(
    "provider",
    "provider",
    Text,
    "Who wrote the bill: aws, azure, gcp, or another.",
);
const ACCOUNT: Column = column(
    "billing_account_id",
    "account",
    Text,
    "Account that is billed; empty where the bill does not tell.",
);
const SOURCE: Column = column(
    "bill_source",
    "filed under",
    Text,
    "What the bill is filed under.",
);
const CHARGES: Column = column("charges", "charges", Count, "Number of charges.");
const BILLED_COST: Column = column(
    "billed_cost",
    "billed",
    Usd,
    "What the invoice says (FOCUS BilledCost), USD.",
);
const EFFECTIVE_COST: Column = column(
    "effective_cost",
    "effective",
    Usd,
    "With fees of commitments spread over what they were for (FOCUS EffectiveCost), USD.",
);
const COMMITMENT: Column = column(
    "commitment_discount_id",
    "commitment",
    Text,
    "The savings plan or reservation (FOCUS CommitmentDiscountId).",
);
const COMMITMENT_TYPE: Column = column(
    "commitment_discount_type",
    "kind",
    Text,
    "Its kind in its provider's words; NULL where the bill does not tell.",
);

/// What prices of machines rest on.
pub static PRICE_SOURCES: Question = Question {
    name: "price-sources",
    title: "Where prices are from",
    about: "One row per source of prices that machines of the range had: how much machine time rests on it. From `machine_prices`.",
    sql: "with times as ( \
              select coalesce(price_source, 'no price is known') as price_source, count(distinct machine) as machines, \
                  sum(least(epoch_ms(end_at), $to) - greatest(epoch_ms(start_at), $from)) as up_ms, \
                  min(start_at) as first_at, max(end_at) as last_at \
              from marts.machine_prices where start_at < make_timestamp_ms($to) and end_at > make_timestamp_ms($from) \
                  [[and cluster = $cluster]] group by all \
          ) \
          select *, cast(up_ms as hugeint) * 1000 // nullif(sum(cast(up_ms as hugeint)) over (), 0) as share_permille from times",
    order: "up_ms desc, price_source",
    columns: &[
        PRICE_SOURCE,
        column(
            "share_permille",
            "of machine time",
            Permille,
            "Part of the machine time of the range, in tenths of a percent.",
        ),
        column(
            "up_ms",
            "up",
            Duration,
            "Time that machines with such prices were up in the range, ms.",
        ),
        column("machines", "machines", Count, "Machines with such a price."),
        column(
            "first_at",
            "from",
            Instant,
            "When the first of these prices began to hold.",
        ),
        column("last_at", "until", Instant, "When the last of them ceased to."),
    ],
    required: &[],
};

/// Which bills there are.
pub static BILLS: Question = Question {
    name: "bills",
    title: "Bills",
    about: "One row per month and account of which a bill was imported, whatever the range. From `billed_costs_daily`.",
    sql: "select strftime(charge_date, '%Y-%m') as month, min(date_trunc('month', charge_date))::date as first_date, \
              min(last_day(charge_date)) as last_date, provider, billing_account_id, bill_source, \
              case when count(*) filter (where bill_status = 'estimated') > 0 then 'estimated' \
                  when count(*) filter (where bill_status = 'final') > 0 then 'final' end as bill_status, \
              sum(charges) as charges, sum(billed_cost) as billed_cost, sum(effective_cost) as effective_cost \
          from marts.billed_costs_daily group by all",
    order: "month desc, provider, billing_account_id, bill_source",
    columns: &[
        MONTH.to("/bills", THIS_MONTH),
        PROVIDER,
        ACCOUNT,
        BILLED_COST.to("/bills", THIS_MONTH),
        EFFECTIVE_COST.to("/bills", THIS_MONTH),
        CHARGES,
        column(
            "bill_status",
            "stands",
            Text,
            "estimated if any charge is; NULL where the bill does not tell.",
        ),
        SOURCE,
        FIRST_DATE,
        LAST_DATE,
    ],
    required: &[],
};

/// An invoice, line by line.
pub static TIE_OUT: Question = Question {
    name: "tie-out",
    title: "From the clusters to the invoice",
    about: "One row per month that the range touches, account and line: all lines but those of the group `information` add up to the invoice, to the \
            nano-dollar. From `reconciliation_daily`.",
    sql: "select strftime(charge_date, '%Y-%m') as month, min(date_trunc('month', charge_date))::date as first_date, \
              min(last_day(charge_date)) as last_date, provider, billing_account_id, line, line_group, sum(amount) as amount \
          from marts.reconciliation_daily where {billed_days} group by all",
    order: "month desc, provider, billing_account_id, line_group = 'information', list_position(['attributed', 'shared', 'idle', 'unobserved', \
            'quantity_variance', 'machines_not_seen', 'out_of_scope'], line) nulls last, line",
    columns: &[
        MONTH,
        PROVIDER,
        ACCOUNT,
        column(
            "line",
            "line",
            Text,
            "The line; `price_variance` is no part of the invoice.",
        ),
        column(
            "line_group",
            "group",
            Text,
            "attributed, shared, idle, unobserved, out_of_scope, difference or information.",
        ),
        column("amount", "USD", ExactUsd, "USD.").to("/", THIS_MONTH),
        FIRST_DATE,
        LAST_DATE,
    ],
    required: &[],
};

/// Deliveries of bills.
pub static DELIVERIES: Question = Question {
    name: "bill-deliveries",
    title: "Deliveries of bills",
    about: "One row per delivery of a bill, the newest first, and what it changed, whatever the range. From `bill_revisions`.",
    sql: "select strftime(billing_period_start_date, '%Y-%m') as month, * from marts.bill_revisions",
    order: "delivered_at desc, provider, billing_account_id, bill_source, settled_date desc, revision desc, delivery",
    columns: &[
        column("delivered_at", "delivered", Instant, "When it was delivered."),
        MONTH,
        PROVIDER,
        ACCOUNT,
        column("bill_format", "format", Text, "Kind of the file."),
        column(
            "revision",
            "revision",
            Count,
            "Its number among those of the same source, account and time, from 1.",
        ),
        BILLED_COST,
        column(
            "billed_cost_change",
            "more than before",
            Usd,
            "What it bills more than the delivery before it, USD.",
        ),
        CHARGES,
        column(
            "is_counted",
            "counts",
            Text,
            "Whether it counts: the newest does, but totals only where there is no better bill.",
        ),
        SOURCE,
        column(
            "settled_date",
            "settles from",
            Text,
            "First day of what it settles.",
        ),
    ],
    required: &[],
};

/// How much of what was committed to was used.
pub static COMMITMENTS: Question = Question {
    name: "commitments",
    title: "Savings plans and reservations",
    about: "One row per month that the range touches and commitment: how much of it was used, and which part of the machine time that it could have \
            covered it did. From `commitments_daily`.",
    sql: "select strftime(charge_date, '%Y-%m') as month, provider, billing_account_id, commitment_discount_id, commitment_discount_type, \
              sum(used_cost) as used_cost, sum(unused_cost) as unused_cost, \
              cast(sum(used_cost) * 1000000000 as hugeint) * 1000 \
                  // nullif(cast(sum(used_cost) * 1000000000 as hugeint) + cast(sum(unused_cost) * 1000000000 as hugeint), 0) as utilization_permille, \
              sum(covered_ms) as covered_ms, sum(eligible_ms) as eligible_ms, \
              cast(sum(covered_ms) as hugeint) * 1000 // nullif(cast(sum(eligible_ms) as hugeint), 0) as coverage_permille \
          from marts.commitments_daily where {billed_days} group by all",
    order: "month desc, unused_cost desc, provider, billing_account_id, commitment_discount_id, commitment_discount_type",
    columns: &[
        MONTH,
        COMMITMENT,
        COMMITMENT_TYPE,
        column(
            "used_cost",
            "used",
            Usd,
            "What it cost effectively that something used, USD.",
        ),
        column(
            "unused_cost",
            "unused",
            Usd,
            "What it cost effectively that nobody used, USD.",
        ),
        column(
            "utilization_permille",
            "utilization",
            Permille,
            "Used part of both, in tenths of a percent.",
        ),
        column(
            "covered_ms",
            "covered",
            Duration,
            "Machine time that was charged with it, ms.",
        ),
        column(
            "eligible_ms",
            "could be",
            Duration,
            "Machine time of the account that could have been: all but spot, ms.",
        ),
        column(
            "coverage_permille",
            "coverage",
            Permille,
            "Covered part of it, in tenths of a percent.",
        ),
        PROVIDER,
        ACCOUNT,
    ],
    required: &[],
};

/// Who commitments were good for.
pub static COMMITMENT_BENEFITS: Question = Question {
    name: "commitment-benefits",
    title: "Who they were good for",
    about: "One row per month that the range touches, team and commitment: what the covered time cost, and what it is estimated at without. From \
            `commitment_benefits_daily`.",
    sql: "select strftime(charge_date, '%Y-%m') as month, team, commitment_discount_id, commitment_discount_type, cluster, \
              sum(covered_cost) as covered_cost, \
              case when count(estimated_cost) = count(*) then sum(estimated_cost) end as estimated_cost, \
              case when count(benefit) = count(*) then sum(benefit) end as benefit \
          from marts.commitment_benefits_daily where {billed_days} [[and cluster = $cluster]] [[and team = $team]] group by all",
    order: "month desc, benefit desc nulls last, team, commitment_discount_id, commitment_discount_type, cluster",
    columns: &[
        MONTH,
        TEAM.to("/team", &[("team", "team")]),
        COMMITMENT,
        COMMITMENT_TYPE,
        column(
            "covered_cost",
            "covered time cost",
            Usd,
            "What the covered time cost effectively, USD.",
        ),
        column(
            "estimated_cost",
            "without it",
            Usd,
            "What the same time is estimated at without, USD; NULL where no price is known.",
        ),
        column(
            "benefit",
            "benefit",
            Usd,
            "The difference, USD; negative where it is dearer.",
        ),
        CLUSTER_SHOWN,
    ],
    required: &[],
};

/// Months that are closed.
pub static CLOSED_MONTHS: Question = Question {
    name: "closed-months",
    title: "Closed months",
    about: "One row per closed month, whatever the range: what it is for good, and what came later. From `closed_months`.",
    sql: "select strftime(closed_month, '%Y-%m') as month, closed_month::date as first_date, last_day(closed_month) as last_date, closed_at, \
              case when basis = 'bill' then 'a bill' else 'list prices' end as basis, cost, adjusted_cost, restated_cost, \
              strftime(adjusted_in, '%Y-%m') as adjusted_in, content_hash \
          from marts.closed_months",
    order: "month desc",
    columns: &[
        MONTH,
        column("closed_at", "closed", Instant, "When it was closed."),
        column(
            "basis",
            "on",
            Text,
            "a bill, or list prices where it was closed without one.",
        ),
        column("cost", "cost", Usd, "What it is, whatever comes later, USD.").to("/", THIS_MONTH),
        column(
            "adjusted_cost",
            "adjusted",
            Usd,
            "What later bills changed, booked in later months, USD.",
        )
        .to("/bills", THIS_MONTH),
        column(
            "restated_cost",
            "restated",
            Usd,
            "What facts, bills and rules of now would make of it, USD.",
        ),
        column(
            "adjusted_in",
            "next booked in",
            Text,
            "Month in which further changes are booked.",
        ),
        column(
            "content_hash",
            "hash",
            Text,
            "SHA-256 of its rows; every build and check holds them against it.",
        ),
        FIRST_DATE,
        LAST_DATE,
    ],
    required: &[],
};

/// What later bills say of closed months.
pub static ADJUSTMENTS: Question = Question {
    name: "adjustments",
    title: "Adjustments",
    about: "One row per closed month, month in which its change is booked, cluster and team, whatever the range. From `adjustments`.",
    sql: "select strftime(adjusts_month, '%Y-%m') as month, strftime(charge_date, '%Y-%m') as booked_in, cluster, team, cost \
          from marts.adjustments where true [[and cluster = $cluster]] [[and team = $team]]",
    order: "month desc, booked_in desc, cost desc, cluster, team",
    columns: &[
        column("month", "of", Text, "The closed month that it is for."),
        column("booked_in", "booked in", Text, "The month in which it is a cost."),
        TEAM.to("/team", &[("team", "team")]),
        column(
            "cost",
            "cost",
            Usd,
            "USD; negative where bills say less than was closed.",
        ),
        CLUSTER_SHOWN,
    ],
    required: &[],
};
