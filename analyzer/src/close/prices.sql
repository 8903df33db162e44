-- What machines cost an hour, as it is known now: in the month, and in closed months that are adjusted in it, whose adjustments are settled with it.
insert into raw.closed_prices (
    month_start_at, priced_month_at, cluster, machine, start_at, end_at, price_nano, price_source, build_id
)
with settled as (
    select distinct late.month_start_ms, late.cluster, late.machine
    from intermediate.int_late_bills as late
    inner join staging.stg_closed_months as months using (month_start_ms)
    where months.open_ms = $start
),
stretches as (
    select
        $start as month_start_ms,
        cluster,
        machine,
        greatest(prices.from_ms, machines.start_ms, $start) as from_ms,
        least(prices.to_ms, machines.end_ms, $end) as to_ms,
        prices.price_nano,
        coalesce(prices.price_source = 'billed', false) as is_billed
    from intermediate.int_machine_prices as prices
    inner join intermediate.int_machines as machines using (cluster, machine)
    where machines.billing_model in ('instance', 'declared') and not machines.is_refunded
    union all
    select month_start_ms, cluster, machine, from_ms, to_ms, price_nano, is_billed
    from intermediate.int_repriced_stretches
    semi join settled using (month_start_ms, cluster, machine)
),
marked as (
    select
        *,
        lag(to_ms) over following is not distinct from from_ms
        and lag(price_nano) over following is not distinct from price_nano
        and lag(is_billed) over following is not distinct from is_billed as is_continued
    from stretches
    where from_ms < to_ms
    window following as (partition by month_start_ms, cluster, machine order by from_ms)
),
numbered as (
    select
        *,
        sum(case when is_continued then 0 else 1 end) over (
            partition by month_start_ms, cluster, machine order by from_ms rows unbounded preceding
        ) as number
    from marked
)
select
    make_timestamp($start * 1000),
    make_timestamp(month_start_ms * 1000),
    cluster,
    machine,
    make_timestamp(min(from_ms) * 1000),
    make_timestamp(max(to_ms) * 1000),
    min(price_nano),
    case when bool_or(is_billed) then 'billed' else 'estimated' end,
    $closing
from numbered
group by month_start_ms, cluster, machine, number;
